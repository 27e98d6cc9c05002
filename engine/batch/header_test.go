package batch

import (
	"errors"
	"math"
	"testing"

	"github.com/gregor-broker/gregor/engine/codec"
)

func sample() Batch {
	return NewBuilder(codec.None).BaseOffset(1000).LeaderEpoch(7).Producer(42, 3, 10).Transactional().
		Append(5_000, []byte("a"), []byte("1")).
		Append(7_000, nil, nil, Header{Key: "h", Value: nil}, Header{Key: "", Value: []byte{}}).
		Append(6_000, []byte{}, []byte("3")).Bytes()
}

func TestAccessors(t *testing.T) {
	b := sample()
	for name, x := range map[string][2]int64{
		"base offset": {b.BaseOffset(), 1000}, "last offset": {b.LastOffset(), 1002}, "next offset": {b.NextOffset(), 1003},
		"last offset delta": {int64(b.LastOffsetDelta()), 2}, "leader epoch": {int64(b.LeaderEpoch()), 7},
		"magic": {int64(b.Magic()), 2}, "attributes": {int64(b.Attributes()), 0x10}, "size": {int64(b.Size()), int64(len(b))},
		"base timestamp": {b.BaseTimestamp(), 5_000}, "max timestamp": {b.MaxTimestamp(), 7_000},
		"producer": {b.ProducerID(), 42}, "epoch": {int64(b.ProducerEpoch()), 3}, "count": {int64(b.RecordCount()), 3},
		"base sequence": {int64(b.BaseSequence()), 10}, "last sequence": {int64(b.LastSequence()), 12},
		"crc": {int64(b.CRC()), int64(Checksum(b[21:]))}, "records": {int64(len(b.Records())), int64(len(b) - HeaderSize)},
	} {
		if x[0] != x[1] {
			t.Errorf("%s is %d, expected %d", name, x[0], x[1])
		}
	}
	if !b.IsTransactional() || b.IsControl() || b.IsLogAppendTime() || b.HasDeleteHorizon() || !b.HasProducerID() || b.Codec() != codec.None {
		t.Errorf("attributes %#x", b.Attributes())
	}
	plain := NewBuilder(codec.Zstd).Append(1, nil, []byte("x")).Bytes()
	if plain.HasProducerID() || plain.LastSequence() != NoSequence || plain.LeaderEpoch() != NoLeaderEpoch || plain.Codec() != codec.Zstd {
		t.Errorf("producer %d, last sequence %d, leader epoch %d, codec %v", plain.ProducerID(), plain.LastSequence(), plain.LeaderEpoch(), plain.Codec())
	}
}

func TestStamping(t *testing.T) {
	b := sample()
	crc := b.CRC()
	b.SetBaseOffset(1 << 40)
	b.SetLeaderEpoch(99)
	if b.BaseOffset() != 1<<40 || b.LastOffset() != 1<<40+2 || b.LeaderEpoch() != 99 || b.CRC() != crc || b.CheckCRC() != nil {
		t.Fatal("offset and leader epoch lie outside the checksum")
	}
	b.SetLogAppendTime(123_456)
	if !b.IsLogAppendTime() || b.MaxTimestamp() != 123_456 || b.BaseTimestamp() != 5_000 || !b.IsTransactional() || b.CRC() == crc || b.CheckCRC() != nil {
		t.Fatalf("attributes %#x, max timestamp %d, %v", b.Attributes(), b.MaxTimestamp(), b.CheckCRC())
	}
	if err := b.Each(0, func(r *Record) error {
		if r.Timestamp != 123_456 {
			t.Errorf("record %d has timestamp %d", r.Offset, r.Timestamp)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := b.CheckCRC(); !errors.Is(err, ErrCRC) {
		t.Fatalf("a flipped bit: %v", err)
	}
}

func TestAddSequence(t *testing.T) {
	for _, x := range [][3]int32{{0, 0, 0}, {5, 3, 8}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 3, 1}} {
		if got := AddSequence(x[0], x[1]); got != x[2] {
			t.Errorf("%d + %d = %d, expected %d", x[0], x[1], got, x[2])
		}
	}
}

func TestPeekAndNext(t *testing.T) {
	b := sample()
	two := append(append([]byte{}, b...), b...)
	first, rest, err := Next(two)
	if err != nil || len(first) != len(b) || len(rest) != len(b) || cap(first) != len(b) {
		t.Fatalf("%d and %d bytes, %v", len(first), len(rest), err)
	}
	if size, err := Peek(two[:HeaderSize]); err != nil || size != len(b) {
		t.Fatalf("a header alone: %d, %v", size, err)
	}
	for name, x := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"nothing":              {func([]byte) []byte { return nil }, ErrShort},
		"part of a header":     {func(p []byte) []byte { return p[:HeaderSize-1] }, ErrShort},
		"part of the records":  {func(p []byte) []byte { return p[:len(p)-1] }, ErrShort},
		"magic 3":              {func(p []byte) []byte { p[16] = 3; return p }, ErrMagic},
		"negative magic":       {func(p []byte) []byte { p[16] = 0xff; return p }, ErrMagic},
		"magic 1":              {func(p []byte) []byte { p[16] = 1; return p }, ErrOldMagic},
		"magic 0":              {func(p []byte) []byte { p[16] = 0; return p }, ErrOldMagic},
		"zeros":                {func(p []byte) []byte { clear(p); return p }, ErrLength},
		"length 48":            {func(p []byte) []byte { copy(p[8:], []byte{0, 0, 0, 48}); return p }, ErrLength},
		"negative length":      {func(p []byte) []byte { p[8] = 0x80; return p }, ErrLength},
		"length that wraps":    {func(p []byte) []byte { copy(p[8:], []byte{0x7f, 0xff, 0xff, 0xf4}); return p }, ErrLength},
		"largest length":       {func(p []byte) []byte { copy(p[8:], []byte{0x7f, 0xff, 0xff, 0xf3}); return p }, ErrShort},
		"short with old magic": {func(p []byte) []byte { p[16] = 1; return p[:20] }, ErrOldMagic},
	} {
		p := x.change(append([]byte{}, b...))
		got, rest, err := Next(p)
		if !errors.Is(err, x.want) || got != nil || len(rest) != len(p) {
			t.Errorf("%s: %d bytes, %v, expected %v", name, len(got), err, x.want)
		}
	}
	old := append([]byte{}, b...)
	old[16] = 1
	if size, err := Peek(old); !errors.Is(err, ErrOldMagic) || size != len(b) {
		t.Errorf("the size of an old entry is %d, %v, expected %d", size, err, len(b))
	}
}

func TestCheckClient(t *testing.T) {
	ok := NewBuilder(codec.LZ4).Producer(5, 0, 0).Append(1, nil, []byte("x")).Bytes()
	if err := ok.CheckClient(); err != nil {
		t.Fatal(err)
	}
	if err := sample().CheckClient(); err != nil {
		t.Fatal(err)
	}
	build := func() *Builder { return NewBuilder(codec.None).Append(1, nil, []byte("x")) }
	patch := func(at int, p ...byte) Batch { b := build().Bytes(); copy(b[at:], p); return b }
	for name, x := range map[string]struct {
		b    Batch
		want error
	}{
		"too long":                   {append(build().Bytes(), 0), ErrLength},
		"too short":                  {build().Bytes()[:HeaderSize+1], ErrLength},
		"header cut":                 {build().Bytes()[:HeaderSize-1], ErrShort},
		"old":                        {patch(16, 1), ErrOldMagic},
		"unknown magic":              {patch(16, 9), ErrMagic},
		"unknown bit":                {patch(21, 0x01, 0), ErrAttributes},
		"unknown low bit":            {patch(21, 0, 0x80), ErrAttributes},
		"codec 5":                    {patch(21, 0, 5), ErrAttributes},
		"delete horizon":             {patch(21, 0, 0x40), ErrAttributes},
		"control":                    {build().Producer(1, 0, 0).Control().Bytes(), ErrControl},
		"log append time":            {patch(21, 0, 0x08), ErrTimestamp},
		"no records":                 {patch(57, 0, 0, 0, 0), ErrCount},
		"negative count":             {patch(57, 0xff, 0xff, 0xff, 0xff), ErrCount},
		"count and offsets differ":   {patch(57, 0, 0, 0, 2), ErrCount},
		"offset delta wraps":         {patch(23, 0xff, 0xff, 0xff, 0xff), ErrCount},
		"producer id -2":             {build().Producer(-2, 0, 0).Bytes(), ErrProducer},
		"no sequence":                {build().Producer(1, 0, -1).Bytes(), ErrProducer},
		"no epoch":                   {build().Producer(1, -1, 0).Bytes(), ErrProducer},
		"transactional by no one":    {build().Transactional().Bytes(), ErrProducer},
		"count at the limit of 2^31": {patch(57, 0x80, 0, 0, 0), ErrCount},
	} {
		if err := x.b.CheckClient(); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, expected %v", name, err, x.want)
		}
	}
}

func TestMarkers(t *testing.T) {
	for _, commit := range []bool{true, false} {
		b := EndTransactionMarker(commit, 17, 99, 4, 1234)
		if len(b) != 78 || !b.IsControl() || !b.IsTransactional() || b.RecordCount() != 1 || b.BaseSequence() != NoSequence ||
			b.ProducerID() != 99 || b.ProducerEpoch() != 4 || b.MaxTimestamp() != 1234 || b.CheckCRC() != nil {
			t.Fatalf("%d bytes, attributes %#x", len(b), b.Attributes())
		}
		got, epoch, err := EndTransaction(b)
		if err != nil || got != commit || epoch != 17 {
			t.Fatalf("%v, %d, %v", got, epoch, err)
		}
		typ, err := ControlType(b)
		if want := map[bool]int16{true: ControlCommit, false: ControlAbort}[commit]; err != nil || typ != want {
			t.Fatalf("type %d, %v", typ, err)
		}
	}
	leader := NewBuilder(codec.Gzip).Control().Append(1, ControlKey(ControlLeaderChange), []byte("...")).Bytes()
	if typ, err := ControlType(leader); err != nil || typ != ControlLeaderChange {
		t.Fatalf("type %d, %v", typ, err)
	}
	long := NewBuilder(codec.None).Control().Append(1, append(ControlKey(ControlCommit), 1, 2), append([]byte{0, 1, 0, 0, 0, 5}, 9, 9)).Bytes()
	if commit, epoch, err := EndTransaction(long); err != nil || !commit || epoch != 5 {
		t.Fatalf("a longer version: %v, %d, %v", commit, epoch, err)
	}
	empty := EndTransactionMarker(true, 0, 1, 0, 0)
	copy(empty[57:], []byte{0, 0, 0, 0})
	for name, b := range map[string]Batch{
		"not control": sample(), "no record": empty, "another type": leader,
		"short key":   NewBuilder(codec.None).Control().Append(1, []byte{0, 0, 0}, nil).Bytes(),
		"null key":    NewBuilder(codec.None).Control().Append(1, nil, nil).Bytes(),
		"short value": NewBuilder(codec.None).Control().Append(1, ControlKey(ControlAbort), []byte{0, 0, 0, 0, 0}).Bytes(),
	} {
		if _, _, err := EndTransaction(b); !errors.Is(err, ErrControl) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
