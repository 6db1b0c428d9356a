package stream

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"entente.example/entente/proto/member"
)

func testTreeHead() TreeHead {
	return TreeHead{Owner: "XA", Tree: "audit", Size: 7, Root: Hash{1, 2, 3}, Time: time.Unix(1_767_225_600, 0).UTC()}
}

func signedTreeHead(t testing.TB) []byte {
	t.Helper()
	signed, err := testTreeHead().Sign(testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func cosigned(t testing.TB, signed []byte) []byte {
	t.Helper()
	line, err := Cosign(signed, "XB", testKey(2), time.Unix(1_767_225_700, 999).UTC())
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestTreeHeadSurvivesItsNote(t *testing.T) {
	tests := []struct {
		name string
		h    TreeHead
	}{
		{"an ordinary one", testTreeHead()},
		{"of an empty tree", TreeHead{Owner: "XB", Tree: "audit/entries", Root: emptyRoot(), Time: time.Unix(0, 0).UTC()}},
		{"of the longest name", TreeHead{Owner: member.ID("X" + strings.Repeat("A", 31)), Tree: "audit", Size: maxSize, Time: time.Unix(1<<40, 0).UTC()}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			signed, err := test.h.Sign(testKey(1))
			if err != nil {
				t.Fatal(err)
			}
			got, err := OpenTreeHead(signed, test.h.Owner, test.h.Tree, public(testKey(2), testKey(1)))
			if err != nil || got != test.h {
				t.Errorf("got %+v, %v, want %+v", got, err, test.h)
			}
			got, err = ReadTreeHead(signed, test.h.Owner, test.h.Tree)
			if err != nil || got != test.h {
				t.Errorf("read %+v, %v, want %+v", got, err, test.h)
			}
		})
	}
}

func TestWhatIsNoTreeHead(t *testing.T) {
	signed := signedTreeHead(t)
	replace := func(from, to string) []byte { return bytes.Replace(signed, []byte(from), []byte(to), 1) }
	stranger, err := testTreeHead().Sign(testKey(3))
	if err != nil {
		t.Fatal(err)
	}
	ofStream, err := testCheckpoint().Sign(testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		note []byte
		want error
	}{
		{"nothing", nil, ErrCheckpointForm},
		{"a text without signature", signed[:bytes.Index(signed, []byte("\n\n"))+2], ErrCheckpointForm},
		{"a signature of a stranger", stranger, ErrCheckpointKey},
		{"another size", replace("\n7\n", "\n8\n"), ErrCheckpointSignature},
		{"a size with a zero before it", replace("\n7\n", "\n07\n"), ErrCheckpointSignature},
		{"another time", replace("time 17", "time 18"), ErrCheckpointSignature},
		{"another origin", replace("xa.entente/audit", "xb.entente/audit"), ErrCheckpointSignature},
		{"a checkpoint of a stream", ofStream, ErrCheckpointOrigin},
		{"two signatures", append(bytes.Clone(signed), cosigned(t, signed)...), ErrCheckpointForm},
		{"the same signature twice", append(bytes.Clone(signed), signed[bytes.Index(signed, []byte("— ")):]...), ErrCheckpointForm},
		{"too much", append(bytes.Clone(signed), make([]byte, maxCheckpoint)...), ErrCheckpointForm},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := OpenTreeHead(test.note, "XA", "audit", public(testKey(1)))
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

// The owner itself signs something loose: it has one form all the same.
func TestALooseHeadIsRefusedEvenWhenItIsSigned(t *testing.T) {
	text := testTreeHead().text()
	for name, loose := range map[string]string{
		"a size with a zero before it": strings.Replace(text, "\n7\n", "\n07\n", 1),
		"a time with a sign":           strings.Replace(text, "time ", "time +", 1),
		"one more line":                text + "more\n",
		"a line less":                  text[:strings.Index(text, "time")],
		"half a root":                  strings.Replace(text, "AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AQID", 1),
		"a time before 1970":           strings.Replace(text, "time ", "time -", 1),
		"no entries with a root":       strings.Replace(text, "\n7\n", "\n0\n", 1),
	} {
		signed, err := note.Sign(&note.Note{Text: loose}, noteSigner{name: "xa.entente", key: testKey(1)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = OpenTreeHead(signed, "XA", "audit", public(testKey(1)))
		if !errors.Is(err, ErrCheckpointForm) {
			t.Errorf("%s: error %v, want that it is no checkpoint", name, err)
		}
	}
}

func TestWhatSignAndCosignRefuse(t *testing.T) {
	early := testTreeHead()
	early.Time = time.Unix(-1, 0)
	empty := testTreeHead()
	empty.Size = 0
	for name, err := range map[string]error{
		"a head from before 1970":        errorOf(early.Sign(testKey(1))),
		"no entries with a root":         errorOf(empty.Sign(testKey(1))),
		"a head signed with half a key":  errorOf(testTreeHead().Sign(testKey(1)[:32])),
		"a cosignature of no note":       errorOf(Cosign([]byte("text\n"), "XB", testKey(2), time.Unix(1, 0))),
		"a cosignature with half a key":  errorOf(Cosign(signedTreeHead(t), "XB", testKey(2)[:32], time.Unix(1, 0))),
		"a cosignature from before 1970": errorOf(Cosign(signedTreeHead(t), "XB", testKey(2), time.Unix(-1, 0))),
	} {
		if err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }

// The bytes are those of C2SP tlog-cosignature, put together here once more from its text.
func TestACosignatureIsThatOfC2SP(t *testing.T) {
	signed := signedTreeHead(t)
	line := cosigned(t, signed)
	// Verified once by the C2SP project's own program as well.
	if string(line) != "— xb.entente YtIDwQAAAABpVblk26nR7ctHKwOGd20Q+x7alArLLt/IwiS/ngAuwlmHvK82PrDZepaZOMKKo08/9HstTKd9bhvIx1QYGqiE0UNlBQ==\n" {
		t.Errorf("line %q", line)
	}
	opened, err := note.Open(append(bytes.Clone(signed), line...), note.VerifierList(specVerifier{key: public(testKey(2))[0]}))
	if err != nil {
		t.Fatal(err)
	}
	if len(opened.Sigs) != 1 || opened.Sigs[0].Name != "xb.entente" || len(opened.UnverifiedSigs) != 1 {
		t.Errorf("opened %+v", opened)
	}
	at, err := OpenCosignature(signed, line, "XB", public(testKey(2)))
	if err != nil || at.Unix() != 1_767_225_700 {
		t.Errorf("at %s, %v", at, err)
	}
	read, err := CosignatureTime(line)
	if err != nil || !read.Equal(at) {
		t.Errorf("read %s, %v", read, err)
	}
}

// specVerifier verifies cosignatures of xb.entente.
type specVerifier struct{ key ed25519.PublicKey }

func (v specVerifier) Name() string { return "xb.entente" }

func (v specVerifier) KeyHash() uint32 {
	sum := sha256.Sum256([]byte("xb.entente\n\x04" + string(v.key)))
	return binary.BigEndian.Uint32(sum[:4])
}

func (v specVerifier) Verify(text, signature []byte) bool {
	if len(signature) != 8+64 {
		return false
	}
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(v.key, []byte(message), signature[8:])
}

func TestWhatIsNoCosignature(t *testing.T) {
	signed := signedTreeHead(t)
	line := cosigned(t, signed)
	other := testTreeHead()
	other.Size++
	otherSigned, err := other.Sign(testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	prefix, encoded := "— xb.entente ", strings.TrimSuffix(string(line[len("— xb.entente "):]), "\n")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(raw []byte)) []byte {
		changed := bytes.Clone(raw)
		change(changed)
		return []byte(prefix + base64.StdEncoding.EncodeToString(changed) + "\n")
	}
	plain := with(func(raw []byte) { binary.BigEndian.PutUint32(raw, noteKeyHash("xb.entente", public(testKey(2))[0])) })
	loose := []byte(prefix + encoded[:len(encoded)-3] + "x==\n")
	tests := []struct {
		name    string
		witness member.ID
		signed  []byte
		line    []byte
		want    error
	}{
		{"nothing", "XB", signed, nil, ErrCheckpointKey},
		{"one of another witness", "XC", signed, line, ErrCheckpointKey},
		{"one by a key of nobody", "XB", signed, with(func(raw []byte) { raw[0] ^= 1 }), ErrCheckpointKey},
		{"one with the key id of a signature", "XB", signed, plain, ErrCheckpointKey},
		{"one of another head", "XB", otherSigned, line, ErrCheckpointSignature},
		{"another time", "XB", signed, with(func(raw []byte) { raw[11]++ }), ErrCheckpointSignature},
		{"a time beyond all times", "XB", signed, with(func(raw []byte) { raw[4] = 0x80 }), ErrCheckpointForm},
		{"another signature", "XB", signed, with(func(raw []byte) { raw[20] ^= 1 }), ErrCheckpointSignature},
		{"a line cut off", "XB", signed, line[:len(line)-1], ErrCheckpointForm},
		{"two lines", "XB", signed, append(bytes.Clone(line), line...), ErrCheckpointForm},
		{"base64 in another form", "XB", signed, loose, ErrCheckpointForm},
		{"a line feed inside", "XB", signed, slices.Insert(bytes.Clone(line[:len(line)-2]), 30, '\n', '\n'), ErrCheckpointForm},
		{"a text that is no note", "XB", []byte("xa.entente/audit\n"), line, ErrCheckpointForm},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := OpenCosignature(test.signed, test.line, test.witness, public(testKey(2)))
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

func TestACosignedNoteIsTakenApart(t *testing.T) {
	signed := signedTreeHead(t)
	line := cosigned(t, signed)
	gotSigned, gotLine, err := SplitCosigned(append(bytes.Clone(signed), line...))
	if err != nil || !bytes.Equal(gotSigned, signed) || !bytes.Equal(gotLine, line) {
		t.Errorf("got %q and %q, %v", gotSigned, gotLine, err)
	}
	for _, bad := range [][]byte{nil, []byte("\n"), []byte("one line\n"), []byte("a\nb"), bytes.Repeat([]byte("a\n"), maxCheckpoint)} {
		_, _, err := SplitCosigned(bad)
		if err == nil {
			t.Errorf("%q was taken apart", bad)
		}
	}
}

// Whatever is accepted is exactly what Sign and Cosign write.
func FuzzOpenTreeHead(f *testing.F) {
	signed := signedTreeHead(f)
	f.Add(signed, cosigned(f, signed))
	f.Add([]byte("xa.entente/audit\n0\n\ntime 0\n\n— xa.entente \n"), []byte("— xb.entente \n"))
	f.Fuzz(func(t *testing.T, signed, line []byte) {
		h, err := OpenTreeHead(signed, "XA", "audit", public(testKey(1)))
		if err == nil {
			again, err := h.Sign(testKey(1))
			if err != nil || !bytes.Equal(again, signed) {
				t.Errorf("accepted %q, wrote %q, %v", signed, again, err)
			}
		}
		at, err := OpenCosignature(signed, line, "XB", public(testKey(2)))
		if err == nil {
			again, err := Cosign(signed, "XB", testKey(2), at)
			if err != nil || !bytes.Equal(again, line) {
				t.Errorf("accepted %q, wrote %q, %v", line, again, err)
			}
		}
		_, _ = CosignatureTime(line)
		first, last, err := SplitCosigned(slices.Concat(signed, line))
		if err == nil && !bytes.Equal(slices.Concat(first, last), slices.Concat(signed, line)) {
			t.Error("the halves are not the whole")
		}
	})
}
