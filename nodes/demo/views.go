package demo

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// viewResults asks the coordinator for the view of each member, by an officer through the member's own node.
func (s *stage) viewResults(held *holdings) (map[string]ViewResult, error) {
	results := make(map[string]ViewResult)
	for _, at := range s.members() {
		view, err := at.officer.View(s.ctx, consultation(nil))
		if err != nil {
			return nil, fmt.Errorf("view of %s: %w", at.seat.ID, err)
		}
		hash, err := digestView(view, held)
		if err != nil {
			return nil, fmt.Errorf("view of %s: %w", at.seat.ID, err)
		}
		results[string(at.seat.ID)] = ViewResult{Entities: len(view.Entities), Associations: len(view.Associations), Hash: hash}
	}
	return results, nil
}

// digestView is SHA-256 over what a view says, in an order of its own: each entity and association with its content and
// its sources, which are named by member, authority and provider reference. Nothing of the run goes in: no salt, no
// stream, no time of taking or sending. So two runs over the same input give the same.
func digestView(view *client.View, held *holdings) (string, error) {
	c := canon{held: held, entities: make(map[string][]byte)}
	for _, e := range view.Entities {
		names, err := c.sources(e.GetSources())
		if err != nil {
			return "", err
		}
		// An entity is known by the records it is made of: no two share one.
		c.entities[string(e.GetEntityId())] = pack(sorted(names)...)
	}
	var lines [][]byte
	for _, e := range view.Entities {
		line, err := c.entity(e)
		if err != nil {
			return "", err
		}
		lines = append(lines, line)
	}
	for _, a := range view.Associations {
		line, err := c.association(a)
		if err != nil {
			return "", err
		}
		lines = append(lines, line)
	}
	sum := sha256.Sum256(pack(sorted(lines)...))
	return hex.EncodeToString(sum[:]), nil
}

// canon writes the parts of a view in a form that depends on their content only.
type canon struct {
	held     *holdings
	entities map[string][]byte // entity id -> its canonical name
}

func (c canon) entity(e *ententev1.ViewEntity) ([]byte, error) {
	names, err := c.sources(e.GetSources())
	if err != nil {
		return nil, err
	}
	handling, err := encoded(e.GetHandling())
	if err != nil {
		return nil, err
	}
	facts, err := facts(e.GetFacts(), names)
	if err != nil {
		return nil, err
	}
	var roles [][]byte
	for _, r := range e.GetRoles() {
		from, err := c.sources(r.GetSources())
		if err != nil {
			return nil, err
		}
		group, err := c.end(r.GetGroupEntityId())
		if err != nil {
			return nil, err
		}
		roles = append(roles, pack([]byte(r.GetRole().String()), []byte(r.GetPositionalRole().String()), group, pack(sorted(from)...)))
	}
	var reasons [][]byte
	for _, reason := range e.GetMergeReasons() {
		reasons = append(reasons, []byte(reason))
	}
	return pack([]byte("entity"), []byte(e.GetKind().String()), pack(sorted(names)...), facts, pack(sorted(roles)...),
		pack(sorted(reasons)...), handling), nil
}

func (c canon) association(a *ententev1.ViewAssociation) ([]byte, error) {
	names, err := c.sources(a.GetSources())
	if err != nil {
		return nil, err
	}
	from, err := c.end(a.GetFromEntityId())
	if err != nil {
		return nil, err
	}
	to, err := c.end(a.GetToEntityId())
	if err != nil {
		return nil, err
	}
	handling, err := encoded(a.GetHandling())
	if err != nil {
		return nil, err
	}
	facts, err := facts(a.GetFacts(), names)
	if err != nil {
		return nil, err
	}
	return pack([]byte("association"), []byte(a.GetKind().String()), from, to, pack(sorted(names)...), facts, handling), nil
}

// end is the canonical name of an entity that something refers to; nothing for none.
func (c canon) end(id []byte) ([]byte, error) {
	if len(id) == 0 {
		return nil, nil
	}
	name, ok := c.entities[string(id)]
	if !ok {
		return nil, errors.New("the view refers to an entity that is not in it")
	}
	return name, nil
}

// sources writes each source, in the order given: facts refer to it.
func (c canon) sources(list []*ententev1.ViewSource) ([][]byte, error) {
	var names [][]byte
	for _, source := range list {
		name, err := c.held.name(source)
		if err != nil {
			return nil, err
		}
		rest := proto.CloneOf(source)
		rest.RecordId = nil // a made-up id; the reference stands for it
		content, err := encoded(rest)
		if err != nil {
			return nil, err
		}
		names = append(names, pack([]byte(name.String()), content))
	}
	return names, nil
}

func facts(list []*ententev1.ViewFact, names [][]byte) ([]byte, error) {
	var lines [][]byte
	for _, fact := range list {
		var by [][]byte
		for _, index := range fact.GetSources() {
			if int(index) >= len(names) {
				return nil, errors.New("a fact names source " + strconv.Itoa(int(index)) + ", which is not there")
			}
			by = append(by, names[index])
		}
		lines = append(lines, pack([]byte(fact.GetField()), []byte(fact.GetValue()), pack(sorted(by)...)))
	}
	return pack(sorted(lines)...), nil
}

// pack joins parts so that no two lists of parts give the same bytes.
func pack(parts ...[]byte) []byte {
	out := binary.AppendUvarint(nil, uint64(len(parts)))
	for _, part := range parts {
		out = binary.AppendUvarint(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}

func sorted(parts [][]byte) [][]byte {
	list := slices.Clone(parts)
	slices.SortFunc(list, slices.Compare)
	return list
}
