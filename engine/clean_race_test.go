package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
)

// TestReadersAndCleaner appends to compacted logs, reads them and cleans them without pause on the real disk: a
// reader finds for every key a value that is not older than what was acknowledged when it began, whatever is
// exchanged under its hands.
func TestReadersAndCleaner(t *testing.T) {
	dir := t.TempDir()
	open := func() *Store {
		st, err := Open(Options{Dirs: []string{dir}, CacheBytes: 1 << 20, CheckpointBytes: 64 << 10, RetentionInterval: 20 * time.Millisecond,
			CheckpointInterval: 15 * time.Millisecond, Cleaner: CleanerOptions{Backoff: time.Millisecond, Threads: 2, DedupeBufferBytes: 24 * 80, IOBufferBytes: 16384}})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := open()
	c := LogConfig{SegmentBytes: 8 << 10, SegmentIndexBytes: 4096, IndexIntervalBytes: 512, Compact: true, RetentionMs: -1, RetentionBytes: -1, FileDeleteDelayMs: 1}
	const keys = 50
	type keyed struct {
		log   *Log
		acked [keys]atomic.Int64
	}
	var logs []*keyed
	for i := range 2 {
		c.FlushMessages = int64(i) << 40 // one waits for syncs, one does not
		l, err := st.CreateLog(dir, fmt.Sprintf("topic-%d", i), ID{1}, c)
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, &keyed{log: l})
	}
	enough, deadline := int64(15), time.Now().Add(time.Minute)
	if testing.Short() {
		enough = 3
	}
	var scans, exchanged atomic.Int64
	var work sync.WaitGroup
	repeat := func(do func(rng *rand.Rand) error) {
		seed := rand.Uint64()
		work.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for exchanged.Load() < enough && time.Now().Before(deadline) && !t.Failed() {
				if err := do(rng); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i, k := range logs {
		var next [keys]int64
		repeat(func(rng *rand.Rand) error {
			b := batch.NewBuilder(codec.Type(rng.IntN(3)))
			id := int64(i)
			if rng.IntN(2) == 0 {
				b.Producer(id, 0, 0)
				if rng.IntN(2) == 0 {
					b.Transactional()
				}
			}
			var in []int
			for range 1 + rng.IntN(5) {
				key := rng.IntN(keys)
				next[key]++
				in = append(in, key)
				b.Append(time.Now().UnixMilli(), []byte{byte(key)}, binary.BigEndian.AppendUint64(make([]byte, rng.IntN(100)), uint64(next[key])))
			}
			p := []byte(b.Bytes())
			if batch.Batch(p).IsTransactional() {
				p = append(p, batch.EndTransactionMarker(true, 0, id, 0, time.Now().UnixMilli())...)
			}
			done := make(waitChannel, 1)
			if _, err := k.log.Append(p, AppendOptions{LeaderEpoch: 1, Origin: producer.Coordinator}, done); err != nil {
				return err
			}
			if err := <-done; err != nil {
				return err
			}
			for _, key := range in {
				k.acked[key].Store(next[key])
			}
			return nil
		})
		for range 2 {
			repeat(func(rng *rand.Rand) error {
				var least [keys]int64
				for key := range least {
					least[key] = k.acked[key].Load()
				}
				var seen [keys]int64
				segments := *k.log.segments.Load()
				if k.log.High() == 0 {
					runtime.Gosched()
					return nil
				}
				for at := k.log.Start(); at < k.log.High(); {
					v, err := k.log.Read(at, ReadOptions{MaxBytes: 1 + rng.IntN(6000), AtLeastOne: true})
					if err != nil {
						return err
					}
					var p []byte
					for _, s := range v.Spans {
						p = append(p, s...)
					}
					v.Release()
					if len(p) == 0 {
						break
					}
					for len(p) > 0 {
						b, rest, err := batch.Next(p)
						if err != nil {
							return fmt.Errorf("at %d: %w", at, err)
						}
						if err := b.CheckCRC(); err != nil {
							return err
						}
						if b.LastOffset() < at {
							return fmt.Errorf("at %d: batch [%d, %d]", at, b.BaseOffset(), b.LastOffset())
						}
						at, p = b.NextOffset(), rest
						if b.IsControl() {
							continue
						}
						err = b.Each(1<<20, func(r *batch.Record) error {
							seen[r.Key[0]] = int64(binary.BigEndian.Uint64(r.Value[len(r.Value)-8:]))
							return nil
						})
						if err != nil {
							return err
						}
					}
				}
				for key := range seen {
					if seen[key] < least[key] {
						return fmt.Errorf("key %d: found %d, acknowledged was %d", key, seen[key], least[key])
					}
				}
				scans.Add(1)
				if now := *k.log.segments.Load(); now[0] != segments[0] {
					exchanged.Add(1)
				}
				return nil
			})
		}
		repeat(func(rng *rand.Rand) error {
			_, err1 := k.log.AbortedTransactions(0, k.log.High())
			_, ok, err2 := k.log.OffsetForTimestamp(0)
			if err := errors.Join(err1, err2); err != nil || !ok && k.log.High() > 0 && k.acked[0].Load() > 0 {
				return fmt.Errorf("no record found by time: %w", err)
			}
			_, _, err := k.log.MaxTimestamp()
			return errors.Join(err, k.log.Retain())
		})
	}
	work.Wait()
	if exchanged.Load() < enough {
		t.Errorf("%d scans, only %d of them while segments were exchanged", scans.Load(), exchanged.Load())
	}
	t.Logf("%d scans, %d of them while segments were exchanged, log of %d segments and %d bytes at offset %d", scans.Load(), exchanged.Load(),
		len(*logs[0].log.segments.Load()), logs[0].log.Size(), logs[0].log.End())
	for _, k := range logs {
		if k.log.uncleanable.Load() {
			t.Error("a log is called uncleanable")
		}
	}
	if err := st.Close(1); err != nil {
		t.Fatal(err)
	}
	st = open()
	for _, k := range logs {
		l, err := st.OpenLog(dir, k.log.name, c)
		if err != nil {
			t.Fatal(err)
		}
		if l.End() != k.log.End() {
			t.Errorf("log ends at %d, ended at %d", l.End(), k.log.End())
		}
	}
	if err := st.Close(1); err != nil {
		t.Fatal(err)
	}
}
