package meta

import (
	"slices"
	"strings"
	"testing"
)

func TestMetadataVersionNames(t *testing.T) {
	for level, name := range map[int16]string{7: "3.3-IV3", 8: "3.4-IV0", 11: "3.5-IV2", 14: "3.6-IV2", 17: "3.7-IV2", 20: "3.8-IV0", 21: "3.9-IV0", 25: "4.0-IV3", 27: "4.1-IV1", 29: "4.2-IV1", 30: "4.3-IV0", 31: "level 31", 6: "level 6"} {
		if got := MetadataVersionName(level); got != name {
			t.Errorf("level %d is %s, expected %s", level, got, name)
		}
	}
	for name, level := range map[string]int16{"4.3-IV0": 30, "4.3": 30, "4.3.1": 30, "4.0": 25, "4.0.0": 25, "3.7-IV2": 17, "3.3": 7} {
		if got, err := ParseMetadataVersion(name); err != nil || got != level {
			t.Errorf("%s is %d, %v, expected %d", name, got, err, level)
		}
	}
	for _, name := range []string{"", "4", "4.4", "3.2", "4.3-IV1", "4.", "4.3-", "level 30"} {
		if got, err := ParseMetadataVersion(name); err == nil {
			t.Errorf("%q is %d", name, got)
		}
	}
}

func TestBootstrapRecords(t *testing.T) {
	for mv, want := range map[int16][]string{
		21: {"metadata.version"},
		22: {"metadata.version", "group.version"},
		25: {"metadata.version", "group.version", "transaction.version"},
		27: {"metadata.version", "eligible.leader.replicas.version", "group.version", "transaction.version"},
		30: {"metadata.version", "eligible.leader.replicas.version", "group.version", "share.version", "streams.version", "transaction.version"},
	} {
		var got []string
		for _, r := range BootstrapRecords(mv) {
			got = append(got, r.(*FeatureLevelRecord).Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d: %v, expected %v", mv, got, want)
		}
	}
}

func TestSupportedFeatures(t *testing.T) {
	list := SupportedFeatures()
	if len(list) != 7 || list[0] != (SupportedFeature{MetadataVersionFeature, 7, 30}) || len(Features()) != len(list) {
		t.Errorf("%+v", list)
	}
}

func TestUnsupported(t *testing.T) {
	level := func(name string, v int16) Record { return &FeatureLevelRecord{name, v} }
	for _, test := range []struct {
		records []Record
		named   []string
	}{
		{nil, nil},
		{BootstrapRecords(30), nil},
		{[]Record{level(MetadataVersionFeature, 7), level(KRaftVersionFeature, 1)}, nil},
		{[]Record{level(MetadataVersionFeature, 31)}, []string{"metadata.version is at level 31: expected 7 to 30"}},
		{[]Record{level(MetadataVersionFeature, 6)}, []string{"metadata.version is at level 6"}},
		{[]Record{level(MetadataVersionFeature, 31), level(ShareVersionFeature, 2), level("new.version", 1)}, []string{"metadata.version", "share.version is at level 2: expected 0 to 1", "new.version is at level 1"}},
		{[]Record{&UnknownRecord{APIKey: 29, Raw: []byte{1, 29, 0, 0}}}, []string{"type 29 version 0"}},
	} {
		d := NewDelta(nil)
		mustApply(t, d, test.records...)
		err := Unsupported(d.Image(0, 0))
		if (err == nil) != (test.named == nil) {
			t.Errorf("%+v: %v", test.records, err)
		}
		for _, name := range test.named {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%v does not name %s", err, name)
			}
		}
	}
}
