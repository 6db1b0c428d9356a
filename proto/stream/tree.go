package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// maxSize bounds the number of entries, so that nothing overflows.
const maxSize = 1 << 62

// Edge is the right edge of the tree of the first Size entries: the roots of the perfect subtrees that it falls
// into, one for each bit that is set in the size (a compact range). It is all that is needed to append and to know the
// root. The zero value is the empty tree. Edges are values: an assignment copies, == compares.
type Edge struct {
	size  uint64
	roots [64]Hash // roots[l] is that of the subtree of 1<<l leaves; zero where the bit of size is not set
}

// Size returns the number of entries.
func (e *Edge) Size() uint64 {
	return e.size
}

// Append adds the leaf of entry Size+1. It costs two hashes in the mean, and allocates nothing.
func (e *Edge) Append(leaf Hash) {
	level := 0
	for e.size&(1<<level) != 0 {
		leaf = nodeHash(&e.roots[level], &leaf)
		e.roots[level] = Hash{}
		level++
	}
	e.roots[level] = leaf
	e.size++
}

// Root returns the Merkle root; that of the empty tree is SHA-256 of nothing.
func (e *Edge) Root() Hash {
	if e.size == 0 {
		return emptyRoot()
	}
	level := bits.TrailingZeros64(e.size)
	root := e.roots[level]
	for level++; level < bits.Len64(e.size); level++ {
		if e.size&(1<<level) != 0 {
			root = nodeHash(&e.roots[level], &root)
		}
	}
	return root
}

// Clone returns a copy that shares nothing with e.
func (e *Edge) Clone() Edge {
	return *e
}

// MarshalBinary returns the size (8 bytes, big endian) and the roots of the subtrees, the largest first. It never fails.
func (e *Edge) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, 8+len(Hash{})*bits.OnesCount64(e.size))
	b = binary.BigEndian.AppendUint64(b, e.size)
	for level := bits.Len64(e.size) - 1; level >= 0; level-- {
		if e.size&(1<<level) != 0 {
			b = append(b, e.roots[level][:]...)
		}
	}
	return b, nil
}

// UnmarshalBinary takes what MarshalBinary returned. An error leaves e as it is. It cannot tell whether the hashes are
// right: that is for whoever stored them.
func (e *Edge) UnmarshalBinary(b []byte) error {
	if len(b) < 8 {
		return fmt.Errorf("parse edge: %d bytes, want 8 or more", len(b))
	}
	size, rest := binary.BigEndian.Uint64(b), b[8:]
	if size > maxSize {
		return fmt.Errorf("parse edge: size %d is beyond any stream", size)
	}
	if want := len(Hash{}) * bits.OnesCount64(size); len(rest) != want {
		return fmt.Errorf("parse edge of size %d: %d bytes of hashes, want %d", size, len(rest), want)
	}
	parsed := Edge{size: size}
	for level := bits.Len64(size) - 1; level >= 0; level-- {
		if size&(1<<level) != 0 {
			parsed.roots[level], rest = Hash(rest[:32]), rest[32:]
		}
	}
	*e = parsed
	return nil
}

// nodeHash returns the hash of an interior node (RFC 6962, section 2.1).
func nodeHash(left, right *Hash) Hash {
	var buffer [1 + 2*len(Hash{})]byte
	buffer[0] = nodePrefix
	copy(buffer[1:], left[:])
	copy(buffer[1+len(left):], right[:])
	return sha256.Sum256(buffer[:])
}

func emptyRoot() Hash {
	return sha256.Sum256(nil)
}

// Nodes gives access to a tree that is stored somewhere, for proofs. TileReader is one.
type Nodes interface {
	// Node returns the root of the perfect subtree over the leaves [index<<level, (index+1)<<level), all of which
	// exist.
	Node(level uint, index uint64) (Hash, error)
}

// EdgeAt returns the edge that the tree had when it held size entries.
func EdgeAt(n Nodes, size uint64) (Edge, error) {
	if size > maxSize {
		return Edge{}, fmt.Errorf("edge at size %d: beyond any stream", size)
	}
	edge := Edge{size: size}
	for _, id := range compact.RangeNodes(0, size, nil) {
		node, err := n.Node(id.Level, id.Index)
		if err != nil {
			return Edge{}, fmt.Errorf("edge at size %d: %w", size, err)
		}
		edge.roots[id.Level] = node
	}
	return edge, nil
}

// RootAt returns the root that the tree had when it held size entries.
func RootAt(n Nodes, size uint64) (Hash, error) {
	edge, err := EdgeAt(n, size)
	if err != nil {
		return Hash{}, err
	}
	return edge.Root(), nil
}

// Consistency returns the RFC 6962 proof that the tree of size to continues the tree of size from. It is empty where
// from is zero or equals to.
func Consistency(n Nodes, from, to uint64) ([][]byte, error) {
	if from > to || to > maxSize {
		return nil, fmt.Errorf("consistency proof from size %d to %d: not an order", from, to)
	}
	if from == 0 || from == to {
		return nil, nil
	}
	plan, err := proof.Consistency(from, to)
	if err != nil {
		return nil, fmt.Errorf("consistency proof from size %d to %d: %w", from, to, err)
	}
	hashes, err := gather(n, plan)
	if err != nil {
		return nil, fmt.Errorf("consistency proof from size %d to %d: %w", from, to, err)
	}
	return hashes, nil
}

// Inclusion returns the RFC 6962 proof that the leaf with this index (its sequence less one) stands in the tree of
// this size.
func Inclusion(n Nodes, index, size uint64) ([][]byte, error) {
	if index >= size || size > maxSize {
		return nil, fmt.Errorf("inclusion proof of index %d in size %d: not in it", index, size)
	}
	plan, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("inclusion proof of index %d in size %d: %w", index, size, err)
	}
	hashes, err := gather(n, plan)
	if err != nil {
		return nil, fmt.Errorf("inclusion proof of index %d in size %d: %w", index, size, err)
	}
	return hashes, nil
}

func gather(n Nodes, plan proof.Nodes) ([][]byte, error) {
	hashes := make([][]byte, 0, len(plan.IDs))
	for _, id := range plan.IDs {
		node, err := n.Node(id.Level, id.Index)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, node[:])
	}
	return plan.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
}

// VerifyConsistency says whether hashes prove that the tree of size to and root toRoot continues the tree of size
// from and root fromRoot. The empty tree is continued by every tree, without a proof.
func VerifyConsistency(from, to uint64, fromRoot, toRoot Hash, hashes [][]byte) error {
	err := checkHashes(hashes)
	if err != nil {
		return err
	}
	if from == 0 && fromRoot != emptyRoot() {
		return fmt.Errorf("verify consistency: size 0 with a root that is not that of the empty tree")
	}
	err = proof.VerifyConsistency(rfc6962.DefaultHasher, from, to, hashes, fromRoot[:], toRoot[:])
	if err != nil {
		return fmt.Errorf("verify consistency from size %d to %d: %w", from, to, oneLine(err))
	}
	return nil
}

// VerifyInclusion says whether hashes prove that leaf stands at index in the tree of this size and root.
func VerifyInclusion(index, size uint64, leaf, root Hash, hashes [][]byte) error {
	err := checkHashes(hashes)
	if err != nil {
		return err
	}
	err = proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], hashes, root[:])
	if err != nil {
		return fmt.Errorf("verify inclusion of index %d in size %d: %w", index, size, oneLine(err))
	}
	return nil
}

// checkHashes refuses what is no hash: the library takes elements of any length.
func checkHashes(hashes [][]byte) error {
	for i, hash := range hashes {
		if len(hash) != len(Hash{}) {
			return fmt.Errorf("verify proof: element %d has %d bytes, want %d", i, len(hash), len(Hash{}))
		}
	}
	return nil
}

// oneLine replaces the library's report of two roots, which fills a screen with decimal bytes.
func oneLine(err error) error {
	mismatch, is := err.(proof.RootMismatchError)
	if !is {
		return err
	}
	return fmt.Errorf("the proof leads to root %x, want %x", mismatch.CalculatedRoot, mismatch.ExpectedRoot)
}
