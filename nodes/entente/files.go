package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

const (
	secretMode = 0o600 // of files with keys
	publicMode = 0o644
)

// largestDocument bounds what is read as a document: a body of 1 MB, its signatures, and chains of some hundred of them.
const largestDocument = 64 << 20

// createFile writes a file that is not there yet and never touches one that is: it may hold the only copy of a key. If we
// crash here, a part of the file may be left; the next call refuses it by name.
func createFile(path string, content []byte, mode fs.FileMode) error {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err != nil {
		return fmt.Errorf("make the folder of %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return cli.UsageErrorf("%s is there already and is not overwritten; name another file or move it away", path)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return finish(f, content)
}

// finish writes, syncs and closes a new file, and removes it if that fails.
func finish(f *os.File, content []byte) error {
	_, err := f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", f.Name(), err), os.Remove(f.Name()))
	}
	return nil
}

// replaceFile puts a new content in the place of a file in one step, so that a running node reads the old or the new one
// and never a part. If we crash here, the old file stands, with a leftover beside it.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	err = errors.Join(f.Chmod(publicMode), finish(f, content))
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	err = os.Rename(f.Name(), path)
	if err != nil {
		return errors.Join(fmt.Errorf("replace %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

// absent refuses paths that are taken, before anything is made: so two files that belong together are written both.
func absent(paths ...string) error {
	for _, path := range paths {
		_, err := os.Lstat(path)
		if err == nil {
			return cli.UsageErrorf("%s is there already and is not overwritten; name another place or move it away", path)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for %s: %w", path, err)
		}
	}
	return nil
}

// readFile reads a file that the caller named.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, cli.UsageErrorf("read: %w", err)
	}
	if info.Size() > largestDocument {
		return nil, cli.UsageErrorf("read %s: with %d bytes it is too large for a key or a document", path, info.Size())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, cli.UsageErrorf("read: %w", err)
	}
	return content, nil
}

func readPrivateKey(path string) (ed25519.PrivateKey, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	key, err := member.ParsePrivateKey(text)
	if err != nil {
		return nil, cli.UsageErrorf("%s: %w; `entente pki root` and `entente pki signing-key` make such files", path, err)
	}
	return key, nil
}

// readPublicKey reads a public key, or takes it from a file with the private one: the signing key that `node init` made has
// no other.
func readPublicKey(path string) (ed25519.PublicKey, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	private, err := member.ParsePrivateKey(text)
	if err == nil {
		return private.Public().(ed25519.PublicKey), nil
	}
	key, err := member.ParsePublicKey(text)
	if err != nil {
		return nil, cli.UsageErrorf("%s: %w; name the file that ends in .pub", path, err)
	}
	return key, nil
}

// readDocument reads one signed document, of one of the given types. It verifies nothing.
func readDocument(path string, types ...string) (*ententev1.SignedDocument, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	doc := &ententev1.SignedDocument{}
	err = proto.Unmarshal(content, doc)
	if err != nil {
		return nil, cli.UsageErrorf("%s: not a signed document", path)
	}
	for _, typ := range types {
		if doc.GetType() == typ {
			return doc, nil
		}
	}
	return nil, cli.UsageErrorf("%s: not a document of type %s", path, orList(types))
}

func orList(words []string) string {
	text := ""
	for i, word := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			text += " or "
		default:
			text += ", "
		}
		text += word
	}
	return text
}

func encodeMessage(m proto.Message) ([]byte, error) {
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	return content, nil
}

// createMessage writes a document or chain to a new file.
func createMessage(path string, m proto.Message) error {
	content, err := encodeMessage(m)
	if err != nil {
		return err
	}
	return createFile(path, content, publicMode)
}

// replaceMessage writes a document or chain in the place of an older one.
func replaceMessage(path string, m proto.Message) error {
	content, err := encodeMessage(m)
	if err != nil {
		return err
	}
	return replaceFile(path, content)
}

func parseFederation(text string) ([32]byte, error) {
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != 32 {
		return [32]byte{}, cli.UsageErrorf("--federation: give the id as 64 hexadecimal digits, as `entente roster genesis` printed it")
	}
	return [32]byte(id), nil
}
