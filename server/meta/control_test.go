package meta

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func controlRecords() []ControlRecord {
	return []ControlRecord{
		&LeaderChangeMessage{LeaderID: 1, Voters: []VoterID{{ID: 1}, {ID: 2}}, GrantingVoters: []VoterID{{ID: 1}}},
		&LeaderChangeMessage{Version: 1, LeaderID: 1, Voters: []VoterID{{1, UUID{1}}}, GrantingVoters: []VoterID{{1, UUID{2}}}},
		&SnapshotHeaderRecord{LastContainedLogTimestamp: 1795231611164},
		&SnapshotFooterRecord{},
		&KRaftVersionRecord{KRaftVersion: 1},
		&VotersRecord{Voters: []Voter{{ID: 1, DirectoryID: UUID{9}, Endpoints: []VoterEndpoint{{"CONTROLLER", "localhost", 65535}}, MaxKRaftVersion: 1}, {ID: 2, Endpoints: []VoterEndpoint{}}}},
	}
}

func TestControlRecords(t *testing.T) {
	for _, rec := range controlRecords() {
		value := AppendControlValue(nil, rec)
		back, err := DecodeControl(rec.ControlType(), value)
		if err != nil || !reflect.DeepEqual(rec, back) {
			t.Fatalf("%+v\n%+v, %v", rec, back, err)
		}
		if typ, err := ControlType(AppendControlKey(nil, rec.ControlType())); err != nil || typ != rec.ControlType() {
			t.Fatalf("type %d, %v", typ, err)
		}
		for cut := range value {
			if _, err := DecodeControl(rec.ControlType(), value[:cut]); !errors.Is(err, ErrMalformedControl) {
				t.Fatalf("%T cut at %d: %v", rec, cut, err)
			}
		}
		longer := append(bytes.Clone(value), 1)
		if _, err := DecodeControl(rec.ControlType(), longer); !errors.Is(err, ErrMalformedControl) {
			t.Fatalf("%T with a byte more: %v", rec, err)
		}
		// A later version may say more than we read.
		if l, ok := rec.(*LeaderChangeMessage); !ok || l.Version == 1 {
			longer[1] = 2
			if _, err := DecodeControl(rec.ControlType(), longer); err != nil {
				t.Fatalf("%T of version 2: %v", rec, err)
			}
		}
		longer[0] = 0x80
		if _, err := DecodeControl(rec.ControlType(), longer); !errors.Is(err, ErrMalformedControl) {
			t.Fatalf("%T of a negative version: %v", rec, err)
		}
	}
	for _, typ := range []int16{-1, 0, 1, 7} {
		if _, err := DecodeControl(typ, make([]byte, 50)); !errors.Is(err, ErrUnknownControl) {
			t.Errorf("type %d: %v", typ, err)
		}
	}
	if _, err := ControlType([]byte{0, 0, 3}); !errors.Is(err, ErrMalformedControl) {
		t.Error(err)
	}
}

func TestControlRecordBytes(t *testing.T) {
	dir := strings.Repeat("0", 32)
	for want, rec := range map[string]ControlRecord{
		"0000" + "00000001" + "02" + "0000000100" + "02" + "0000000100" + "00": &LeaderChangeMessage{LeaderID: 1, Voters: []VoterID{{ID: 1}}, GrantingVoters: []VoterID{{ID: 1}}},
		"0001" + "00000001" + "02" + "00000001" + dir + "00" + "01" + "00":     &LeaderChangeMessage{Version: 1, LeaderID: 1, Voters: []VoterID{{ID: 1}}},
		"0000" + "00":                      &SnapshotFooterRecord{},
		"0000" + "0000000000000007" + "00": &SnapshotHeaderRecord{LastContainedLogTimestamp: 7},
		"0000" + "0001" + "00":             &KRaftVersionRecord{KRaftVersion: 1},
		"0000" + "02" + "00000001" + dir + "02" + "0263" + "0268" + "0010" + "00" + "0000" + "0001" + "00" + "00" + "00": &VotersRecord{Voters: []Voter{{ID: 1, Endpoints: []VoterEndpoint{{"c", "h", 16}}, MaxKRaftVersion: 1}}},
	} {
		if got := hex.EncodeToString(AppendControlValue(nil, rec)); got != want {
			t.Errorf("%T\n%s\n%s", rec, got, want)
		}
	}
}

func FuzzDecodeControl(f *testing.F) {
	for _, rec := range controlRecords() {
		f.Add(rec.ControlType(), AppendControlValue(nil, rec))
	}
	f.Fuzz(func(t *testing.T, typ int16, value []byte) {
		rec, err := DecodeControl(typ, value)
		if err != nil {
			if !errors.Is(err, ErrMalformedControl) && !errors.Is(err, ErrUnknownControl) {
				t.Fatal(err)
			}
			return
		}
		back, err := DecodeControl(typ, AppendControlValue(nil, rec))
		if err != nil || !reflect.DeepEqual(rec, back) {
			t.Fatalf("%+v\n%+v, %v", rec, back, err)
		}
	})
}
