package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// A sealed value is: 4 bytes id of the key, 12 bytes nonce, the ciphertext, 16 bytes tag.
const (
	keyIDSize    = 4
	nonceSize    = 12
	tagSize      = 16
	sealOverhead = keyIDSize + nonceSize + tagSize
)

var (
	errTooShort = errors.New("too short for a sealed value")
	errAltered  = errors.New("altered")
)

type keyID [keyIDSize]byte

type sealingKey struct {
	id   keyID
	aead cipher.AEAD
}

// sealer seals with the current key and opens with any key of the ring. It does not change: all may use it at once.
//
// Nonces are random: two values under one key share a nonce with a chance of 2^-32 after 2^32 values, which is
// the bound of NIST SP 800-38D. A node that writes that much has its key changed before.
type sealer struct {
	current sealingKey
	keys    []sealingKey // current first
}

func newSealer(ring Keyring) (*sealer, error) {
	all := append([][]byte{ring.Current}, ring.Older...)
	s := &sealer{}
	for i, key := range all {
		made, err := newSealingKey(key)
		if err != nil {
			return nil, fmt.Errorf("key %d of the keyring: %w", i+1, err)
		}
		s.keys = append(s.keys, made)
	}
	s.current = s.keys[0]
	return s, nil
}

// after returns a sealer that also opens what an earlier one opened, for views that hold an old snapshot.
func (s *sealer) after(earlier *sealer) *sealer {
	next := &sealer{current: s.current, keys: slices.Clone(s.keys)}
	for _, key := range earlier.keys {
		if !next.knows(key.id) {
			next.keys = append(next.keys, key)
		}
	}
	return next
}

// knows says whether a key is in the ring.
func (s *sealer) knows(id keyID) bool {
	return slices.ContainsFunc(s.keys, func(key sealingKey) bool { return key.id == id })
}

func newSealingKey(key []byte) (sealingKey, error) {
	if len(key) != KeySize {
		return sealingKey{}, fmt.Errorf("has %d bytes, want %d", len(key), KeySize)
	}
	id, err := derive(key, "entente store key id", keyIDSize)
	if err != nil {
		return sealingKey{}, err
	}
	sealing, err := derive(key, "entente store sealing", KeySize)
	if err != nil {
		return sealingKey{}, err
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return sealingKey{}, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return sealingKey{}, err
	}
	return sealingKey{id: keyID(id), aead: aead}, nil
}

// derive is HKDF-SHA256 with a label for each purpose, so that no two purposes share a key.
func derive(key []byte, label string, size int) ([]byte, error) {
	out, err := hkdf.Key(sha256.New, key, nil, label, size)
	if err != nil {
		return nil, fmt.Errorf("derive %q: %w", label, err)
	}
	return out, nil
}

// seal appends the sealed value to dst, which must not overlap plain. bound is what the value is bound to.
func (s *sealer) seal(dst, nonce, bound, plain []byte) []byte {
	dst = append(dst, s.current.id[:]...)
	dst = append(dst, nonce...)
	return s.current.aead.Seal(dst, nonce, plain, bound)
}

// open appends the plain value to dst. On an error nothing of the value is given out.
func (s *sealer) open(dst, bound, sealed []byte) ([]byte, error) {
	if len(sealed) < sealOverhead {
		return nil, errTooShort
	}
	id := keyID(sealed[:keyIDSize])
	nonce := sealed[keyIDSize : keyIDSize+nonceSize]
	for i := range s.keys {
		if s.keys[i].id != id {
			continue
		}
		plain, err := s.keys[i].aead.Open(dst, nonce, sealed[keyIDSize+nonceSize:], bound)
		if err != nil {
			return nil, errAltered
		}
		return plain, nil
	}
	return nil, fmt.Errorf("%w (id %x)", ErrWrongKey, id)
}

// isCurrent says whether a value is sealed with the current key.
func (s *sealer) isCurrent(sealed []byte) bool {
	return len(sealed) >= keyIDSize && keyID(sealed[:keyIDSize]) == s.current.id
}

// bindTo writes into buffer what the value of a key in a part is bound to. Names of parts have no zero byte, so
// no two pairs give the same bytes.
func bindTo(buffer []byte, part string, key []byte) []byte {
	buffer = append(buffer[:0], part...)
	buffer = append(buffer, 0)
	return append(buffer, key...)
}

// arena hands out pieces of one buffer. bbolt keeps the slices it is given until the commit, so the writer seals
// into pieces that live until reset, and uses the buffer again in its next transaction.
type arena struct {
	buffer []byte
}

const (
	arenaStart = 64 << 10
	arenaKept  = 16 << 20 // a larger buffer is given back after its transaction
)

// take returns an empty slice with room for exactly size bytes.
func (a *arena) take(size int) []byte {
	if cap(a.buffer)-len(a.buffer) < size {
		// The old buffer stays alive through the slices that bbolt holds.
		a.buffer = make([]byte, 0, max(arenaStart, min(2*cap(a.buffer), arenaKept), size))
	}
	start := len(a.buffer)
	a.buffer = a.buffer[:start+size]
	return a.buffer[start : start : start+size]
}

func (a *arena) reset() {
	if cap(a.buffer) > arenaKept {
		a.buffer = nil
	}
	a.buffer = a.buffer[:0]
}
