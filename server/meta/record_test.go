package meta

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/wire/prim"
)

func TestEveryRecordAtEveryVersion(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	keys := recordKeys()
	if len(keys) != 26 {
		t.Fatalf("%d records, expected 26", len(keys))
	}
	for _, key := range keys {
		for version := range recordTypes[key].maxVersion + 1 {
			for range 200 {
				rec := randomRecord(r, key)
				if rec.Key() != key {
					t.Fatalf("%T has key %d, expected %d", rec, rec.Key(), key)
				}
				value := appendVersion(nil, rec, version)
				back, err := Decode(value)
				if err != nil {
					t.Fatalf("%s version %d %+v: %v", RecordName(key), version, rec, err)
				}
				if again := appendVersion(nil, back, version); !bytes.Equal(value, again) {
					t.Fatalf("%s version %d:\n%x\n%x", RecordName(key), version, value, again)
				}
				// Every field exists in the newest version.
				if version == recordTypes[key].maxVersion && !reflect.DeepEqual(rec, back) {
					t.Fatalf("%s version %d:\n%+v\n%+v", RecordName(key), version, rec, back)
				}
				for cut := range value {
					if rec, err := Decode(value[:cut]); err == nil {
						t.Fatalf("%d of %d bytes are a record: %+v", cut, len(value), rec)
					} else if !errors.Is(err, ErrMalformedRecord) {
						t.Fatal(err)
					}
				}
				if _, err := Decode(append(value, 0)); !errors.Is(err, ErrMalformedRecord) {
					t.Fatalf("a byte after the body: %v", err)
				}
			}
		}
	}
}

// TestRecordBytes holds encodings against bytes worked out by hand from the schemas.
func TestRecordBytes(t *testing.T) {
	id := UUID{15: 7}
	hexID := strings.Repeat("00", 15) + "07"
	change := NewPartitionChange(id, 3)
	change.ISR, change.Leader, change.Directories, change.EligibleLeaderReplicas = []int32{}, -1, []UUID{id}, []int32{1}
	for _, test := range []struct {
		rec  Record
		mv   int16
		want string
	}{
		{&NoOpRecord{}, 30, "01" + "14" + "00" + "00"},
		{&FeatureLevelRecord{"ab", 5}, 30, "01" + "0c" + "00" + "036162" + "0005" + "00"},
		{&BeginTransactionRecord{text("x")}, 30, "01" + "17" + "00" + "01" + "00" + "02" + "0278"},
		{&BeginTransactionRecord{}, 30, "01" + "17" + "00" + "00"},
		{&ConfigRecord{2, "t", "n", nil}, 30, "01" + "04" + "00" + "02" + "0274" + "026e" + "00" + "00"},
		{change, 30, "01" + "05" + "02" + "00000003" + hexID + "04" + "000101" + "0104ffffffff" + "06050200000001" + "081102" + hexID},
		{change, 22, "01" + "05" + "01" + "00000003" + hexID + "03" + "000101" + "0104ffffffff" + "081102" + hexID},
		{change, 16, "01" + "05" + "00" + "00000003" + hexID + "02" + "000101" + "0104ffffffff"},
		{&RegisterBrokerRecord{BrokerID: 1, Fenced: true, CordonedLogDirs: []UUID{}}, 30,
			"01" + "00" + "04" + "00000001" + "00" + strings.Repeat("00", 16) + strings.Repeat("00", 8) + "01" + "01" + "00" + "01" + "00" + "01" + "010101"},
	} {
		if got := hex.EncodeToString(Append(nil, test.rec, test.mv)); got != test.want {
			t.Errorf("%T at %d:\n%s\n%s", test.rec, test.mv, got, test.want)
		}
	}
}

func TestRecordVersions(t *testing.T) {
	for _, test := range []struct {
		rec     Record
		mv      int16
		version byte
	}{
		{&RegisterBrokerRecord{}, 30, 4}, {&RegisterBrokerRecord{}, 29, 3}, {&RegisterBrokerRecord{}, 17, 3},
		{&RegisterBrokerRecord{}, 16, 2}, {&RegisterBrokerRecord{}, 8, 2}, {&RegisterBrokerRecord{}, 7, 1},
		{&PartitionRecord{}, 23, 2}, {&PartitionRecord{}, 22, 1}, {&PartitionRecord{}, 17, 1}, {&PartitionRecord{}, 16, 0},
		{&PartitionChangeRecord{}, 23, 2}, {&PartitionChangeRecord{}, 22, 1}, {&PartitionChangeRecord{}, 17, 1}, {&PartitionChangeRecord{}, 16, 0},
		{&BrokerRegistrationChangeRecord{Fenced: 1}, 30, 0},
		{&BrokerRegistrationChangeRecord{InControlledShutdown: 1}, 30, 1},
		{&BrokerRegistrationChangeRecord{LogDirs: []UUID{{1}}}, 30, 2},
		{&BrokerRegistrationChangeRecord{LogDirs: []UUID{{1}}}, 16, 0},
		{&BrokerRegistrationChangeRecord{CordonedLogDirs: []UUID{}}, 30, 3},
		{&BrokerRegistrationChangeRecord{CordonedLogDirs: []UUID{}, LogDirs: []UUID{{1}}}, 29, 2},
		{&TopicRecord{}, 30, 0},
	} {
		if got := Append(nil, test.rec, test.mv)[2]; got != test.version {
			t.Errorf("%T %+v at %d is version %d, expected %d", test.rec, test.rec, test.mv, got, test.version)
		}
	}
}

func TestUnknownRecordsAreKept(t *testing.T) {
	for _, value := range []string{"011d0000", "011d0001020304", "01050300", "0106", "010d00", "01ff7f0000"} {
		raw, err := hex.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) < 3 {
			raw = append(raw, 0)
		}
		rec, err := Decode(raw)
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		u, ok := rec.(*UnknownRecord)
		if !ok || u.Key() != u.APIKey {
			t.Fatalf("%s is %T", value, rec)
		}
		kept := bytes.Clone(raw)
		clear(raw)
		if got := Append(nil, u, 30); !bytes.Equal(got, kept) {
			t.Fatalf("%x came back as %x", kept, got)
		}
	}
	if RecordName(29) != "record 29" || RecordName(KeyTopic) != "TopicRecord" || RecordName(-1) != "record -1" {
		t.Error("wrong names")
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, value := range map[string]string{
		"nothing":                       "",
		"frame version 0":               "001400" + "00",
		"frame version 2":               "021400" + "00",
		"key beyond 16 bits":            "01808004" + "00",
		"version beyond 16 bits":        "0114808004" + "00",
		"varint without end":            "01ffffffffffff",
		"null array that may not be":    "010e00" + "00" + "0261" + "0000000000000000" + "00" + "00",
		"count larger than the bytes":   "010e00" + "ffffffff0f" + "0261",
		"null string that may not be":   "011c00" + "00" + "00",
		"null bytes":                    "010b00" + "0261" + "01" + "00" + "01" + "01" + "00000000" + "00",
		"tagged field longer than rest": "011700" + "01" + "00" + "7f" + "0278",
		"tagged null log directories":   "011102" + "00000001" + "0000000000000000" + "01" + "02" + "01" + "00",
	} {
		raw, err := hex.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := Decode(raw); !errors.Is(err, ErrMalformedRecord) {
			t.Errorf("%s: %+v, %v", name, rec, err)
		}
	}
}

func TestUnknownTagsAreSkipped(t *testing.T) {
	value := prim.AppendUvarint([]byte{frameVersion, byte(KeyNoOp), 0}, 2)
	value = append(prim.AppendTag(value, 5, 3), 1, 2, 3)
	value = prim.AppendTag(value, 9, 0)
	if rec, err := Decode(value); err != nil {
		t.Errorf("%+v, %v", rec, err)
	}
	// A tag of a later version means nothing in an earlier one.
	change := NewPartitionChange(UUID{1}, 0)
	change.Directories, change.EligibleLeaderReplicas = []UUID{{2}}, []int32{4}
	value = appendVersion(nil, change, 2)
	value[2] = 0
	rec, err := Decode(value)
	if err != nil {
		t.Fatal(err)
	}
	if got := rec.(*PartitionChangeRecord); got.Directories != nil || got.EligibleLeaderReplicas != nil {
		t.Errorf("%+v", got)
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, key := range recordKeys() {
		for version := range recordTypes[key].maxVersion + 1 {
			f.Add(appendVersion(nil, randomRecord(r, key), version))
		}
	}
	f.Add([]byte{1, 29, 0, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		rec, err := Decode(value)
		if err != nil {
			if !errors.Is(err, ErrMalformedRecord) {
				t.Fatal(err)
			}
			return
		}
		for mv := MinMetadataVersion; mv <= MaxMetadataVersion; mv++ {
			first := Append(nil, rec, mv)
			back, err := Decode(first)
			if err != nil {
				t.Fatalf("%+v at %d: %v", rec, mv, err)
			}
			if second := Append(nil, back, mv); !bytes.Equal(first, second) {
				t.Fatalf("%+v at %d:\n%x\n%x", rec, mv, first, second)
			}
		}
		d := NewDelta(nil)
		_ = d.Apply(&TopicRecord{Name: "t", TopicID: UUID{1}})
		_ = d.Apply(rec)
		im := d.Image(1, 1)
		sameImage(t, reload(t, im), im)
	})
}
