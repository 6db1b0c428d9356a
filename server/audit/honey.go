package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// Parts of the data file that hold what only auditors know.
const (
	tableHoney = "honey" // record id -> nothing: it is marked
	tableHeard = "heard" // member -> up to when its trail was asked about the own records, in nanoseconds since 1970, 8 bytes
)

var alertSeries = store.NewSeries("alerts")

// Honey keeps which own records nobody has a reason to look at, and who looked all the same. It is safe for concurrent use.
type Honey struct {
	write Writer

	mu     sync.RWMutex // covers all below
	marks  map[[16]byte]bool
	heard  map[member.ID]int64
	alerts []*ententev1.HoneyAlert
}

// OpenHoney reads marks and alerts; write is the way to the one writer, as of Log.Bind. It starts nothing.
func OpenHoney(st *store.Store, write Writer) (*Honey, error) {
	h := &Honey{write: write, marks: make(map[[16]byte]bool), heard: make(map[member.ID]int64)}
	err := st.View(func(v *store.View) error {
		err := v.Each(tableHoney, func(key, _ []byte) error {
			if len(key) != 16 {
				return errors.New("a mark is not of a record id")
			}
			h.marks[[16]byte(key)] = true
			return nil
		})
		if err != nil {
			return err
		}
		err = v.Each(tableHeard, func(key, value []byte) error {
			if len(value) != 8 {
				return fmt.Errorf("up to when the trail of %s was asked is not a time", key)
			}
			h.heard[member.ID(key)] = int64(binary.BigEndian.Uint64(value))
			return nil
		})
		if err != nil {
			return err
		}
		return v.Scan(alertSeries, 1, func(_ uint64, value []byte) (bool, error) {
			alert := &ententev1.HoneyAlert{}
			err := proto.Unmarshal(value, alert)
			h.alerts = append(h.alerts, alert)
			return true, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read honey records: %w", err)
	}
	return h, nil
}

// Mark marks records, or with clear takes marks away. It says how many there are then.
func (h *Honey) Mark(ctx context.Context, ids [][16]byte, clear bool) (int, error) {
	err := h.write(ctx, func(tx *store.Tx) (func(), error) {
		for _, id := range ids {
			err := mark(tx, id, clear)
			if err != nil {
				return nil, err
			}
		}
		return func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, id := range ids {
				h.marks[id] = true
				if clear {
					delete(h.marks, id)
				}
			}
		}, nil
	})
	if err != nil {
		return 0, fmt.Errorf("mark honey records: %w", err)
	}
	return h.Marks(), nil
}

func mark(tx *store.Tx, id [16]byte, clear bool) error {
	if clear {
		return tx.Delete(tableHoney, id[:])
	}
	return tx.Put(tableHoney, id[:], []byte{1})
}

// Marks is how many records are marked.
func (h *Honey) Marks() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.marks)
}

// Marked says whether a record is marked.
func (h *Honey) Marked(id [16]byte) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.marks[id]
}

// Alert keeps that somebody looked, numbers it, and says once when it is on disk. heard, where not empty, are the members whose
// trails were asked, with up to when: so nothing that they say is told twice.
func (h *Honey) Alert(ctx context.Context, alerts []*ententev1.HoneyAlert, heard map[member.ID]int64) error {
	err := h.write(ctx, func(tx *store.Tx) (func(), error) {
		for id, at := range heard {
			err := tx.Put(tableHeard, []byte(id), binary.BigEndian.AppendUint64(nil, uint64(at)))
			if err != nil {
				return nil, err
			}
		}
		numbered := make([]*ententev1.HoneyAlert, len(alerts))
		for i, alert := range alerts {
			numbered[i] = proto.CloneOf(alert)
			numbered[i].Number = tx.Len(alertSeries) + 1
			encoded, err := deterministic().Marshal(numbered[i])
			if err != nil {
				return nil, err
			}
			_, err = tx.Append(alertSeries, encoded)
			if err != nil {
				return nil, err
			}
		}
		return func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.alerts = append(h.alerts, numbered...)
			maps.Copy(h.heard, heard)
		}, nil
	})
	if err != nil {
		return fmt.Errorf("keep alerts of honey records: %w", err)
	}
	return nil
}

// Heard is up to when a member's trail was asked about the own records, in nanoseconds since 1970; 0: never.
func (h *Honey) Heard(id member.ID) int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.heard[id]
}

// Alerts gives the alerts after a number, at most limit of them, and how many there are in all.
func (h *Honey) Alerts(after uint64, limit int) (list []*ententev1.HoneyAlert, all int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	from := min(after, uint64(len(h.alerts)))
	list = h.alerts[from:]
	return slices.Clone(list[:min(len(list), limit)]), len(h.alerts)
}
