package meta

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/gregor-broker/gregor/wire/prim"
)

// entry is one record of a log file, control records included.
type entry struct {
	offset     int64
	control    bool
	key, value []byte
}

func unzip(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readLog takes the records out of uncompressed batches of format 2.
func readLog(t testing.TB, log []byte) (list []entry) {
	t.Helper()
	for len(log) > 0 {
		size := 12 + int(binary.BigEndian.Uint32(log[8:]))
		base, control := int64(binary.BigEndian.Uint64(log)), log[22]&0x20 != 0
		r := prim.NewReader(log[61:size])
		for r.Remaining() > 0 && r.Err() == nil {
			r.Varint()
			r.Int8()
			r.Varlong()
			e := entry{offset: base + int64(r.Varint()), control: control}
			if n := r.Varint(); n >= 0 {
				e.key = r.Raw(int(n))
			}
			e.value = r.Raw(int(r.Varint()))
			r.Varint()
			list = append(list, e)
		}
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		log = log[size:]
	}
	return list
}

// snapshotOf encodes an image's records as they would stand in a snapshot, each behind its length.
func snapshotOf(im *Image) []byte {
	var all []byte
	for r := range im.Records() {
		value := Append(nil, r, im.MetadataVersion())
		all = append(prim.AppendUvarint(all, uint32(len(value))), value...)
	}
	return all
}

func sameImage(t testing.TB, got, want *Image) {
	t.Helper()
	if a, b := snapshotOf(got), snapshotOf(want); !bytes.Equal(a, b) {
		t.Fatalf("images differ:\n%s\n%s", describe(got), describe(want))
	}
	if got.TopicCount() != want.TopicCount() || got.PartitionCount() != want.PartitionCount() {
		t.Fatalf("counts differ: %d/%d and %d/%d", got.TopicCount(), got.PartitionCount(), want.TopicCount(), want.PartitionCount())
	}
}

func describe(im *Image) string {
	var b bytes.Buffer
	for r := range im.Records() {
		fmt.Fprintf(&b, "%s %+v\n", RecordName(r.Key()), r)
	}
	return b.String()
}

// reload makes an image from another's snapshot, through the encoding.
func reload(t testing.TB, im *Image) *Image {
	t.Helper()
	d := NewDelta(nil)
	for r := range im.Records() {
		back, err := Decode(Append(nil, r, im.MetadataVersion()))
		if err != nil {
			t.Fatal(err)
		}
		mustApply(t, d, back)
	}
	return d.Image(im.Offset, im.Epoch)
}

func mustApply(t testing.TB, d *Delta, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := d.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
}

func text(s string) *string { return &s }

// some returns nil, an empty list or a few elements.
func some[T any](r *rand.Rand, nullable bool, make func() T) []T {
	if n := r.IntN(5); n > 0 {
		list := []T{}
		for range n - 1 {
			list = append(list, make())
		}
		return list
	}
	if nullable {
		return nil
	}
	return []T{}
}

func randomUUID(r *rand.Rand) UUID { return UUID{0: byte(r.IntN(5)), 15: byte(1 + r.IntN(5))} }

func randomInts(r *rand.Rand, nullable bool) []int32 {
	return some(r, nullable, func() int32 { return r.Int32N(9) - 1 })
}

func randomUUIDs(r *rand.Rand, nullable bool) []UUID {
	return some(r, nullable, func() UUID { return randomUUID(r) })
}

// randomLogDirs never returns an empty list that is not nil: the encoding does not tell them apart.
func randomLogDirs(r *rand.Rand) []UUID {
	if list := randomUUIDs(r, true); len(list) > 0 {
		return list
	}
	return nil
}

func randomName(r *rand.Rand) string {
	return []string{"a", "b", "c", "topic-with-a-name", "ü"}[r.IntN(5)]
}

func randomText(r *rand.Rand) *string {
	if r.IntN(3) == 0 {
		return nil
	}
	return text(randomName(r))
}

func randomBytes(r *rand.Rand) []byte {
	return some(r, false, func() byte { return byte(r.Uint32()) })
}

func randomEndpoints(r *rand.Rand) []Endpoint {
	return some(r, false, func() Endpoint {
		return Endpoint{randomName(r), randomName(r), uint16(r.Uint32()), int16(r.IntN(4))}
	})
}

func randomFeatures(r *rand.Rand) []SupportedFeature {
	return some(r, false, func() SupportedFeature { return SupportedFeature{randomName(r), int16(r.IntN(3)), int16(r.IntN(30))} })
}

// randomRecord returns a record of the given key with every field set to something; names and ids come from a small range, so
// that records meet each other.
func randomRecord(r *rand.Rand, key int16) Record {
	partition, epoch := r.Int32N(4), r.Int64N(2)
	switch key {
	case KeyRegisterBroker:
		return &RegisterBrokerRecord{r.Int32N(3), r.IntN(2) == 0, randomUUID(r), epoch, randomEndpoints(r), randomFeatures(r), randomText(r),
			r.IntN(2) == 0, r.IntN(2) == 0, randomLogDirs(r), randomUUIDs(r, true)}
	case KeyUnregisterBroker:
		return &UnregisterBrokerRecord{r.Int32N(3), epoch}
	case KeyTopic:
		return &TopicRecord{randomName(r), randomUUID(r)}
	case KeyPartition:
		return &PartitionRecord{partition, randomUUID(r), randomInts(r, false), randomInts(r, false), randomInts(r, false), randomInts(r, false),
			r.Int32N(4) - 1, int8(r.IntN(2)), r.Int32N(100), r.Int32N(100), randomUUIDs(r, false), randomInts(r, true), randomInts(r, true)}
	case KeyConfig:
		return &ConfigRecord{int8(1 << r.IntN(6)), randomName(r), randomName(r), randomText(r)}
	case KeyPartitionChange:
		return &PartitionChangeRecord{partition, randomUUID(r), randomInts(r, true), r.Int32N(4) - 2, randomInts(r, true), randomInts(r, true),
			randomInts(r, true), int8(r.IntN(3) - 1), randomUUIDs(r, true), randomInts(r, true), randomInts(r, true)}
	case KeyFenceBroker:
		return &FenceBrokerRecord{r.Int32N(3), epoch}
	case KeyUnfenceBroker:
		return &UnfenceBrokerRecord{r.Int32N(3), epoch}
	case KeyRemoveTopic:
		return &RemoveTopicRecord{randomUUID(r)}
	case KeyDelegationToken:
		return &DelegationTokenRecord{randomName(r), randomName(r), some(r, false, func() string { return randomName(r) }), r.Int64(), r.Int64(), r.Int64(), randomName(r)}
	case KeyUserScramCredential:
		return &UserScramCredentialRecord{randomName(r), int8(1 + r.IntN(2)), randomBytes(r), randomBytes(r), randomBytes(r), r.Int32()}
	case KeyFeatureLevel:
		return &FeatureLevelRecord{randomName(r), int16(r.IntN(3))}
	case KeyClientQuota:
		return &ClientQuotaRecord{some(r, false, func() QuotaEntity { return QuotaEntity{randomName(r), randomText(r)} }), randomName(r), r.Float64(), r.IntN(3) == 0}
	case KeyProducerIDs:
		return &ProducerIDsRecord{r.Int32N(3), epoch, r.Int64N(9000)}
	case KeyBrokerRegistrationChange:
		return &BrokerRegistrationChangeRecord{r.Int32N(3), epoch, int8(r.IntN(3) - 1), int8(r.IntN(2)), randomLogDirs(r), randomUUIDs(r, true)}
	case KeyAccessControlEntry:
		return &AccessControlEntryRecord{randomUUID(r), int8(r.IntN(7)), randomName(r), int8(r.IntN(5)), randomName(r), "*", int8(r.IntN(15)), int8(r.IntN(4))}
	case KeyRemoveAccessControlEntry:
		return &RemoveAccessControlEntryRecord{randomUUID(r)}
	case KeyNoOp:
		return &NoOpRecord{}
	case KeyZkMigrationState:
		return &ZkMigrationStateRecord{int8(r.IntN(4))}
	case KeyRemoveUserScramCredential:
		return &RemoveUserScramCredentialRecord{randomName(r), int8(1 + r.IntN(2))}
	case KeyBeginTransaction:
		return &BeginTransactionRecord{randomText(r)}
	case KeyEndTransaction:
		return &EndTransactionRecord{}
	case KeyAbortTransaction:
		return &AbortTransactionRecord{randomText(r)}
	case KeyRemoveDelegationToken:
		return &RemoveDelegationTokenRecord{randomName(r)}
	case KeyRegisterController:
		return &RegisterControllerRecord{r.Int32N(3), randomUUID(r), r.IntN(2) == 0, randomEndpoints(r), randomFeatures(r)}
	case KeyClearElr:
		return &ClearElrRecord{slices.Concat([]string{""}, []string{"a", "b"})[r.IntN(3)]}
	}
	return &UnknownRecord{APIKey: key, Version: 1, Raw: []byte{frameVersion, byte(key), 1, byte(r.Uint32())}}
}

// recordKeys lists every key this release knows.
func recordKeys() (keys []int16) {
	for key, typ := range recordTypes {
		if typ.make != nil {
			keys = append(keys, int16(key))
		}
	}
	return keys
}
