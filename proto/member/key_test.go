package member_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"testing"

	"entente.example/entente/proto/member"
)

// TestUnderAKeyOfSmallOrderAnybodySigns is the reason why such keys are refused: a signature made without any private key
// verifies in crypto/ed25519.
func TestUnderAKeyOfSmallOrderAnybodySigns(t *testing.T) {
	weak := make(ed25519.PublicKey, 32)
	weak[0] = 1
	forged := make([]byte, 64)
	forged[0] = 1
	if !ed25519.Verify(weak, []byte("anything"), forged) {
		t.Skip("SKIPPED: the reason is missing: this crypto/ed25519 refuses keys of small order by itself")
	}
	for i, point := range smallOrderEncodings() {
		for _, sign := range []byte{0, 0x80} {
			key := bytes.Clone(point)
			key[31] |= sign
			_, err := member.NewGenesis("Weak", map[member.ID]ed25519.PublicKey{"XA": key}, 1, []member.ID{"XA"}, noon())
			wantError(t, err, nil, "small order")
			if !forgeable(key) {
				t.Errorf("point %d is refused although nobody can sign for it", i)
			}
		}
	}
}

// forgeable tries to sign without a private key: with S = 0 a signature verifies where R = -kA, and of a point of small
// order there are at most eight multiples.
func forgeable(key ed25519.PublicKey) bool {
	for i := range 64 {
		message := fmt.Appendf(nil, "message %d", i)
		for _, r := range smallOrderEncodings() {
			for _, sign := range []byte{0, 0x80} {
				signature := append(bytes.Clone(r), make([]byte, 32)...)
				signature[31] |= sign
				if ed25519.Verify(key, message, signature) {
					return true
				}
			}
		}
	}
	return false
}

func smallOrderEncodings() [][]byte {
	p := func(low byte) []byte {
		point := bytes.Repeat([]byte{0xff}, 32)
		point[0], point[31] = low, 0x7f
		return point
	}
	one := make([]byte, 32)
	one[0] = 1
	return [][]byte{
		make([]byte, 32), one, p(0xec), p(0xed), p(0xee),
		[]byte("\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05"),
		[]byte("\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a"),
	}
}
