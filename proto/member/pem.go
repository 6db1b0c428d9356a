package member

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
)

// The labels of PEM blocks that this package writes and reads.
const (
	pemPrivateKey  = "PRIVATE KEY"
	pemPublicKey   = "PUBLIC KEY"
	pemCertificate = "CERTIFICATE"
)

// NewSigningKey makes an Ed25519 key, for a root or a signing key, from 32 bytes of the given randomness.
func NewSigningKey(rand io.Reader) (ed25519.PrivateKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	_, err := io.ReadFull(rand, seed)
	if err != nil {
		return nil, fmt.Errorf("read randomness for an Ed25519 key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// EncodePrivateKey writes a key as one PEM block of PKCS #8, unencrypted: the file that takes it is the secret.
func EncodePrivateKey(key ed25519.PrivateKey) ([]byte, error) {
	return encodePrivateKey(key)
}

func encodePrivateKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key as PKCS #8: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der}), nil
}

// ParsePrivateKey reads what EncodePrivateKey wrote. Anything after the block but white space is refused, and so is a key
// of another algorithm.
func ParsePrivateKey(text []byte) (ed25519.PrivateKey, error) {
	parsed, err := parsePKCS8(text)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("read private key: it is not an Ed25519 key")
	}
	return key, nil
}

func parsePKCS8(text []byte) (crypto.PrivateKey, error) {
	der, err := onlyBlock(text, pemPrivateKey)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("read private key: it is not PKCS #8")
	}
	return parsed, nil
}

// EncodePublicKey writes the public half as one PEM block, for handing a root or signing key to others.
func EncodePublicKey(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPublicKey, Bytes: der}), nil
}

// ParsePublicKey reads what EncodePublicKey wrote and refuses a key that nobody should trust (see VerifyRoster).
func ParsePublicKey(text []byte) (ed25519.PublicKey, error) {
	der, err := onlyBlock(text, pemPublicKey)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("read public key: it is not an Ed25519 key")
	}
	err = checkPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	return key, nil
}

// EncodeCertificate writes one certificate as a PEM block.
func EncodeCertificate(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: certificate.Raw})
}

// ParseCertificates reads a bundle: one or more PEM certificates and nothing else.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for rest := text; len(bytes.TrimSpace(rest)) > 0; {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != pemCertificate {
			return nil, errors.New("read certificates: something other than a PEM certificate stands there")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificate %d: %w", len(certificates)+1, err)
		}
		certificates = append(certificates, certificate)
		rest = after
	}
	if len(certificates) == 0 {
		return nil, errors.New("read certificates: there is none")
	}
	return certificates, nil
}

// onlyBlock gives the content of the one PEM block of a text. Its errors never repeat the text: it may hold a key.
func onlyBlock(text []byte, label string) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no PEM block")
	}
	if block.Type != label {
		return nil, fmt.Errorf("the PEM block is not a %s", label)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("something follows the PEM block")
	}
	return block.Bytes, nil
}
