package stream

import (
	"fmt"
)

const (
	// TileWidth is the number of hashes in a full tile.
	TileWidth = 1 << tileHeight

	tileHeight = 8
)

// Tile is one stored run of hashes. The tile of level l and index i holds the roots of the perfect subtrees of
// 1<<(8*l) leaves with indices from i*TileWidth on: level 0 the leaves themselves, level 1 the roots of full tiles of
// level 0, and so on. Hashes holds up to TileWidth of them, 32 bytes each. Tiles of level 0 are stored only when
// full; higher ones grow by one hash each time a tile below is filled, and are then written anew.
type Tile struct {
	Level  uint
	Index  uint64
	Hashes []byte
}

// FillTiles returns the tiles that an owner or a reader writes when the leaf with which the tree reaches size has filled a
// tile of level 0: that tile, and the ones above it that grow. The size is a multiple of TileWidth and not 0, leaves are the
// TileWidth newest leaf hashes. Stored is asked for the present hashes of a tile above that is not empty. Write them in one transaction with
// the entries: a tile that is missing after a crash is never made up for.
func FillTiles(size uint64, leaves []Hash, stored func(level uint, index uint64) ([]byte, error)) ([]Tile, error) {
	if size == 0 || size%TileWidth != 0 || size > maxSize || len(leaves) != TileWidth {
		return nil, fmt.Errorf("fill tiles at size %d with %d leaves: not the end of a tile", size, len(leaves))
	}
	full := make([]byte, 0, TileWidth*len(Hash{}))
	for i := range leaves {
		full = append(full, leaves[i][:]...)
	}
	count := size // of nodes at the tile's level
	tiles := []Tile{{Level: 0, Index: count/TileWidth - 1, Hashes: full}}
	for level := uint(1); count%TileWidth == 0; level++ {
		count /= TileWidth
		root, err := TileNode(full, tileHeight, 0)
		if err != nil {
			return nil, fmt.Errorf("fill tiles at size %d: %w", size, err)
		}
		index := (count - 1) / TileWidth
		present, err := presentHashes(stored, level, index, int((count-1)%TileWidth))
		if err != nil {
			return nil, fmt.Errorf("fill tiles at size %d: %w", size, err)
		}
		full = append(present, root[:]...)
		tiles = append(tiles, Tile{Level: level, Index: index, Hashes: full})
	}
	return tiles, nil
}

// presentHashes returns a copy of the first want hashes of a stored tile.
func presentHashes(stored func(uint, uint64) ([]byte, error), level uint, index uint64, want int) ([]byte, error) {
	present := make([]byte, 0, (want+1)*len(Hash{}))
	if want == 0 {
		return present, nil
	}
	held, err := stored(level, index)
	if err != nil {
		return nil, fmt.Errorf("tile %d/%d: %w", level, index, err)
	}
	if len(held) != want*len(Hash{}) {
		return nil, fmt.Errorf("tile %d/%d has %d bytes, want %d hashes", level, index, len(held), want)
	}
	return append(present, held...), nil
}

// TileNode returns a node within a tile: the root over the tile's hashes [index<<level, (index+1)<<level), where level
// counts from that of the tile's own hashes, up to 8, the root of a full tile. It fails where the tile does not reach that far.
func TileNode(tile []byte, level uint, index uint64) (Hash, error) {
	if level > tileHeight || index >= TileWidth>>level {
		return Hash{}, fmt.Errorf("node %d/%d is in no tile", level, index)
	}
	first, past := int(index<<level), int((index+1)<<level)
	if len(tile)%len(Hash{}) != 0 || len(tile) > TileWidth*len(Hash{}) {
		return Hash{}, fmt.Errorf("tile of %d bytes is not up to %d hashes", len(tile), TileWidth)
	}
	if past > len(tile)/len(Hash{}) {
		return Hash{}, fmt.Errorf("tile of %d hashes does not reach node %d/%d", len(tile)/len(Hash{}), level, index)
	}
	var row [TileWidth]Hash
	count := past - first
	for i := range count {
		row[i] = Hash(tile[(first+i)*len(Hash{}):])
	}
	return fold(row[:count]), nil
}

// fold returns the root over a number of hashes that is a power of two, and overwrites them.
func fold(row []Hash) Hash {
	for len(row) > 1 {
		half := len(row) / 2
		for i := range half {
			row[i] = nodeHash(&row[2*i], &row[2*i+1])
		}
		row = row[:half]
	}
	return row[0]
}

// TileReader finds the nodes of a stored tree. What it asks for:
//   - Tile(0, i) only where (i+1)*TileWidth <= Size: the tile is full;
//   - Tile(l, i) for l >= 1 where it holds at least one hash at Size. It may hold more than it did at Size, for it only
//     grows: a reader of an older size needs no snapshot;
//   - LeafHashes(from, to) for the leaves [from, to) of the last tile of level 0, where that is not full. They are
//     leaf hashes (see LeafHash) of the stored headers with sequences from+1 to to.
//
// Answers of the two are not kept, and not written to.
type TileReader struct {
	// Size is the number of entries; nodes over leaves beyond it do not exist.
	Size       uint64
	Tile       func(level uint, index uint64) ([]byte, error)
	LeafHashes func(from, to uint64) ([]Hash, error)
}

// Node implements Nodes.
func (r TileReader) Node(level uint, index uint64) (Hash, error) {
	if level >= 64 || index >= r.Size>>level {
		return Hash{}, fmt.Errorf("node %d/%d is not in a tree of size %d", level, index, r.Size)
	}
	tileLevel, within := level/tileHeight, level%tileHeight
	tileIndex := index >> (tileHeight - within)
	if tileLevel == 0 && (tileIndex+1)*TileWidth > r.Size {
		return r.unstored(index<<level, (index+1)<<level)
	}
	tile, err := r.Tile(tileLevel, tileIndex)
	if err != nil {
		return Hash{}, fmt.Errorf("tile %d/%d: %w", tileLevel, tileIndex, err)
	}
	node, err := TileNode(tile, within, index&(TileWidth>>within-1))
	if err != nil {
		return Hash{}, fmt.Errorf("tile %d/%d: %w", tileLevel, tileIndex, err)
	}
	return node, nil
}

// unstored computes a node of the last, partial tile of level 0.
func (r TileReader) unstored(from, to uint64) (Hash, error) {
	leaves, err := r.LeafHashes(from, to)
	if err != nil {
		return Hash{}, fmt.Errorf("leaf hashes of [%d, %d): %w", from, to, err)
	}
	if uint64(len(leaves)) != to-from {
		return Hash{}, fmt.Errorf("leaf hashes of [%d, %d): got %d", from, to, len(leaves))
	}
	return fold(append([]Hash(nil), leaves...)), nil
}
