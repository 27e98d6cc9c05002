package suites

import (
	"errors"
	"fmt"
	"maps"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// franzAdmin is every kadm call a broker without coordinators can answer.
func franzAdmin(s *rig.S, b *rig.Broker) {
	s.Test("admin/cluster", franzLimit, func(t *rig.T) {
		m, err := newAdmin(t, b).BrokerMetadata(t.Context())
		t.Must(err, "metadata")
		if len(m.Cluster) != 22 || m.Controller != 1 || len(m.Brokers) != 1 || fmt.Sprintf("%s:%d", m.Brokers[0].Host, m.Brokers[0].Port) != b.Addr {
			t.Fatalf("%+v", m)
		}
	})
	s.Test("admin/api-versions", franzLimit, func(t *rig.T) {
		versions, err := newAdmin(t, b).ApiVersions(t.Context())
		t.Must(err, "api versions")
		v := versions[1]
		t.Must(v.Err, "api versions")
		for key, most := range map[kmsg.Key]int16{kmsg.Produce: 13, kmsg.Fetch: 18, kmsg.Metadata: 13, kmsg.CreateTopics: 7, kmsg.ListOffsets: 11, kmsg.ApiVersions: 4} {
			if got, ok := v.KeyMaxVersion(key.Int16()); !ok || got != most {
				t.Fatalf("%s: maximum version %d, expected %d", key.Name(), got, most)
			}
		}
		if least, _ := v.KeyMinVersion(kmsg.Produce.Int16()); least != 0 {
			t.Fatalf("Produce is advertised from version %d: librdkafka needs to see 0", least)
		}
	})
	s.Test("admin/create", franzLimit, func(t *rig.T) {
		adm := newAdmin(t, b)
		topic := rig.Name("franz-create")
		dry, err := adm.ValidateCreateTopics(t.Context(), 3, 1, nil, topic)
		t.Must(err, "validate")
		t.Must(dry.Error(), "validate")
		if td, err := adm.ListTopics(t.Context(), topic); err != nil || !errors.Is(td[topic].Err, kerr.UnknownTopicOrPartition) {
			t.Fatalf("validate-only made the topic: %v %+v", err, td)
		}
		r, err := adm.CreateTopic(t.Context(), 3, 1, pointers(map[string]string{"retention.ms": "1234567"}), topic)
		t.Must(err, "create")
		if r.NumPartitions != 3 || r.ReplicationFactor != 1 || r.ID == (kadm.TopicID{}) || valueOf(r.Configs["retention.ms"]) != "1234567" {
			t.Fatalf("%+v", r)
		}
		if d := untilThere(t, adm, topic, 3); d.ID != r.ID || d.Partitions[2].Leader != 1 {
			t.Fatalf("%+v", d)
		}
		_, err = adm.CreateTopic(t.Context(), 3, 1, nil, topic)
		if !errors.Is(err, kerr.TopicAlreadyExists) {
			t.Fatalf("created twice: %v", err)
		}
	})
	s.Test("admin/create-refusals", franzLimit, func(t *rig.T) {
		adm := newAdmin(t, b)
		refuse := func(want error, partitions int32, factor int16, configs map[string]string) {
			_, err := adm.CreateTopic(t.Context(), partitions, factor, pointers(configs), rig.Name("franz-refused"))
			if !errors.Is(err, want) {
				t.Fatalf("%d partitions, factor %d, %v: %v, expected %v", partitions, factor, configs, err, want)
			}
		}
		refuse(kerr.InvalidReplicationFactor, 1, 3, nil)
		refuse(kerr.InvalidReplicationFactor, 1, 0, nil)
		refuse(kerr.InvalidPartitions, 0, 1, nil)
		refuse(kerr.InvalidConfig, 1, 1, map[string]string{"no.such.config": "1"})
		refuse(kerr.InvalidConfig, 1, 1, map[string]string{"retention.ms": "soon"})
		refuse(kerr.InvalidConfig, 1, 1, map[string]string{"cleanup.policy": "burn"})
		_, err := adm.CreateTopic(t.Context(), -1, -1, nil, rig.Name("franz-defaults"))
		t.Must(err, "the broker's defaults")
	})
	s.Test("admin/partitions", franzLimit, func(t *rig.T) {
		adm := newAdmin(t, b)
		topic := rig.Name("franz-grow")
		createTopic(t, b, topic, 2, nil)
		r, err := adm.UpdatePartitions(t.Context(), 5, topic)
		t.Must(err, "grow")
		t.Must(r.Error(), "grow")
		untilThere(t, adm, topic, 5)
		if r, err = adm.UpdatePartitions(t.Context(), 3, topic); err == nil {
			err = r.Error()
		}
		if !errors.Is(err, kerr.InvalidPartitions) {
			t.Fatalf("from 5 to 3 partitions: %v", err)
		}
		t.Must(newClient(t, b).ProduceSync(t.Context(), record(topic, 4, 0)).FirstErr(), "produce to the new partition")
	})
	s.Test("admin/configs", franzLimit, func(t *rig.T) {
		adm := newAdmin(t, b)
		topic := rig.Name("franz-configs")
		createTopic(t, b, topic, 1, map[string]string{"segment.bytes": "2097152"})
		alter := func(want error, a ...kadm.AlterConfig) {
			r, err := adm.AlterTopicConfigs(t.Context(), a, topic)
			t.Must(err, "alter")
			if !errors.Is(r[0].Err, want) || (want == nil && r[0].Err != nil) {
				t.Fatalf("alter %+v: %v, expected %v", a, r[0].Err, want)
			}
		}
		alter(nil, kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: kmsg.StringPtr("777")},
			kadm.AlterConfig{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: kmsg.StringPtr("compact")})
		alter(kerr.InvalidConfig, kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: kmsg.StringPtr("x")})
		const dynamic, byDefault = kmsg.ConfigSourceDynamicTopicConfig, kmsg.ConfigSourceDefaultConfig
		untilConfigs(t, adm, topic, dynamic, map[string]string{"segment.bytes": "2097152", "retention.ms": "777", "cleanup.policy": "delete,compact"})
		untilConfigs(t, adm, topic, byDefault, map[string]string{"max.message.bytes": "1048588"})
		alter(nil, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"},
			kadm.AlterConfig{Op: kadm.SubtractConfig, Name: "cleanup.policy", Value: kmsg.StringPtr("compact")})
		untilConfigs(t, adm, topic, byDefault, map[string]string{"retention.ms": "604800000"})
		untilConfigs(t, adm, topic, dynamic, map[string]string{"cleanup.policy": "delete"})
		r, err := adm.AlterTopicConfigsState(t.Context(), []kadm.AlterConfig{{Name: "retention.ms", Value: kmsg.StringPtr("99")}}, topic)
		t.Must(err, "replace all")
		t.Must(r[0].Err, "replace all")
		untilConfigs(t, adm, topic, dynamic, map[string]string{"retention.ms": "99"})
		untilConfigs(t, adm, topic, byDefault, map[string]string{"segment.bytes": "1073741824", "cleanup.policy": "delete"})
	})
	s.Test("admin/broker-configs", franzLimit, func(t *rig.T) {
		r, err := newAdmin(t, b).DescribeBrokerConfigs(t.Context(), 1)
		t.Must(err, "describe")
		t.Must(r[0].Err, "describe")
		got := map[string]kadm.Config{}
		for _, c := range r[0].Configs {
			got[c.Key] = c
		}
		if valueOf(got["node.id"]) != "1" || valueOf(got["log.dirs"]) != b.Data || valueOf(got["advertised.listeners"]) == "" {
			t.Fatalf("node.id %q, log.dirs %q, advertised.listeners %q", valueOf(got["node.id"]), valueOf(got["log.dirs"]), valueOf(got["advertised.listeners"]))
		}
	})
	s.Test("admin/delete-records", franzLimit, func(t *rig.T) {
		adm := newAdmin(t, b)
		topic := rig.Name("franz-trim")
		createTopic(t, b, topic, 1, nil)
		franzAsync(t, b, topic, 100)
		var o kadm.Offsets
		o.AddOffset(topic, 0, 60, -1)
		r, err := adm.DeleteRecords(t.Context(), o)
		t.Must(err, "delete records")
		t.Must(r.Error(), "delete records")
		starts, err := adm.ListStartOffsets(t.Context(), topic)
		t.Must(err, "start offsets")
		if s, _ := starts.Lookup(topic, 0); s.Offset != 60 {
			t.Fatalf("start offset %d, expected 60", s.Offset)
		}
		o = nil
		o.AddOffset(topic, 0, 1000, -1)
		r, err = adm.DeleteRecords(t.Context(), o)
		t.Must(err, "delete records")
		if !errors.Is(r.Error(), kerr.OffsetOutOfRange) {
			t.Fatalf("up to 1000 of 100: %v", r.Error())
		}
	})
	s.Test("admin/log-dirs", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-logdirs")
		createTopic(t, b, topic, 1, nil)
		franzAsync(t, b, topic, 100)
		r, err := newAdmin(t, b).DescribeBrokerLogDirs(t.Context(), 1, nil)
		t.Must(err, "describe")
		dir, ok := r[b.Data]
		if !ok || dir.Err != nil {
			t.Fatalf("no %s in %+v", b.Data, r)
		}
		if p, ok := dir.Topics.Lookup(topic, 0); !ok || p.Size <= 0 {
			t.Fatalf("%s-0: %+v", topic, p)
		}
	})
	s.Test("admin/leader-epoch", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-epoch")
		createTopic(t, b, topic, 1, nil)
		franzAsync(t, b, topic, 100)
		adm := newAdmin(t, b)
		td, err := adm.ListTopics(t.Context(), topic)
		t.Must(err, "list")
		epoch := td[topic].Partitions[0].LeaderEpoch
		var q kadm.OffsetForLeaderEpochRequest
		q.Add(topic, 0, epoch)
		r, err := adm.OffsetForLeaderEpoch(t.Context(), q)
		t.Must(err, "offset for leader epoch")
		if got := r[topic][0]; got.Err != nil || got.EndOffset != 100 || got.LeaderEpoch != epoch {
			t.Fatalf("%+v", got)
		}
	})
	s.Test("admin/delete", franzLimit, func(t *rig.T) {
		adm := newAdmin(t, b)
		topic := rig.Name("franz-delete")
		first := createTopic(t, b, topic, 2, nil)
		franzAsync(t, b, topic, 10)
		_, err := adm.DeleteTopic(t.Context(), topic)
		t.Must(err, "delete")
		if _, err := adm.DeleteTopic(t.Context(), topic); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Fatalf("deleted twice: %v", err)
		}
		if again := createTopic(t, b, topic, 1, nil); again == first {
			t.Fatalf("a new topic of an old name has the old id")
		}
		franzAsync(t, b, topic, 10)
	})
}

// untilConfigs waits until the topic's configs have these values from this source.
func untilConfigs(t *rig.T, adm *kadm.Client, topic string, source kmsg.ConfigSource, want map[string]string) {
	eventually(t, func() error {
		r, err := adm.DescribeTopicConfigs(t.Context(), topic)
		if err != nil {
			return err
		}
		if r[0].Err != nil {
			return r[0].Err
		}
		left := maps.Clone(want)
		for _, c := range r[0].Configs {
			if w, ok := want[c.Key]; ok && c.MaybeValue() == w && c.Source == source {
				delete(left, c.Key)
			} else if ok {
				left[c.Key] += fmt.Sprintf(" (is %q from %s)", c.MaybeValue(), c.Source)
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("configs of %s: expected %v from %s", topic, left, source)
		}
		return nil
	})
}

// valueOf is a config's value, empty when it has none.
func valueOf(c kadm.Config) string { return c.MaybeValue() }
