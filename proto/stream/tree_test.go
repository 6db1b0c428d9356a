package stream

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// naive is RFC 6962, section 2.1, written down as it stands there, with the subtrees remembered. Everything about
// the tree is held against it.
type naive struct {
	leaves []Hash
	known  map[[2]uint64]Hash
}

func newNaive(size int) *naive {
	n := &naive{known: map[[2]uint64]Hash{}}
	for i := range size {
		n.leaves = append(n.leaves, LeafHash(fmt.Appendf(nil, "leaf %d", i)))
	}
	return n
}

// split is the k of the RFC: the largest power of two smaller than n.
func split(n uint64) uint64 {
	k := uint64(1)
	for k*2 < n {
		k *= 2
	}
	return k
}

// root is MTH(D[from:to]).
func (n *naive) root(from, to uint64) Hash {
	if from == to {
		return emptyRoot()
	}
	if to-from == 1 {
		return n.leaves[from]
	}
	known, is := n.known[[2]uint64{from, to}]
	if is {
		return known
	}
	k := split(to - from)
	left, right := n.root(from, from+k), n.root(from+k, to)
	root := nodeHash(&left, &right)
	n.known[[2]uint64{from, to}] = root
	return root
}

// path is PATH(m, D[from:to]).
func (n *naive) path(m, from, to uint64) [][]byte {
	if to-from == 1 {
		return nil
	}
	k := split(to - from)
	if m < k {
		sibling := n.root(from+k, to)
		return append(n.path(m, from, from+k), sibling[:])
	}
	sibling := n.root(from, from+k)
	return append(n.path(m-k, from+k, to), sibling[:])
}

// proof is SUBPROOF(m, D[from:to], whole).
func (n *naive) proof(m, from, to uint64, whole bool) [][]byte {
	if m == to-from {
		if whole {
			return nil
		}
		root := n.root(from, to)
		return [][]byte{root[:]}
	}
	k := split(to - from)
	if m <= k {
		sibling := n.root(from+k, to)
		return append(n.proof(m, from, from+k, whole), sibling[:])
	}
	sibling := n.root(from, from+k)
	return append(n.proof(m-k, from+k, to, false), sibling[:])
}

// stored keeps tiles as a store would, and refuses questions that the contract of TileReader excludes.
type stored struct {
	leaves []Hash
	tiles  map[[2]uint64][]byte
}

func (s *stored) tile(level uint, index uint64) ([]byte, error) {
	tile, is := s.tiles[[2]uint64{uint64(level), index}]
	if !is {
		return nil, fmt.Errorf("tile %d/%d was never stored", level, index)
	}
	return tile, nil
}

func (s *stored) append(t *testing.T, leaf Hash) {
	t.Helper()
	s.leaves = append(s.leaves, leaf)
	size := uint64(len(s.leaves))
	if size%TileWidth != 0 {
		return
	}
	tiles, err := FillTiles(size, s.leaves[size-TileWidth:], s.tile)
	if err != nil {
		t.Fatal(err)
	}
	for _, tile := range tiles {
		s.tiles[[2]uint64{uint64(tile.Level), tile.Index}] = tile.Hashes
	}
}

func (s *stored) at(size uint64) TileReader {
	return TileReader{
		Size: size,
		Tile: s.tile,
		LeafHashes: func(from, to uint64) ([]Hash, error) {
			if from/TileWidth != size/TileWidth || to > size {
				return nil, fmt.Errorf("leaves [%d, %d) are not of the last tile at size %d", from, to, size)
			}
			return s.leaves[from:to], nil
		},
	}
}

func equalProofs(a, b [][]byte) bool {
	return bytes.Equal(bytes.Join(a, nil), bytes.Join(b, nil)) && len(a) == len(b)
}

func checkSize(t *testing.T, reference *naive, tree TileReader, random *rand.Rand) {
	t.Helper()
	size := tree.Size
	want := reference.root(0, size)
	root, err := RootAt(tree, size)
	if err != nil || root != want {
		t.Fatalf("size %d: root %x (%v), want %x", size, root, err, want)
	}
	from := random.Uint64N(size + 1)
	consistency, err := Consistency(tree, from, size)
	if err != nil {
		t.Fatal(err)
	}
	if from > 0 && !equalProofs(consistency, reference.proof(from, 0, size, true)) {
		t.Fatalf("consistency from %d to %d differs from the RFC", from, size)
	}
	err = VerifyConsistency(from, size, reference.root(0, from), want, consistency)
	if err != nil {
		t.Fatal(err)
	}
	if from > 0 && from < size && VerifyConsistency(from, size, reference.root(0, from-1), want, consistency) == nil {
		t.Fatalf("consistency from %d to %d holds for another root", from, size)
	}
	if size == 0 {
		return
	}
	index := random.Uint64N(size)
	inclusion, err := Inclusion(tree, index, size)
	if err != nil {
		t.Fatal(err)
	}
	if !equalProofs(inclusion, reference.path(index, 0, size)) {
		t.Fatalf("inclusion of %d in %d differs from the RFC", index, size)
	}
	err = VerifyInclusion(index, size, reference.leaves[index], want, inclusion)
	if err != nil {
		t.Fatal(err)
	}
	if VerifyInclusion(index, size, LeafHash([]byte("another")), want, inclusion) == nil {
		t.Fatalf("another leaf is included at %d in %d", index, size)
	}
}

func TestEdgeAndTilesAgreeWithTheRFC(t *testing.T) {
	const small, large = 2000, 140_000
	reference := newNaive(large)
	random := rand.New(rand.NewPCG(1, 2))
	tree := &stored{tiles: map[[2]uint64][]byte{}}
	var edge Edge
	for size := uint64(0); ; size++ {
		interesting := size%65536 < 2 || size%65536 == 65535 || size == large || random.Uint64N(5000) == 0
		if size <= small || interesting {
			root := edge.Root()
			if want := reference.root(0, size); edge.Size() != size || root != want {
				t.Fatalf("edge of size %d has root %x, want %x", edge.Size(), root, want)
			}
			checkSize(t, reference, tree.at(size), random)
			rebuilt, err := EdgeAt(tree.at(size), size)
			if err != nil || rebuilt != edge {
				t.Fatalf("edge at %d is not rebuilt from tiles: %v", size, err)
			}
		}
		if size == large {
			break
		}
		tree.append(t, reference.leaves[size])
		edge.Append(reference.leaves[size])
	}
	for range 500 { // older sizes, read from the tiles of the newest
		checkSize(t, reference, tree.at(random.Uint64N(large+1)), random)
	}
}

// The vectors of RFC 6962 implementations (certificate-transparency, merkle/testonly) for eight known leaves.
func TestEdgeHasThePublishedRoots(t *testing.T) {
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var edge Edge
	for size, want := range roots {
		root := edge.Root()
		if got := hex.EncodeToString(root[:]); got != want {
			t.Errorf("root at size %d is %s, want %s", size, got, want)
		}
		if size < len(leaves) {
			leaf, err := hex.DecodeString(leaves[size])
			if err != nil {
				t.Fatal(err)
			}
			edge.Append(LeafHash(leaf))
		}
	}
}

func TestEdgeSurvivesItsBytes(t *testing.T) {
	reference := newNaive(300)
	var edge Edge
	for _, leaf := range reference.leaves {
		b, err := edge.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var back Edge
		err = back.UnmarshalBinary(b)
		if err != nil || back != edge {
			t.Fatalf("edge of size %d: %v", edge.Size(), err)
		}
		edge.Append(leaf)
	}
	copied := edge.Clone()
	edge.Append(Hash{1})
	if copied.Size() != 300 || copied.Root() != reference.root(0, 300) {
		t.Error("appending changed a clone")
	}
}

func TestEdgeRefusesBytesThatAreNoEdge(t *testing.T) {
	tests := []struct {
		name  string
		bytes []byte
	}{
		{"nothing", nil},
		{"half a size", make([]byte, 7)},
		{"a hash too many", make([]byte, 8+32)},
		{"a hash too few", append(make([]byte, 7), 3)},
		{"a part of a hash", append(append(make([]byte, 7), 1), make([]byte, 31)...)},
		{"a size beyond any stream", append([]byte{0xc0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 64)...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			edge := Edge{size: 1}
			if edge.UnmarshalBinary(test.bytes) == nil {
				t.Fatal("accepted")
			}
			if edge != (Edge{size: 1}) {
				t.Error("the edge was changed")
			}
		})
	}
}

func TestEdgeAppendsWithoutAllocation(t *testing.T) {
	var edge Edge
	header := make([]byte, HeaderSize)
	allocations := testing.AllocsPerRun(1000, func() { edge.Append(LeafHash(header)) })
	if allocations != 0 {
		t.Errorf("%v allocations an append", allocations)
	}
}

func TestProofsRefuseWhatIsNotInTheTree(t *testing.T) {
	reference := newNaive(10)
	tree := (&stored{leaves: reference.leaves}).at(10)
	root, hash := reference.root(0, 10), make([]byte, 32)
	inclusion, err := Inclusion(tree, 3, 10)
	if err != nil {
		t.Fatal(err)
	}
	long := append([][]byte{append(inclusion[0], 0)}, inclusion[1:]...)
	tests := []struct {
		name string
		err  error
	}{
		{"consistency backwards", second(Consistency(tree, 5, 4))},
		{"consistency beyond the stored size", second(Consistency(tree, 5, 11))},
		{"inclusion of a leaf beyond the size", second(Inclusion(tree, 10, 10))},
		{"inclusion beyond the stored size", second(Inclusion(tree, 3, 11))},
		{"an edge beyond the stored size", second(EdgeAt(tree, 12))},
		{"verifying a proof with a longer element", VerifyInclusion(3, 10, reference.leaves[3], root, long)},
		{"verifying a consistency proof with a short element", VerifyConsistency(3, 10, reference.root(0, 3), root, [][]byte{hash[:31]})},
		{"verifying from an empty tree with a root", VerifyConsistency(0, 10, root, root, nil)},
		{"verifying a needless proof", VerifyConsistency(10, 10, root, root, [][]byte{hash})},
		{"verifying a missing proof", VerifyConsistency(3, 10, reference.root(0, 3), root, nil)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestProofsNameTheElementThatIsNoHash(t *testing.T) {
	for _, err := range []error{
		VerifyConsistency(1, 2, Hash{}, Hash{}, [][]byte{make([]byte, 33)}),
		VerifyInclusion(0, 3, Hash{}, Hash{}, [][]byte{make([]byte, 33), make([]byte, 32)}),
	} {
		if err == nil || !strings.Contains(err.Error(), "element 0 has 33 bytes") {
			t.Errorf("got %v", err)
		}
	}
}

func second[T any](_ T, err error) error {
	return err
}

func TestTilesRefuseWhatBreaksTheirContract(t *testing.T) {
	reference := newNaive(600)
	tree := &stored{tiles: map[[2]uint64][]byte{}}
	for _, leaf := range reference.leaves {
		tree.append(t, leaf)
	}
	tile, err := tree.tile(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	answers := func(tile []byte, leaves []Hash) TileReader {
		return TileReader{
			Size:       600,
			Tile:       func(uint, uint64) ([]byte, error) { return tile, nil },
			LeafHashes: func(uint64, uint64) ([]Hash, error) { return leaves, nil },
		}
	}
	tests := []struct {
		name string
		err  error
	}{
		{"a node above a tile", second(TileNode(tile, 9, 0))},
		{"a node right of a tile", second(TileNode(tile, 4, 16))},
		{"a tile with a part of a hash", second(TileNode(tile[:33], 0, 0))},
		{"a tile that is too wide", second(TileNode(append(tile, tile...), 0, 0))},
		{"a partial tile that does not reach the node", second(TileNode(tile[:5*32], 1, 2))},
		{"a stored tile that is too short", second(answers(tile[:32], nil).Node(0, 1))},
		{"leaf hashes that are too few", second(answers(nil, reference.leaves[:1]).Node(1, 256))},
		{"a node at an impossible level", second(answers(tile, nil).Node(64, 0))},
		{"filling at a size within a tile", second(FillTiles(300, reference.leaves[:256], tree.tile))},
		{"filling with too few leaves", second(FillTiles(256, reference.leaves[:255], tree.tile))},
		{"filling below a tile that was lost", second(FillTiles(1024, reference.leaves[:256], func(uint, uint64) ([]byte, error) { return tile[:64], nil }))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.err == nil {
				t.Error("accepted")
			}
		})
	}
}

func BenchmarkEdgeAppend(b *testing.B) {
	var edge Edge
	leaf := LeafHash([]byte("leaf"))
	b.ReportAllocs()
	for b.Loop() {
		edge.Append(leaf)
	}
}
