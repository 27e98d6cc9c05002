package meta

import (
	"hash/maphash"
	"iter"
	"maps"
)

// shardCount is how many maps a table is cut into: changing one key copies one map of n/shardCount entries and the array of
// shard pointers (2 KiB), so a change costs microseconds at ten thousand keys and loading copies each shard once.
const shardCount = 256

var hashSeed = maphash.MakeSeed()

// owner is the identity of whoever may change something in place: a Delta between two images. It has a size so that every
// allocation is a distinct pointer.
type owner struct{ _ byte }

type shard[K comparable, V any] struct {
	owner *owner
	m     map[K]V
}

// table is a copy-on-write map. Copying the struct copies the map; set and remove copy what the given owner did not make, so
// every older copy stays as it was and may be read without a lock.
type table[K comparable, V any] struct {
	owner  *owner
	shards *[shardCount]*shard[K, V]
	n      int
}

func shardOf[K comparable](k K) int { return int(maphash.Comparable(hashSeed, k) % shardCount) }

func (t *table[K, V]) get(k K) (v V, ok bool) {
	if t.shards == nil {
		return v, false
	}
	s := t.shards[shardOf(k)]
	if s == nil {
		return v, false
	}
	v, ok = s.m[k]
	return v, ok
}

// writable returns the shard of k, owned by o.
func (t *table[K, V]) writable(o *owner, k K) *shard[K, V] {
	if t.shards == nil {
		t.shards, t.owner = new([shardCount]*shard[K, V]), o
	} else if t.owner != o {
		next := *t.shards
		t.shards, t.owner = &next, o
	}
	i := shardOf(k)
	s := t.shards[i]
	switch {
	case s == nil:
		s = &shard[K, V]{owner: o, m: make(map[K]V)}
		t.shards[i] = s
	case s.owner != o:
		s = &shard[K, V]{owner: o, m: maps.Clone(s.m)}
		t.shards[i] = s
	}
	return s
}

func (t *table[K, V]) set(o *owner, k K, v V) {
	s := t.writable(o, k)
	before := len(s.m)
	s.m[k] = v
	t.n += len(s.m) - before
}

func (t *table[K, V]) remove(o *owner, k K) {
	if _, ok := t.get(k); !ok {
		return
	}
	delete(t.writable(o, k).m, k)
	t.n--
}

// all yields every entry, in no order.
func (t *table[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if t.shards == nil {
			return
		}
		for _, s := range t.shards {
			if s == nil {
				continue
			}
			for k, v := range s.m {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// change is one key whose value differs between two copies of a table.
type change[K comparable, V comparable] struct {
	key      K
	old, new V // the zero value where the key is absent
}

// changes yields what differs between two tables, looking only into shards that are not shared.
func changes[K comparable, V comparable](before, after *table[K, V]) iter.Seq[change[K, V]] {
	return func(yield func(change[K, V]) bool) {
		if before.shards == after.shards {
			return
		}
		for i := range shardCount {
			var was, is *shard[K, V]
			if before.shards != nil {
				was = before.shards[i]
			}
			if after.shards != nil {
				is = after.shards[i]
			}
			if was == is {
				continue
			}
			if was != nil {
				for k, v := range was.m {
					var now V
					if is != nil {
						now = is.m[k]
					}
					if now != v && !yield(change[K, V]{k, v, now}) {
						return
					}
				}
			}
			if is == nil {
				continue
			}
			for k, v := range is.m {
				if was != nil {
					if _, ok := was.m[k]; ok {
						continue
					}
				}
				if !yield(change[K, V]{key: k, new: v}) {
					return
				}
			}
		}
	}
}
