package compact

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// EntryBytes is what one key takes of the dedupe buffer, as in Kafka: 16 bytes of hash and the offset.
const EntryBytes = 24

// OffsetMap holds the offset of the last record of each key, in bounded memory, however long keys are: it keeps 128
// bits of hash for a key. Make it with NewOffsetMap; it is not safe for concurrent use.
//
// Two keys with the same hash would lose the older one's record. The hash is SipHash-2-4-128 under a random key that
// is drawn for each map, stays in memory and shows in no output, so nobody can look for such keys beforehand, as
// anybody can with the MD5 of Kafka's SkimpyOffsetMap; the chance that any two of n keys collide is n²/2¹²⁹, for the
// 5 million keys of a full default buffer 1 in 2·10²⁵.
//
// Memory is taken as keys come, in shards that double up to their share of the buffer, so that a small log costs
// little and a growing map never needs twice its size.
type OffsetMap struct {
	k0, k1 uint64
	shards []shard
	shift  uint // of a hash's upper word: what is left is the shard
	final  int  // slots of a shard at its largest
	most   int  // keys
	n      int
	latest int64
}

// shard is a hash table with open addressing. An entry is empty when its offset is zero: offsets are stored plus one.
type shard struct {
	entries []mapEntry
	n       int
}

type mapEntry struct {
	hash   hash128
	offset int64 // plus one
}

const (
	smallestShard = 64        // slots
	shardBytes    = 512 << 10 // of the buffer, at least, for each shard
	mostShards    = 256
)

// NewOffsetMap makes an empty map that takes up to bytes of memory (a share of log.cleaner.dedupe.buffer.size) and is
// full when loadFactor (log.cleaner.io.buffer.load.factor) of its slots are taken. It holds at least one key.
func NewOffsetMap(bytes int64, loadFactor float64) *OffsetMap {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails: the runtime stops the program instead
	return newOffsetMap(bytes, loadFactor, binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:]))
}

func newOffsetMap(bytes int64, loadFactor float64, k0, k1 uint64) *OffsetMap {
	count := min(max(bytes/shardBytes, 1), mostShards)
	count = 1 << (bits.Len64(uint64(count)) - 1)
	final := max(bytes/EntryBytes/count, 2)
	return &OffsetMap{
		k0: k0, k1: k1, shards: make([]shard, count), shift: uint(64 - bits.TrailingZeros64(uint64(count))),
		final: int(final), most: max(int(float64(final*count)*loadFactor), 1), latest: -1,
	}
}

// Len is the number of keys.
func (m *OffsetMap) Len() int { return m.n }

// Latest is the offset up to which the map knows the log, -1 for none: the last one put or noted.
func (m *OffsetMap) Latest() int64 { return m.latest }

// Note says that everything up to offset was looked at.
func (m *OffsetMap) Note(offset int64) { m.latest = offset }

// Bytes is the memory that the map takes now.
func (m *OffsetMap) Bytes() int64 {
	var slots int
	for i := range m.shards {
		slots += len(m.shards[i].entries)
	}
	return int64(slots) * EntryBytes
}

// Utilization is how much of the keys it may hold it has, from 0 to 1.
func (m *OffsetMap) Utilization() float64 { return float64(m.n) / float64(m.most) }

// Put says that the record at offset, which is not negative, is the last of its key so far. It returns false, and
// changes nothing, when the map is full and the key is not in it.
func (m *OffsetMap) Put(key []byte, offset int64) bool {
	h := sipHash(m.k0, m.k1, key)
	s := m.shard(h)
	if s.n+1 >= len(s.entries)-len(s.entries)/4 {
		m.grow(s)
	}
	e := s.find(h)
	if e.offset == 0 {
		// A shard may be full before the map is, by chance: one slot stays empty to end every search.
		if m.n >= m.most || s.n+1 >= len(s.entries) {
			return false
		}
		e.hash = h
		s.n++
		m.n++
	}
	e.offset = offset + 1
	m.latest = offset
	return true
}

// Get is the offset of the last record of key, -1 when there is none.
func (m *OffsetMap) Get(key []byte) int64 {
	h := sipHash(m.k0, m.k1, key)
	s := m.shard(h)
	if len(s.entries) == 0 {
		return -1
	}
	return s.find(h).offset - 1
}

func (m *OffsetMap) shard(h hash128) *shard {
	if m.shift == 64 {
		return &m.shards[0]
	}
	return &m.shards[h.hi>>m.shift]
}

// find is the entry with the hash, or the empty one where it would go.
func (s *shard) find(h hash128) *mapEntry {
	at, _ := bits.Mul64(h.lo, uint64(len(s.entries)))
	for i := int(at); ; {
		e := &s.entries[i]
		if e.offset == 0 || e.hash == h {
			return e
		}
		if i++; i == len(s.entries) {
			i = 0
		}
	}
}

// grow doubles a shard, up to its final size: its sizes are that, half of it, and so on.
func (m *OffsetMap) grow(s *shard) {
	if len(s.entries) >= m.final {
		return
	}
	size := m.final
	for half := (size + 1) / 2; half > len(s.entries) && half >= smallestShard; half = (size + 1) / 2 {
		size = half
	}
	old := s.entries
	s.entries = make([]mapEntry, size)
	for i := range old {
		if old[i].offset != 0 {
			*s.find(old[i].hash) = old[i]
		}
	}
}
