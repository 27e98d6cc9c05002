package quorum

// Log is what the quorum needs of the metadata log. EngineLog makes one of an engine's log.
type Log interface {
	// Start is the offset of the first record that is still there.
	Start() int64
	// End is the offset the next record gets.
	End() int64
	// Append takes whole batches with consecutive base offsets from End and the leader epoch in them. w.Synced is called exactly
	// once, when they are durable or never will be, unless Append returns an error: then nothing was appended. p may be used
	// again when it returns.
	Append(p []byte, leaderEpoch int32, w Waiter) (baseOffset int64, err error)
	// DeletePrefix lets the records below an offset go; it may keep some of them.
	DeletePrefix(offset int64) error
	// Size is the bytes of the log on disk.
	Size() int64
}

// Waiter learns when an append is durable.
type Waiter interface{ Synced(err error) }

// waitChannel is a Waiter for one caller that waits; make it with room for one.
type waitChannel chan error

// Synced passes err on.
func (c waitChannel) Synced(err error) { c <- err }
