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
	"time"

	"golang.org/x/mod/sumdb/note"

	"entente.example/entente/proto/member"
)

// Why OpenCheckpoint refuses. Callers tell them apart with errors.Is.
var (
	// ErrCheckpointForm: the bytes are not, or not exactly, a checkpoint.
	ErrCheckpointForm = errors.New("not a checkpoint")
	// ErrCheckpointKey: no key that counts for the owner has signed. Perhaps the roster is older than the key.
	ErrCheckpointKey = errors.New("not signed by a current key of the owner")
	// ErrCheckpointSignature: the signature of a key that counts is wrong.
	ErrCheckpointSignature = errors.New("wrong signature")
	// ErrCheckpointOrigin: soundly signed, but about another stream.
	ErrCheckpointOrigin = errors.New("checkpoint of another stream")
)

// maxCheckpoint bounds a checkpoint in bytes: names are up to 32 characters, so that all fits well within.
const maxCheckpoint = 1024

// noteEd25519 is the signature type of Ed25519 in signed notes (C2SP signed-note).
const noteEd25519 = 1

// Checkpoint is a head of a stream: with its signature, the owner's word that the stream had exactly these entries.
type Checkpoint struct {
	Owner  member.ID
	Stream ID
	// Size is the number of entries, Root the Merkle root over them.
	Size uint64
	Root Hash
	// Time is the owner's clock at signing, in whole seconds.
	Time time.Time
}

// timeLine begins the extension line behind the three lines that every checkpoint has.
const timeLine = "time "

// head is the checkpoint as the head of a tree: that of a stream is one of its owner's trees.
func (c Checkpoint) head() TreeHead {
	return TreeHead{Owner: c.Owner, Tree: streamTree(c.Stream), Size: c.Size, Root: c.Root, Time: c.Time}
}

func streamTree(id ID) string { return "stream/" + id.String() }

// Sign returns the signed note. Parts of a second are dropped. It fails for what OpenCheckpoint would refuse:
// a time before 1970, a size of 0 with another root than that of the empty tree, a key that is none.
func (c Checkpoint) Sign(key ed25519.PrivateKey) ([]byte, error) {
	signed, err := c.head().sign(key)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint of stream %s: %w", c.Stream, err)
	}
	return signed, nil
}

// OpenCheckpoint verifies a signed note as a checkpoint of this owner's stream. Keys are those whose signatures count for
// the owner now. It accepts exactly the bytes that Sign writes: one signature, nothing between the lines. The errors
// wrap ErrCheckpointForm, ErrCheckpointKey, ErrCheckpointSignature or ErrCheckpointOrigin.
func OpenCheckpoint(signed []byte, owner member.ID, id ID, keys []ed25519.PublicKey) (Checkpoint, error) {
	h, err := openTreeHead(signed, owner, streamTree(id), keys)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open checkpoint of stream %s of %s: %w", id, owner, err)
	}
	return Checkpoint{Owner: owner, Stream: id, Size: h.Size, Root: h.Root, Time: h.Time}, nil
}

// noteError says which of our refusals an error of the note library is.
func noteError(err error) error {
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		return ErrCheckpointKey
	}
	var invalid *note.InvalidSignatureError
	if errors.As(err, &invalid) {
		return ErrCheckpointSignature
	}
	return fmt.Errorf("%w: %w", ErrCheckpointForm, err)
}

// strictBase64 returns the one base64 form of what b64 encodes.
func strictBase64(b64 string) string {
	raw, err := base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// noteKeyHash is the key id of C2SP signed notes.
func noteKeyHash(name string, key ed25519.PublicKey) uint32 {
	b := append([]byte(name), '\n', noteEd25519)
	sum := sha256.Sum256(append(b, key...))
	return binary.BigEndian.Uint32(sum[:])
}

// noteSigner is a note.Signer of a key at hand; the library's own wants it as text and derives it anew.
type noteSigner struct {
	name string
	key  ed25519.PrivateKey
}

func (s noteSigner) Name() string { return s.name }

func (s noteSigner) KeyHash() uint32 {
	return noteKeyHash(s.name, s.key.Public().(ed25519.PublicKey))
}

func (s noteSigner) Sign(text []byte) ([]byte, error) { return ed25519.Sign(s.key, text), nil }

// noteKeys are the note.Verifiers of one member. Of two keys with the same 32-bit hash either may have signed.
type noteKeys struct {
	name string
	keys []ed25519.PublicKey
}

func (k noteKeys) Verifier(name string, hash uint32) (note.Verifier, error) {
	v := noteVerifier{name: name, hash: hash}
	for _, key := range k.keys {
		if name == k.name && len(key) == ed25519.PublicKeySize && noteKeyHash(name, key) == hash {
			v.keys = append(v.keys, key)
		}
	}
	if len(v.keys) == 0 {
		return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
	}
	return v, nil
}

type noteVerifier struct {
	name string
	hash uint32
	keys []ed25519.PublicKey
}

func (v noteVerifier) Name() string { return v.name }

func (v noteVerifier) KeyHash() uint32 { return v.hash }

func (v noteVerifier) Verify(text, signature []byte) bool {
	return slices.ContainsFunc(v.keys, func(key ed25519.PublicKey) bool { return ed25519.Verify(key, text, signature) })
}

// Head is how far one stream is.
type Head struct {
	Stream ID
	Size   uint64
	Root   Hash
}

// Digest returns SHA-256 over stream id (16 bytes), size (8, big endian) and root (32) of each head, in order of stream
// id, whatever the order of heads. Two nodes with the same digest hold the same: nothing needs to be sent.
func Digest(heads []Head) Hash {
	sorted := slices.Clone(heads)
	slices.SortFunc(sorted, func(a, b Head) int { return bytes.Compare(a.Stream[:], b.Stream[:]) })
	hasher := sha256.New()
	var b [16 + 8 + 32]byte
	for i := range sorted {
		copy(b[:], sorted[i].Stream[:])
		binary.BigEndian.PutUint64(b[16:], sorted[i].Size)
		copy(b[24:], sorted[i].Root[:])
		hasher.Write(b[:])
	}
	var digest Hash
	hasher.Sum(digest[:0])
	return digest
}
