package record

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/wire/prim"
)

// kafkaRecord is a line of testdata/kafka-4.3.1-records.tsv: records of random content that the message classes of Kafka 4.3.1 wrote, with
// what its CoordinatorRecordJsonConverters print for them.
type kafkaRecord struct {
	kind               Type
	version            int16
	key, value         []byte
	keyJSON, valueJSON string
}

func kafkaRecords(t testing.TB) []kafkaRecord {
	f, err := os.Open("testdata/kafka-4.3.1-records.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []kafkaRecord
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p := strings.Split(lines.Text(), "\t")
		kind, err1 := strconv.Atoi(p[0])
		version, err2 := strconv.Atoi(p[1])
		key, err3 := hex.DecodeString(p[2])
		value, err4 := hex.DecodeString(p[3])
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		out = append(out, kafkaRecord{Type(kind), int16(version), key, value, p[4], p[5]})
	}
	if len(out) == 0 || lines.Err() != nil {
		t.Fatal("no records", lines.Err())
	}
	return out
}

// TestKafka reads what Kafka wrote, prints it as Kafka prints it and writes the same bytes again.
func TestKafka(t *testing.T) {
	seen := map[Type]bool{}
	for _, r := range kafkaRecords(t) {
		seen[r.kind] = true
		k, v, err := Decode(r.key, r.value)
		if err != nil {
			t.Fatalf("%v version %d: %v", r.kind, r.version, err)
		}
		if k.Type != r.kind {
			t.Fatalf("type is %v, want %v", k.Type, r.kind)
		}
		kj, vj, err := JSON(r.key, r.value)
		if err != nil {
			t.Fatal(err)
		}
		if kj != r.keyJSON || vj != r.valueJSON {
			t.Fatalf("%v version %d prints as\n%s %s\nKafka prints\n%s %s", r.kind, r.version, kj, vj, r.keyJSON, r.valueJSON)
		}
		if got := k.Append(nil); !bytes.Equal(got, r.key) {
			t.Fatalf("%v: key is %x, Kafka wrote %x", r.kind, got, r.key)
		}
		_, _, flexible := v.versions()
		if got := appendVersion(nil, v, r.version, flexible); !bytes.Equal(got, r.value) {
			t.Fatalf("%v version %d: value is\n%x, Kafka wrote\n%x", r.kind, r.version, got, r.value)
		}
	}
	for kind := range Type(len(types)) {
		if kind.Known() != seen[kind] {
			t.Errorf("%v: known is %v, among Kafka's records %v", kind, kind.Known(), seen[kind])
		}
	}
}

// TestWritten: the versions that GroupCoordinatorRecordHelpers writes.
func TestWritten(t *testing.T) {
	for _, c := range []struct {
		value   Value
		version int16
	}{
		{&OffsetCommit{ExpireTimestamp: -1}, 4},
		{&OffsetCommit{}, 4},
		{&OffsetCommit{ExpireTimestamp: 1}, 1},
		{&GroupMetadata{}, 3},
		{&ConsumerGroupMemberMetadata{}, 0},
	} {
		r := prim.NewReader(Append(nil, c.value))
		if got := r.Int16(); got != c.version {
			t.Errorf("%T is written in version %d, want %d", c.value, got, c.version)
		}
	}
}

// TestDefaults: what a field is in a version that does not have it.
func TestDefaults(t *testing.T) {
	old := appendVersion(nil, &OffsetCommit{Offset: 7, Metadata: "m"}, 0, 4)
	_, v, err := Decode(Key{Type: TypeOffsetCommit}.Append(nil), old)
	if err != nil {
		t.Fatal(err)
	}
	if o := v.(*OffsetCommit); o.LeaderEpoch != -1 || o.ExpireTimestamp != -1 || o.Offset != 7 {
		t.Errorf("version 0 reads as %+v", o)
	}
	old = appendVersion(nil, &GroupMetadata{Members: []GroupMember{{MemberID: "a"}}}, 0, 4)
	_, v, err = Decode(Key{Type: TypeGroupMetadata}.Append(nil), old)
	if err != nil {
		t.Fatal(err)
	}
	if g := v.(*GroupMetadata); g.CurrentStateTimestamp != -1 || g.Members[0].RebalanceTimeout != -1 {
		t.Errorf("version 0 reads as %+v", g)
	}
}

// TestRefusals: what is no record of this release, each with its error.
func TestRefusals(t *testing.T) {
	key := Key{Type: TypeConsumerGroupMetadata, Group: "g"}.Append(nil)
	for _, c := range []struct {
		name       string
		key, value []byte
		want       error
	}{
		{"unused type", []byte{0, 9, 0, 1, 'g'}, nil, ErrUnknownType},
		{"later type", []byte{0, 24}, []byte{0, 0}, ErrUnknownType},
		{"negative type", []byte{0xff, 0xff}, nil, ErrUnknownType},
		{"empty key", nil, nil, prim.ErrMalformed},
		{"cut key", key[:len(key)-1], nil, prim.ErrMalformed},
		{"empty value", key, []byte{}, prim.ErrMalformed},
		{"cut value", key, []byte{0, 0, 0, 0}, prim.ErrMalformed},
		{"later version", key, []byte{0, 1, 0, 0, 0, 0, 0}, ErrUnsupportedVersion},
		{"negative version", key, []byte{0xff, 0xff}, ErrUnsupportedVersion},
	} {
		if _, _, err := Decode(c.key, c.value); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if _, _, err := JSON(c.key, c.value); !errors.Is(err, c.want) {
			t.Errorf("%s: JSON: %v, want %v", c.name, err, c.want)
		}
	}
	k, v, err := Decode(key, nil)
	if err != nil || v != nil || k.Group != "g" {
		t.Errorf("a tombstone reads as %v, %v, %v", k, v, err)
	}
	if k, _, _ := Decode([]byte{0, 24}, nil); k.Type != 24 || k.Type.String() != "Type(24)" {
		t.Errorf("type of an unknown record is %v", k.Type)
	}
}

// TestOwned: nothing decoded changes with the bytes it came from.
func TestOwned(t *testing.T) {
	for _, r := range kafkaRecords(t) {
		_, v, err := Decode(r.key, r.value)
		if err != nil {
			t.Fatal(err)
		}
		_, _, flexible := v.versions()
		want := appendVersion(nil, v, r.version, flexible)
		for i := range r.value {
			r.value[i] ^= 0x55
		}
		if !bytes.Equal(appendVersion(nil, v, r.version, flexible), want) {
			t.Fatalf("%v version %d keeps parts of the bytes it was read from", r.kind, r.version)
		}
	}
}

// FuzzDecode: no bytes panic, and what decodes is written as bytes that mean the same.
func FuzzDecode(f *testing.F) {
	for _, r := range kafkaRecords(f) {
		f.Add(r.key, r.value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		k, v, err := Decode(key, value)
		if err != nil || v == nil {
			return
		}
		wantKey, wantValue := Encode(k, v)
		k2, v2, err := Decode(wantKey, wantValue)
		if err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		gotKey, gotValue := Encode(k2, v2)
		if !bytes.Equal(gotKey, wantKey) || !bytes.Equal(gotValue, wantValue) {
			t.Fatalf("%v: written as\n%x %x, then as\n%x %x", k.Type, wantKey, wantValue, gotKey, gotValue)
		}
		if _, _, err := JSON(key, value); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkOffsetCommit(b *testing.B) {
	k, v := Encode(Key{Type: TypeOffsetCommit, Group: "group", Topic: "topic", Partition: 3}, &OffsetCommit{Offset: 1 << 40, LeaderEpoch: 2, CommitTimestamp: 1 << 41})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Decode(k, v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Encode(Key{Type: TypeOffsetCommit, Group: "group", Topic: "topic", Partition: 3}, &OffsetCommit{Offset: 1 << 40, LeaderEpoch: 2, CommitTimestamp: 1 << 41})
		}
	})
}
