package simfs

import "slices"

// Keep says what a power cut leaves of the unsynced changes.
type Keep int

// The ways to decide about unsynced changes.
const (
	// KeepSome decides about each by chance; some crashes lose or keep nearly all.
	KeepSome Keep = iota
	// KeepNone leaves exactly what was synced.
	KeepNone
	// KeepAll leaves everything, as if the cache had just been written back.
	KeepAll
)

// CrashOptions decide which of the legal states Crash makes.
type CrashOptions struct {
	// Keep is the rule for unsynced changes.
	Keep Keep
	// Seed decides the choices of KeepSome; 0 takes the next number of the disk's own sequence.
	Seed uint64
	// WholeBlocks leaves out torn blocks, which makes the states few enough to try all.
	WholeBlocks bool
	// Choose, if set, decides instead of Keep and Seed: it returns a number in [0,n), 0 being what was synced and
	// n-1 the latest. EveryChoice makes one that walks through all states.
	Choose func(n int) int
}

// Crash returns a disk in a state a power cut now could leave; this disk stays as it is. What was synced is exact.
// Of each file's unsynced changes, the size is the one after some change (perhaps without the data below it, which
// is then zeros, or old bytes in a partly truncated block), and each 4 KiB block is independently in the state after
// some change to it, or torn at 512 bytes between two such states. Each unsynced change of a directory is
// independently kept or lost, but a file that was durable and not removed is always there once, under one of the
// names it had. The new disk has no open files, mappings, locks, injected failures or OnChange; it
// inherits the options.
func (d *FS) Crash(o CrashOptions) *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	clone := d.empty()
	if o.Seed != 0 {
		clone.random = o.Seed
	}
	c := crash{choose: o.Choose, torn: !o.WholeBlocks, disk: clone}
	if c.choose == nil {
		c.choose = chooser(o.Keep, &clone.random)
	}
	if len(d.pending) > 0 {
		c.copies, c.removed = map[*node]*node{}, map[*node]bool{}
	}
	clone.root = c.copy(d.root)
	// Everything is copied before anything moves, so that copying a directory cannot undo a move.
	for i := range d.pending {
		c.copy(d.pending[i].node)
	}
	for i := range d.pending {
		if c.choose(2) == 1 {
			c.redo(&d.pending[i])
		}
	}
	c.files(clone.root)
	return clone
}

// KillClone returns the disk a killed process leaves: everything written is there, and what was not synced can still
// be lost by a later Crash of the clone. This disk stays as it is. The clone inherits the options and the failures
// still due, but no open files, mappings, locks, power limit or OnChange.
func (d *FS) KillClone() *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	clone := d.empty()
	k := kill{disk: clone, copies: map[*node]*node{}}
	clone.root = k.copy(d.root)
	clone.pending = make([]dirChange, len(d.pending))
	for i, c := range d.pending {
		c.node, c.from, c.to = k.copy(c.node), k.copy(c.from), k.copy(c.to)
		c.written = false
		clone.pending[i] = c
	}
	clone.lying, clone.failSync, clone.failSyncDir = d.lying, d.failSync, d.failSyncDir
	return clone
}

// DropCaches forgets clean cached pages, as memory pressure does: files whose sync failed then read as the disk has
// them, without the changes that sync lost.
func (d *FS) DropCaches() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropCaches(d.root)
}

func (d *FS) dropCaches(n *node) {
	for _, e := range n.entries {
		d.dropCaches(e.node)
	}
	if !n.forgot {
		return
	}
	n.forgot = false
	space := n.space()
	n.content = n.synced.share()
	for _, c := range n.pending {
		n.content.apply(c)
	}
	d.used += n.space() - space
	for _, m := range n.maps {
		clear(m.window[copy(m.window, n.content.b):])
	}
}

// EveryChoice calls try once for each state that its choose function can lead to, in a fixed order, until try
// returns false; it returns the number of calls. Pass choose on to Crash.
func EveryChoice(try func(choose func(n int) int) bool) int {
	var path, sizes []int
	for calls := 1; ; calls++ {
		depth := 0
		more := try(func(n int) int {
			if depth == len(path) {
				path, sizes = append(path, 0), append(sizes, n)
			}
			depth++
			return path[depth-1]
		})
		if !more {
			return calls
		}
		last := len(path) - 1
		for ; last >= 0 && path[last] == sizes[last]-1; last-- {
		}
		if last < 0 {
			return calls
		}
		path[last]++
		path, sizes = path[:last+1], sizes[:last+1]
	}
}

// chooser makes the choices of one crash. One random crash in eight loses nearly all and one keeps nearly all, states
// that fair coins would hardly ever show with many changes.
func chooser(keep Keep, state *uint64) func(n int) int {
	switch keep {
	case KeepNone:
		return func(int) int { return 0 }
	case KeepAll:
		return func(n int) int { return n - 1 }
	}
	profile := next(state) % 8
	return func(n int) int {
		r := next(state)
		pick := int((r >> 8) % uint64(n))
		if rare := r&7 == 0; profile < 2 && !rare {
			return int(profile) * (n - 1)
		}
		return pick
	}
}

func (d *FS) empty() *FS {
	return &FS{options: d.options, random: next(&d.random), locks: map[*node]bool{}}
}

// crash builds the tree that a power cut leaves.
type crash struct {
	disk   *FS
	choose func(n int) int
	torn   bool

	// For redo; nil when there is nothing to redo.
	copies  map[*node]*node // old to new
	removed map[*node]bool  // new ones whose old one is in no directory any more
}

// directory copies the durable tree; files get their bytes later, when it is known which are still reachable.
func (c *crash) directory(old *node) *node {
	n := c.bare(old)
	if len(old.durable) > 0 {
		n.entries = make([]entry, len(old.durable))
		for i, e := range old.durable {
			child := c.copy(e.node)
			child.parent, child.name = n, e.name
			n.entries[i] = entry{e.name, child}
		}
	}
	return n
}

func (c *crash) copy(old *node) *node {
	if old == nil {
		return nil
	}
	if n := c.copies[old]; n != nil {
		return n
	}
	if old.isDir() {
		return c.directory(old)
	}
	n := c.bare(old)
	n.synced, n.pending = old.synced.share(), old.pending
	return n
}

func (c *crash) bare(old *node) *node {
	n := &node{mode: old.mode, modTime: old.modTime, reserved: old.reserved}
	if c.copies != nil {
		c.copies[old] = n
		c.removed[n] = old.parent == nil
	}
	return n
}

// redo makes a kept change of names. Changes it came after may have been lost, so it is skipped where it would cost a
// file nobody removed: no journal, however short, forgets a file because it was moved.
func (c *crash) redo(change *dirChange) {
	n := c.copy(change.node)
	if change.to == nil {
		if n.parent == c.copy(change.from) && n.name == change.fromName && !c.wanted(n) {
			n.detach()
		}
		return
	}
	to := c.copy(change.to)
	switch there := to.get(change.name); {
	case there != nil && there != n && c.wanted(there):
	case to.within(n):
	case n.within(c.disk.root) && !to.within(c.disk.root):
	default:
		to.place(change.name, n)
	}
}

// wanted reports whether n, or anything left below it, was not removed by the process.
func (c *crash) wanted(n *node) bool {
	return !c.removed[n] || slices.ContainsFunc(n.entries, func(e entry) bool { return c.wanted(e.node) })
}

// files decides about the bytes of every file that is left, and calls what is left durable.
func (c *crash) files(n *node) {
	n.durable = n.entries
	for _, e := range n.entries {
		if e.node.isDir() {
			c.files(e.node)
		} else {
			c.file(e.node)
		}
	}
}

func (c *crash) file(n *node) {
	if len(n.pending) > 0 {
		n.synced = bytesOrShared{b: c.bytes(n.synced.b, n.pending)}
		n.pending = nil
	}
	n.content = n.synced.share()
	c.disk.used += n.space()
}

// bytes makes one state of a file between its synced bytes and its pending changes.
func (c *crash) bytes(synced []byte, pending []dataChange) []byte {
	// The size is that of some moment: it is written back apart from the data.
	moments := []int{0} // changes in effect, for each size there was
	size := int64(len(synced))
	for i, p := range pending {
		if p.size != p.before {
			moments = append(moments, i+1)
		}
	}
	moment := moments[c.choose(len(moments))]
	if moment > 0 {
		size = pending[moment-1].size
	}
	out := make([]byte, size)
	copy(out, synced)

	var buffer [BlockSize]byte
	var touching []int
	for start := dirtyFrom(pending); start < size; start += BlockSize {
		touching = touching[:0]
		oldest := 0  // changes to this block that must be in effect
		newest := -1 // and those that may be, if not all
		for i, p := range pending {
			if !p.touches(start, start+BlockSize) {
				continue
			}
			if p.truncate && p.size <= start {
				// The block was given back with the size, not by writing to it.
				if i < moment {
					oldest = len(touching) + 1
				} else if newest < 0 {
					newest = len(touching)
				}
			}
			touching = append(touching, i)
		}
		if len(touching) == 0 {
			continue
		}
		if newest < 0 {
			newest = len(touching)
		}
		c.block(out[start:min(start+BlockSize, size)], start, &buffer, synced, pending, touching, oldest, newest)
	}
	return out
}

// block fills one block of out with a state after oldest to newest of the changes that touch it.
func (c *crash) block(out []byte, start int64, buffer *[BlockSize]byte, synced []byte, pending []dataChange, touching []int, oldest, newest int) {
	state := oldest + c.choose(newest-oldest+1)
	before, sectors := state, 0xFF
	if c.torn && state > oldest && c.choose(3) == 1 {
		before, sectors = oldest+c.choose(state-oldest), c.choose(1<<(BlockSize/SectorSize))
	}
	clear(buffer[:])
	if start < int64(len(synced)) {
		copy(buffer[:], synced[start:])
	}
	for done := 0; ; done++ {
		if done == before {
			copy(out, buffer[:])
		}
		if done == state {
			break
		}
		overlay(buffer[:], start, pending[touching[done]])
	}
	for i := 0; before != state && i < len(out); i += SectorSize {
		if sectors>>(i/SectorSize)&1 == 1 {
			copy(out[i:], buffer[i:i+SectorSize])
		}
	}
}

// overlay makes one change to the bytes of a block.
func overlay(block []byte, start int64, p dataChange) {
	switch {
	case p.truncate:
		clear(block[min(max(p.size-start, 0), int64(len(block))):])
	case p.off >= start:
		copy(block[p.off-start:], p.data)
	default:
		copy(block, p.data[start-p.off:])
	}
}

// dirtyFrom is the first block that some change may touch.
func dirtyFrom(pending []dataChange) int64 {
	from := pending[0].size
	for _, p := range pending {
		if p.truncate {
			from = min(from, p.size, p.before)
		} else {
			from = min(from, p.off)
		}
	}
	return from &^ (BlockSize - 1)
}

// kill copies a disk with what is volatile.
type kill struct {
	disk   *FS
	copies map[*node]*node
}

func (k *kill) copy(old *node) *node {
	if old == nil {
		return nil
	}
	if n := k.copies[old]; n != nil {
		return n
	}
	n := &node{mode: old.mode, modTime: old.modTime, reserved: old.reserved, name: old.name, forgot: old.forgot, owed: old.owed}
	k.copies[old] = n
	n.parent = k.copy(old.parent)
	n.entries, n.durable = k.entries(old.entries), k.entries(old.durable)
	n.content, n.synced = old.content.share(), old.synced.share()
	n.pending = old.pending[:len(old.pending):len(old.pending)]
	if n.parent != nil && !n.isDir() {
		k.disk.used += n.space()
	}
	return n
}

func (k *kill) entries(old []entry) []entry {
	list := make([]entry, len(old))
	for i, e := range old {
		list[i] = entry{e.name, k.copy(e.node)}
	}
	return list
}
