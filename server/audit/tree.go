package audit

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/proto/stream"
	"entente.example/entente/server/store"
)

// forest names the parts of the file that hold one tree: its leaves in order, and its tiles by level.
type forest struct {
	values store.Series
	tiles  string
	leaf   func(value []byte) (stream.Hash, error)
}

// entriesForest holds encoded entries.
func entriesForest() forest {
	return forest{values: store.NewSeries("audit"), tiles: "audit-tiles", leaf: func(value []byte) (stream.Hash, error) { return stream.LeafHash(value), nil }}
}

// intervalsForest holds encoded TrailIntervals.
func intervalsForest() forest {
	return forest{values: store.NewSeries("audit-intervals"), tiles: "audit-interval-tiles", leaf: func(value []byte) (stream.Hash, error) {
		one, err := decodeInterval(value)
		if err != nil {
			return stream.Hash{}, err
		}
		return one.LeafHash(), nil
	}}
}

func (f forest) tileSeries(level uint) store.Series {
	return store.NewSeries(fmt.Sprintf("%s-%d", f.tiles, level))
}

// tree is one tree as it is in the file: the right edge, and the leaf hashes of the last tile, which is stored only when it
// is full. A copy of a tree stays as it was while the other grows.
type tree struct {
	forest
	edge stream.Edge
	tail []stream.Hash
}

// source is what reading needs of the store: a view or a transaction.
type source interface {
	Get(s store.Series, n uint64) ([]byte, error)
}

// openTree reads the tree from its tiles and from the leaves behind them.
func openTree(v *store.View, f forest) (tree, error) {
	t := tree{forest: f}
	size := v.Len(f.values)
	from := size / stream.TileWidth * stream.TileWidth
	err := v.Scan(f.values, from+1, func(n uint64, value []byte) (bool, error) {
		leaf, err := f.leaf(value)
		if err != nil {
			return false, fmt.Errorf("%s %d: %w", f.values, n, err)
		}
		t.tail = append(t.tail, leaf)
		return true, nil
	})
	if err != nil {
		return tree{}, fmt.Errorf("read the last leaves: %w", err)
	}
	t.edge, err = stream.EdgeAt(t.reader(v, size), size)
	if err != nil {
		return tree{}, fmt.Errorf("read the tiles of %s: %w", f.values, err)
	}
	return t, nil
}

func (t *tree) size() uint64 { return t.edge.Size() }

func (t *tree) root() stream.Hash { return t.edge.Root() }

// nodes gives access to the nodes of the tree, for proofs and for roots of earlier sizes.
func (t *tree) nodes(from source) stream.TileReader { return t.reader(from, t.size()) }

func (t *tree) reader(from source, size uint64) stream.TileReader {
	start := size / stream.TileWidth * stream.TileWidth
	return stream.TileReader{
		Size: size,
		Tile: func(level uint, index uint64) ([]byte, error) { return from.Get(t.tileSeries(level), index+1) },
		LeafHashes: func(first, last uint64) ([]stream.Hash, error) {
			if first < start || last > start+uint64(len(t.tail)) {
				return nil, fmt.Errorf("leaves %d to %d are not in the last tile", first+1, last)
			}
			return t.tail[first-start : last-start], nil
		},
	}
}

// append puts a value at the end. If we crash here, the transaction is not in the file: neither value nor tile is.
func (t *tree) append(tx *store.Tx, value []byte, leaf stream.Hash) error {
	n, err := tx.Append(t.values, value)
	if err != nil {
		return err
	}
	if n != t.size()+1 {
		return fmt.Errorf("%s: leaf %d stored at %d: this transaction does not follow the last one", t.values, t.size()+1, n)
	}
	t.edge.Append(leaf)
	t.tail = append(t.tail, leaf)
	if len(t.tail) < stream.TileWidth {
		return nil
	}
	err = t.fill(tx)
	if err != nil {
		return fmt.Errorf("%s: fill tiles at %d: %w", t.values, n, err)
	}
	return nil
}

// fill writes the tiles that the last leaf has filled.
func (t *tree) fill(tx *store.Tx) error {
	tiles, err := stream.FillTiles(t.size(), t.tail, func(level uint, index uint64) ([]byte, error) {
		return tx.Get(t.tileSeries(level), index+1)
	})
	if err != nil {
		return err
	}
	for _, tile := range tiles {
		series := t.tileSeries(tile.Level)
		if tx.Len(series) > tile.Index {
			err = tx.Replace(series, tile.Index+1, tile.Hashes)
		} else {
			_, err = tx.Append(series, tile.Hashes)
		}
		if err != nil {
			return err
		}
	}
	t.tail = nil // not cut to zero: earlier copies still read it
	return nil
}

func deterministic() proto.MarshalOptions { return proto.MarshalOptions{Deterministic: true} }
