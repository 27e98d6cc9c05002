package meta

import (
	"errors"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var topicA, topicB = UUID{0: 10}, UUID{0: 11}

func config(resource int8, name, key string, value *string) *ConfigRecord {
	return &ConfigRecord{resource, name, key, value}
}

func partitionOf(topic UUID, id int32) *PartitionRecord {
	return &PartitionRecord{PartitionID: id, TopicID: topic, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1, Directories: []UUID{{1}, {2}}}
}

// twoTopics returns an image with topics a (2 partitions) and b (1).
func twoTopics(t testing.TB) *Image {
	d := NewDelta(nil)
	mustApply(t, d, BootstrapRecords(MaxMetadataVersion)...)
	mustApply(t, d, &TopicRecord{"a", topicA}, partitionOf(topicA, 0), partitionOf(topicA, 1), &TopicRecord{"b", topicB}, partitionOf(topicB, 0))
	return d.Image(10, 1)
}

func TestPartitionChange(t *testing.T) {
	im := twoTopics(t)
	before := *im.Topic("a").Partition(1)
	apply := func(change *PartitionChangeRecord) *Partition {
		d := NewDelta(im)
		mustApply(t, d, change)
		im = d.Image(im.Offset+1, 1)
		return im.TopicByID(change.TopicID).Partition(change.PartitionID)
	}
	change := NewPartitionChange(topicA, 1)
	change.ISR = []int32{1}
	p := apply(change)
	if p.PartitionEpoch != 1 || p.LeaderEpoch != 0 || p.Leader != 1 || !slices.Equal(p.ISR, []int32{1}) || !slices.Equal(p.Replicas, []int32{1, 2}) {
		t.Errorf("after a shrink: %+v", p)
	}
	change = NewPartitionChange(topicA, 1)
	change.Leader = 1
	if p = apply(change); p.PartitionEpoch != 2 || p.LeaderEpoch != 1 || p.Leader != 1 {
		t.Errorf("the same leader again: %+v", p)
	}
	change = NewPartitionChange(topicA, 1)
	change.Leader, change.ISR, change.EligibleLeaderReplicas, change.LastKnownELR = NoLeader, []int32{}, []int32{1}, []int32{2}
	if p = apply(change); p.PartitionEpoch != 3 || p.LeaderEpoch != 2 || p.Leader != NoLeader || len(p.ISR) != 0 || !slices.Equal(p.ELR, []int32{1}) || !slices.Equal(p.LastKnownELR, []int32{2}) {
		t.Errorf("without a leader: %+v", p)
	}
	change = NewPartitionChange(topicA, 1)
	change.Replicas, change.AddingReplicas, change.RemovingReplicas, change.LeaderRecoveryState = []int32{1, 2, 3}, []int32{3}, []int32{2}, RecoveryStateRecovering
	if p = apply(change); len(p.Directories) != 3 || p.Directories[2] != DirectoryMigrating || p.RecoveryState != 1 || !slices.Equal(p.Adding, []int32{3}) || !slices.Equal(p.Removing, []int32{2}) {
		t.Errorf("reassigned: %+v", p)
	}
	change = NewPartitionChange(topicA, 1)
	change.AddingReplicas, change.RemovingReplicas, change.LeaderRecoveryState, change.Directories = []int32{}, []int32{}, RecoveryStateRecovered, []UUID{{1}, {2}, {3}}
	if p = apply(change); p.Adding != nil || p.Removing != nil || p.RecoveryState != 0 || p.Directories[2] != (UUID{3}) || p.PartitionEpoch != 5 {
		t.Errorf("done: %+v", p)
	}
	if other := im.Topic("a").Partition(0); other.PartitionEpoch != 0 {
		t.Errorf("the other partition: %+v", other)
	}
	if !reflect.DeepEqual(before, *twoTopics(t).Topic("a").Partition(1)) {
		t.Error("an old image changed")
	}
}

func TestClearElr(t *testing.T) {
	d := NewDelta(twoTopics(t))
	for _, topic := range []UUID{topicA, topicB} {
		change := NewPartitionChange(topic, 0)
		change.EligibleLeaderReplicas, change.LastKnownELR = []int32{1}, []int32{2}
		mustApply(t, d, change)
	}
	im := d.Image(1, 1)
	mustApply(t, d, &ClearElrRecord{TopicName: "a"})
	one := d.Image(2, 1)
	if p := one.Topic("a").Partition(0); p.ELR != nil || p.LastKnownELR != nil || p.PartitionEpoch != 2 || p.LeaderEpoch != 0 {
		t.Errorf("%+v", p)
	}
	if p := one.Topic("a").Partition(1); p != im.Topic("a").Partition(1) {
		t.Errorf("nothing to clear: %+v", p)
	}
	if one.Topic("b") != im.Topic("b") {
		t.Error("the other topic changed")
	}
	mustApply(t, d, &ClearElrRecord{})
	if p := d.Image(3, 1).Topic("b").Partition(0); p.ELR != nil || p.PartitionEpoch != 2 {
		t.Errorf("%+v", p)
	}
	if p := im.Topic("a").Partition(0); !slices.Equal(p.ELR, []int32{1}) {
		t.Error("an old image changed")
	}
}

func TestRemoveTopicDropsConfigs(t *testing.T) {
	d := NewDelta(twoTopics(t))
	mustApply(t, d, config(ResourceTopic, "a", "retention.ms", text("1")), config(ResourceGroup, "a", "x", text("y")))
	im := d.Image(1, 1)
	mustApply(t, d, &RemoveTopicRecord{topicA})
	next := d.Image(2, 1)
	if next.Topic("a") != nil || next.TopicByID(topicA) != nil || next.Configs(ResourceTopic, "a") != nil || next.TopicCount() != 1 || next.PartitionCount() != 1 {
		t.Error(describe(next))
	}
	if next.Configs(ResourceGroup, "a") == nil || im.Configs(ResourceTopic, "a")["retention.ms"] != "1" || im.PartitionCount() != 3 {
		t.Error("too much was removed")
	}
	var gone []TopicChange
	for c := range next.ChangedTopics(im) {
		gone = append(gone, c)
	}
	if len(gone) != 1 || gone[0].New != nil || gone[0].Old != im.Topic("a") {
		t.Errorf("%+v", gone)
	}
}

func TestTopicRecordsTwice(t *testing.T) {
	d := NewDelta(twoTopics(t))
	mustApply(t, d, &TopicRecord{"a", topicA})
	if im := d.Image(1, 1); len(im.Topic("a").Partitions) != 2 || im.PartitionCount() != 3 {
		t.Error("a topic that is there already lost its partitions")
	}
	other := UUID{0: 99}
	mustApply(t, d, &TopicRecord{"a", other}) // same name, other id
	im := d.Image(2, 1)
	if im.TopicByID(topicA) != nil || im.Topic("a").ID != other || len(im.Topic("a").Partitions) != 0 || im.PartitionCount() != 1 || im.TopicCount() != 2 {
		t.Error(describe(im))
	}
	mustApply(t, d, &TopicRecord{"c", other}) // same id, other name
	im = d.Image(3, 1)
	if im.Topic("a") != nil || im.TopicByID(other).Name != "c" || im.TopicCount() != 2 {
		t.Error(describe(im))
	}
	mustApply(t, d, &TopicRecord{"b", other}) // name of one, id of another
	im = d.Image(4, 1)
	if im.TopicCount() != 1 || im.PartitionCount() != 0 || im.Topic("b") != im.TopicByID(other) {
		t.Error(describe(im))
	}
	replaced := partitionOf(other, 0)
	mustApply(t, d, replaced, partitionOf(other, 5), partitionOf(other, 2), &PartitionRecord{TopicID: other, PartitionID: 0, LeaderEpoch: 9})
	im = d.Image(5, 1)
	if got := im.Topic("b"); im.PartitionCount() != 3 || got.Partition(0).LeaderEpoch != 9 || got.Partition(1) != nil || got.Partition(2).ID != 2 || got.Partition(5).ID != 5 || got.Partition(-1) != nil || got.Partition(6) != nil {
		t.Error(describe(im))
	}
}

func TestBrokerRegistrations(t *testing.T) {
	d := NewDelta(nil)
	mustApply(t, d, &RegisterBrokerRecord{BrokerID: 1, BrokerEpoch: 5, Fenced: true, LogDirs: []UUID{{1}}})
	first := d.Image(1, 1)
	mustApply(t, d, &BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 5, Fenced: -1})
	mustApply(t, d, &BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 5, InControlledShutdown: 1, CordonedLogDirs: []UUID{{1}}})
	b := d.Image(2, 1).Brokers[1]
	if b.Fenced || !b.InControlledShutdown || !slices.Equal(b.LogDirs, []UUID{{1}}) || !slices.Equal(b.CordonedLogDirs, []UUID{{1}}) {
		t.Errorf("%+v", b)
	}
	mustApply(t, d, &BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 5, LogDirs: []UUID{{2}}, CordonedLogDirs: []UUID{}}, &FenceBrokerRecord{1, 5})
	if b = d.Image(3, 1).Brokers[1]; !b.Fenced || !b.InControlledShutdown || !slices.Equal(b.LogDirs, []UUID{{2}}) || b.CordonedLogDirs == nil || len(b.CordonedLogDirs) != 0 {
		t.Errorf("%+v", b)
	}
	mustApply(t, d, &UnfenceBrokerRecord{1, 5})
	image := d.Image(4, 1)
	for _, wrong := range []Record{
		&BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 4, Fenced: 1}, &FenceBrokerRecord{1, 6}, &UnfenceBrokerRecord{1, 6},
		&UnregisterBrokerRecord{1, 4}, &UnregisterBrokerRecord{2, 5}, &FenceBrokerRecord{2, 5},
	} {
		if err := d.Apply(wrong); !errors.Is(err, ErrBrokerEpoch) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	sameImage(t, d.Image(4, 1), image)
	mustApply(t, d, &RegisterBrokerRecord{BrokerID: 1, BrokerEpoch: 6})
	if b = d.Image(5, 1).Brokers[1]; b.Epoch != 6 || b.LogDirs != nil || b.InControlledShutdown || b.CordonedLogDirs != nil {
		t.Errorf("a new registration: %+v", b)
	}
	mustApply(t, d, &UnregisterBrokerRecord{1, 6})
	if len(d.Image(6, 1).Brokers) != 0 || !first.Brokers[1].Fenced {
		t.Error("unregistering failed, or changed an old image")
	}
}

func TestFeaturesConfigsAndQuotas(t *testing.T) {
	d := NewDelta(twoTopics(t))
	mustApply(t, d, &FeatureLevelRecord{ShareVersionFeature, 0}, &FeatureLevelRecord{"never.set", 0})
	user, def := []QuotaEntity{{"user", text("u")}, {"client-id", nil}}, []QuotaEntity{{"user", nil}, {"client-id", nil}}
	mustApply(t, d,
		config(ResourceBroker, "", "min.insync.replicas", text("1")), config(ResourceTopic, "a", "x", text("1")), config(ResourceTopic, "a", "y", text("")),
		&ClientQuotaRecord{user, "producer_byte_rate", 5, false}, &ClientQuotaRecord{user, "consumer_byte_rate", 6, false},
		&ClientQuotaRecord{def, "producer_byte_rate", 7, false})
	im := d.Image(1, 1)
	if _, ok := im.Features[ShareVersionFeature]; ok || len(im.Features) != 5 {
		t.Errorf("%v", im.Features)
	}
	if got := im.Configs(ResourceTopic, "a"); len(got) != 2 || got["x"] != "1" {
		t.Errorf("%v", got)
	}
	if q := im.ClientQuota(user[1], user[0]); q == nil || len(q.Values) != 2 || q.Values["producer_byte_rate"] != 5 || len(im.ClientQuotas()) != 2 {
		t.Errorf("%+v", q)
	}
	mustApply(t, d, config(ResourceTopic, "a", "x", nil), config(ResourceTopic, "a", "z", nil), config(ResourceTopic, "none", "z", nil), config(ResourceBroker, "", "min.insync.replicas", nil),
		&ClientQuotaRecord{user, "producer_byte_rate", 0, true}, &ClientQuotaRecord{def, "producer_byte_rate", 0, true}, &ClientQuotaRecord{def, "producer_byte_rate", 0, true})
	next := d.Image(2, 1)
	if got := next.Configs(ResourceTopic, "a"); len(got) != 1 || len(next.ConfigResources()) != 1 || next.Configs(ResourceBroker, "") != nil {
		t.Errorf("%v %v", got, next.ConfigResources())
	}
	if q := next.ClientQuota(user...); len(q.Values) != 1 || len(next.ClientQuotas()) != 1 || next.ClientQuota(def...) != nil {
		t.Errorf("%+v", q)
	}
	if len(im.Configs(ResourceTopic, "a")) != 2 || len(im.ClientQuotas()) != 2 || len(im.ClientQuota(user...).Values) != 2 {
		t.Error("an old image changed")
	}
	changed := slices.Collect(next.ChangedConfigs(im))
	if len(changed) != 2 {
		t.Errorf("%v", changed)
	}
}

func TestSecurityRecords(t *testing.T) {
	d := NewDelta(twoTopics(t))
	acl, token := &AccessControlEntryRecord{ID: UUID{1}, ResourceName: "a"}, &DelegationTokenRecord{TokenID: "t", Owner: "User:o"}
	scram := &UserScramCredentialRecord{Name: "u", Mechanism: ScramSHA512, Salt: []byte{1}, StoredKey: []byte{2}, ServerKey: []byte{3}, Iterations: 4096}
	mustApply(t, d, acl, token, scram, &ProducerIDsRecord{1, 5, 1000}, &RegisterControllerRecord{ControllerID: 1})
	im := d.Image(1, 1)
	if im.ACL(UUID{1}) != acl || im.DelegationToken("t") != token || im.ScramCredential(ScramSHA512, "u") != scram || im.ScramCredential(ScramSHA256, "u") != nil || im.NextProducerID != 1000 || im.Controllers[1] == nil {
		t.Error(describe(im))
	}
	mustApply(t, d, &RemoveAccessControlEntryRecord{UUID{1}}, &RemoveDelegationTokenRecord{"t"}, &RemoveDelegationTokenRecord{"t"}, &RemoveUserScramCredentialRecord{"u", ScramSHA512}, &RemoveUserScramCredentialRecord{"u", ScramSHA512})
	if next := d.Image(2, 1); len(next.ACLs())+len(next.DelegationTokens())+len(next.ScramCredentials()) != 0 || len(im.ACLs()) != 1 {
		t.Error(describe(next))
	}
	if err := d.Apply(&RemoveAccessControlEntryRecord{UUID{1}}); !errors.Is(err, ErrUnknownACL) {
		t.Error(err)
	}
}

func TestTransactions(t *testing.T) {
	im := twoTopics(t)
	d := NewDelta(im)
	mustApply(t, d, &BeginTransactionRecord{text("x")}, &TopicRecord{"c", UUID{3}})
	open := d.Image(11, 1)
	if !open.InTransaction() || !d.InTransaction() || open.Topic("c") != nil || open.Offset != 11 {
		t.Error("an open transaction is visible")
	}
	sameImage(t, open, im)
	// The next delta starts from the image alone and still knows of the transaction.
	mustApply(t, d, &EndTransactionRecord{})
	d2 := NewDelta(open)
	mustApply(t, d2, partitionOf(UUID{3}, 0), &RemoveTopicRecord{topicA})
	if still := d2.Image(12, 1); still.TopicCount() != 2 || !still.InTransaction() {
		t.Error("an open transaction is visible")
	}
	mustApply(t, d2, &EndTransactionRecord{})
	done := d2.Image(13, 1)
	if done.InTransaction() || done.Topic("a") != nil || done.Topic("c").Partition(0) == nil || done.PartitionCount() != 2 {
		t.Error(describe(done))
	}
	if d.Image(12, 1).Topic("a") == nil {
		t.Error("one delta changed another's image")
	}
	d3 := NewDelta(open)
	mustApply(t, d3, partitionOf(UUID{3}, 0), &AbortTransactionRecord{text("no")})
	aborted := d3.Image(14, 1)
	if aborted.InTransaction() {
		t.Error("still open")
	}
	sameImage(t, aborted, im)
	mustApply(t, d3, &TopicRecord{"d", UUID{4}})
	if d3.Image(15, 1).TopicCount() != 3 || aborted.TopicCount() != 2 {
		t.Error("after an abort nothing may be shared")
	}
	for _, wrong := range [][]Record{
		{&EndTransactionRecord{}}, {&AbortTransactionRecord{}}, {&BeginTransactionRecord{}, &BeginTransactionRecord{}},
		{&BeginTransactionRecord{}, &EndTransactionRecord{}, &EndTransactionRecord{}},
	} {
		d := NewDelta(im)
		var err error
		for _, r := range wrong {
			err = d.Apply(r)
		}
		if !errors.Is(err, ErrTransaction) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}

func TestReplayNamesTheOffset(t *testing.T) {
	log := func(records ...Record) iter.Seq2[int64, []byte] {
		return func(yield func(int64, []byte) bool) {
			for i, r := range records {
				if !yield(int64(i+1), Append(nil, r, MaxMetadataVersion)) {
					return
				}
			}
		}
	}
	// A directory with the least a log can say: no registrations, arbitrary replicas, no directories, duplicates.
	d := NewDelta(nil)
	err := Replay(d, log(&FeatureLevelRecord{MetadataVersionFeature, 30}, &TopicRecord{"t", UUID{1}}, &PartitionRecord{TopicID: UUID{1}, PartitionID: 0, Leader: 7},
		&PartitionRecord{TopicID: UUID{1}, PartitionID: 1, Replicas: []int32{5, 6}, ISR: []int32{9}, Directories: []UUID{{1}}}, &PartitionRecord{TopicID: UUID{1}, PartitionID: 0, Leader: 8, Directories: []UUID{{1}}}))
	if err != nil {
		t.Fatal(err)
	}
	im := d.Image(5, 0)
	if p := im.Topic("t").Partitions; len(p) != 2 || p[0].Leader != 8 || len(p[0].Directories) != 0 || len(p[1].Directories) != 2 || Unsupported(im) != nil {
		t.Error(describe(im))
	}
	err = Replay(d, log(&NoOpRecord{}, &PartitionRecord{TopicID: UUID{2}, PartitionID: 4}))
	if !errors.Is(err, ErrUnknownTopic) || !strings.Contains(err.Error(), "offset 2") || !strings.Contains(err.Error(), "partition 4") || !strings.Contains(err.Error(), UUID{2}.String()) {
		t.Error(err)
	}
	err = Replay(d, func(yield func(int64, []byte) bool) { yield(77, nil) })
	if !errors.Is(err, ErrMalformedRecord) || !strings.Contains(err.Error(), "offset 77") {
		t.Error(err)
	}
	sameImage(t, d.Image(5, 0), im)
}

func TestApplyRefuses(t *testing.T) {
	im := twoTopics(t)
	bad := NewPartitionChange(topicA, 0)
	bad.LeaderRecoveryState = 2
	for want, records := range map[error][]Record{
		ErrUnknownTopic:     {&RemoveTopicRecord{UUID{9}}, NewPartitionChange(UUID{9}, 0), partitionOf(UUID{9}, 0), &ClearElrRecord{TopicName: "no"}},
		ErrUnknownPartition: {NewPartitionChange(topicA, 2), NewPartitionChange(topicA, -1)},
		ErrInvalidRecord:    {bad, partitionOf(topicA, -1), &PartitionRecord{TopicID: topicA, LeaderRecoveryState: -1}, &TopicRecord{TopicID: UUID{9}}, nil},
	} {
		for _, r := range records {
			d := NewDelta(im)
			if err := d.Apply(r); !errors.Is(err, want) {
				t.Errorf("%+v: %v, expected %v", r, err, want)
			}
			sameImage(t, d.Image(10, 1), im)
		}
	}
}

// TestRandomLogs applies random records through one delta, through a new delta per record, and through snapshots, and expects
// the same image each time and every earlier image to have stayed as it was.
func TestRandomLogs(t *testing.T) {
	keys := append(recordKeys(), 40)
	for _, frequent := range []int16{KeyTopic, KeyPartition, KeyPartition, KeyPartition, KeyPartitionChange, KeyPartitionChange, KeyConfig, KeyRegisterBroker} {
		keys = append(keys, frequent, frequent)
	}
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 5))
		whole := NewDelta(nil)
		mustApply(t, whole, BootstrapRecords(MaxMetadataVersion)...)
		im := whole.Image(0, 0)
		type kept struct {
			im       *Image
			snapshot string
		}
		var history []kept
		applied := 0
		for offset := range int64(400) {
			value := Append(nil, randomRecord(r, keys[r.IntN(len(keys))]), MaxMetadataVersion)
			one, err := Decode(value)
			if err != nil {
				t.Fatal(err)
			}
			two, err := Decode(value)
			if err != nil {
				t.Fatal(err)
			}
			step := NewDelta(im)
			err1, err2 := whole.Apply(one), step.Apply(two)
			if (err1 == nil) != (err2 == nil) {
				t.Fatalf("seed %d offset %d %+v: %v, but %v", seed, offset, one, err1, err2)
			}
			if err1 == nil {
				applied++
			}
			im = step.Image(offset, 0)
			if im.InTransaction() != whole.InTransaction() {
				t.Fatalf("seed %d offset %d: one is in a transaction", seed, offset)
			}
			if r.IntN(20) == 0 {
				sameImage(t, whole.Image(offset, 0), im)
				sameImage(t, reload(t, im), im)
				checkInvariants(t, im)
				history = append(history, kept{im, string(snapshotOf(im))})
			}
		}
		for _, h := range history {
			if string(snapshotOf(h.im)) != h.snapshot {
				t.Fatalf("seed %d: the image of offset %d changed later", seed, h.im.Offset)
			}
		}
		if applied < 200 {
			t.Errorf("seed %d: only %d records applied", seed, applied)
		}
	}
}

func checkInvariants(t *testing.T, im *Image) {
	t.Helper()
	partitions := 0
	for _, topic := range im.Topics() {
		if im.Topic(topic.Name) != topic || im.TopicByID(topic.ID) != topic {
			t.Fatalf("topic %s is not found", topic.Name)
		}
		partitions += len(topic.Partitions)
		for i, p := range topic.Partitions {
			if len(p.Directories) != len(p.Replicas) || i > 0 && topic.Partitions[i-1].ID >= p.ID {
				t.Fatalf("%s-%d: %+v", topic.Name, p.ID, p)
			}
		}
	}
	if partitions != im.PartitionCount() || len(im.Topics()) != im.TopicCount() {
		t.Fatalf("%d partitions and %d topics, counted as %d and %d", partitions, len(im.Topics()), im.PartitionCount(), im.TopicCount())
	}
	if level, ok := im.Features["a"]; ok && level == 0 {
		t.Fatal("a feature of level 0")
	}
}

func TestSnapshotOrder(t *testing.T) {
	d := NewDelta(nil)
	r := rand.New(rand.NewPCG(8, 8))
	mustApply(t, d, &UnknownRecord{APIKey: 40, Raw: []byte{1, 40, 0, 1}}, &UnknownRecord{APIKey: 41, Raw: []byte{1, 41, 0, 1}}, &UnknownRecord{APIKey: 40, Raw: []byte{1, 40, 0, 2}})
	mustApply(t, d, &ZkMigrationStateRecord{3}, randomRecord(r, KeyDelegationToken), randomRecord(r, KeyUserScramCredential), randomRecord(r, KeyAccessControlEntry), &ProducerIDsRecord{1, 2, 3},
		&ClientQuotaRecord{Entity: []QuotaEntity{{"user", nil}}, QuotaKey: "k", Value: 1}, config(ResourceTopic, "z", "x", text("y")), &TopicRecord{"z", UUID{1}}, partitionOf(UUID{1}, 0),
		&TopicRecord{"a", UUID{2}}, partitionOf(UUID{2}, 1), partitionOf(UUID{2}, 0), &RegisterControllerRecord{ControllerID: 4}, &RegisterBrokerRecord{BrokerID: 9}, &RegisterBrokerRecord{BrokerID: 3},
		&FeatureLevelRecord{"z.version", 1}, &FeatureLevelRecord{"a.version", 1}, &FeatureLevelRecord{MetadataVersionFeature, 30})
	im := d.Image(0, 0)
	var got []int16
	for r := range im.Records() {
		got = append(got, r.Key())
	}
	want := []int16{KeyFeatureLevel, KeyZkMigrationState, KeyFeatureLevel, KeyFeatureLevel, KeyRegisterBroker, KeyRegisterBroker, KeyRegisterController, KeyTopic, KeyPartition, KeyPartition, KeyTopic, KeyPartition,
		KeyConfig, KeyClientQuota, KeyProducerIDs, KeyAccessControlEntry, KeyUserScramCredential, KeyDelegationToken, 40, 41, 40}
	if !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
	for stop := range len(want) {
		n := 0
		for range im.Records() {
			if n++; n > stop {
				break
			}
		}
	}
	mustApply(t, d, &FeatureLevelRecord{MetadataVersionFeature, 7})
	for r := range d.Image(0, 0).Records() {
		if key := r.Key(); key == KeyRegisterController || key == KeyUserScramCredential || key == KeyDelegationToken {
			t.Errorf("a %s at metadata.version 7", RecordName(key))
		}
	}
	mustApply(t, d, &FeatureLevelRecord{MetadataVersionFeature, 0})
	if im := d.Image(0, 0); im.MetadataVersion() != MinMetadataVersion {
		t.Errorf("metadata.version %d where none is set", im.MetadataVersion())
	}
}
