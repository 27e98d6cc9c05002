package meta

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var goldenLogs = []string{"kafka-4.0.0-clean", "kafka-4.0.0-killed", "kafka-4.3.1-clean", "kafka-4.3.1-killed"}

func values(entries []entry) iter.Seq2[int64, []byte] {
	return func(yield func(int64, []byte) bool) {
		for _, e := range entries {
			if !e.control && !yield(e.offset, e.value) {
				return
			}
		}
	}
}

// TestGoldenRecords: what Kafka wrote comes back byte for byte, and Append chooses the versions Kafka chose.
func TestGoldenRecords(t *testing.T) {
	for _, name := range goldenLogs {
		entries := readLog(t, unzip(t, name+".log"))
		mv, kinds := int16(0), make(map[string]int)
		for _, e := range entries {
			if e.control {
				checkControl(t, e)
				continue
			}
			rec, err := Decode(e.value)
			if err != nil {
				t.Fatalf("%s offset %d: %v", name, e.offset, err)
			}
			if f, ok := rec.(*FeatureLevelRecord); ok && f.Name == MetadataVersionFeature {
				mv = f.Level
			}
			kinds[RecordName(rec.Key())]++
			if got := Append(nil, rec, mv); !bytes.Equal(got, e.value) {
				t.Fatalf("%s offset %d: %+v\n%x\n%x", name, e.offset, rec, got, e.value)
			}
		}
		if len(kinds) < 13 {
			t.Errorf("%s has %v", name, kinds)
		}
	}
}

func checkControl(t *testing.T, e entry) {
	t.Helper()
	typ, err := ControlType(e.key)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := DecodeControl(typ, e.value)
	if err != nil {
		t.Fatalf("offset %d: %v", e.offset, err)
	}
	if rec.ControlType() != typ || !bytes.Equal(AppendControlKey(nil, typ), e.key) {
		t.Fatalf("offset %d: %T for key %x", e.offset, rec, e.key)
	}
	if got := AppendControlValue(nil, rec); !bytes.Equal(got, e.value) {
		t.Fatalf("offset %d: %+v\n%x\n%x", e.offset, rec, got, e.value)
	}
}

func TestGoldenImages(t *testing.T) {
	for _, name := range goldenLogs {
		entries := readLog(t, unzip(t, name+".log"))
		d := NewDelta(nil)
		if err := Replay(d, values(entries)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		last := entries[len(entries)-1].offset
		im := d.Image(last, 1)
		if im.Offset != last || im.Epoch != 1 || im.InTransaction() {
			t.Errorf("%s: offset %d epoch %d", name, im.Offset, im.Epoch)
		}
		if err := Unsupported(im); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var want map[string]struct {
			ID         string
			Partitions int
			Configs    string
		}
		p, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(p, &want); err != nil {
			t.Fatal(err)
		}
		if im.TopicCount() != len(want) {
			t.Errorf("%s: %d topics, expected %d", name, im.TopicCount(), len(want))
		}
		total := 0
		for topic, w := range want {
			got := im.Topic(topic)
			if got == nil {
				t.Fatalf("%s: no topic %s", name, topic)
			}
			if id := base64.StdEncoding.EncodeToString(got.ID[:]); id != w.ID || im.TopicByID(got.ID) != got {
				t.Errorf("%s: %s has id %s, expected %s", name, topic, id, w.ID)
			}
			if len(got.Partitions) != w.Partitions {
				t.Errorf("%s: %s has %d partitions, expected %d", name, topic, len(got.Partitions), w.Partitions)
			}
			total += len(got.Partitions)
			checkGoldenPartitions(t, name, got)
			var configs []string
			set := im.Configs(ResourceTopic, topic)
			for _, key := range slices.Sorted(maps.Keys(set)) {
				// Internal topics were made with configs the expectation does not list.
				configs = append(configs, key+"="+set[key])
			}
			if joined := strings.Join(configs, " "); joined != w.Configs && !strings.HasPrefix(topic, "__") {
				t.Errorf("%s: %s has configs %q, expected %q", name, topic, joined, w.Configs)
			}
		}
		if im.PartitionCount() != total {
			t.Errorf("%s: %d partitions, expected %d", name, im.PartitionCount(), total)
		}
		if len(im.Topics()) != len(want) || !slices.IsSortedFunc(im.Topics(), func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s: topics are not in order", name)
		}
		if len(im.ClientQuotas()) != 1 || im.NextProducerID == 0 || len(im.Brokers) != 1 || len(im.Controllers) != 1 {
			t.Errorf("%s: %s", name, describe(im))
		}
		if b := im.Brokers[1]; b == nil || b.Fenced != strings.HasSuffix(name, "clean") || len(b.LogDirs) != 1 {
			t.Errorf("%s: broker %+v", name, b)
		}
		sameImage(t, reload(t, im), im)
	}
}

func checkGoldenPartitions(t *testing.T, name string, topic *Topic) {
	t.Helper()
	for i, p := range topic.Partitions {
		if p.ID != int32(i) || topic.Partition(p.ID) != p || !slices.Equal(p.Replicas, []int32{1}) || len(p.Directories) != 1 || p.Directories[0].Reserved() {
			t.Errorf("%s: %s-%d: %+v", name, topic.Name, i, p)
		}
		switch {
		case strings.HasSuffix(name, "killed"):
			if p.Leader != 1 || p.LeaderEpoch != 0 || p.PartitionEpoch != 0 || !slices.Equal(p.ISR, p.Replicas) {
				t.Errorf("%s: %s-%d: %+v", name, topic.Name, i, p)
			}
		case name == "kafka-4.3.1-clean": // a clean stop with eligible leader replicas
			if p.Leader != NoLeader || p.LeaderEpoch != 1 || p.PartitionEpoch != 1 || len(p.ISR) != 0 || !slices.Equal(p.ELR, p.Replicas) {
				t.Errorf("%s: %s-%d: %+v", name, topic.Name, i, p)
			}
		default: // and without: the last in-sync replica stays
			if p.Leader != NoLeader || p.LeaderEpoch != 1 || !slices.Equal(p.ISR, p.Replicas) || p.ELR != nil {
				t.Errorf("%s: %s-%d: %+v", name, topic.Name, i, p)
			}
		}
	}
}

// TestGoldenFields compares every field with what Kafka's own dump of the same log says.
func TestGoldenFields(t *testing.T) {
	records := make(map[int64][]byte)
	for offset, value := range values(readLog(t, unzip(t, "kafka-4.3.1-clean.log"))) {
		records[offset] = value
	}
	lines := 0
	for line := range strings.Lines(string(unzip(t, "kafka-4.3.1-clean.dump"))) {
		var offset int64
		var dump struct {
			Type    string
			Version int16
			Data    map[string]any
		}
		at, payload, _ := strings.Cut(line, " ")
		if _, err := fmt.Sscan(at, &offset); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(payload), &dump); err != nil {
			t.Fatal(err)
		}
		rec, err := Decode(records[offset])
		if err != nil {
			t.Fatal(err)
		}
		delete(records, offset)
		lines++
		if name := strings.ToUpper(RecordName(rec.Key())); name != strings.ReplaceAll(dump.Type, "_", "") {
			t.Fatalf("offset %d is a %s, expected %s", offset, name, dump.Type)
		}
		if version := int16(Append(nil, rec, MaxMetadataVersion)[2]); version != dump.Version {
			t.Errorf("offset %d: version %d, expected %d", offset, version, dump.Version)
		}
		compareFields(t, offset, reflect.ValueOf(rec).Elem(), dump.Data)
	}
	if lines < 300 || len(records) != 0 {
		t.Errorf("%d records compared, %d not in the dump", lines, len(records))
	}
}

// fieldNames are the few fields that are not called as in the schema.
var fieldNames = map[string]string{"featureLevel": "Level", "key": "QuotaKey", "entityType": "Type", "entityName": "Name", "minSupportedVersion": "Min", "maxSupportedVersion": "Max"}

func compareFields(t *testing.T, offset int64, v reflect.Value, want map[string]any) {
	t.Helper()
	for name, value := range want {
		goName := name
		if n, ok := fieldNames[name]; ok {
			goName = n
		}
		field := v.FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, goName) })
		if !field.IsValid() {
			t.Fatalf("offset %d: %s has no field %s", offset, v.Type(), name)
		}
		compareValue(t, offset, name, field, value)
	}
}

func compareValue(t *testing.T, offset int64, name string, field reflect.Value, want any) {
	t.Helper()
	if field.Kind() == reflect.Pointer && !field.IsNil() {
		field = field.Elem()
	}
	switch want := want.(type) {
	case nil:
		if !field.IsNil() {
			t.Errorf("offset %d: %s is %v, expected null", offset, name, field)
		}
	case []any:
		if field.Kind() != reflect.Slice || field.Len() != len(want) {
			t.Fatalf("offset %d: %s is %v, expected %v", offset, name, field, want)
		}
		for i := range want {
			compareValue(t, offset, name, field.Index(i), want[i])
		}
	case map[string]any:
		compareFields(t, offset, field, want)
	default:
		if fmt.Sprint(field.Interface()) != fmt.Sprint(want) {
			t.Errorf("offset %d: %s is %v, expected %v", offset, name, field, want)
		}
	}
}

func TestGoldenCheckpoints(t *testing.T) {
	var list []Record
	for _, e := range readLog(t, unzip(t, "bootstrap.checkpoint")) {
		if e.control {
			checkControl(t, e)
			continue
		}
		rec, err := Decode(e.value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rec)
	}
	if want := BootstrapRecords(MaxMetadataVersion); !reflect.DeepEqual(list, want) {
		t.Errorf("bootstrap.checkpoint has %+v, expected %+v", list, want)
	}
	entries := readLog(t, unzip(t, "voters.checkpoint"))
	if len(entries) != 4 {
		t.Fatalf("%d records in the first checkpoint", len(entries))
	}
	for _, e := range entries {
		checkControl(t, e)
	}
	rec, err := DecodeControl(ControlKRaftVoters, entries[2].value)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ParseUUID("tM_HBWdJRSWyQ2_nmrdzTA")
	if err != nil {
		t.Fatal(err)
	}
	want := &VotersRecord{Voters: []Voter{{ID: 1, DirectoryID: id, Endpoints: []VoterEndpoint{{"CONTROLLER", "localhost", 21993}}, MaxKRaftVersion: 1}}}
	if !reflect.DeepEqual(rec, want) {
		t.Errorf("voters: %+v", rec)
	}
	header, err := DecodeControl(ControlSnapshotHeader, entries[0].value)
	if err != nil || header.(*SnapshotHeaderRecord).LastContainedLogTimestamp != 1795231611164 {
		t.Errorf("header: %+v, %v", header, err)
	}
}
