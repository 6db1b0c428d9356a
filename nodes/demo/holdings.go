package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// recordKey names a record in the federation: its member and its id.
type recordKey struct {
	member string
	id     [16]byte
}

// recordName is what only the owner knows of a record: authority and provider reference.
type recordName struct {
	member, authority, reference string
}

func (n recordName) String() string { return n.member + "\n" + n.authority + "\n" + n.reference }

// holdings is what the members say of their own records.
type holdings struct {
	names     map[recordKey]recordName
	standing  map[recordKey]bool        // stand in at least one stream
	gone      map[recordKey]bool        // withdrawn by their member
	released  uint64                    // of rows: standing; see count
	withdrawn uint64                    // of rows: gone
	readers   map[string]map[string]int // member -> readers, as text -> records
}

// holdings asks each member's node for its own records, as its national system.
func (s *stage) holdings() (*holdings, error) {
	parts := make([]*holdings, len(s.members()))
	group, _ := errgroup.WithContext(s.ctx)
	for i, at := range s.members() {
		group.Go(func() error {
			part, err := s.holdingsOf(at)
			if err != nil {
				return fmt.Errorf("list the records of %s: %w", at.seat.ID, err)
			}
			parts[i] = part
			return nil
		})
	}
	err := group.Wait()
	if err != nil {
		return nil, err
	}
	all := newHoldings()
	for i, at := range s.members() {
		for key, name := range parts[i].names {
			all.names[key] = name
		}
		maps.Copy(all.standing, parts[i].standing)
		maps.Copy(all.gone, parts[i].gone)
		all.readers[string(at.seat.ID)] = parts[i].readers[string(at.seat.ID)]
	}
	return all, nil
}

func (s *stage) holdingsOf(at *station) (*holdings, error) {
	id := string(at.seat.ID)
	part := newHoldings()
	part.readers[id] = make(map[string]int)
	request := &ententev1.ListRequest{Consultation: consultation(nil), PageSize: 1000}
	for held, err := range at.system.List(s.ctx, request) {
		if err != nil {
			return nil, err
		}
		key := recordKey{id, [16]byte(held.GetRecordId())}
		name := recordName{id, held.GetAuthority(), held.GetRecord().GetEnvelope().GetProviderReference()}
		if name.reference == "" && s.erased[key].reference != "" { // its owner has erased it too
			name = s.erased[key]
		}
		part.names[key] = name
		readers := readersNow(held)
		if len(readers) > 0 {
			part.standing[key] = true
		}
		if held.GetWithdrawn() {
			part.gone[key] = true
		}
		part.readers[id][strings.Join(readers, " ")]++
	}
	return part, nil
}

func newHoldings() *holdings {
	return &holdings{names: make(map[recordKey]recordName), standing: make(map[recordKey]bool), gone: make(map[recordKey]bool), readers: make(map[string]map[string]int)}
}

// inputRows are the records that rows of an input are, by member and provider reference, and whether each is an entity.
type inputRows map[string]map[string]bool

// count counts what became of the rows' own records.
func (h *holdings) count(rows inputRows) {
	for key, name := range h.names {
		_, own := rows[name.member][name.reference]
		if !own {
			continue
		}
		if h.standing[key] {
			h.released++
		}
		if h.gone[key] {
			h.withdrawn++
		}
	}
}

// readersNow are the members before whom a record stands in a stream.
func readersNow(held *ententev1.HeldRecord) []string {
	var readers []string
	for _, delivery := range held.GetDeliveries() {
		if !delivery.GetWithdrawn() {
			readers = append(readers, delivery.GetMember())
		}
	}
	slices.Sort(readers)
	return slices.Compact(readers)
}

// name answers the provider's name of a source. That an answer names a record which its owner does not know is never
// right.
func (h *holdings) name(source *ententev1.ViewSource) (recordName, error) {
	name, ok := h.names[recordKey{source.GetProviderMember(), [16]byte(source.GetRecordId())}]
	if !ok {
		return recordName{}, fmt.Errorf("the view names a record of %s that %s does not list", source.GetProviderMember(), source.GetProviderMember())
	}
	return name, nil
}

// received are the records of others that a member's subscriber gets now, by owner and id, read from the beginning.
func (s *stage) received(c *client.Client, project string) (map[recordKey]*ententev1.ReleasedRecord, error) {
	standing := make(map[recordKey]*ententev1.ReleasedRecord)
	request := &ententev1.SubscribeRequest{Consultation: consultation(nil), ProjectId: project, UntilCurrent: true}
	for response, err := range c.Follow(s.ctx, request) {
		if err != nil {
			return nil, err
		}
		for _, item := range response.GetItems() {
			err = apply(standing, item)
			if err != nil {
				return nil, err
			}
		}
	}
	return standing, nil
}

// apply does what each subscriber does with an item: keep a release, drop what is withdrawn.
func apply(standing map[recordKey]*ententev1.ReleasedRecord, item *ententev1.StreamItem) error {
	key := recordKey{item.GetOwner(), [16]byte(item.GetRecordId())}
	if item.GetWithdrawal() != nil {
		if !item.GetWithdrawal().GetStillHeld() {
			delete(standing, key)
		}
		return nil
	}
	released, err := decodeReleased(item)
	if err != nil {
		return err
	}
	standing[key] = released
	return nil
}
