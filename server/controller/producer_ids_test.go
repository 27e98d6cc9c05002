package controller

import (
	"errors"
	"testing"
)

func TestProducerIDs(t *testing.T) {
	var blocks int64
	fail := false
	p := &ProducerIDs{allocate: func() (int64, error) {
		if fail {
			return -1, errors.New("no")
		}
		blocks++
		return blocks * 10_000, nil
	}}
	seen := map[int64]bool{}
	next := func() int64 {
		id, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		if seen[id] {
			t.Fatalf("%d is given twice", id)
		}
		seen[id] = true
		return id
	}
	for range ProducerIDBlockSize {
		next()
	}
	if blocks != 1 {
		t.Fatalf("%d blocks for %d ids", blocks, ProducerIDBlockSize)
	}
	fail = true
	if _, err := p.Next(); err == nil {
		t.Fatal("an id without a block")
	}
	fail = false
	id := next()
	delete(seen, id)
	p.Return(id)
	if next() != id || next() != id+1 || blocks != 2 {
		t.Error("an id that came back is given first")
	}
}
