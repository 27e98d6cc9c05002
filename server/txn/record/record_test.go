package record

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/gregor-broker/gregor/wire/prim"
)

// entry is one record of a log file.
type entry struct{ key, value []byte }

// entries takes the records out of the batches of a file that Apache Kafka wrote, uncompressed as all of
// __transaction_state is; control batches are left out.
func entries(t testing.TB, name string) (list []entry) {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	log, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	for len(log) > 0 {
		size := 12 + int(binary.BigEndian.Uint32(log[8:]))
		if log[22]&0x20 == 0 {
			r := prim.NewReader(log[61:size])
			for r.Remaining() > 0 && r.Err() == nil {
				r.Varint()
				r.Int8()
				r.Varlong()
				r.Varint()
				var e entry
				e.key = r.Raw(int(r.Varint()))
				if n := r.Varint(); n >= 0 {
					e.value = r.Raw(int(n))
				}
				r.Varint()
				list = append(list, e)
			}
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
		}
		log = log[size:]
	}
	return list
}

// TestGolden: what Apache Kafka 4.0.0 and 4.3.1 wrote comes back byte for byte.
func TestGolden(t *testing.T) {
	for _, name := range []string{"kafka-4.0.0.log.gz", "kafka-4.3.1.log.gz"} {
		states := map[string][]State{}
		for i, e := range entries(t, name) {
			id, err := DecodeKey(e.key)
			if err != nil {
				t.Fatalf("%s: record %d: %v", name, i, err)
			}
			if got := AppendKey(nil, id); !bytes.Equal(got, e.key) {
				t.Errorf("%s: record %d: key %x, expected %x", name, i, got, e.key)
			}
			v, version, err := DecodeValue(e.value)
			if err != nil {
				t.Fatalf("%s: record %d: %v", name, i, err)
			}
			if got := AppendValue(nil, v, version); !bytes.Equal(got, e.value) {
				t.Errorf("%s: record %d: %+v is %x, expected %x", name, i, v, got, e.value)
			}
			// 4.0 leaves the previous producer id out, 4.3 repeats the present one.
			previous := int64(None)
			if name == "kafka-4.3.1.log.gz" {
				previous = v.ProducerID
			}
			if version != 1 || v.ProducerID < 0 || v.ProducerEpoch < 0 || v.TimeoutMs != 900000 || v.PreviousProducerID != previous ||
				v.NextProducerID != None || v.UpdatedMs == 0 || (v.State == Empty) != (v.Topics == nil) || (v.State == Empty) != (v.StartedMs == -1) {
				t.Errorf("%s: record %d: version %d, %+v", name, i, version, v)
			}
			states[id] = append(states[id], v.State)
		}
		if want := []State{Empty, Ongoing, Ongoing, PrepareCommit, CompleteCommit, Empty, Ongoing, Ongoing, PrepareAbort, CompleteAbort}; !slices.Equal(states["tx-0"], want) {
			t.Errorf("%s: went through %v, expected %v", name, states["tx-0"], want)
		}
		t.Log(name, states)
	}
}

func full() *Value {
	return &Value{ProducerID: 7, PreviousProducerID: 6, NextProducerID: 9, ProducerEpoch: 32767, NextProducerEpoch: 3, TimeoutMs: 1000,
		State: PrepareCommit, Topics: []Topic{{"topic", []int32{0, 5}}, {"other", []int32{1}}}, UpdatedMs: 1000, StartedMs: 900, ClientVersion: 2}
}

func TestVersions(t *testing.T) {
	v := full()
	got, version, err := DecodeValue(AppendValue(nil, v, 1))
	if err != nil || version != 1 || !reflect.DeepEqual(got, v) {
		t.Errorf("version 1: %+v version %d, %v", got, version, err)
	}
	got, version, err = DecodeValue(AppendValue(nil, v, 0))
	v.PreviousProducerID, v.NextProducerID, v.NextProducerEpoch, v.ClientVersion = None, None, None, 0
	if err != nil || version != 0 || !reflect.DeepEqual(got, v) {
		t.Errorf("version 0: %+v version %d, %v", got, version, err)
	}
	for version := range int16(2) {
		v := &Value{ProducerID: 1, PreviousProducerID: None, NextProducerID: None, NextProducerEpoch: None}
		for _, topics := range [][]Topic{nil, {}} {
			v.Topics = topics
			if got, _, err := DecodeValue(AppendValue(nil, v, version)); err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("version %d: %+v, %v; expected %+v", version, got, err, v)
			}
		}
	}
}

// TestSkipped: what a later version may add in place does not stop a reader.
func TestSkipped(t *testing.T) {
	v := full()
	p := AppendValue(nil, v, 1)
	// One more tagged field behind the four, and bytes behind all.
	at := bytes.LastIndex(p, []byte{4, 0, 8})
	p[at] = 5
	p = append(prim.AppendTag(p, 9, 2), 1, 2)
	p = append(p, "tail"...)
	if got, _, err := DecodeValue(p); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMalformed(t *testing.T) {
	good := AppendValue(nil, full(), 1)
	state := slices.Clone(good)
	state[2+8+2+4] = 8
	for _, x := range []struct {
		name string
		p    []byte
		want error
	}{
		{"empty", nil, ErrMalformed},
		{"version 2", append([]byte{0, 2}, good[2:]...), ErrUnknown},
		{"version -1", append([]byte{255, 255}, good[2:]...), ErrUnknown},
		{"cut", good[:len(good)-1], ErrMalformed},
		{"no such state", state, ErrMalformed},
	} {
		if _, _, err := DecodeValue(x.p); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, expected %v", x.name, err, x.want)
		}
	}
	for _, x := range []struct {
		name string
		p    []byte
		want error
	}{
		{"empty", nil, ErrMalformed},
		{"type 1", []byte{0, 1, 0, 0}, ErrUnknown},
		{"cut", []byte{0, 0, 0, 2, 'a'}, ErrMalformed},
	} {
		if _, err := DecodeKey(x.p); !errors.Is(err, x.want) {
			t.Errorf("key %s: %v, expected %v", x.name, err, x.want)
		}
	}
}

func TestStates(t *testing.T) {
	for s := Empty; s <= PrepareEpochFence; s++ {
		if got, ok := StateByName(s.String()); !ok || got != s {
			t.Errorf("%v: %v %v", s, got, ok)
		}
	}
	if _, ok := StateByName("ongoing"); ok {
		t.Error("names are exact")
	}
	if State(8).Valid() || State(-1).String() != "State(-1)" {
		t.Error("states that do not exist")
	}
}

// FuzzValue: any bytes are an error or a value that is written and read as itself.
func FuzzValue(f *testing.F) {
	for _, name := range []string{"kafka-4.0.0.log.gz", "kafka-4.3.1.log.gz"} {
		for _, e := range entries(f, name) {
			f.Add(e.value)
		}
	}
	f.Add(AppendValue(nil, full(), 0))
	f.Add(AppendValue(nil, full(), 1))
	f.Fuzz(func(t *testing.T, p []byte) {
		v, version, err := DecodeValue(p)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknown) {
				t.Fatalf("an error of its own: %v", err)
			}
			return
		}
		again, _, err := DecodeValue(AppendValue(nil, v, version))
		if err != nil || !reflect.DeepEqual(again, v) {
			t.Fatalf("%+v came back as %+v, %v", v, again, err)
		}
	})
}

// FuzzKey is FuzzValue for keys.
func FuzzKey(f *testing.F) {
	f.Add(AppendKey(nil, "id"))
	f.Fuzz(func(t *testing.T, p []byte) {
		id, err := DecodeKey(p)
		if err != nil {
			return
		}
		if again, err := DecodeKey(AppendKey(nil, id)); err != nil || again != id {
			t.Fatalf("%q came back as %q, %v", id, again, err)
		}
	})
}
