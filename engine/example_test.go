package engine_test

import (
	"fmt"
	"os"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// told is a Waiter that hands the outcome to a channel.
type told chan error

func (c told) Synced(err error) { c <- err }

// Example uses the engine as a library: records that were acknowledged are on
// the disk, and are read back without being copied.
func Example() {
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	store, err := engine.Open(engine.Options{Dirs: []string{dir}})
	if err != nil {
		panic(err)
	}
	log, err := store.CreateLog(dir, "greetings-0", engine.ID{}, engine.LogConfig{})
	if err != nil {
		panic(err)
	}

	records := batch.NewBuilder(codec.None).
		Append(1_700_000_000_000, []byte("en"), []byte("hello")).
		Append(1_700_000_000_001, []byte("fr"), []byte("bonjour")).
		Bytes()
	durable := make(told, 1)
	appended, err := log.Append(records, engine.AppendOptions{LeaderEpoch: 0}, durable)
	if err != nil {
		panic(err)
	}
	if err := <-durable; err != nil {
		panic(err)
	}
	fmt.Println("appended", appended.BaseOffset, "to", appended.LastOffset)

	view, err := log.Read(0, engine.ReadOptions{MaxBytes: 1 << 20})
	if err != nil {
		panic(err)
	}
	for _, span := range view.Spans {
		for len(span) > 0 {
			b, rest, err := batch.Next(span)
			if err != nil {
				panic(err)
			}
			err = b.Each(1<<20, func(r *batch.Record) error {
				fmt.Printf("%d: %s %s\n", r.Offset, r.Key, r.Value)
				return nil
			})
			if err != nil {
				panic(err)
			}
			span = rest
		}
	}
	view.Release()

	if err := store.Close(0); err != nil {
		panic(err)
	}
	// Output:
	// appended 0 to 1
	// 0: en hello
	// 1: fr bonjour
}
