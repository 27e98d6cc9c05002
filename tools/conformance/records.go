package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// now is the timestamp of all records that are not about time.
var now = time.Now().UnixMilli()

// records makes a batch of n records with keys.
func records(n int) batch.Batch { return build(batch.NewBuilder(codec.None), n) }

func build(b *batch.Builder, n int) batch.Batch {
	for i := range n {
		b.Append(now, fmt.Appendf(nil, "key-%d", i), fmt.Appendf(nil, "value-%d", i))
	}
	return b.Bytes()
}

// change returns a copy of a batch with something done to it and a right
// checksum.
func change(b batch.Batch, f func(batch.Batch)) batch.Batch {
	c := append(batch.Batch(nil), b...)
	f(c)
	c.SetCRC()
	return c
}

// describeRecords gives the shape of fetched records.
func describeRecords(p []byte) string {
	var out []string
	for len(p) > 0 {
		b, rest, err := batch.Next(p)
		if err != nil {
			out = append(out, "a cut batch")
			break
		}
		p = rest
		crc := ""
		if b.CheckCRC() != nil {
			crc = " bad crc"
		}
		times := "timestamps kept"
		if b.IsLogAppendTime() {
			times = "log append time"
		} else if b.MaxTimestamp() != now {
			times = fmt.Sprintf("timestamp %d away", b.MaxTimestamp()-now)
		}
		if b.IsControl() {
			times = "marker"
		}
		if b.Attributes()&^0x7 != 0 {
			times += fmt.Sprintf(" attributes %#x", b.Attributes())
		}
		out = append(out, fmt.Sprintf("%d-%d %v epoch %d %s%s", b.BaseOffset(), b.LastOffset(), b.Codec(), b.LeaderEpoch(), times, crc))
	}
	if len(out) == 0 {
		return "empty"
	}
	return strings.Join(out, " | ")
}
