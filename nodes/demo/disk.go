package demo

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"

	"entente.example/entente/server/store"
)

// What the store seals is: 4 bytes id of the key, 12 bytes nonce, the ciphertext of AES-256-GCM, 16 bytes tag. Key and id are
// derived from the sealing key. The bytes are part of the form of a data file and do not change.
const (
	sealedIDSize    = 4
	sealedNonceSize = 12
	// searched is how many bytes of a value are looked at: more than any record of the case has.
	searched = 16 << 10
)

// onDisk counts the places of a raw data file where a text stands, for whoever has the disk and the sealing key: in values as in
// what is left of them in free pages. It asks neither node nor database. A value is opened without its tag, of which nobody
// knows where it ends.
func (s *stage) onDisk(at *station, text string) (int, error) {
	key, err := store.LoadKey(s.path(string(at.seat.ID), "sealing.key"))
	if err != nil {
		return 0, fmt.Errorf("sealing key of %s: %w", at.seat.ID, err)
	}
	file, err := os.ReadFile(s.path(string(at.seat.ID), "node.db"))
	if err != nil {
		return 0, fmt.Errorf("data file of %s: %w", at.seat.ID, err)
	}
	id, errID := hkdf.Key(sha256.New, key, nil, "entente store key id", sealedIDSize)
	sealing, errSealing := hkdf.Key(sha256.New, key, nil, "entente store sealing", store.KeySize)
	if errID != nil || errSealing != nil {
		return 0, fmt.Errorf("derive the keys of %s: %w, %w", at.seat.ID, errID, errSealing)
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return 0, fmt.Errorf("key of %s: %w", at.seat.ID, err)
	}
	return places(file, id, block, []byte(text)), nil
}

// places looks behind each id of the key for a value that holds the text.
func places(file, id []byte, block cipher.Block, text []byte) (count int) {
	plain := make([]byte, searched)
	for {
		_, after, found := bytes.Cut(file, id)
		if !found || len(after) < sealedNonceSize {
			return count
		}
		file = after
		// GCM counts on from 2 in the last 4 bytes of the block.
		start := binary.BigEndian.AppendUint32(bytes.Clone(after[:sealedNonceSize]), 2)
		sealed := after[sealedNonceSize:min(len(after), sealedNonceSize+searched)]
		cipher.NewCTR(block, start).XORKeyStream(plain[:len(sealed)], sealed)
		if bytes.Contains(plain[:len(sealed)], text) {
			count++
		}
	}
}
