package network

import "entente.example/entente/proto/member"

// cachedViews is how many views are kept, and so at most how many pictures. A picture of 30,000 records takes some
// 50 MB.
const cachedViews = 16

// viewKey names a view.
type viewKey struct {
	reader member.ID
	scope  string
}

type cachedView struct {
	view  *View
	hash  [32]byte
	state uint64 // of the reader when it was computed
	used  uint64 // when it was last asked for, in questions
}

// viewCache keeps the last views, so that a reader who asks again, and readers who see the same, are answered without
// computing. It is guarded by the mutex of its network.
type viewCache struct {
	views     map[viewKey]*cachedView
	questions uint64
}

func newViewCache() viewCache {
	return viewCache{views: make(map[viewKey]*cachedView)}
}

// view finds a view that is still right for a reader in this state.
func (c *viewCache) view(key viewKey, state uint64) *View {
	c.questions++
	held, found := c.views[key]
	if !found || held.state != state {
		return nil
	}
	held.used = c.questions
	return held.view
}

// picture finds the picture that was computed from the same records, whoever asked.
func (c *viewCache) picture(hash [32]byte) *picture {
	for _, held := range c.views {
		if held.hash == hash {
			return held.view.picture
		}
	}
	return nil
}

// put keeps a view, in place of the one that was not asked for longest.
func (c *viewCache) put(key viewKey, state uint64, hash [32]byte, view *View) {
	c.views[key] = &cachedView{view: view, hash: hash, state: state, used: c.questions}
	for len(c.views) > cachedViews {
		delete(c.views, c.oldest())
	}
}

func (c *viewCache) oldest() viewKey {
	var oldest viewKey
	least := c.questions + 1
	for key, held := range c.views {
		if held.used < least {
			oldest, least = key, held.used
		}
	}
	return oldest
}

// drop forgets the views of some readers.
func (c *viewCache) drop(concerned func(reader member.ID) bool) {
	for key := range c.views {
		if concerned(key.reader) {
			delete(c.views, key)
		}
	}
}
