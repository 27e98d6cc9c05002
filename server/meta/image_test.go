package meta

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"
)

func topicID(i int) (id UUID) {
	binary.BigEndian.PutUint64(id[8:], uint64(i+1000))
	return id
}

// manyTopics returns an image of n topics with the given count of partitions each.
func manyTopics(t testing.TB, n, partitions int) *Image {
	d := NewDelta(nil)
	mustApply(t, d, BootstrapRecords(MaxMetadataVersion)...)
	for i := range n {
		mustApply(t, d, &TopicRecord{fmt.Sprintf("topic-%06d", i), topicID(i)})
		for p := range partitions {
			mustApply(t, d, &PartitionRecord{TopicID: topicID(i), PartitionID: int32(p), Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []UUID{{1}}})
		}
	}
	return d.Image(0, 0)
}

func TestEmptyImage(t *testing.T) {
	for _, im := range []*Image{{}, NewDelta(nil).Image(3, 4)} {
		if im.Topic("x") != nil || im.TopicByID(UUID{1}) != nil || im.Topics() != nil || im.TopicCount() != 0 || im.Configs(2, "x") != nil || im.ClientQuota() != nil || im.ACL(UUID{}) != nil || im.MetadataVersion() != 7 || len(snapshotOf(im)) != 0 {
			t.Error(describe(im))
		}
		for c := range im.ChangedTopics(&Image{}) {
			t.Errorf("%+v", c)
		}
	}
}

// TestReadersNeedNoLock lets the race detector watch readers of every published image while a writer goes on.
func TestReadersNeedNoLock(t *testing.T) {
	images := make(chan *Image, 100)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for im := range images {
				if len(im.Topics()) != im.TopicCount() {
					t.Error("topics and count differ")
				}
				for r := range im.Records() {
					Append(nil, r, im.MetadataVersion())
				}
			}
		})
	}
	im := manyTopics(t, 20, 2)
	for i := range 100 {
		d := NewDelta(im)
		change := NewPartitionChange(topicID(i%20), 1)
		change.Leader = int32(i)
		mustApply(t, d, change, &TopicRecord{fmt.Sprint("new-", i), topicID(500 + i)}, config(ResourceTopic, "topic-000001", "k", text(fmt.Sprint(i))), &FeatureLevelRecord{ShareVersionFeature, int16(i % 2)},
			&RegisterBrokerRecord{BrokerID: int32(i % 3), BrokerEpoch: int64(i)})
		next := d.Image(int64(i), 0)
		changed := 0
		for c := range next.ChangedTopics(im) {
			if c.Old == c.New || c.New == nil {
				t.Errorf("%+v", c)
			}
			changed++
		}
		if changed != 2 {
			t.Errorf("%d topics changed", changed)
		}
		im = next
		images <- im
		images <- im
	}
	close(images)
	readers.Wait()
}

// TestMemoryPerPartition holds an image of 10,000 partitions under 4 MiB.
func TestMemoryPerPartition(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	im := manyTopics(t, 1000, 10)
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d partitions take %d KiB", im.PartitionCount(), used>>10)
	if used > 4<<20 {
		t.Errorf("%d partitions take %d bytes, expected at most 4 MiB", im.PartitionCount(), used)
	}
	runtime.KeepAlive(im)
}

func BenchmarkCreateTopic(b *testing.B) {
	im := manyTopics(b, 10000, 1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d := NewDelta(im)
		id := topicID(100000 + i)
		if err := d.Apply(&TopicRecord{"created", id}); err != nil {
			b.Fatal(err)
		}
		if err := d.Apply(&PartitionRecord{TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []UUID{{1}}}); err != nil {
			b.Fatal(err)
		}
		d.Image(int64(i), 0)
	}
}

func BenchmarkLookup(b *testing.B) {
	im := manyTopics(b, 10000, 1)
	b.ReportAllocs()
	for b.Loop() {
		if im.Topic("topic-004711") == nil || im.TopicByID(topicID(4711)) == nil {
			b.Fatal("not found")
		}
	}
}

func BenchmarkReplay(b *testing.B) {
	im := manyTopics(b, 1000, 10)
	var values [][]byte
	for r := range im.Records() {
		values = append(values, Append(nil, r, MaxMetadataVersion))
	}
	b.ReportAllocs()
	for b.Loop() {
		d := NewDelta(nil)
		err := Replay(d, func(yield func(int64, []byte) bool) {
			for i, v := range values {
				if !yield(int64(i), v) {
					return
				}
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(values)), "records/op")
}
