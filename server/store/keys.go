package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// KeySize is the size of a sealing key in bytes.
const KeySize = 32

// Keyring holds the sealing keys of a file. Current seals what is written; Current and Older open what is read.
// To change the key, the new one becomes Current and the former one joins Older.
type Keyring struct {
	Current []byte   // KeySize bytes
	Older   [][]byte // KeySize bytes each
}

// A key file is 64 hexadecimal digits and a newline.
const keyFileSize = 2*KeySize + 1

// LoadKey reads a key file. It refuses a file that anyone but its owner may read (on systems that have such
// permissions), because whoever reads the key reads all data.
func LoadKey(path string) ([]byte, error) {
	key, err := readKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("load key %s: %w", path, err)
	}
	return key, nil
}

func readKeyFile(path string) (key []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others than its owner may use it (mode %04o): run chmod 600 on it", info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(file, keyFileSize+1))
	if err != nil {
		return nil, err
	}
	return parseKey(text)
}

func parseKey(text []byte) ([]byte, error) {
	digits, found := bytes.CutSuffix(text, []byte("\n"))
	if !found || len(digits) != 2*KeySize {
		return nil, fmt.Errorf("want %d hexadecimal digits and a newline", 2*KeySize)
	}
	key := make([]byte, KeySize)
	_, err := hex.Decode(key, digits)
	if err != nil {
		return nil, fmt.Errorf("want %d hexadecimal digits and a newline", 2*KeySize) // never quote a key
	}
	return key, nil
}

// CreateKey writes a new random key file that only its owner may read. It never touches an existing file
// (errors.Is(err, fs.ErrExist)): what was sealed with that key would be lost.
func CreateKey(path string, rand io.Reader) error {
	key := make([]byte, KeySize)
	_, err := io.ReadFull(rand, key)
	if err != nil {
		return fmt.Errorf("create key %s: read randomness: %w", path, err)
	}
	_, err = os.Lstat(path)
	if err == nil {
		return fmt.Errorf("create key %s: %w", path, fs.ErrExist)
	}
	err = writeDurably(path, []byte(hex.EncodeToString(key)+"\n"))
	if err != nil {
		return fmt.Errorf("create key %s: %w", path, err)
	}
	return nil
}

// writeDurably puts a small file in place: after a crash there is the whole file or what was there before.
func writeDurably(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+leftoverMark+"*") // mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes the names in a folder durable. Windows has no such call, and needs none.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	handle, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(handle.Sync(), handle.Close())
}
