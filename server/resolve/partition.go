package resolve

import "slices"

// forest is a disjoint-set forest; the root of a set is its least element.
type forest []int

func newForest(n int) forest {
	f := make(forest, n)
	for i := range f {
		f[i] = i
	}
	return f
}

func (f forest) find(i int) int {
	for f[i] != i {
		f[i] = f[f[i]]
		i = f[i]
	}
	return i
}

func (f forest) join(a, b int) (kept, gone int) {
	a, b = f.find(a), f.find(b)
	if b < a {
		a, b = b, a
	}
	f[b] = a
	return a, b
}

// sexes is the number of values of the enumeration Sex, zero included.
const sexes = 4

// partition is the clusters so far, with what each may not be joined with.
type partition struct {
	forest
	foes   map[int][]int              // by root: units that some member must be kept apart from
	births map[int]*[sexes][][]uint32 // by root: dates of birth of each member whose sex and date are given, by sex
}

func newPartition(units []unit) *partition {
	p := &partition{
		forest: newForest(len(units)),
		foes:   make(map[int][]int),
		births: make(map[int]*[sexes][][]uint32),
	}
	for i := range units {
		sex := int(units[i].sex)
		if sex <= 0 || sex >= sexes || len(units[i].births) == 0 {
			continue
		}
		p.births[i] = &[sexes][][]uint32{}
		p.births[i][sex] = [][]uint32{units[i].births}
	}
	return p
}

// keepApart notes that two units are not to be in one cluster. It is called before anything is joined.
func (p *partition) keepApart(a, b int) {
	if a == b {
		return
	}
	p.foes[a] = append(p.foes[a], b)
	p.foes[b] = append(p.foes[b], a)
}

// tryJoin joins the clusters of a and b unless something keeps them apart, and tells whether they are one now.
func (p *partition) tryJoin(a, b int) bool {
	a, b = p.find(a), p.find(b)
	if a == b {
		return true
	}
	if p.decidedApart(a, b) || p.contradict(a, b) {
		return false
	}
	p.join(a, b)
	return true
}

// join joins two clusters whatever keeps them apart by computation.
func (p *partition) join(a, b int) {
	if p.find(a) == p.find(b) {
		return
	}
	kept, gone := p.forest.join(a, b)
	if foes := p.foes[gone]; len(foes) > 0 {
		p.foes[kept] = append(p.foes[kept], foes...)
		delete(p.foes, gone)
	}
	theirs := p.births[gone]
	if theirs == nil {
		return
	}
	delete(p.births, gone)
	ours := p.births[kept]
	if ours == nil {
		p.births[kept] = theirs
		return
	}
	for sex := range theirs {
		ours[sex] = append(ours[sex], theirs[sex]...)
	}
}

func (p *partition) decidedApart(a, b int) bool {
	return slices.ContainsFunc(p.foes[a], func(foe int) bool { return p.find(foe) == b })
}

// contradict tells whether a member of one cluster and a member of the other have both sex and full date of birth given
// and both different.
func (p *partition) contradict(a, b int) bool {
	ours, theirs := p.births[a], p.births[b]
	if ours == nil || theirs == nil {
		return false
	}
	for s := range ours {
		for t := range theirs {
			if s != t && anyDisjoint(ours[s], theirs[t]) {
				return true
			}
		}
	}
	return false
}

// anyDisjoint tells whether some set of dates of one side has none in common with some set of the other.
func anyDisjoint(ours, theirs [][]uint32) bool {
	for _, a := range ours {
		for _, b := range theirs {
			if !slices.ContainsFunc(a, func(day uint32) bool { return slices.Contains(b, day) }) {
				return true
			}
		}
	}
	return false
}

// groups lists the clusters as indices of records.
func (p *partition) groups(units []unit) [][]int {
	place := make(map[int]int, len(units))
	var groups [][]int
	for i := range units {
		root := p.find(i)
		at, seen := place[root]
		if !seen {
			at = len(groups)
			place[root] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], units[i].members...)
	}
	return groups
}
