package controller

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/quorum"
)

var (
	topicT        = meta.ConfigResource{Type: meta.ResourceTopic, Name: "t"}
	broker1       = meta.ConfigResource{Type: meta.ResourceBroker, Name: "1"}
	brokerDefault = meta.ConfigResource{Type: meta.ResourceBroker}
)

func TestIncrementalAlterConfigs(t *testing.T) {
	c := start(t)
	c.create(t, "t", 1)
	op := func(name string, op int8, value *string) []ConfigOp { return []ConfigOp{{name, op, value}} }
	for i, test := range []struct {
		resource meta.ConfigResource
		ops      []ConfigOp
		code     int16
		message  string
		want     string // configs of the resource afterwards
	}{
		{topicT, op("retention.ms", OpSet, ptr("5")), 0, "", "retention.ms=5"},
		{topicT, op("cleanup.policy", OpAppend, ptr("compact")), 0, "", "cleanup.policy=delete,compact retention.ms=5"},
		{topicT, op("cleanup.policy", OpAppend, ptr("compact")), 0, "", "cleanup.policy=delete,compact retention.ms=5"},
		{topicT, op("cleanup.policy", OpSubtract, ptr("delete")), 0, "", "cleanup.policy=compact retention.ms=5"},
		{topicT, op("retention.ms", OpAppend, ptr("1")), 40, "Can't APPEND to key retention.ms because its type is not LIST.", ""},
		{topicT, op("retention.ms", OpSubtract, ptr("1")), 40, "Can't SUBTRACT to key retention.ms because its type is not LIST.", ""},
		{topicT, op("retention.ms", OpDelete, nil), 0, "", "cleanup.policy=compact"},
		{topicT, op("cleanup.policy", OpDelete, nil), 0, "", ""},
		{topicT, op("retention.ms", OpSet, nil), 42, "Null value not supported for : retention.ms", ""},
		{topicT, op("retention.ms", 9, ptr("1")), 42, "Unknown operations type 9", ""},
		{topicT, append(op("a", OpSet, ptr("1")), op("a", OpDelete, nil)...), 42, "Error due to duplicate config keys", ""},
		{topicT, op("no.such.config", OpSet, ptr("1")), 40, "Unknown topic config name: no.such.config", ""},
		{topicT, op("retention.ms", OpSet, ptr(strings.Repeat("1", 32_768))), 40, "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.", ""},
		{topicT, op("min.insync.replicas", OpSet, ptr("2")), 0, "", "min.insync.replicas=2"},
		{broker1, op("log.cleaner.threads", OpSet, ptr("2")), 0, "", "log.cleaner.threads=2"},
		{broker1, op("min.insync.replicas", OpSet, ptr("2")), 40, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.", ""},
		{brokerDefault, op("min.insync.replicas", OpDelete, nil), 40, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.", ""},
		{brokerDefault, op("min.insync.replicas", OpSet, ptr("2")), 0, "", "min.insync.replicas=2"},
		{meta.ConfigResource{Type: meta.ResourceTopic, Name: "none"}, op("a", OpSet, ptr("1")), 3, "The topic 'none' does not exist.", ""},
		{meta.ConfigResource{Type: meta.ResourceTopic}, op("a", OpSet, ptr("1")), 42, "Default topic resources are not allowed.", ""},
		{meta.ConfigResource{Type: meta.ResourceBroker, Name: "x"}, op("a", OpSet, ptr("1")), 42, "Unable to parse broker name as a base 10 number.", ""},
		{meta.ConfigResource{Type: meta.ResourceBroker, Name: "-4"}, op("a", OpSet, ptr("1")), 42, "Invalid negative broker ID.", ""},
		{meta.ConfigResource{Type: meta.ResourceBroker, Name: "4"}, op("a", OpSet, ptr("1")), 102, "No node with id 4 found.", ""},
		{meta.ConfigResource{Type: meta.ResourceGroup}, op("a", OpSet, ptr("1")), 42, "Default group resources are not allowed.", ""},
		{meta.ConfigResource{Type: meta.ResourceGroup, Name: "g"}, op("consumer.session.timeout.ms", OpSet, ptr("50000")), 0, "", "consumer.session.timeout.ms=50000"},
		{meta.ConfigResource{Type: 77, Name: "g"}, op("a", OpSet, ptr("1")), 42, "Unknown resource type 77", ""},
	} {
		before := c.Image()
		r, err := c.IncrementalAlterConfigs([]ConfigChange{{test.resource, test.ops}}, true)
		if err != nil || c.Image() != before {
			t.Fatalf("%d: validate only: %v", i, err)
		}
		same(t, "validate "+test.ops[0].Name, r[0].Err, test.code, test.message)
		if r, err = c.IncrementalAlterConfigs([]ConfigChange{{test.resource, test.ops}}, false); err != nil {
			t.Fatal(err)
		}
		same(t, test.ops[0].Name, r[0].Err, test.code, test.message)
		if test.code != 0 {
			if c.Image() != before {
				t.Errorf("%d: a refused change was made", i)
			}
			continue
		}
		if got := configText(c.Image(), test.resource); got != test.want {
			t.Errorf("%d: configs %q, expected %q", i, got, test.want)
		}
	}
	r, err := c.IncrementalAlterConfigs([]ConfigChange{{topicT, op("a", OpSet, ptr("1"))}, {broker1, op("a", OpSet, ptr("1"))}, {topicT, op("b", OpSet, ptr("1"))}}, false)
	if err != nil {
		t.Fatal(err)
	}
	for i, code := range []int16{42, 0, 42} {
		same(t, "resource named twice", r[i].Err, code, "Each resource must appear at most once.")
	}
}

func configText(im *meta.Image, r meta.ConfigResource) string {
	values := im.Configs(r.Type, r.Name)
	var pairs []string
	for _, name := range sortedKeys(values) {
		pairs = append(pairs, name+"="+values[name])
	}
	return strings.Join(pairs, " ")
}

func TestAlterConfigsReplacesEverything(t *testing.T) {
	c := start(t)
	c.create(t, "t", 1)
	alter := func(code int16, message string, configs ...TopicConfig) {
		t.Helper()
		r, err := c.AlterConfigs([]ConfigReplacement{{topicT, configs}}, false)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "alter", r[0].Err, code, message)
	}
	alter(0, "", TopicConfig{"a", ptr("1")}, TopicConfig{"b", ptr("2")})
	alter(0, "", TopicConfig{"b", ptr("3")}, TopicConfig{"c", ptr("4")})
	if got := configText(c.Image(), topicT); got != "b=3 c=4" {
		t.Errorf("configs %q", got)
	}
	alter(42, "Null value not supported for : b", TopicConfig{"b", nil})
	alter(42, "Error due to duplicate config keys", TopicConfig{"b", ptr("1")}, TopicConfig{"b", ptr("1")})
	alter(40, "Unknown topic config name: no.such.config", TopicConfig{"no.such.config", ptr("1")})
	r, err := c.AlterConfigs([]ConfigReplacement{{brokerDefault, nil}}, false)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "drops min.insync.replicas", r[0].Err, 40, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
	alter(0, "")
	if got := configText(c.Image(), topicT); got != "" {
		t.Errorf("configs %q", got)
	}
}

func TestMinInsyncReplicasClearsEligibleLeaders(t *testing.T) {
	c := start(t)
	c.create(t, "t", 1)
	before := c.Image().Offset
	if _, err := c.IncrementalAlterConfigs([]ConfigChange{{topicT, []ConfigOp{{"min.insync.replicas", OpSet, ptr("2")}}}}, false); err != nil {
		t.Fatal(err)
	}
	if got := c.Image().Offset - before; got != 2 {
		t.Errorf("%d records, expected ConfigRecord and ClearElrRecord", got)
	}
}

func TestCordonedLogDirsNeedsItsVersion(t *testing.T) {
	c := startCluster(t, simfs.New(simfs.Options{}), func(c *quorum.Config) { c.MetadataVersion = 29 })
	r, err := c.IncrementalAlterConfigs([]ConfigChange{{broker1, []ConfigOp{{"cordoned.log.dirs", OpSet, ptr("/data")}}}}, false)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "cordoned.log.dirs", r[0].Err, 40, "The cordoned.log.dirs configuration value cannot be set because it requires metadata.version >= 4.3-IV0")
}

func TestElectLeaders(t *testing.T) {
	c := start(t)
	id := c.create(t, "t", 2)
	if err := c.Change(func(*meta.Image) ([]meta.Record, error) {
		change := meta.NewPartitionChange(id, 1)
		change.Leader, change.ISR, change.EligibleLeaderReplicas, change.LastKnownELR = meta.NoLeader, []int32{}, []int32{1}, []int32{1}
		return []meta.Record{change}, nil
	}); err != nil {
		t.Fatal(err)
	}
	r, err := c.ElectLeaders(ElectUnclean, []TopicPartitions{{"t", []int32{0, 1, 2}}, {"none", []int32{0}}})
	if err != nil || len(r) != 2 || len(r[0].Partitions) != 3 || len(r[1].Partitions) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
	same(t, "healthy", r[0].Partitions[0].Err, 84, "Leader election not needed for topic partition.")
	same(t, "without leader", r[0].Partitions[1].Err, 0, "")
	same(t, "no partition", r[0].Partitions[2].Err, 3, "No such partition as t-2")
	same(t, "no topic", r[1].Partitions[0].Err, 3, "No such topic as none")
	if p := c.Image().Topic("t").Partition(1); p.Leader != 1 || len(p.ELR)+len(p.LastKnownELR) > 0 || p.LeaderEpoch != 2 {
		t.Errorf("%+v", p)
	}
	if r, err = c.ElectLeaders(ElectPreferred, nil); err != nil || len(r) != 1 || len(r[0].Partitions) != 0 {
		t.Errorf("all of them: %v, %v", r, err)
	}
	_, err = c.ElectLeaders(4, nil)
	same(t, "type", asError(err, 0), 42, "Unknown election type 4")
}

func TestReassignments(t *testing.T) {
	c := start(t)
	c.create(t, "t", 1)
	for i, want := range []struct {
		r       Reassignment
		code    int16
		message string
	}{
		{Reassignment{"t", 0, []int32{1}, false}, 0, ""},
		{Reassignment{"t", 0, []int32{1}, true}, 0, ""},
		{Reassignment{"t", 0, nil, false}, 85, ""},
		{Reassignment{"t", 0, []int32{1, 2}, true}, 39, "The manual partition assignment includes broker 2, but no such broker is registered."},
		{Reassignment{"t", 7, nil, false}, 3, "Unable to find partition t:7."},
		{Reassignment{"none", 0, nil, false}, 3, "Unable to find a topic named none."},
	} {
		same(t, string(rune('0'+i)), c.AlterPartitionReassignments([]Reassignment{want.r})[0], want.code, want.message)
	}
}

func TestUpdateFeatures(t *testing.T) {
	c := startCluster(t, simfs.New(simfs.Options{}), func(c *quorum.Config) { c.MetadataVersion = 22 })
	for _, test := range []struct {
		update  FeatureUpdate
		code    int16
		message string
	}{
		{FeatureUpdate{"share.version", 1, 0}, 95, "Invalid update version 1 for feature share.version. The controller does not support the given upgrade type."},
		{FeatureUpdate{"share.version", -1, Upgrade}, 95, "Invalid update version -1 for feature share.version. A feature version cannot be less than 0."},
		{FeatureUpdate{"share.version", 2, Upgrade}, 95, "Invalid update version 2 for feature share.version. Local controller 1 only supports versions 0-1"},
		{FeatureUpdate{"teleport", 2, Upgrade}, 95, "Invalid update version 2 for feature teleport. Local controller 1 does not support this feature."},
		{FeatureUpdate{"teleport", 0, Upgrade}, 95, "Invalid update version 0 for feature teleport. Feature teleport not found."},
		{FeatureUpdate{"group.version", 0, Upgrade}, 95, "Invalid update version 0 for feature group.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."},
		{FeatureUpdate{"share.version", 1, SafeDowngrade}, 95, "Invalid update version 1 for feature share.version. Can't downgrade to a newer version."},
		{FeatureUpdate{"eligible.leader.replicas.version", 1, Upgrade}, 95, "Invalid update version 1 for feature eligible.leader.replicas.version. eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23"},
		{FeatureUpdate{"metadata.version", 21, SafeDowngrade}, 0, ""},
		{FeatureUpdate{"metadata.version", 12, SafeDowngrade}, 95, "Unsupported metadata.version downgrade from 21 to 12. Refusing to perform the requested downgrade because it might delete metadata information."},
		{FeatureUpdate{"metadata.version", 12, UnsafeDowngrade}, 95, "Unsupported metadata.version downgrade from 21 to 12. Unsafe metadata downgrade is not supported in this version."},
		{FeatureUpdate{"metadata.version", 31, Upgrade}, 95, "Invalid update version 31 for feature metadata.version. Local controller 1 only supports versions 7-30"},
		{FeatureUpdate{"metadata.version", 30, Upgrade}, 0, ""},
		{FeatureUpdate{"eligible.leader.replicas.version", 1, Upgrade}, 0, ""},
		{FeatureUpdate{"share.version", 1, Upgrade}, 0, ""},
		{FeatureUpdate{"share.version", 0, SafeDowngrade}, 0, ""},
		{FeatureUpdate{"kraft.version", 1, Upgrade}, 0, ""},
		{FeatureUpdate{"kraft.version", 0, SafeDowngrade}, 95, "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature."},
	} {
		before := c.Image()
		for _, validateOnly := range []bool{true, false} {
			err := c.UpdateFeatures([]FeatureUpdate{test.update}, validateOnly)
			var e *Error
			if err != nil {
				e = asError(err, 0)
			}
			same(t, test.update.Name, e, test.code, test.message)
			if (validateOnly || test.code != 0) && c.Image() != before {
				t.Errorf("%+v changed something", test.update)
			}
		}
	}
	im := c.Image()
	if im.MetadataVersion() != 30 || im.Features["eligible.leader.replicas.version"] != 1 || configText(im, brokerDefault) != "min.insync.replicas=1" {
		t.Errorf("features %v, configs %q", im.Features, configText(im, brokerDefault))
	}
	if _, ok := im.Features["share.version"]; ok {
		t.Error("a feature at level 0 is finalized")
	}
}

func TestAlterClientQuotas(t *testing.T) {
	c := start(t)
	user := []meta.QuotaEntity{{Type: "user", Name: ptr("u")}}
	set := func(key string, value float64) []QuotaOp { return []QuotaOp{{Key: key, Value: value}} }
	for i, test := range []struct {
		entity  []meta.QuotaEntity
		ops     []QuotaOp
		code    int16
		message string
	}{
		{user, set("producer_byte_rate", 1024), 0, ""},
		{[]meta.QuotaEntity{{Type: "user"}, {Type: "client-id", Name: ptr("c")}}, set("request_percentage", 0.5), 0, ""},
		{[]meta.QuotaEntity{{Type: "ip", Name: ptr("127.0.0.1")}}, set("connection_creation_rate", 5), 0, ""},
		{[]meta.QuotaEntity{{Type: "ip", Name: ptr("not an address")}}, set("connection_creation_rate", 5), 42, "not an address is not a valid IP or resolvable host."},
		{[]meta.QuotaEntity{{Type: "ip"}, {Type: "user"}}, set("connection_creation_rate", 5), 42, "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId"},
		{nil, set("producer_byte_rate", 1), 42, "Invalid empty client quota entity"},
		{[]meta.QuotaEntity{{Type: "planet"}}, set("producer_byte_rate", 1), 42, "Unhandled client quota entity type: planet"},
		{[]meta.QuotaEntity{{Type: "user", Name: ptr("")}}, set("producer_byte_rate", 1), 42, "Empty user not supported"},
		{[]meta.QuotaEntity{{Type: "user", Name: ptr("")}, {Type: "user", Name: ptr("last")}}, set("producer_byte_rate", 1), 0, ""},
		{user, set("nonsense", 1), 42, "Invalid configuration key nonsense"},
		{user, set("producer_byte_rate", 0), 42, "Quota producer_byte_rate must be greater than 0"},
		{user, set("producer_byte_rate", 1.5), 42, "producer_byte_rate cannot be a fractional value."},
		{user, set("consumer_byte_rate", 1e30), 42, "Proposed value for consumer_byte_rate is too large for a LONG."},
		{[]meta.QuotaEntity{{Type: "ip"}}, set("connection_creation_rate", 1e10), 42, "Proposed value for connection_creation_rate is too large for an INT."},
		{user, append(set("producer_byte_rate", 1), set("producer_byte_rate", 2)...), 42, "Ignoring duplicate entity ClientQuotaEntity(entries={user=u})"},
	} {
		r, err := c.AlterClientQuotas([]QuotaAlteration{{test.entity, test.ops}}, false)
		if err != nil {
			t.Fatal(err)
		}
		same(t, string(rune('a'+i)), r[0].Err, test.code, test.message)
	}
	if q := c.Image().ClientQuota(user...); q == nil || q.Values["producer_byte_rate"] != 1024 {
		t.Errorf("%+v", q)
	}
	before := c.Image()
	r, err := c.AlterClientQuotas([]QuotaAlteration{{user, set("producer_byte_rate", 1)}, {user, nil}}, true)
	if err != nil || c.Image() != before {
		t.Fatal(err)
	}
	if len(r) != 1 {
		t.Fatalf("an entity named twice has %d answers", len(r))
	}
	same(t, "entity named twice", r[0].Err, 42, "Ignoring duplicate entity ClientQuotaEntity(entries={user=u})")
	if _, err := c.AlterClientQuotas([]QuotaAlteration{{user, []QuotaOp{{Key: "producer_byte_rate", Remove: true}, {Key: "consumer_byte_rate", Remove: true}}}}, false); err != nil {
		t.Fatal(err)
	}
	if q := c.Image().ClientQuota(user...); q != nil {
		t.Errorf("removed, but %+v", q)
	}
}

func TestScramCredentials(t *testing.T) {
	c := start(t)
	alter := func(deletions []ScramDeletion, upsertions ...ScramUpsertion) []ScramResult {
		t.Helper()
		r, err := c.AlterScramCredentials(deletions, upsertions)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// The example of RFC 5802, section 5: user "user", password "pencil", SHA-1 there; the keys here are SHA-256 of RFC 7677.
	salted, _ := hex.DecodeString("c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d")
	pencil := ScramUpsertion{User: "user", Mechanism: meta.ScramSHA256, Iterations: 4096, Salt: []byte("salt"), SaltedPassword: salted}
	same(t, "upsert", alter(nil, pencil)[0].Err, 0, "")
	got := c.Image().ScramCredential(meta.ScramSHA256, "user")
	if got == nil || base64.StdEncoding.EncodeToString(got.StoredKey) != "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=" ||
		base64.StdEncoding.EncodeToString(got.ServerKey) != "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=" || got.Iterations != 4096 {
		t.Errorf("%+v", got)
	}
	for _, test := range []struct {
		u       ScramUpsertion
		code    int16
		message string
	}{
		{ScramUpsertion{User: "user", Mechanism: 1, Iterations: 4095}, 93, "Too few iterations"},
		{ScramUpsertion{User: "user", Mechanism: 1, Iterations: 16385}, 93, "Too many iterations"},
		{ScramUpsertion{User: "user", Mechanism: 3, Iterations: 8192}, 33, "Unknown SCRAM mechanism"},
		{ScramUpsertion{User: "", Mechanism: 1, Iterations: 8192}, 93, "Username must not be empty"},
	} {
		before := c.Image()
		same(t, test.message, alter(nil, test.u)[0].Err, test.code, test.message)
		if c.Image() != before {
			t.Errorf("%s: something changed", test.message)
		}
	}
	same(t, "unknown", alter([]ScramDeletion{{"nobody", 1}})[0].Err, 91, "Attempt to delete a user credential that does not exist")
	r := alter([]ScramDeletion{{"user", 1}}, pencil, ScramUpsertion{User: "b", Mechanism: meta.ScramSHA512, Iterations: 8192})
	if len(r) != 2 || r[0].User != "b" || r[1].User != "user" {
		t.Fatalf("%+v", r)
	}
	same(t, "named twice", r[1].Err, 92, "A user credential cannot be altered twice in the same request")
	same(t, "the other", r[0].Err, 0, "")
	same(t, "delete", alter([]ScramDeletion{{"user", 1}})[0].Err, 0, "")
	if n := len(c.Image().ScramCredentials()); n != 1 {
		t.Errorf("%d credentials are left", n)
	}
}

func TestUnregisterBroker(t *testing.T) {
	c := start(t)
	if err := c.Change(func(*meta.Image) ([]meta.Record, error) {
		return []meta.Record{&meta.RegisterBrokerRecord{BrokerID: 7, BrokerEpoch: 99, Fenced: true}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	same(t, "gone", asError(c.UnregisterBroker(8), 0), 102, "Broker ID 8 is not currently registered")
	same(t, "itself", asError(c.UnregisterBroker(1), 0), 42, "Broker 1 is the only broker of this cluster and it is running; it cannot be unregistered.")
	if err := c.UnregisterBroker(7); err != nil || c.Image().Brokers[7] != nil || c.Image().Brokers[1] == nil {
		t.Errorf("%v, %v", err, c.Image().Brokers)
	}
}
