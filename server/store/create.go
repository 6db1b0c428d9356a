package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// What stands in metaBucket. The schema is readable without a key, so that a newer file can be named as such; it
// stands in the sealed root once more.
const (
	schemaKey   = "schema"
	rootKey     = "root"
	identityKey = "identity"
)

// rootSize is the size of the sealed root: the schema, and the secret from which keys of the file are derived.
const rootSize = 4 + KeySize

// Create makes a new, empty file that holds identity (whose file it is) and leaves it closed. An existing file is
// never touched: ErrExists. Only the owner of the process may read the file.
//
// If we crash here, there is no file, only a leftover beside it, which the next Create removes: the file is
// made under another name, synced, and renamed. Two Creates for one path at once are not foreseen.
func Create(opts Options, identity []byte) error {
	err := create(opts, identity)
	if err != nil {
		return fmt.Errorf("create store %s: %w", opts.Path, err)
	}
	return nil
}

func create(opts Options, identity []byte) error {
	err := opts.check()
	if err != nil {
		return err
	}
	if opts.ReadOnly {
		return errors.New("cannot be read-only")
	}
	seals, err := newSealer(opts.Keys)
	if err != nil {
		return err
	}
	_, err = os.Lstat(opts.Path)
	if err == nil {
		return ErrExists
	}
	err = removeLeftovers(filepath.Dir(opts.Path), filepath.Base(opts.Path)+leftoverMark)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(opts.Path), filepath.Base(opts.Path)+leftoverMark+"*") // mode 0600
	if err != nil {
		return err
	}
	defer file.Close()
	s := newStore(opts, seals)
	err = s.fill(opts, file.Name(), identity)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(file.Name(), opts.Path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncFolder(filepath.Dir(opts.Path))
}

// leftoverMark follows the file's name in the name under which it is made.
const leftoverMark = ".unfinished-"

// removeLeftovers removes what a crash left in a folder.
func removeLeftovers(folder, prefix string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		err = os.Remove(filepath.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
	}
	return nil
}

// fill writes the first transaction of a new file.
func (s *Store) fill(opts Options, path string, identity []byte) error {
	root := binary.BigEndian.AppendUint32(nil, Schema)
	root = append(root, make([]byte, KeySize)...)
	_, err := io.ReadFull(s.nonces, root[4:])
	if err != nil {
		return fmt.Errorf("read randomness: %w", err)
	}
	s.db, err = bolt.Open(path, 0o600, s.boltOptions(opts, false))
	if err != nil {
		return err
	}
	err = s.Update(func(tx *Tx) error { return tx.putMeta(root, identity) })
	return errors.Join(err, s.db.Close())
}

func (tx *Tx) putMeta(root, identity []byte) error {
	bucket, err := tx.raw.CreateBucketIfNotExists([]byte(metaBucket))
	if err != nil {
		return err
	}
	err = bucket.Put([]byte(schemaKey), root[:4])
	if err != nil {
		return err
	}
	own := &part{name: metaBucket, bucket: bucket}
	err = tx.put(own, []byte(rootKey), root)
	if err != nil {
		return err
	}
	err = tx.put(own, []byte(identityKey), identity)
	erased := tx.store.erasures()
	if err != nil || erased.values == 0 {
		return err
	}
	return tx.putErasures(erased)
}

// meta is what Create wrote, opened.
type meta struct {
	identity []byte
	root     []byte // schema and secret; the secret stays the same when key or schema change, and all that is derived
	schema   uint32
	indexKey []byte
	outdated bool     // not all of it is sealed with the current key
	erasures erasures // as Open found them
}

func (v *View) readMeta() (m meta, err error) {
	defer rescue(&err, metaBucket)
	bucket := v.raw.Bucket([]byte(metaBucket))
	if bucket == nil {
		return meta{}, fmt.Errorf("%w: it has no meta bucket", ErrNotAStore)
	}
	schema := bucket.Get([]byte(schemaKey))
	if len(schema) != 4 || binary.BigEndian.Uint32(schema) == 0 {
		return meta{}, fmt.Errorf("%w: it has no schema", ErrNotAStore)
	}
	m.schema = binary.BigEndian.Uint32(schema)
	if m.schema > Schema {
		return meta{}, fmt.Errorf("%w: the file has schema %d, this program knows up to %d", ErrNewerSchema, m.schema, Schema)
	}
	m.root, err = v.openMeta(bucket, rootKey, &m.outdated)
	if err != nil {
		return meta{}, err
	}
	if len(m.root) != rootSize || !bytes.Equal(m.root[:4], schema) {
		return meta{}, damage(nil, "%s: the schema is not the one that is sealed", metaBucket)
	}
	m.identity, err = v.openMeta(bucket, identityKey, &m.outdated)
	if err != nil {
		return meta{}, err
	}
	m.erasures, err = v.readErasures(bucket, &m.outdated)
	if err != nil {
		return meta{}, err
	}
	m.indexKey, err = derive(m.root[4:], "entente store index", KeySize)
	return m, err
}

func (v *View) openMeta(bucket *bolt.Bucket, key string, outdated *bool) ([]byte, error) {
	sealed := bucket.Get([]byte(key))
	plain, err := v.openValue([]byte{}, metaBucket, []byte(key), sealed)
	if errors.Is(err, ErrWrongKey) {
		return nil, err
	}
	if err != nil {
		return nil, damage(err, "%s %s", metaBucket, key)
	}
	*outdated = *outdated || !v.seals.isCurrent(sealed)
	return plain, nil
}

// sealMeta seals the meta anew after a change of the key: so the first thing that a keyring has to open is always
// sealed with a key that is in use.
func (s *Store) sealMeta() error {
	return s.Update(func(tx *Tx) error { return tx.putMeta(s.root, s.identity) })
}
