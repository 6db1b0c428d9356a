package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// markerHead begins a marker file; the digest in hexadecimal and a newline follow.
const markerHead = "entente clean stop\n"

// WriteMarker leaves the marker of a clean stop: a digest of all heads, in a file that is neither the data file
// nor part of its backups. It is the last thing a node does, after the store is closed.
//
// If we crash here, there is no marker, and the next start takes the careful way.
func WriteMarker(path string, digest [32]byte) error {
	err := writeDurably(path, []byte(markerHead+hex.EncodeToString(digest[:])+"\n"))
	if err != nil {
		return fmt.Errorf("write marker %s: %w", path, err)
	}
	return nil
}

// TakeMarker reads the marker and removes it for good before it returns: it counts for one start. ok is false
// where there is none, or one that nobody can read, which is the same as a crash. A marker that cannot be removed
// is an error, and the start must not go on: the next one would believe it.
//
// If we crash here, the marker is there or not; nothing was written since it was, so both are right.
func TakeMarker(path string) (digest [32]byte, ok bool, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return digest, false, nil
	}
	if err != nil {
		return digest, false, fmt.Errorf("read marker %s: %w", path, err)
	}
	err = os.Remove(path)
	if err != nil {
		return digest, false, fmt.Errorf("remove marker: %w", err)
	}
	err = syncFolder(filepath.Dir(path))
	if err != nil {
		return digest, false, fmt.Errorf("remove marker %s: %w", path, err)
	}
	digest, ok = parseMarker(content)
	return digest, ok, nil
}

func parseMarker(content []byte) (digest [32]byte, ok bool) {
	digits, found := bytes.CutPrefix(content, []byte(markerHead))
	if !found || len(digits) != 2*len(digest)+1 || digits[2*len(digest)] != '\n' {
		return digest, false
	}
	var read [32]byte
	_, err := hex.Decode(read[:], digits[:2*len(digest)])
	if err != nil {
		return digest, false
	}
	return read, true
}
