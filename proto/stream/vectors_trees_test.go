package stream_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// tree is a Merkle tree in memory, for its proofs.
type tree []stream.Hash

// Node implements stream.Nodes.
func (l tree) Node(level uint, index uint64) (stream.Hash, error) {
	var edge stream.Edge
	for _, leaf := range l[index<<level : (index+1)<<level] {
		edge.Append(leaf)
	}
	return edge.Root(), nil
}

func (l tree) root(size uint64) stream.Hash {
	var edge stream.Edge
	for _, leaf := range l[:size] {
		edge.Append(leaf)
	}
	return edge.Root()
}

// numberedTree has leaves over the texts "leaf 1", "leaf 2" and so on.
func numberedTree(size int) tree {
	var l tree
	for i := range size {
		l = append(l, stream.LeafHash(fmt.Appendf(nil, "leaf %d", i+1)))
	}
	return l
}

func hexList(list [][]byte) []hexBytes {
	out := make([]hexBytes, 0, len(list))
	for _, b := range list {
		out = append(out, b)
	}
	return out
}

func byteList(list []hexBytes) [][]byte {
	out := make([][]byte, 0, len(list))
	for _, b := range list {
		out = append(out, b)
	}
	return out
}

func hashOf(b hexBytes) (stream.Hash, error) {
	if len(b) != len(stream.Hash{}) {
		return stream.Hash{}, refusal("element")
	}
	return stream.Hash(b), nil
}

type commitmentInput struct {
	Salt       hexBytes `json:"salt"`
	Payload    hexBytes `json:"payload"`
	Commitment hexBytes `json:"commitment"`
}

func commitmentsTopic() topic {
	return topic{
		file:  "commitments",
		about: "The commitment of a header: SHA-256 of 32 salt bytes and the payload.",
		cases: func(*testing.T) []vector {
			salt := bytes.Repeat([]byte{0x5a}, stream.SaltSize)
			of := func(salt, payload, committed []byte) commitmentInput {
				c := stream.Commit(append(bytes.Clone(salt), make([]byte, stream.SaltSize)...)[:stream.SaltSize], committed)
				return commitmentInput{salt, payload, c[:]}
			}
			return []vector{
				{"a payload", of(salt, []byte("a payload"), []byte("a payload")), ""},
				{"an empty payload", of(salt, []byte{}, nil), ""},
				{"another payload", of(salt, []byte("a payloae"), []byte("a payload")), "commitment"},
				{"another salt", commitmentInput{flipped(salt, 0), []byte("a payload"), of(salt, nil, []byte("a payload")).Commitment}, "commitment"},
				{"a byte moved from the payload into the salt", commitmentInput{append(bytes.Clone(salt), 'a'), []byte(" payload"),
					of(salt, nil, []byte("a payload")).Commitment}, "payload"},
			}
		},
		judge: func(input json.RawMessage) (any, error) {
			in, err := read[commitmentInput](input)
			if err != nil {
				return nil, err
			}
			if len(in.Salt) != stream.SaltSize {
				return nil, refusal("payload")
			}
			if stream.Commit(in.Salt, in.Payload) != stream.Hash(in.Commitment) {
				return nil, refusal("commitment")
			}
			return nil, nil
		},
	}
}

type treeInput struct {
	Leaves []hexBytes `json:"leaves"`
}

type treeOutput struct {
	Root hexBytes `json:"root"`
}

func treesTopic() topic {
	return topic{
		file:  "trees",
		about: "Merkle roots over leaf hashes (not over headers: see headers.json for the leaf hash of one).",
		cases: func(*testing.T) []vector {
			var list []vector
			for _, size := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17} {
				in := treeInput{Leaves: []hexBytes{}}
				for _, leaf := range numberedTree(size) {
					in.Leaves = append(in.Leaves, leaf[:])
				}
				list = append(list, vector{fmt.Sprintf("a tree of %d leaves", size), in, ""})
			}
			return list
		},
		judge: func(input json.RawMessage) (any, error) {
			in, err := read[treeInput](input)
			if err != nil {
				return nil, err
			}
			var edge stream.Edge
			for _, leaf := range in.Leaves {
				edge.Append(stream.Hash(leaf))
			}
			root := edge.Root()
			return treeOutput{root[:]}, nil
		},
	}
}

// proofInput is either kind of proof: inclusion has index, leaf, size and root, consistency has from and to.
type proofInput struct {
	Kind     string     `json:"kind"`
	Index    uint64     `json:"index,omitempty"`
	Leaf     hexBytes   `json:"leaf,omitempty"`
	From     uint64     `json:"from,omitempty"`
	FromRoot hexBytes   `json:"from_root,omitempty"`
	Size     uint64     `json:"size"`
	Root     hexBytes   `json:"root"`
	Proof    []hexBytes `json:"proof"`
}

func proofsTopic() topic {
	return topic{
		file:  "proofs",
		about: "Inclusion proofs (leaf at index, from 0, in the tree of this size and root) and consistency proofs (the tree of size and root continues the one of from and from_root).",
		cases: proofCases,
		judge: func(input json.RawMessage) (any, error) {
			in, err := read[proofInput](input)
			if err != nil {
				return nil, err
			}
			root, err := hashOf(in.Root)
			if err != nil {
				return nil, err
			}
			if in.Kind == "inclusion" {
				return nil, stream.VerifyInclusion(in.Index, in.Size, stream.Hash(in.Leaf), root, byteList(in.Proof))
			}
			return nil, stream.VerifyConsistency(in.From, in.Size, stream.Hash(in.FromRoot), root, byteList(in.Proof))
		},
	}
}

func proofCases(t *testing.T) []vector {
	leaves := numberedTree(13)
	inclusion := func(index, size uint64, edit func(*proofInput)) proofInput {
		proof, err := stream.Inclusion(leaves[:size], index, size)
		if err != nil {
			t.Fatal(err)
		}
		root := leaves.root(size)
		in := proofInput{Kind: "inclusion", Index: index, Leaf: leaves[index][:], Size: size, Root: root[:], Proof: hexList(proof)}
		edit(&in)
		return in
	}
	consistency := func(from, to uint64, edit func(*proofInput)) proofInput {
		proof, err := stream.Consistency(leaves[:to], from, to)
		if err != nil {
			t.Fatal(err)
		}
		old, root := leaves.root(from), leaves.root(to)
		in := proofInput{Kind: "consistency", From: from, FromRoot: old[:], Size: to, Root: root[:], Proof: hexList(proof)}
		edit(&in)
		return in
	}
	same := func(*proofInput) {}
	var list []vector
	for _, p := range [][2]uint64{{0, 1}, {0, 2}, {1, 2}, {2, 3}, {0, 7}, {3, 7}, {6, 7}, {7, 8}, {8, 9}, {12, 13}, {5, 13}} {
		list = append(list, vector{fmt.Sprintf("leaf %d in a tree of %d", p[0], p[1]), inclusion(p[0], p[1], same), ""})
	}
	for _, p := range [][2]uint64{{0, 5}, {1, 1}, {1, 2}, {2, 3}, {3, 7}, {4, 8}, {6, 7}, {7, 13}, {8, 13}, {12, 13}, {13, 13}} {
		list = append(list, vector{fmt.Sprintf("a tree of %d continued to %d", p[0], p[1]), consistency(p[0], p[1], same), ""})
	}
	return append(list,
		vector{"a flipped bit in an inclusion proof", inclusion(3, 7, func(in *proofInput) { in.Proof[1] = flipped(in.Proof[1], 5) }), "inclusion"},
		vector{"an inclusion proof for the next leaf", inclusion(3, 7, func(in *proofInput) { in.Index = 4 }), "inclusion"},
		vector{"an inclusion proof of another leaf", inclusion(3, 7, func(in *proofInput) { in.Leaf = flipped(in.Leaf, 0) }), "inclusion"},
		vector{"an inclusion proof with one hash too few", inclusion(3, 7, func(in *proofInput) { in.Proof = in.Proof[:2] }), "inclusion"},
		vector{"an inclusion proof with one hash too many", inclusion(3, 7, func(in *proofInput) { in.Proof = append(in.Proof, in.Proof[0]) }), "inclusion"},
		vector{"an index beyond the tree", inclusion(3, 7, func(in *proofInput) { in.Index = 7 }), "inclusion"},
		vector{"an element of 31 bytes", inclusion(3, 7, func(in *proofInput) { in.Proof[0] = in.Proof[0][:31] }), "element"},
		vector{"another root", inclusion(3, 7, func(in *proofInput) { in.Root = flipped(in.Root, -1) }), "inclusion"},
		vector{"a flipped bit in a consistency proof", consistency(3, 7, func(in *proofInput) { in.Proof[0] = flipped(in.Proof[0], 0) }), "consistency"},
		vector{"a consistency proof from another root", consistency(3, 7, func(in *proofInput) { in.FromRoot = flipped(in.FromRoot, 0) }), "consistency"},
		vector{"a consistency proof to another root", consistency(4, 8, func(in *proofInput) { in.Root = flipped(in.Root, 0) }), "consistency"},
		vector{"a consistency proof with one hash too few", consistency(3, 7, func(in *proofInput) { in.Proof = in.Proof[:1] }), "consistency"},
		vector{"a consistency proof with one hash too many", consistency(4, 8, func(in *proofInput) { in.Proof = append(in.Proof, in.Proof[0]) }), "consistency"},
		vector{"a proof where the sizes are equal", consistency(5, 5, func(in *proofInput) { in.Proof = append(in.Proof, in.Root) }), "consistency"},
		vector{"equal sizes with other roots", consistency(5, 5, func(in *proofInput) { in.Root = flipped(in.Root, 0) }), "consistency"},
		vector{"a tree that shrinks", consistency(3, 7, func(in *proofInput) { in.From, in.FromRoot, in.Size, in.Root = in.Size, in.Root, in.From, in.FromRoot }), "consistency"},
		vector{"size 0 with a root of its own", consistency(0, 5, func(in *proofInput) { in.FromRoot = flipped(in.FromRoot, 0) }), "consistency"},
		vector{"a proof from size 0", consistency(0, 5, func(in *proofInput) { in.Proof = []hexBytes{in.Root} }), "consistency"},
	)
}

type checkpointInput struct {
	Owner  string     `json:"owner"`
	Stream hexBytes   `json:"stream"`
	Keys   []hexBytes `json:"keys"`
	Note   string     `json:"note"`
}

type checkpointOutput struct {
	Size uint64   `json:"size"`
	Root hexBytes `json:"root"`
	Time int64    `json:"time"`
}

func checkpointsTopic() topic {
	return topic{
		file:  "checkpoints",
		about: "Signed heads. keys are those of the owner that count. Reasons: form, key (no key that counts), signature, origin (of another stream).",
		cases: checkpointCases,
		judge: func(input json.RawMessage) (any, error) {
			in, err := read[checkpointInput](input)
			if err != nil {
				return nil, err
			}
			id, err := stream.ParseID(in.Stream)
			if err != nil {
				return nil, err
			}
			var keys []memberKey
			for _, key := range in.Keys {
				keys = append(keys, memberKey{in.Owner, key})
			}
			c, err := stream.OpenCheckpoint([]byte(in.Note), member.ID(in.Owner), id, keysOf(keys)(member.ID(in.Owner)))
			if err != nil {
				return nil, err
			}
			return checkpointOutput{c.Size, c.Root[:], c.Time.Unix()}, nil
		},
	}
}

// vectorStream is the id of the streams in the vectors.
func vectorStream(n byte) stream.ID {
	return stream.ID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, n}
}

func signedHead(t *testing.T, c stream.Checkpoint, label string) string {
	t.Helper()
	note, err := c.Sign(vectorKey(label))
	if err != nil {
		t.Fatal(err)
	}
	return string(note)
}

// signedText is a note over any text, by the right key: what only an owner with a fault of its own could write.
func signedText(t *testing.T, text string) string {
	t.Helper()
	signed, err := stream.Checkpoint{Owner: "XA", Stream: vectorStream(0xf0), Root: tree{}.root(0), Time: newYear()}.Sign(vectorKey("signing XA"))
	if err != nil {
		t.Fatal(err)
	}
	line := string(signed[bytes.LastIndex(signed, []byte("\n— "))+1:])
	name, b64, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "— "), " ")
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		t.Fatal(err)
	}
	signature := ed25519.Sign(vectorKey("signing XA"), []byte(text))
	return text + "\n— " + name + " " + base64.StdEncoding.EncodeToString(append(raw[:4], signature...)) + "\n"
}

func checkpointCases(t *testing.T) []vector {
	leaves, id := numberedTree(5), vectorStream(0xf0)
	head := stream.Checkpoint{Owner: "XA", Stream: id, Size: 5, Root: leaves.root(5), Time: newYear()}
	in := func(note string) checkpointInput {
		return checkpointInput{"XA", id[:], []hexBytes{hexBytes(vectorPublic("signing XA"))}, note}
	}
	sound := signedHead(t, head, "signing XA")
	text, _, _ := strings.Cut(sound, "\n— ")
	other, empty := head, head
	other.Stream = vectorStream(0xf1)
	empty.Size, empty.Root, empty.Time = 0, tree{}.root(0), time.Unix(0, 0)
	line := sound[strings.LastIndex(sound, "\n— ")+1:]
	second := signedHead(t, head, "new signing XA")
	two := in(sound + second[strings.LastIndex(second, "\n— ")+1:])
	rotated := in(second)
	rotated.Keys = append(rotated.Keys, hexBytes(vectorPublic("new signing XA")))
	foreign := in(signedHead(t, head, "signing XA"))
	foreign.Owner = "XB"
	stranger := in(sound)
	stranger.Keys = []hexBytes{}
	with := func(old, replacement string) string { return signedText(t, strings.Replace(text, old, replacement, 1)) }
	return []vector{
		{"the example of docs/protocol.md", exampleCheckpoint(t), ""},
		{"a head of five entries", in(sound), ""},
		{"a head of an empty stream at the beginning of time", in(signedHead(t, empty, "signing XA")), ""},
		{"signed with the newer of two keys", rotated, ""},
		{"by a key that does not count", in(second), "key"},
		{"no key counts", stranger, "key"},
		{"in the name of another owner", foreign, "key"},
		{"about another stream of the owner", in(signedHead(t, other, "signing XA")), "origin"},
		{"with another size", in(strings.Replace(sound, "\n5\n", "\n6\n", 1)), "signature"},
		{"with another time", in(strings.Replace(sound, "time 1767225600", "time 1767225601", 1)), "signature"},
		{"with a flipped bit in the signature", in(sound[:len(sound)-20] + "A" + sound[len(sound)-19:]), "signature"},
		{"with two signatures", two, "form"},
		{"with the same signature twice", in(sound + line), "form"},
		{"without a signature", in(text), "form"},
		{"with base64 that does not end in its one form", in(looseLine(sound)), "form"},
		{"with base64 that is none", in(strings.Replace(sound, line[len("— xa.entente "):], "!!!!\n", 1)), "form"},
		{"cut off before the last line break", in(sound[:len(sound)-1]), "form"},
		{"with a line break too many at the end", in(sound + "\n"), "form"},
		{"with a carriage return", in(strings.Replace(sound, "\n5\n", "\r\n5\n", 1)), "form"},
		{"signed with a size that begins with a zero", in(with("\n5\n", "\n05\n")), "form"},
		{"signed with a negative size", in(with("\n5\n", "\n-5\n")), "form"},
		{"signed with a root of 31 bytes", in(with(rootLine(head.Root[:]), rootLine(head.Root[:31]))), "form"},
		{"signed without a time", in(with("time 1767225600\n", "")), "form"},
		{"signed with a time before 1970", in(with("time 1767225600", "time -1")), "form"},
		{"signed with a time that begins with a plus", in(with("time 1767225600", "time +1767225600")), "form"},
		{"signed with a line more", in(with("time 1767225600\n", "time 1767225600\nmore\n")), "form"},
		{"signed with size 0 and the root of something", in(with("\n5\n", "\n0\n")), "form"},
		{"signed with a size beyond any stream", in(with("\n5\n", "\n4611686018427387905\n")), "form"},
		{"signed with a time of more than 63 bits", in(with("time 1767225600", "time 9223372036854775808")), "form"},
		{"signed with a root in base64 that is not its one form", in(with(rootLine(head.Root[:]), looseLine(rootLine(head.Root[:])))), "form"},
		{"signed with an origin of another form", in(with("/stream/", "/log/")), "origin"},
	}
}

// exampleCheckpoint is the one that the page of the protocol and the comment of the package show.
func exampleCheckpoint(t *testing.T) checkpointInput {
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "```\nxa.entente/stream/")
	note, _, found := strings.Cut("xa.entente/stream/"+after, "```\n")
	if !found {
		t.Fatal("docs/protocol.md shows no checkpoint")
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	id := vectorStream(0x0f)
	return checkpointInput{"XA", id[:], []hexBytes{hexBytes(key)}, note}
}

func rootLine(root []byte) string { return "\n" + base64.StdEncoding.EncodeToString(root) + "\n" }

// looseLine sets a bit behind the end of what base64 at the end of a text encodes, which careless decoders leave out.
func looseLine(text string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	body := strings.TrimRight(text, "=\n")
	last := strings.IndexByte(digits, body[len(body)-1])
	return body[:len(body)-1] + digits[last|1:last|1+1] + text[len(body):]
}
