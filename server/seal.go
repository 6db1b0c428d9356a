package server

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// sealer makes cursors and page tokens: AES-256-GCM over what the node wants to be told again, bound to whom and what
// it was given for. So they are opaque, cannot be made up, and are good for nobody else.
type sealer struct {
	aead cipher.AEAD
	rand io.Reader
}

var errUnsealed = errors.New("not sealed by this node for this use")

func newSealer(key []byte, rand io.Reader) (*sealer, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("need 32 bytes, have %d", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make GCM: %w", err)
	}
	return &sealer{aead: aead, rand: rand}, nil
}

// seal answers nonce and sealed text. The binding is needed again to open it.
func (s *sealer) seal(binding, plain []byte) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	_, err := io.ReadFull(s.rand, nonce)
	if err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	return s.aead.Seal(nonce, nonce, plain, binding), nil
}

// open answers what was sealed, or errUnsealed, which says nothing about why.
func (s *sealer) open(binding, sealed []byte) ([]byte, error) {
	size := s.aead.NonceSize()
	if len(sealed) < size {
		return nil, errUnsealed
	}
	plain, err := s.aead.Open(nil, sealed[:size], sealed[size:], binding)
	if err != nil {
		return nil, errUnsealed
	}
	return plain, nil
}

// binding joins what a token is good for. Each part is written with its length, so that no two lists give one binding.
func binding(use string, parts ...string) []byte {
	b := binary.AppendUvarint(nil, uint64(len(use)))
	b = append(b, use...)
	for _, part := range parts {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

// numbers writes a list of codes as one part of a binding.
func numbers[N ~int32](list []N) string {
	b := binary.AppendUvarint(nil, uint64(len(list)))
	for _, n := range list {
		b = binary.AppendUvarint(b, uint64(uint32(n)))
	}
	return string(b)
}
