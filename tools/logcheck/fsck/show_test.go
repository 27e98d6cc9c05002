package fsck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire/prim"
)

func dumped(t *testing.T, disk memory, path string, o DumpOptions) []string {
	t.Helper()
	o.FS = disk
	var b bytes.Buffer
	if err := Dump(context.Background(), path, o, &b); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestDumpFilters(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	const path = "/data/shop-0"
	raw := NewDumpOptions()
	raw.Format = FormatRaw
	all := len(dumped(t, disk, path, raw))
	key := "key-0"
	for name, c := range map[string]struct {
		set  func(*DumpOptions)
		want int
	}{
		"offsets":  {func(o *DumpOptions) { o.From, o.To = 3, 7 }, 5},
		"one":      {func(o *DumpOptions) { o.From, o.To = 40, 40 }, 1},
		"limit":    {func(o *DumpOptions) { o.Limit = 4 }, 4},
		"producer": {func(o *DumpOptions) { o.ProducerID = 7 }, 4},
		"key":      {func(o *DumpOptions) { o.Key = &key }, 13},
		"time":     {func(o *DumpOptions) { o.FromTime, o.ToTime = madeTime+14, madeTime+28 }, 3},
		"all":      {func(*DumpOptions) {}, all},
	} {
		o := raw
		c.set(&o)
		if got := len(dumped(t, disk, path, o)); got != c.want {
			t.Errorf("%s: %d rows, expected %d", name, got, c.want)
		}
	}
	table := dumped(t, disk, path, NewDumpOptions())
	if len(table) != all+1 || !strings.HasPrefix(table[0], "PARTITION") || !strings.Contains(table[1], "key-0") {
		t.Errorf("table of %d lines for %d records: %q", len(table), all, table[:2])
	}
	batches := NewDumpOptions()
	batches.Batches = true
	if got := dumped(t, disk, path, batches); len(got) != 17 {
		t.Errorf("%d lines of batches, expected 17", len(got))
	}
}

func TestDumpOfEveryFile(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	for _, name := range disk.files() {
		for _, format := range []Format{FormatTable, FormatJSON} {
			o := NewDumpOptions()
			o.Format = format
			if got := dumped(t, disk, name, o); len(disk[name]) > batch.HeaderSize && len(got[0]) == 0 {
				t.Errorf("%s as %s: nothing", name, format)
			}
		}
	}
}

// TestDecodeShareState reads the two kinds of records of __share_group_state.
func TestDecodeShareState(t *testing.T) {
	id := meta.UUID{9, 8, 7}
	key := func(typ int16) []byte {
		return prim.AppendInt32(prim.AppendUUID(prim.AppendString(prim.AppendInt16(nil, typ), "g"), id), 3)
	}
	batches := func(p []byte) []byte {
		p = prim.AppendCompactArrayLen(p, 1)
		p = prim.AppendInt16(prim.AppendInt8(prim.AppendInt64(prim.AppendInt64(p, 10), 19), 2), 1)
		p = prim.AppendTags0(p)
		return prim.AppendInt32(append(p, 1, 0, 4), 7)
	}
	snapshot := prim.AppendInt64(prim.AppendInt32(prim.AppendInt32(prim.AppendInt32(prim.AppendInt16(nil, 0), 1), 2), 5), 10)
	snapshot = batches(prim.AppendInt64(prim.AppendInt64(snapshot, 100), 200))
	update := batches(prim.AppendInt64(prim.AppendInt32(prim.AppendInt32(prim.AppendInt16(nil, 0), 1), 5), -1))
	for want, r := range map[string]batch.Record{
		"ShareSnapshot group=g topicId=" + id.String() + " partition=3 {SnapshotEpoch:1 StateEpoch:2 LeaderEpoch:5 StartOffset:10 DeliveryCompleteCount:7 CreateTimestamp:100 WriteTimestamp:200 StateBatches:[{FirstOffset:10 LastOffset:19 DeliveryState:2 DeliveryCount:1}]}": {Key: key(0), Value: snapshot},
		"ShareUpdate group=g topicId=" + id.String() + " partition=3 {SnapshotEpoch:1 StateEpoch:-1 LeaderEpoch:5 StartOffset:-1 DeliveryCompleteCount:7 CreateTimestamp:-1 WriteTimestamp:-1 StateBatches:[{FirstOffset:10 LastOffset:19 DeliveryState:2 DeliveryCount:1}]}":    {Key: key(1), Value: update},
		"ShareSnapshot group=g topicId=" + id.String() + " partition=3 tombstone": {Key: key(0)},
	} {
		if got := decodeShare(&r).words; got != want {
			t.Errorf("%s\nexpected %s", got, want)
		}
		for n := range r.Value {
			if got := decodeShare(&batch.Record{Key: r.Key, Value: r.Value[:n]}).words; n > 0 && !strings.Contains(got, "not decoded") {
				t.Errorf("cut to %d bytes: %s", n, got)
			}
		}
	}
	if got := decodeShare(&batch.Record{Key: key(2)}).words; !strings.Contains(got, "not decoded") {
		t.Error(got)
	}
}

func TestDumpPassesOverDamage(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	name := "/data/shop-0/00000000000000000000.log"
	data := slices.Clone(disk[name])
	data[300] ^= 4
	o := NewDumpOptions()
	o.FS = disk.with(name, data)
	var b bytes.Buffer
	err := Dump(context.Background(), "/data/shop-0", o, &b)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(b.String(), "!!") || strings.Count(b.String(), "\n") < 40 {
		t.Errorf("%v: %s", err, b.String())
	}
}

// TestExplainEveryByte asks for every byte of every file, and for every offset.
func TestExplainEveryByte(t *testing.T) {
	ctx := context.Background()
	disk := loadMemory(t, makeDirectory(t))
	for _, name := range disk.files() {
		for at := 0; at < len(disk[name]); at += 7 * coarse {
			var b bytes.Buffer
			if err := ExplainPosition(ctx, disk, name, int64(at), &b); err != nil || !strings.Contains(b.String(), "nothing wrong") {
				t.Fatalf("%s@%d: %v %s", name, at, err, b.String())
			}
		}
		if err := ExplainPosition(ctx, disk, name, int64(len(disk[name])), new(bytes.Buffer)); err == nil {
			t.Errorf("%s: a position behind the end is explained", name)
		}
	}
	for offset := range int64(40) {
		var b bytes.Buffer
		if err := ExplainOffset(ctx, disk, "/data/shop-0", offset, &b); err != nil || !strings.Contains(b.String(), fmt.Sprintf("> %10d  2", offset)) {
			t.Fatalf("offset %d: %v %s", offset, err, b.String())
		}
	}
	if err := ExplainOffset(ctx, disk, "/data/shop-0", 1000, new(bytes.Buffer)); !errors.Is(err, ErrNoOffset) {
		t.Errorf("an offset behind the end: %v", err)
	}
}

func TestExplainDamage(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	name := "/data/shop-0/00000000000000000000.log"
	for at, want := range map[int]string{70: "byte 70: ", 9: "field batchLength", 3: "baseOffset", 14: "partitionLeaderEpoch", 16: "field magic", 18: "field crc"} {
		data := slices.Clone(disk[name])
		data[at] ^= 1
		var b bytes.Buffer
		if err := ExplainPosition(context.Background(), disk.with(name, data), name, int64(at), &b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) || !strings.Contains(b.String(), "DAMAGE") {
			t.Errorf("byte %d: expected %q in %s", at, want, b.String())
		}
	}
}

// TestTwoFlippedBitsAreNotMended: a syndrome that one bit explains by chance must not pass the second proof, and two bits are never
// taken for one.
func TestTwoFlippedBitsAreNotMended(t *testing.T) {
	b := batch.NewBuilder(codec.None)
	for i := range 60 {
		b.Append(madeTime+int64(i), fmt.Appendf(nil, "k%d", i), bytes.Repeat([]byte{byte(i)}, 20))
	}
	good := b.Bytes()
	n := 0
	for i := coveredAt; i < len(good); i += 5 {
		for j := i + 1; j < len(good); j += 31 {
			bad := slices.Clone(good)
			bad[i] ^= 1 << (i % 8)
			bad[j] ^= 1 << (j % 8)
			if d := diagnoseBatch(bad, 0, int64(len(bad))); len(d.fixes) > 0 {
				t.Fatalf("bytes %d and %d: %s", i, j, d.text)
			}
			n++
		}
	}
	if n < 5000 {
		t.Errorf("%d pairs", n)
	}
}

// FuzzVerify puts any bytes in the place of each kind of file: no panic, and
// memory stays within bounds.
func FuzzVerify(f *testing.F) {
	disk := loadMemory(f, makeDirectory(f))
	files := disk.files()
	for i, name := range files {
		f.Add(uint8(i), disk[name])
		f.Add(uint8(i), disk[name][:len(disk[name])/2])
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		name := files[int(which)%len(files)]
		changed := disk.with(name, data)
		check(t, changed, true)
		if filepath.Ext(name) != segment.LogSuffix || len(data) == 0 {
			return
		}
		o := NewDumpOptions()
		o.FS, o.DecodeLimit = changed, 1<<20
		if err := Dump(context.Background(), name, o, new(bytes.Buffer)); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
		if err := ExplainPosition(context.Background(), changed, name, int64(len(data)/2), new(bytes.Buffer)); err != nil {
			t.Error(err)
		}
	})
}

// FuzzSmallFiles gives any bytes to the parsers of text files.
func FuzzSmallFiles(f *testing.F) {
	f.Add([]byte("node.id=1\ndirectory.id=tM_HBWdJRSWyQ2_nmrdzTA\nversion=1\ncluster.id=x\n"))
	f.Add([]byte(`{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`))
	f.Add([]byte("version: 0\ntopic_id: tM_HBWdJRSWyQ2_nmrdzTA"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := parseProperties(data); err == nil && (p.nodeID < 0 || p.clusterID == "") {
			t.Errorf("%+v", p)
		}
		if q, err := parseQuorumState(data); err == nil && (q.LeaderID == nil || q.LeaderEpoch == nil || q.VotedID == nil) {
			t.Errorf("%+v", q)
		}
		if id, err := parseTopicID(data); err == nil && !bytes.Contains(data, []byte(id.String())) {
			t.Errorf("%s", id)
		}
		var m marker
		_ = strictJSON(data, &m, "version", "brokerEpoch")
		strictLines(data)
		parsePartition(string(data))
		parseSnapshotName(string(data))
	})
}
