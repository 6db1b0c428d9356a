package stream

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"entente.example/entente/proto/member"
)

// testKey is a key that is the same in each run.
func testKey(number byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{number}, ed25519.SeedSize))
}

func public(keys ...ed25519.PrivateKey) []ed25519.PublicKey {
	var result []ed25519.PublicKey
	for _, key := range keys {
		result = append(result, key.Public().(ed25519.PublicKey))
	}
	return result
}

func testCheckpoint() Checkpoint {
	return Checkpoint{Owner: "XA", Stream: ID{15: 1}, Size: 7, Root: Hash{1, 2, 3}, Time: time.Unix(1_767_225_600, 0).UTC()}
}

func TestCheckpointSurvivesItsNote(t *testing.T) {
	tests := []struct {
		name string
		c    Checkpoint
	}{
		{"an ordinary one", testCheckpoint()},
		{"of an empty stream", Checkpoint{Owner: "XB", Stream: ID{1}, Root: emptyRoot(), Time: time.Unix(0, 0).UTC()}},
		{"of the longest name", Checkpoint{Owner: member.ID("X" + strings.Repeat("A", 31)), Stream: ID{1}, Size: maxSize, Time: time.Unix(1<<40, 0).UTC()}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			signed, err := test.c.Sign(testKey(1))
			if err != nil {
				t.Fatal(err)
			}
			got, err := OpenCheckpoint(signed, test.c.Owner, test.c.Stream, public(testKey(2), testKey(1)))
			if err != nil {
				t.Fatal(err)
			}
			if got != test.c {
				t.Errorf("got %+v, want %+v", got, test.c)
			}
		})
	}
}

func TestCheckpointDropsPartsOfASecond(t *testing.T) {
	c := testCheckpoint()
	whole := c.Time
	c.Time = c.Time.Add(999 * time.Millisecond)
	signed, err := c.Sign(testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenCheckpoint(signed, c.Owner, c.Stream, public(testKey(1)))
	if err != nil || !got.Time.Equal(whole) {
		t.Errorf("got %v, %v", got.Time, err)
	}
}

// What we write is what any other implementation of the C2SP forms reads, and the other way round.
func TestCheckpointIsASignedNoteOfTheLibrary(t *testing.T) {
	c, key := testCheckpoint(), testKey(1)
	signed, err := c.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := note.NewEd25519VerifierKey("xa.entente", key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(text)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	want := "xa.entente/stream/00000000000000000000000000000001\n7\nAQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\ntime 1767225600\n"
	if opened.Text != want {
		t.Errorf("got %q, want %q", opened.Text, want)
	}
	again, err := c.Sign(key)
	if err != nil || !bytes.Equal(again, signed) {
		t.Error("signing twice gives two notes")
	}
}

// signText signs any text as the owner would.
func signText(t testing.TB, text, name string, key ed25519.PrivateKey) []byte {
	t.Helper()
	signed, err := note.Sign(&note.Note{Text: text}, noteSigner{name: name, key: key})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// nextDigit returns the base64 digit after one whose last bits are zero.
func nextDigit(digit byte) byte {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return digits[strings.IndexByte(digits, digit)+1]
}

func TestCheckpointsThatAreRefused(t *testing.T) {
	c, key := testCheckpoint(), testKey(1)
	good, err := c.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	text := c.head().text()
	resigned := func(old, replacement string) []byte {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in the text", old)
		}
		return signText(t, strings.Replace(text, old, replacement, 1), "xa.entente", key)
	}
	line := good[len(text)+1:]
	other := c
	other.Stream = ID{15: 2}
	ofOtherStream, err := other.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[len(text)-2] ^= 1 // the last digit of the time
	loose := base64.StdEncoding.EncodeToString(make([]byte, 1))
	looseSignature := slices.Clone(good)
	looseSignature[len(good)-3] = nextDigit(good[len(good)-3]) // the same bytes, but for bits that base64 drops
	tests := []struct {
		name string
		note []byte
		want error
	}{
		{"nothing", nil, ErrCheckpointForm},
		{"no signature", []byte(text + "\n"), ErrCheckpointForm},
		{"a text that was altered", flipped, ErrCheckpointSignature},
		{"another key", signText(t, text, "xa.entente", testKey(2)), ErrCheckpointKey},
		{"the right key under another name", signText(t, text, "xb.entente", key), ErrCheckpointKey},
		{"another stream", ofOtherStream, ErrCheckpointOrigin},
		{"another owner in the origin", resigned("xa.entente", "xb.entente"), ErrCheckpointOrigin},
		{"a stream id in capitals", resigned("/stream/0", "/stream/A"), ErrCheckpointOrigin},
		{"the signature twice", slices.Concat(good, line), ErrCheckpointForm},
		{"a second signature by nobody", slices.Concat(good, []byte("— witness "), []byte(base64.StdEncoding.EncodeToString(make([]byte, 68))), []byte("\n")), ErrCheckpointForm},
		{"more behind the signature", slices.Concat(good[:len(good)-1], []byte(" "), []byte(loose), []byte("\n")), ErrCheckpointForm},
		{"a signature with loose last bits", looseSignature, ErrCheckpointForm},
		{"a size with a leading zero", resigned("\n7\n", "\n07\n"), ErrCheckpointForm},
		{"a size with a sign", resigned("\n7\n", "\n+7\n"), ErrCheckpointForm},
		{"a size beyond 64 bits", resigned("\n7\n", "\n18446744073709551616\n"), ErrCheckpointForm},
		{"a size beyond any stream", resigned("\n7\n", "\n18446744073709551615\n"), ErrCheckpointForm},
		{"size 0 with a root", resigned("\n7\n", "\n0\n"), ErrCheckpointForm},
		{"a root with loose last bits", resigned("AAA=\n", "AAB=\n"), ErrCheckpointForm},
		{"a root that is too short", resigned("AQID", ""), ErrCheckpointForm},
		{"no time", resigned("time 1767225600\n", ""), ErrCheckpointForm},
		{"a time without its word", resigned("time ", ""), ErrCheckpointForm},
		{"a time before 1970", resigned("time ", "time -"), ErrCheckpointForm},
		{"a time with a sign", resigned("time ", "time +"), ErrCheckpointForm},
		{"a further line", resigned("5600\n", "5600\nmore\n"), ErrCheckpointForm},
		{"an endless note", slices.Concat(good, bytes.Repeat(line, 20)), ErrCheckpointForm},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := OpenCheckpoint(test.note, "XA", c.Stream, public(key))
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if got != (Checkpoint{}) {
				t.Error("a checkpoint came with the error")
			}
		})
	}
	// Without this, everything above could be refused for one wrong reason.
	_, err = OpenCheckpoint(good, "XA", c.Stream, public(key))
	if err != nil {
		t.Errorf("the good one is refused: %v", err)
	}
}

func TestCheckpointsThatAreNotSigned(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *Checkpoint)
		key    ed25519.PrivateKey
	}{
		{"a time before 1970", func(c *Checkpoint) { c.Time = time.Unix(-1, 0) }, testKey(1)},
		{"no time", func(c *Checkpoint) { c.Time = time.Time{} }, testKey(1)},
		{"size 0 with a root", func(c *Checkpoint) { c.Size = 0 }, testKey(1)},
		{"no key", func(*Checkpoint) {}, nil},
		{"a name that is none", func(c *Checkpoint) { c.Owner = "X A" }, testKey(1)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := testCheckpoint()
			test.change(&c)
			_, err := c.Sign(test.key)
			if err == nil {
				t.Error("signed")
			}
		})
	}
}

func TestDigestIsOfTheSetOfHeads(t *testing.T) {
	a := Head{Stream: ID{1}, Size: 5, Root: Hash{10}}
	b := Head{Stream: ID{2}, Size: 6, Root: Hash{11}}
	heads := []Head{b, a}
	digest := Digest(heads)
	if digest != Digest([]Head{a, b}) {
		t.Error("the order of heads counts")
	}
	if heads[0] != b {
		t.Error("the caller's heads were sorted")
	}
	encoded := slices.Concat(a.Stream[:], binary.BigEndian.AppendUint64(nil, 5), a.Root[:], b.Stream[:], binary.BigEndian.AppendUint64(nil, 6), b.Root[:])
	if want := sha256.Sum256(encoded); digest != want {
		t.Errorf("got %x, want %x", digest, want)
	}
	longer := b
	longer.Size++
	for _, other := range [][]Head{nil, {a}, {a, longer}, {a, a}} {
		if Digest(other) == digest {
			t.Errorf("%v has the same digest", other)
		}
	}
	if Digest(nil) != emptyRoot() {
		t.Error("the digest of nothing is not SHA-256 of nothing")
	}
}

func FuzzOpenCheckpoint(f *testing.F) {
	c, key := testCheckpoint(), testKey(1)
	good, err := c.Sign(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(append(slices.Clone(good), good[len(c.head().text())+1:]...))
	f.Add([]byte(strings.Replace(string(good), "=\n", "\n", 1)))
	f.Add(signText(f, "xa.entente/stream/00000000000000000000000000000001\n07\n", "xa.entente", key))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := OpenCheckpoint(b, "XA", c.Stream, public(key))
		if err == nil && !bytes.Equal(b, good) {
			t.Errorf("accepted what was never signed: %q", b)
		}
	})
}
