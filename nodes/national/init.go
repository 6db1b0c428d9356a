package national

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// Init makes what a new node needs and does not have: sealing key, id key, signing key, and the data file, which pins the
// federation. It overwrites nothing: an existing key is used, an existing data file is an error (store.ErrExists). If we
// crash between two of them, the next Init goes on.
func Init(c *Config, deps Deps) error {
	m := Material{Member: member.ID(c.Member), Data: c.Data, MaxBytes: c.MaxBytes}
	var err error
	m.Federation, err = c.Pin()
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	_, err = os.Lstat(c.Data)
	if err == nil {
		return fmt.Errorf("init: %s: %w; this node is initialised", c.Data, store.ErrExists)
	}
	for _, path := range []string{c.SealingKey, c.IDKey} {
		err = store.CreateKey(path, deps.Rand)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("init: %w", err)
		}
	}
	err = createSigningKey(c.SigningKey, deps)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("init: %w", err)
	}
	m.Sealing.Current, err = store.LoadKey(c.SealingKey)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	return CreateData(m, deps)
}

func createSigningKey(path string, deps Deps) error {
	key, err := member.NewSigningKey(deps.Rand)
	if err != nil {
		return err
	}
	text, err := member.EncodePrivateKey(key)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("write signing key: %w", err), os.Remove(path))
	}
	return nil
}
