package server_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// quota sets a client quota, or removes it at 0; parts are types and names of
// the entity, "" for the default.
func (p *peer) quota(key string, value float64, parts ...string) {
	p.t.Helper()
	r := kmsg.NewPtrAlterClientQuotasRequest()
	r.Version = 1
	e := kmsg.NewAlterClientQuotasRequestEntry()
	for i := 0; i < len(parts); i += 2 {
		x := kmsg.NewAlterClientQuotasRequestEntryEntity()
		x.Type = parts[i]
		if parts[i+1] != "" {
			x.Name = &parts[i+1]
		}
		e.Entity = append(e.Entity, x)
	}
	o := kmsg.NewAlterClientQuotasRequestEntryOp()
	o.Key, o.Value, o.Remove = key, value, value == 0
	e.Ops = append(e.Ops, o)
	r.Entries = append(r.Entries, e)
	if got := asked[*kmsg.AlterClientQuotasResponse](p, r).Entries[0]; got.ErrorCode != 0 {
		p.t.Fatalf("%s: %s", key, *got.ErrorMessage)
	}
}

// sometime is the time of records; a bubble's clock begins in 2000.
func sometime() time.Time { return time.Now() }

func TestProduceQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startMemory(t, nil)
		p, admin := m.dial(t), m.dial(t)
		admin.createTopic("t", 1)
		big := records(sometime(), strings.Repeat("x", 20_000))
		if r := asked[*kmsg.ProduceResponse](p, produceTo("t", 0, -1, big)); r.ThrottleMillis != 0 {
			t.Fatalf("throttled for %d ms without a quota", r.ThrottleMillis)
		}
		admin.quota("producer_byte_rate", 1000, "user", "")
		begin := time.Now()
		r := asked[*kmsg.ProduceResponse](p, produceTo("t", 0, -1, big))
		// 20 kB count as 2 kB a second over the ten windows a new meter is taken to have.
		if r.ThrottleMillis < 9_000 || r.ThrottleMillis > 11_000 || r.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Fatalf("throttled for %d ms: %+v", r.ThrottleMillis, r.Topics[0].Partitions)
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("the answer took %v", d)
		}
		p.produced("t", 0, records(sometime(), "small"))
		if d := time.Since(begin); d < 9*time.Second || d > 11*time.Second {
			t.Errorf("the connection was read again after %v", d)
		}
		// Without an answer the connection is muted all the same.
		p.send(produceTo("t", 0, 0, big))
		begin = time.Now()
		p.produced("t", 0, records(sometime(), "small"))
		if d := time.Since(begin); d < 9*time.Second {
			t.Errorf("with acks=0 it was read again after %v", d)
		}
		// The quota goes, and with it the pause.
		admin.quota("producer_byte_rate", 0, "user", "")
		p.produced("t", 0, big)
		if r := asked[*kmsg.ProduceResponse](p, produceTo("t", 0, -1, big)); r.ThrottleMillis != 0 {
			t.Errorf("throttled for %d ms after the quota was removed", r.ThrottleMillis)
		}
	})
}

func TestFetchQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startMemory(t, nil)
		p, admin := m.dial(t), m.dial(t)
		admin.createTopic("t", 1)
		for range 40 {
			admin.produced("t", 0, records(sometime(), strings.Repeat("x", 1000)))
		}
		admin.quota("consumer_byte_rate", 2000, "client-id", "test")
		got := asked[*kmsg.FetchResponse](p, fetchFrom("t", 0, 0, 0))
		// A response is cut to what all windows together allow, and is within the quota then.
		n := 0
		if len(got.Topics) > 0 {
			n = len(got.Topics[0].Partitions[0].RecordBatches)
		}
		if got.ThrottleMillis != 0 || n < 15_000 || n > 20_000 {
			t.Fatalf("%d bytes, throttled for %d ms", n, got.ThrottleMillis)
		}
		begin := time.Now()
		got = asked[*kmsg.FetchResponse](p, fetchFrom("t", 0, 20, 0))
		if got.ThrottleMillis <= 0 || len(got.Topics) != 0 || got.ErrorCode != 0 || got.SessionID != 0 {
			t.Fatalf("beyond the quota: %+v", got)
		}
		got = asked[*kmsg.FetchResponse](p, fetchFrom("t", 0, 20, 0))
		if d := time.Since(begin); d == 0 {
			t.Error("the connection was not muted")
		}
		for len(got.Topics) == 0 {
			got = asked[*kmsg.FetchResponse](p, fetchFrom("t", 0, 20, 0))
		}
		if d := time.Since(begin); d > 30*time.Second {
			t.Errorf("records came after %v", d)
		}
	})
}

// A throttled answer in a session tells nothing, so that the next one tells it.
func TestFetchQuotaInASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startMemory(t, nil)
		p, admin := m.dial(t), m.dial(t)
		admin.createTopic("t", 1)
		fetch := func(session, epoch int32, list bool) *kmsg.FetchResponse {
			r := fetchFrom("t", 0, 0, 0)
			r.SessionID, r.SessionEpoch = session, epoch
			if !list {
				r.Topics = nil
			}
			return asked[*kmsg.FetchResponse](p, r)
		}
		first := fetch(0, 0, true)
		admin.produced("t", 0, records(sometime(), strings.Repeat("x", 3000)))
		admin.quota("consumer_byte_rate", 100, "user", "", "client-id", "")
		throttled := fetch(first.SessionID, 1, false)
		if throttled.ThrottleMillis == 0 || throttled.SessionID != first.SessionID || len(throttled.Topics) != 0 {
			t.Fatalf("%+v", throttled)
		}
		admin.quota("consumer_byte_rate", 0, "user", "", "client-id", "")
		if got := fetch(first.SessionID, 2, false); len(got.Topics) != 1 || len(got.Topics[0].Partitions[0].RecordBatches) < 3000 {
			t.Fatalf("after the pause: %+v", got)
		}
		if got := fetch(0, 0, true); got.SessionID == 0 {
			t.Error("no new session")
		}
	})
}

func TestControllerMutationQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startMemory(t, nil)
		p, admin := m.dial(t), m.dial(t)
		admin.quota("controller_mutation_rate", 1, "user", "ANONYMOUS")
		create := func(version int16, name string, partitions int32) *kmsg.CreateTopicsResponse {
			t.Helper()
			r := kmsg.NewPtrCreateTopicsRequest()
			r.Version = version
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
			r.Topics = append(r.Topics, topic)
			return asked[*kmsg.CreateTopicsResponse](p, r)
		}
		// The bucket holds eleven, and one request may empty it.
		if r := create(7, "a", 15); r.Topics[0].ErrorCode != 0 || r.ThrottleMillis != 0 {
			t.Fatalf("%+v", r)
		}
		begin := time.Now()
		r := create(7, "b", 1)
		if r.Topics[0].ErrorCode != 89 || r.ThrottleMillis != 4000 {
			t.Fatalf("%+v", r)
		}
		if r := create(7, "b", 1); r.Topics[0].ErrorCode != 0 || time.Since(begin) != 4*time.Second {
			t.Fatalf("after %v: %+v", time.Since(begin), r)
		}
		// Older versions are allowed, and pay afterwards.
		if r := create(5, "c", 5); r.Topics[0].ErrorCode != 0 || r.ThrottleMillis < 5000 || r.ThrottleMillis > 6000 {
			t.Fatalf("%+v", r)
		}
		deleting := kmsg.NewPtrDeleteTopicsRequest()
		deleting.Version, deleting.TopicNames = 5, []string{"a", "b"}
		if got := asked[*kmsg.DeleteTopicsResponse](p, deleting); got.Topics[0].ErrorCode != 0 || got.Topics[1].ErrorCode != 89 {
			t.Errorf("%+v", got.Topics)
		}
		grow := kmsg.NewPtrCreatePartitionsRequest()
		grow.Version = 3
		x := kmsg.NewCreatePartitionsRequestTopic()
		x.Topic, x.Count = "b", 4
		grow.Topics = append(grow.Topics, x)
		if got := asked[*kmsg.CreatePartitionsResponse](p, grow); got.Topics[0].ErrorCode != 0 {
			t.Errorf("%+v", got.Topics)
		}
		if got := asked[*kmsg.CreatePartitionsResponse](p, grow); got.Topics[0].ErrorCode != 37 {
			t.Errorf("what is wrong is said before what is too much: %+v", got.Topics)
		}
	})
}

func TestRequestQuota(t *testing.T) {
	m := startMemory(t, nil)
	p, admin := m.dial(t), m.dial(t)
	admin.createTopic("t", 1)
	admin.quota("request_percentage", 1e-7, "client-id", "")
	for name, r := range map[string]kmsg.Request{
		"Metadata": kmsg.NewPtrMetadataRequest(), "Produce": produceTo("t", 0, -1, records(sometime(), "x")), "Fetch": fetchFrom("t", 0, 0, 0),
		"DescribeQuorum": kmsg.NewPtrDescribeQuorumRequest(), "DescribeCluster": kmsg.NewPtrDescribeClusterRequest(),
	} {
		if name == "Metadata" {
			r.SetVersion(9)
		}
		c := m.dial(t)
		c.send(r)
		resp := c.receive(r, c.correlation)
		throttle, ok := resp.(kmsg.ThrottleResponse)
		if !ok {
			continue // has no place for it
		}
		if ms, _ := throttle.Throttle(); ms <= 0 || ms > 1000 {
			t.Errorf("%s: throttled for %d ms", name, ms)
		}
	}
	_ = p
}

func TestConnectionRate(t *testing.T) {
	m := startMemory(t, nil)
	admin := m.dial(t)
	admin.finalized()
	admin.quota("connection_creation_rate", 1, "ip", "127.0.0.1")
	refused := 0
	for range 15 {
		c := m.dial(t)
		r := kmsg.NewPtrApiVersionsRequest()
		if _, err := c.conn.Write(c.frame(r)); err != nil {
			refused++
			continue
		}
		if _, _, err := c.next(); err != nil {
			refused++
		}
	}
	if refused != 5 {
		t.Errorf("%d of 15 connections were refused, expected those beyond ten windows of one", refused)
	}
}
