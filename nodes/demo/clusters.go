package demo

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// clusterLine says which cluster a record is in.
type clusterLine struct {
	Record  string `json:"record"`
	Cluster string `json:"cluster"`

	member string
}

// writeClusters writes who is who by what all members may see: for each entity row of the input that is in the
// coordinator's own view of it, the id of the merged entity. In order of member and reference.
func (s *stage) writeClusters(out io.Writer, rows inputRows, held *holdings) error {
	view, err := s.coordinator().officer.View(s.ctx, consultation(&ententev1.Scope{AllMembersOnly: true}))
	if err != nil {
		return fmt.Errorf("view for the clusters: %w", err)
	}
	var lines []clusterLine
	for _, e := range view.Entities {
		for _, source := range e.GetSources() {
			name, err := held.name(source)
			if err != nil {
				return fmt.Errorf("clusters: %w", err)
			}
			if rows[name.member][name.reference] {
				lines = append(lines, clusterLine{name.reference, hex.EncodeToString(e.GetEntityId()), name.member})
			}
		}
	}
	slices.SortFunc(lines, func(a, b clusterLine) int {
		return strings.Compare(a.member+"\n"+a.Record, b.member+"\n"+b.Record)
	})
	buffered := bufio.NewWriter(out)
	encoder := json.NewEncoder(buffered)
	for _, line := range lines {
		err = encoder.Encode(line)
		if err != nil {
			return fmt.Errorf("write clusters: %w", err)
		}
	}
	err = buffered.Flush()
	if err != nil {
		return fmt.Errorf("write clusters: %w", err)
	}
	return nil
}
