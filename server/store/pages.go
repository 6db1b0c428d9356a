package store

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"io"
	"strings"
)

// The layout of a bbolt file (version 2), in the byte order of the machine. A page begins with its number, its
// kind, how many elements it has, and how many pages it covers beyond the first; elements follow, each with the
// distance from itself to its key.
const (
	pageHeader  = 16 // number 8, kind 2, count 2, overflow 4
	elementSize = 16 // branch: distance 4, key size 4, page 8; leaf: kind 4, distance 4, key size 4, value size 4
	rootHeader  = 16 // in front of a bucket: page of its root 8 (0: the page itself follows), sequence 8
	branchKind  = 1
	leafKind    = 2
	bucketFlag  = 1

	metaSum    = 56 // bytes of a meta page that its checksum covers
	metaSize   = metaSum + 8
	boltMagic  = 0xED0CDAED
	minPage    = 1024
	maxPage    = 64 << 10
	maxDepth   = 64 // a tree of this depth holds more pages than any disk
	metaPages  = 2
	inlinePage = 0 // the number of a page that lies within the value of its bucket
)

// pageWalk follows every page of a file from its root, and believes nothing: bbolt trusts page numbers, sizes and
// counts, and would end the process or go round in circles where a bit of them flipped. It also adds up what each
// part really holds.
type pageWalk struct {
	file     io.ReaderAt
	size     int64
	pageSize int
	end      uint64 // number of the first page that was never used
	root     uint64
	commit   uint64 // number of the last transaction
	seen     []bool // by page number
	pages    [][]byte
	parts    map[string]*summary
	found    *DamageError
}

// walkPages reads the whole file, which nobody may write meanwhile. found is never nil; where it holds a place, the
// rest says little.
func walkPages(file io.ReaderAt, size int64) *pageWalk {
	w := &pageWalk{file: file, size: size, parts: map[string]*summary{}, found: &DamageError{}}
	if !w.readMetas() {
		return w
	}
	w.seen = make([]bool, w.end)
	w.tree(w.root, 0, nil, nil, w.bucket)
	return w
}

// readMetas wants both meta pages to be good. bbolt would go on with the older one, and so undo a transaction that
// was acknowledged; a power cut does not damage one, because what counts in it lies in one sector.
func (w *pageWalk) readMetas() bool {
	first, ok := w.readMeta(0)
	if !ok {
		return false
	}
	w.pageSize = int(binary.NativeEndian.Uint32(first[8:]))
	if w.pageSize < minPage || w.pageSize > maxPage {
		w.found.add("meta page 0: pages of %d bytes", w.pageSize)
		return false
	}
	second, ok := w.readMeta(int64(w.pageSize))
	if !ok {
		return false
	}
	newest := first
	if transaction(second) > transaction(first) {
		newest = second
	}
	w.root = binary.NativeEndian.Uint64(newest[16:])
	w.end = binary.NativeEndian.Uint64(newest[40:])
	w.commit = transaction(newest)
	if w.end > uint64(w.size)/uint64(w.pageSize) {
		w.found.add("the file has %d bytes, fewer than its %d pages", w.size, w.end)
		return false
	}
	return true
}

func transaction(meta []byte) uint64 { return binary.NativeEndian.Uint64(meta[48:]) }

func (w *pageWalk) readMeta(at int64) ([]byte, bool) {
	page := make([]byte, pageHeader+metaSize)
	_, err := w.file.ReadAt(page, at)
	if err != nil {
		w.found.add("meta page at %d: %v", at, err)
		return nil, false
	}
	meta := page[pageHeader:]
	sum := fnv.New64a()
	sum.Write(meta[:metaSum])
	if binary.NativeEndian.Uint32(meta) != boltMagic || binary.NativeEndian.Uint64(meta[metaSum:]) != sum.Sum64() {
		w.found.add("meta page at %d: wrong checksum", at)
		return nil, false
	}
	return meta, true
}

// leafVisit is called with each element of a leaf.
type leafVisit func(kind uint32, key, value []byte)

// tree walks a page and all below it. Keys must rise, from low on and below high (nil: no bound).
func (w *pageWalk) tree(number uint64, depth int, low, high []byte, visit leafVisit) {
	page, ok := w.read(number, depth)
	if !ok {
		return
	}
	switch binary.NativeEndian.Uint16(page[8:]) {
	case leafKind:
		w.leaf(number, page, low, high, visit)
	case branchKind:
		w.branch(number, page, depth, low, high, visit)
	default:
		w.found.add("page %d is neither branch nor leaf", number)
	}
}

// read returns a page with its overflow, in memory that lives until the next page of the same depth is read.
func (w *pageWalk) read(number uint64, depth int) ([]byte, bool) {
	if number < metaPages || number >= w.end || depth > maxDepth {
		w.found.add("page %d does not exist", number)
		return nil, false
	}
	for len(w.pages) <= depth {
		w.pages = append(w.pages, make([]byte, w.pageSize))
	}
	page := w.pages[depth][:w.pageSize]
	at := int64(number) * int64(w.pageSize)
	_, err := w.file.ReadAt(page, at)
	if err != nil {
		w.found.add("page %d: %v", number, err)
		return nil, false
	}
	more := uint64(binary.NativeEndian.Uint32(page[12:]))
	if binary.NativeEndian.Uint64(page) != number || number+more >= w.end {
		w.found.add("page %d has a wrong number or size", number)
		return nil, false
	}
	if !w.mark(number, more) {
		return nil, false
	}
	if more == 0 {
		return page, true
	}
	w.pages[depth] = make([]byte, (more+1)*uint64(w.pageSize))
	_, err = w.file.ReadAt(w.pages[depth], at)
	if err != nil {
		w.found.add("page %d: %v", number, err)
		return nil, false
	}
	return w.pages[depth], true
}

// mark notes that pages are in use: a page that two others lead to is damage, and could be a circle.
func (w *pageWalk) mark(number, more uint64) bool {
	for n := number; n <= number+more; n++ {
		if w.seen[n] {
			w.found.add("page %d is used twice", n)
			return false
		}
		w.seen[n] = true
	}
	return true
}

func (w *pageWalk) branch(number uint64, page []byte, depth int, low, high []byte, visit leafVisit) {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if count == 0 {
		w.found.add("page %d is empty", number)
		return
	}
	for i := range count {
		key, child, ok := branchElement(page, i)
		next := high
		if ok && i+1 < count {
			next, _, ok = branchElement(page, i+1)
		}
		if !ok || !within(key, low, next) || (i > 0 && bytes.Equal(key, low)) {
			w.found.add("page %d: element %d of %d is wrong", number, i, count)
			return
		}
		w.tree(child, depth+1, key, next, visit)
		low = key
	}
}

func branchElement(page []byte, i int) (key []byte, child uint64, ok bool) {
	at := pageHeader + i*elementSize
	if at+elementSize > len(page) {
		return nil, 0, false
	}
	start := uint64(at) + uint64(binary.NativeEndian.Uint32(page[at:]))
	end := start + uint64(binary.NativeEndian.Uint32(page[at+4:]))
	if end > uint64(len(page)) {
		return nil, 0, false
	}
	return page[start:end], binary.NativeEndian.Uint64(page[at+8:]), true
}

// within says whether a key lies from low on and below high.
func within(key, low, high []byte) bool {
	return (low == nil || bytes.Compare(key, low) >= 0) && (high == nil || bytes.Compare(key, high) < 0)
}

func (w *pageWalk) leaf(number uint64, page []byte, low, high []byte, visit leafVisit) {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	for i := range count {
		kind, key, value, ok := leafElement(page, i)
		if !ok || len(key) == 0 || !within(key, low, high) || (i > 0 && bytes.Equal(key, low)) {
			w.found.add("page %d: element %d of %d is wrong", number, i, count)
			return
		}
		visit(kind, key, value)
		low = key
	}
}

func leafElement(page []byte, i int) (kind uint32, key, value []byte, ok bool) {
	at := pageHeader + i*elementSize
	if at+elementSize > len(page) {
		return 0, nil, nil, false
	}
	start := uint64(at) + uint64(binary.NativeEndian.Uint32(page[at+4:]))
	middle := start + uint64(binary.NativeEndian.Uint32(page[at+8:]))
	end := middle + uint64(binary.NativeEndian.Uint32(page[at+12:]))
	if end > uint64(len(page)) {
		return 0, nil, nil, false
	}
	return binary.NativeEndian.Uint32(page[at:]), page[start:middle], page[middle:end], true
}

// bucket is the visit of the root's leaves: each element is a part. The root's pages stay in memory while the part
// is walked, so its pages are kept apart by their depth.
func (w *pageWalk) bucket(kind uint32, key, value []byte) {
	name := string(key)
	if kind&bucketFlag == 0 || len(value) < rootHeader {
		w.found.add("%q is no part", name)
		return
	}
	held := &summary{}
	w.parts[name] = held
	visit := w.adder(name, held)
	root := binary.NativeEndian.Uint64(value)
	if root != 0 {
		w.tree(root, maxDepth/2, nil, nil, visit)
		return
	}
	page := value[rootHeader:]
	if len(page) < pageHeader || binary.NativeEndian.Uint16(page[8:]) != leafKind {
		w.found.add("%q has no page", name)
		return
	}
	w.leaf(inlinePage, page, nil, nil, visit)
}

// adder is the visit of a part's leaves: it adds up, and wants the numbers of a series to be without a hole.
func (w *pageWalk) adder(name string, held *summary) leafVisit {
	series := strings.HasPrefix(name, seriesPrefix)
	table := strings.HasPrefix(name, tablePrefix)
	holed := false
	return func(kind uint32, key, value []byte) {
		held.count++
		held.include(value)
		if table {
			fold(&held.sum, key)
		}
		want := numberKey(held.count)
		if kind&bucketFlag != 0 || len(value) == 0 || (table && len(key) != indexSize) {
			w.found.add("%s: %x is no value", name, key)
			return
		}
		if series && !holed && !bytes.Equal(key, want[:]) {
			holed = true
			w.found.add("%s %d is missing", name, held.count)
		}
	}
}
