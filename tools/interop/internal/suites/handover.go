package suites

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	handoverRounds = 3
	handoverBatch  = 100_000
	handoverLimit  = 6 * time.Minute
)

// estate is what one owner of the directory hands to the next, and what that one must find.
type estate struct {
	plans  []plan
	counts []int64             // records in each plan so far
	facts  map[string]string   // topic name -> id, partitions, configs
	codecs []map[string]string // configs of each plan's topic
}

// handover lets Gregor and Apache Kafka own one directory in turns, on the same server.properties.
func handover(s *rig.S) {
	var b *rig.Broker
	e := &estate{facts: map[string]string{}}
	if !s.Test("directory", time.Minute, func(t *rig.T) {
		var err error
		b, err = rig.NewBroker(t.Env, "handover", "auto.create.topics.enable=false")
		t.Must(err, "directory")
	}) {
		return
	}
	defer func() { _ = b.Kill() }()
	for round := range handoverRounds {
		for _, owner := range []string{s.Kind, rig.Kafka} {
			name := fmt.Sprintf("round-%d/%s", round+1, owner)
			if !s.Test(name, handoverLimit, func(t *rig.T) { own(t, b, e, owner, round) }) {
				return
			}
		}
	}
	if !s.Test("last/"+s.Kind, handoverLimit, func(t *rig.T) {
		t.Must(b.Start(s.Kind), "start")
		e.verify(t, b)
		t.Must(b.Stop(), "stop")
	}) {
		return
	}
	s.Test("kafka-registers-at-once", time.Minute, func(t *rig.T) { registrations(t, b) })
	s.Test("kafka-logs-no-error", time.Minute, func(t *rig.T) {
		lines, err := b.ErrorLines(rig.Kafka)
		t.Must(err, "logs")
		if len(lines) > 0 {
			t.Fatalf("%d lines:\n%s", len(lines), strings.Join(lines[:min(10, len(lines))], "\n"))
		}
	})
}

// registrations fails when Kafka had to wait until the registration of the owner before it ran out: a clean stop fences
// the broker in the metadata log (BrokerRegistrationChangeRecord), so that the next start is let in at once.
func registrations(t *rig.T, b *rig.Broker) {
	refused, err := b.Matching(rig.Kafka, "returned error DUPLICATE_BROKER_REGISTRATION")
	t.Must(err, "logs")
	if len(refused) > 0 {
		t.Fatalf("%d refusals because the owner before is still registered and not fenced, first:\n%s", len(refused), refused[0])
	}
}

// own is one ownership: find everything as it was left, add records to every topic and one new topic, go.
func own(t *rig.T, b *rig.Broker, e *estate, owner string, round int) {
	began := time.Now()
	t.Must(b.Start(owner), "start")
	started := time.Since(began)
	e.verify(t, b)
	verified := time.Since(began)

	if round == 0 && len(e.plans) == 0 {
		for i, codec := range codecs {
			e.add(t, b, "handover-"+codec, int32(1+i%2), uint64(i), map[string]string{
				"retention.ms": "-1", "segment.bytes": "4194304", "index.interval.bytes": "1024", "min.insync.replicas": "1",
			})
		}
	} else {
		e.add(t, b, fmt.Sprintf("handover-new-%d-by-%s", len(e.plans), owner), 2, uint64(100+len(e.plans)), map[string]string{
			"retention.ms": "-1", "max.message.bytes": fmt.Sprint(2_000_000 + round),
		})
		// One change to a topic of old, one topic that goes.
		adm := newAdmin(t, b)
		altered, err := adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
			{Op: kadm.SetConfig, Name: "file.delete.delay.ms", Value: kmsg.StringPtr(fmt.Sprint(1000 + len(e.plans)))},
		}, "handover-none")
		t.Must(err, "alter")
		t.Must(altered[0].Err, "alter")
		createTopic(t, b, "handover-gone", 1, nil)
		t.Must((plan{topic: "handover-gone", seed: 1, begin: time.Now()}).produce(t.Context(), newClient(t, b), 0, 100), "produce")
		_, err = adm.DeleteTopic(t.Context(), "handover-gone")
		t.Must(err, "delete")
	}
	for i := range e.plans {
		codec := codecs[i%len(codecs)]
		cl := newClient(t, b, kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.MaxBufferedRecords(20000), kgo.ProducerLinger(2*time.Millisecond))
		n := int64(handoverBatch)
		if i >= len(codecs) {
			n = 1000 // the topics that are new in each round stay small
		}
		t.Must(e.plans[i].produce(t.Context(), cl, e.counts[i], e.counts[i]+n), "produce to "+e.plans[i].topic)
		e.counts[i] += n
		cl.Close()
	}
	e.facts = facts(t, b)
	t.Must(b.Stop(), "stop")
	t.Note("%s: answers after %.1f s, verified after %.1f s, away after %.1f s", owner, started.Seconds(), verified.Seconds(), time.Since(began).Seconds())
}

// add creates a topic and plans its last partition's records.
func (e *estate) add(t *rig.T, b *rig.Broker, topic string, partitions int32, seed uint64, configs map[string]string) {
	createTopic(t, b, topic, partitions, configs)
	e.plans = append(e.plans, plan{topic: topic, partition: partitions - 1, seed: seed, begin: time.Now().Add(-30 * time.Minute).Truncate(time.Millisecond)})
	e.counts = append(e.counts, 0)
	e.codecs = append(e.codecs, configs)
}

// verify compares topics, ids, configs, offsets and every record with what was left.
func (e *estate) verify(t *rig.T, b *rig.Broker) {
	now := facts(t, b)
	for _, topic := range slices.Sorted(maps.Keys(e.facts)) {
		if now[topic] != e.facts[topic] {
			t.Fatalf("%s is now %q, was left as %q", topic, now[topic], e.facts[topic])
		}
	}
	if len(now) != len(e.facts) && len(e.facts) > 0 {
		t.Fatalf("%d topics, were %d: %v", len(now), len(e.facts), slices.Sorted(maps.Keys(now)))
	}
	for i, configs := range e.codecs {
		for k, v := range configs {
			if !strings.Contains(now[e.plans[i].topic], k+"="+v) {
				t.Fatalf("%s is %q, without %s=%s", e.plans[i].topic, now[e.plans[i].topic], k, v)
			}
		}
	}
	adm := newAdmin(t, b)
	for i, p := range e.plans {
		ends, err := adm.ListEndOffsets(t.Context(), p.topic)
		t.Must(err, "end offsets")
		if o, _ := ends.Lookup(p.topic, p.partition); o.Err != nil || o.Offset != e.counts[i] {
			t.Fatalf("%s-%d ends at %d (%v), was left at %d", p.topic, p.partition, o.Offset, o.Err, e.counts[i])
		}
		t.Must(p.verify(t.Context(), b.Addr, 0, e.counts[i]), "records")
		// The time index answers alike after a change of hands.
		at := p.begin.Add(time.Duration(e.counts[i]/2) * time.Millisecond).UnixMilli()
		found, err := adm.ListOffsetsAfterMilli(t.Context(), at, p.topic)
		t.Must(err, "offset for a time")
		if o, _ := found.Lookup(p.topic, p.partition); o.Err != nil || o.Offset != e.counts[i]/2 {
			t.Fatalf("%s-%d: offset %d (%v) for the time of %d", p.topic, p.partition, o.Offset, o.Err, e.counts[i]/2)
		}
	}
}

// facts are every topic's id, number of partitions and configs that are not defaults.
func facts(t *rig.T, b *rig.Broker) map[string]string {
	adm := newAdmin(t, b)
	topics, err := adm.ListTopicsWithInternal(t.Context())
	t.Must(err, "list topics")
	out := map[string]string{}
	for _, d := range topics.Sorted() {
		t.Must(d.Err, d.Topic)
		out[d.Topic] = fmt.Sprintf("id %s, %d partitions, %s", d.ID, len(d.Partitions), dynamicConfigs(t.Context(), t, adm, d.Topic))
	}
	return out
}

// dynamicConfigs are the configs set on the topic itself, sorted, as key=value with a space between.
func dynamicConfigs(ctx context.Context, t *rig.T, adm *kadm.Client, topic string) string {
	resources, err := adm.DescribeTopicConfigs(ctx, topic)
	t.Must(err, "describe configs of "+topic)
	var set []string
	for _, r := range resources {
		t.Must(r.Err, "describe configs of "+topic)
		for _, c := range r.Configs {
			if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
				set = append(set, c.Key+"="+c.MaybeValue())
			}
		}
	}
	slices.SortFunc(set, cmp.Compare[string])
	return strings.Join(set, " ")
}
