package stream

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"

	"entente.example/entente/proto/member"
)

const (
	// noteCosignature is the signature type of an Ed25519 cosignature in signed notes (C2SP tlog-cosignature).
	noteCosignature = 4
	// cosignatureSize is the key id, the time and the signature.
	cosignatureSize = 4 + 8 + ed25519.SignatureSize
)

// TreeHead is a head of a tree of a member that is no stream, such as its audit trail: with its signature, the owner's
// word that the tree had exactly these leaves.
type TreeHead struct {
	Owner member.ID
	// Tree names the tree among those of the owner, as it stands behind the trust domain in the origin line: "audit".
	Tree string
	// Size is the number of leaves, Root the Merkle root over them.
	Size uint64
	Root Hash
	// Time is the owner's clock at signing, in whole seconds.
	Time time.Time
}

func (h TreeHead) origin() string { return h.Owner.TrustDomain() + "/" + h.Tree }

// text returns what is signed: the same lines as of a checkpoint of a stream.
func (h TreeHead) text() string {
	common := log.Checkpoint{Origin: h.origin(), Size: h.Size, Hash: h.Root[:]}
	return string(common.Marshal()) + timeLine + strconv.FormatInt(h.Time.Unix(), 10) + "\n"
}

func (h TreeHead) check() error {
	if h.Time.Unix() < 0 {
		return errors.New("time before 1970")
	}
	if h.Size == 0 && h.Root != emptyRoot() {
		return errors.New("size 0 with a root that is not that of the empty tree")
	}
	if h.Size > maxSize {
		return fmt.Errorf("size %d is beyond any tree", h.Size)
	}
	return nil
}

// Sign returns the signed note. Parts of a second are dropped. It fails for what OpenTreeHead would refuse.
func (h TreeHead) Sign(key ed25519.PrivateKey) ([]byte, error) {
	signed, err := h.sign(key)
	if err != nil {
		return nil, fmt.Errorf("sign head of tree %s: %w", h.origin(), err)
	}
	return signed, nil
}

func (h TreeHead) sign(key ed25519.PrivateKey) ([]byte, error) {
	err := h.check()
	if err != nil {
		return nil, err
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("key of %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	return note.Sign(&note.Note{Text: h.text()}, noteSigner{name: h.Owner.TrustDomain(), key: key})
}

// OpenTreeHead verifies a signed note as a head of this tree of this owner. Keys are those whose signatures count for the
// owner now. It accepts exactly the bytes that Sign writes. The errors wrap those of OpenCheckpoint.
func OpenTreeHead(signed []byte, owner member.ID, tree string, keys []ed25519.PublicKey) (TreeHead, error) {
	h, err := openTreeHead(signed, owner, tree, keys)
	if err != nil {
		return TreeHead{}, fmt.Errorf("open head of tree %s of %s: %w", tree, owner, err)
	}
	return h, nil
}

func openTreeHead(signed []byte, owner member.ID, tree string, keys []ed25519.PublicKey) (TreeHead, error) {
	if len(signed) > maxCheckpoint {
		return TreeHead{}, fmt.Errorf("%w: %d bytes, want %d or less", ErrCheckpointForm, len(signed), maxCheckpoint)
	}
	opened, err := note.Open(signed, noteKeys{name: owner.TrustDomain(), keys: keys})
	if err != nil {
		return TreeHead{}, noteError(err)
	}
	// A note may have more signatures, the same twice, and loose base64; a head has one form here.
	exact := opened.Text + "\n— " + opened.Sigs[0].Name + " " + strictBase64(opened.Sigs[0].Base64) + "\n"
	if string(signed) != exact {
		return TreeHead{}, fmt.Errorf("%w: not one signature line in its one form", ErrCheckpointForm)
	}
	return parseTreeHead(opened.Text, owner, tree)
}

// ReadTreeHead reads what a note says without asking who has signed it: for a head that the caller verified when it first
// got it, and has kept since. Signature lines are not looked at.
func ReadTreeHead(signed []byte, owner member.ID, tree string) (TreeHead, error) {
	text, err := noteText(signed)
	if err != nil {
		return TreeHead{}, fmt.Errorf("read head of tree %s of %s: %w", tree, owner, err)
	}
	h, err := parseTreeHead(string(text), owner, tree)
	if err != nil {
		return TreeHead{}, fmt.Errorf("read head of tree %s of %s: %w", tree, owner, err)
	}
	return h, nil
}

// parseTreeHead takes the signed text. Whatever does not come out again byte for byte is refused.
func parseTreeHead(text string, owner member.ID, tree string) (TreeHead, error) {
	h := TreeHead{Owner: owner, Tree: tree}
	var common log.Checkpoint
	rest, err := common.Unmarshal([]byte(text))
	if err != nil {
		return TreeHead{}, fmt.Errorf("%w: %w", ErrCheckpointForm, err)
	}
	if common.Origin != h.origin() {
		return TreeHead{}, fmt.Errorf("%w: origin %q, want %q", ErrCheckpointOrigin, common.Origin, h.origin())
	}
	if len(common.Hash) != len(Hash{}) {
		return TreeHead{}, fmt.Errorf("%w: line 3 is not a root", ErrCheckpointForm)
	}
	seconds, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(string(rest), timeLine), "\n"), 10, 64)
	if err != nil {
		return TreeHead{}, fmt.Errorf("%w: line 4 is not a time", ErrCheckpointForm)
	}
	h.Size, h.Root, h.Time = common.Size, Hash(common.Hash), time.Unix(seconds, 0).UTC()
	err = h.check()
	if err != nil {
		return TreeHead{}, fmt.Errorf("%w: %w", ErrCheckpointForm, err)
	}
	if h.text() != text {
		return TreeHead{}, fmt.Errorf("%w: a line is not in its one form", ErrCheckpointForm)
	}
	return h, nil
}

// Cosign returns the signature line by which a witness says that, at this time, the signed note is the newest head of its
// tree that it knows, and that it continues all that it signed before: a C2SP tlog-cosignature "cosignature/v1". The
// line is put at the end of the note. The caller has verified all of that. Parts of a second are dropped.
func Cosign(signed []byte, witness member.ID, key ed25519.PrivateKey, at time.Time) ([]byte, error) {
	text, err := noteText(signed)
	if err != nil {
		return nil, fmt.Errorf("cosign as %s: %w", witness, err)
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("cosign as %s: key of %d bytes, want %d", witness, len(key), ed25519.PrivateKeySize)
	}
	if at.Unix() < 0 {
		return nil, fmt.Errorf("cosign as %s: time before 1970", witness)
	}
	seconds := uint64(at.Unix())
	raw := make([]byte, 0, cosignatureSize)
	raw = binary.BigEndian.AppendUint32(raw, cosignatureKeyHash(witness.TrustDomain(), key.Public().(ed25519.PublicKey)))
	raw = binary.BigEndian.AppendUint64(raw, seconds)
	raw = append(raw, ed25519.Sign(key, cosignedMessage(seconds, text))...)
	return []byte("— " + witness.TrustDomain() + " " + base64.StdEncoding.EncodeToString(raw) + "\n"), nil
}

// OpenCosignature verifies that line is the witness's cosignature of the signed note, and returns the time at which the
// witness gave it. Keys are those whose signatures count for the witness. It accepts exactly the bytes that Cosign
// writes. The errors wrap ErrCheckpointForm, ErrCheckpointKey or ErrCheckpointSignature.
func OpenCosignature(signed, line []byte, witness member.ID, keys []ed25519.PublicKey) (time.Time, error) {
	at, err := openCosignature(signed, line, witness, keys)
	if err != nil {
		return time.Time{}, fmt.Errorf("open cosignature of %s: %w", witness, err)
	}
	return at, nil
}

func openCosignature(signed, line []byte, witness member.ID, keys []ed25519.PublicKey) (time.Time, error) {
	text, err := noteText(signed)
	if err != nil {
		return time.Time{}, err
	}
	encoded, ok := bytes.CutPrefix(line, []byte("— "+witness.TrustDomain()+" "))
	if !ok {
		return time.Time{}, fmt.Errorf("%w: not a signature line of this witness", ErrCheckpointKey)
	}
	if len(encoded) != base64.StdEncoding.EncodedLen(cosignatureSize)+1 || encoded[len(encoded)-1] != '\n' {
		return time.Time{}, fmt.Errorf("%w: not one line of %d bytes in base64", ErrCheckpointForm, cosignatureSize)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(string(encoded[:len(encoded)-1]))
	if err != nil || len(raw) != cosignatureSize {
		return time.Time{}, fmt.Errorf("%w: not %d bytes in base64", ErrCheckpointForm, cosignatureSize)
	}
	seconds := binary.BigEndian.Uint64(raw[4:])
	if seconds > maxSeconds {
		return time.Time{}, fmt.Errorf("%w: a time after the year 9999", ErrCheckpointForm)
	}
	message, known := cosignedMessage(seconds, text), false
	for _, key := range keys {
		if len(key) != ed25519.PublicKeySize || cosignatureKeyHash(witness.TrustDomain(), key) != binary.BigEndian.Uint32(raw) {
			continue
		}
		known = true
		if ed25519.Verify(key, message, raw[12:]) {
			return time.Unix(int64(seconds), 0).UTC(), nil
		}
	}
	if known {
		return time.Time{}, ErrCheckpointSignature
	}
	return time.Time{}, ErrCheckpointKey
}

// maxSeconds is the last second of the year 9999: what a Timestamp can hold.
const maxSeconds = 253402300799

// cosignedMessage is what a cosignature signs.
func cosignedMessage(seconds uint64, text []byte) []byte {
	return append([]byte("cosignature/v1\ntime "+strconv.FormatUint(seconds, 10)+"\n"), text...)
}

// cosignatureKeyHash is the key id of a cosigner's key.
func cosignatureKeyHash(name string, key ed25519.PublicKey) uint32 {
	b := append([]byte(name), '\n', noteCosignature)
	sum := sha256.Sum256(append(b, key...))
	return binary.BigEndian.Uint32(sum[:])
}

// noteText is the signed text of a note: all up to the empty line, the line feed before it included.
func noteText(signed []byte) ([]byte, error) {
	if len(signed) > maxCheckpoint {
		return nil, fmt.Errorf("%w: %d bytes, want %d or less", ErrCheckpointForm, len(signed), maxCheckpoint)
	}
	end := bytes.LastIndex(signed, []byte("\n\n"))
	if end < 0 {
		return nil, fmt.Errorf("%w: no empty line before the signatures", ErrCheckpointForm)
	}
	return signed[:end+1], nil
}

// SplitCosigned takes a note that ends in a cosignature apart: the note as its owner signed it, and the last line.
func SplitCosigned(cosigned []byte) (signed, line []byte, err error) {
	if len(cosigned) > maxCheckpoint || !bytes.HasSuffix(cosigned, []byte("\n")) {
		return nil, nil, fmt.Errorf("split cosigned note: %w: %d bytes, no line feed at the end or more than %d", ErrCheckpointForm, len(cosigned), maxCheckpoint)
	}
	start := bytes.LastIndexByte(cosigned[:len(cosigned)-1], '\n') + 1
	if start == 0 {
		return nil, nil, fmt.Errorf("split cosigned note: %w: one line", ErrCheckpointForm)
	}
	return cosigned[:start:start], cosigned[start:], nil
}

// CosignatureTime reads the time of a signature line that Cosign wrote, without asking who has signed it.
func CosignatureTime(line []byte) (time.Time, error) {
	cut := bytes.LastIndexByte(line, ' ')
	encoded, ok := bytes.CutSuffix(line[cut+1:], []byte("\n"))
	raw, err := base64.StdEncoding.Strict().DecodeString(string(encoded))
	if !ok || err != nil || len(raw) != cosignatureSize || binary.BigEndian.Uint64(raw[4:]) > maxSeconds {
		return time.Time{}, fmt.Errorf("read cosignature: %w", ErrCheckpointForm)
	}
	return time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC(), nil
}
