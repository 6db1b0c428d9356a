package stream

import (
	"bytes"
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	typeOpening    = ententev1.EntryType_ENTRY_TYPE_OPENING
	typeRelease    = ententev1.EntryType_ENTRY_TYPE_RELEASE
	typeWithdrawal = ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL
	typeClosing    = ententev1.EntryType_ENTRY_TYPE_CLOSING
	typeNewer      = ententev1.EntryType(9) // of a newer version
)

func TestHeaderIsWhatThePackageCommentSays(t *testing.T) {
	h := Header{Type: typeWithdrawal, Sequence: 0x0102030405060708, Target: ID{0xaa, 15: 0xbb}, TargetSequence: 0x1112131415161718, Reason: 4}
	want := []byte{
		1, 3,
		1, 2, 3, 4, 5, 6, 7, 8,
		0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbb,
		0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
		4,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	}
	if got := h.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestHeadersSurviveTheirBytes(t *testing.T) {
	tests := []struct {
		name       string
		header     Header
		known      bool
		hasPayload bool
	}{
		{"an opening", Header{Type: typeOpening, Sequence: 1, Commitment: Hash{1}}, true, true},
		{"a release", Header{Type: typeRelease, Sequence: 1 << 60, Commitment: Hash{31: 1}}, true, true},
		{"a withdrawal", Header{Type: typeWithdrawal, Sequence: 9, Target: ID{1}, TargetSequence: 2, Reason: 1}, true, false},
		{"a withdrawal with a reason of a newer version", Header{Type: typeWithdrawal, Sequence: 9, Target: ID{1}, TargetSequence: 2, Reason: 255}, true, false},
		{"a closing", Header{Type: typeClosing, Sequence: 3}, true, false},
		{"a newer type without payload", Header{Type: typeNewer, Sequence: 3}, false, false},
		{"a newer type that fills everything", Header{Type: 255, Sequence: 3, Target: ID{1}, TargetSequence: 1, Reason: 9, Commitment: Hash{5}}, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseHeader(test.header.Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			if got != test.header {
				t.Errorf("got %+v, want %+v", got, test.header)
			}
			if got.Known() != test.known || got.HasPayload() != test.hasPayload {
				t.Errorf("known %v, has payload %v", got.Known(), got.HasPayload())
			}
		})
	}
}

func TestHeadersThatAreRefused(t *testing.T) {
	withdrawal := Header{Type: typeWithdrawal, Sequence: 9, Target: ID{1}, TargetSequence: 2, Reason: 1}
	change := func(change func(h *Header)) []byte {
		h := withdrawal
		change(&h)
		return h.Append(nil)
	}
	tests := []struct {
		name, want string
		bytes      []byte
	}{
		{"nothing", "0 bytes", nil},
		{"a byte too few", "66 bytes", withdrawal.Append(nil)[:66]},
		{"a byte too many", "68 bytes", append(withdrawal.Append(nil), 0)},
		{"another format", "format 2", append([]byte{2}, withdrawal.Append(nil)[1:]...)},
		{"no type", "entry type 0", change(func(h *Header) { h.Type = 0 })},
		{"sequence 0", "sequence 0", change(func(h *Header) { h.Sequence = 0 })},
		{"a withdrawal without target stream", "without target", change(func(h *Header) { h.Target = ID{} })},
		{"a withdrawal of no entry", "entry 0", change(func(h *Header) { h.TargetSequence = 0 })},
		{"a withdrawal of an opening", "entry 1", change(func(h *Header) { h.TargetSequence = 1 })},
		{"a withdrawal without reason", "without reason", change(func(h *Header) { h.Reason = 0 })},
		{"a withdrawal with a commitment", "with a commitment", change(func(h *Header) { h.Commitment = Hash{1} })},
		{"a release with a target stream", "target or reason", Header{Type: typeRelease, Sequence: 2, Target: ID{1}, Commitment: Hash{1}}.Append(nil)},
		{"a release with a target sequence", "target or reason", Header{Type: typeRelease, Sequence: 2, TargetSequence: 1, Commitment: Hash{1}}.Append(nil)},
		{"a release with a reason", "target or reason", Header{Type: typeRelease, Sequence: 2, Reason: 1, Commitment: Hash{1}}.Append(nil)},
		{"a release without commitment", "commitment", Header{Type: typeRelease, Sequence: 2}.Append(nil)},
		{"an opening without commitment", "commitment", Header{Type: typeOpening, Sequence: 1}.Append(nil)},
		{"a closing with a commitment", "commitment", Header{Type: typeClosing, Sequence: 2, Commitment: Hash{1}}.Append(nil)},
		{"a newer type with sequence 0", "sequence 0", Header{Type: typeNewer}.Append(nil)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseHeader(test.bytes)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestHeaderCheckRefusesATypeThatIsNoByte(t *testing.T) {
	if (Header{Type: 257, Sequence: 1}).Check() == nil || (Header{Type: -1, Sequence: 1}).Check() == nil {
		t.Error("accepted")
	}
}

func TestCommitTellsSaltFromPayload(t *testing.T) {
	salt := bytes.Repeat([]byte{7}, SaltSize)
	if Commit(salt, []byte("a")) == Commit(salt, []byte("b")) {
		t.Error("payload is not covered")
	}
	other := append([]byte{8}, salt[1:]...)
	if Commit(salt, []byte("a")) == Commit(other, []byte("a")) {
		t.Error("salt is not covered")
	}
	defer func() {
		if recover() == nil {
			t.Error("a salt of 31 bytes was taken")
		}
	}()
	Commit(salt[:31], []byte{7})
}

func TestIDsAreSixteenBytesAndNotZero(t *testing.T) {
	id, err := NewID(bytes.NewReader([]byte("0123456789abcdef")))
	if err != nil {
		t.Fatal(err)
	}
	if id.String() != "30313233343536373839616263646566" {
		t.Errorf("got %s", id)
	}
	back, err := ParseID(id[:])
	if err != nil || back != id {
		t.Errorf("got %v, %v", back, err)
	}
	for _, wrong := range [][]byte{nil, id[:15], append(id[:], 0), make([]byte, 16)} {
		_, err = ParseID(wrong)
		if err == nil {
			t.Errorf("%x was taken", wrong)
		}
	}
	_, err = NewID(bytes.NewReader([]byte("short")))
	if err == nil {
		t.Error("an id was drawn from too few bytes")
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(Header{Type: typeOpening, Sequence: 1, Commitment: Hash{1}}.Append(nil))
	f.Add(Header{Type: typeWithdrawal, Sequence: 9, Target: ID{1}, TargetSequence: 2, Reason: 1}.Append(nil))
	f.Add(Header{Type: typeNewer, Sequence: 3, Reason: 4}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if !bytes.Equal(h.Append(nil), b) {
			t.Errorf("%x has a second encoding %x", b, h.Append(nil))
		}
	})
}
