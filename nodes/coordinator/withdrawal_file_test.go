package coordinator_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// nonce tells a sealed value from every other: the id of its key, and its nonce.
type nonce [16]byte

// inspected is what a data file holds, as whoever has its sealing key reads it.
type inspected struct {
	values   [][]byte         // of all series and tables, keys of tables included
	canaries map[nonce]string // the sealed values that hold a canary, and where they stand
	unsealed []string         // tables that hold one
}

// inspect stops all nodes, reads their data files from end to end, and starts them again.
func (f *flock) inspect() map[member.ID]*inspected {
	f.t.Helper()
	files := map[member.ID]*inspected{}
	for _, id := range members() {
		f.sites[id].stop()
	}
	for _, id := range members() {
		files[id] = f.sites[id].inspect()
	}
	f.startAll()
	return files
}

// inspect reads the data file of a node that does not run. The names of its parts are read by the library of the file, the
// values by package store, which fails on any that it cannot open.
func (s *site) inspect() *inspected {
	t := s.w.t
	t.Helper()
	raw, err := bolt.Open(s.material.Data, 0o600, &bolt.Options{ReadOnly: true})
	must(t, err)
	defer raw.Close()
	data, err := store.Open(store.Options{Path: s.material.Data, Keys: s.material.Sealing, ReadOnly: true})
	must(t, err)
	defer data.Close()
	file := &inspected{canaries: map[nonce]string{}}
	must(t, raw.View(func(tx *bolt.Tx) error {
		return data.View(func(v *store.View) error {
			return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error { return file.part(v, string(name), bucket) })
		})
	}))
	return file
}

// part reads one part of the file.
func (f *inspected) part(v *store.View, name string, bucket *bolt.Bucket) error {
	series, is := strings.CutPrefix(name, "s/")
	if is {
		return v.Scan(store.NewSeries(series), 1, func(n uint64, value []byte) (bool, error) {
			f.values = append(f.values, slices.Clone(value))
			if inWords(value) > 0 {
				sealed := bucket.Get(binary.BigEndian.AppendUint64(nil, n))
				f.canaries[nonce(sealed)] = fmt.Sprintf("%s %d", series, n)
			}
			return true, nil
		})
	}
	table, is := strings.CutPrefix(name, "t/")
	if !is {
		return nil // the store's own: sums and the name of the member
	}
	return v.Each(table, func(key, value []byte) error {
		f.values = append(f.values, slices.Concat(key, value))
		if inWords(key)+inWords(value) > 0 {
			f.unsealed = append(f.unsealed, table)
		}
		return nil
	})
}

// leftovers are those of sealed values whose bytes stand in the data file, pages that are free included. The node may run.
func (s *site) leftovers(sealed map[nonce]string) []string {
	s.w.t.Helper()
	content, err := os.ReadFile(s.material.Data)
	must(s.w.t, err)
	keys := map[[4]byte]bool{}
	for n := range sealed {
		keys[[4]byte(n[:4])] = true
	}
	var left []string
	for key := range keys {
		for rest := content; ; rest = rest[1:] {
			at := bytes.Index(rest, key[:])
			if at < 0 || at+len(nonce{}) > len(rest) {
				break
			}
			rest = rest[at:]
			where, is := sealed[nonce(rest)]
			if is {
				left = append(left, where)
			}
		}
	}
	return left
}
