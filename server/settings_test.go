package server_test

import (
	"io"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
)

// closed waits until the broker has closed the connection.
func (p *peer) closed(what string) {
	p.t.Helper()
	if _, _, err := p.next(); err != io.EOF {
		p.t.Fatalf("%s: %v, expected the end of the connection", what, err)
	}
}

// TestConnectionConfigsTakeEffectAtOnce alters the limits of connections while there are some.
func TestConnectionConfigsTakeEffectAtOnce(t *testing.T) {
	t.Run("of the broker", func(t *testing.T) {
		m := startMemory(t, nil)
		p, idle := m.dial(t), m.dial(t)
		idle.table()
		p.alter(brokerKind, "", "max.connections", "1")
		idle.closed("the silent one of two, and there may be one")
		p.alter(brokerKind, "", "max.connections", "-")
		m.dial(t).table()
	})
	t.Run("of an address", func(t *testing.T) {
		m := startMemory(t, nil, "max.connections.per.ip=2")
		p := m.dial(t)
		p.table()
		m.dial(t).table()
		m.dial(t).closed("a third connection of one address")
		p.alter(brokerKind, "1", "max.connections.per.ip", "0", "max.connections.per.ip.overrides", "127.0.0.1:3,10.0.0.1:1")
		m.dial(t).table()
		m.dial(t).closed("a fourth connection of a named address")
		p.alter(brokerKind, "1", "max.connections.per.ip", "4", "max.connections.per.ip.overrides", "-")
		m.dial(t).table()
		m.dial(t).closed("a fifth connection of one address")
	})
	t.Run("of a named address", func(t *testing.T) {
		m := startMemory(t, nil, "max.connections.per.ip=0", "max.connections.per.ip.overrides=localhost:1")
		m.dial(t).table()
		m.dial(t).closed("a second connection of the only host that may come")
	})
	t.Run("of a listener", func(t *testing.T) {
		m := startMemory(t, nil)
		p := m.dial(t)
		p.alter(brokerKind, "1", "listener.name.plaintext.max.connections", "1")
		waits := m.dial(t)
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			waits.table()
		}()
		p.table()
		select {
		case <-answered:
			t.Fatal("a second connection of the listener is served")
		default:
		}
		p.alter(brokerKind, "1", "listener.name.plaintext.max.connections", "-")
		<-answered
	})
	for _, name := range []string{"max.connection.creation.rate", "listener.name.plaintext.max.connection.creation.rate"} {
		t.Run(name, func(t *testing.T) {
			m := startMemory(t, nil)
			p := m.dial(t)
			// Ten windows without any stand behind the first one: ten connections, and then one per second.
			p.alter(brokerKind, "", name, "1")
			for range 10 {
				m.dial(t).table()
			}
			begin := time.Now()
			m.dial(t).table()
			if d := time.Since(begin); d < time.Second/2 {
				t.Errorf("a connection is served after %v, before its window was over", d)
			}
			p.alter(brokerKind, "", name, "-")
			m.dial(t).table()
		})
	}
	t.Run("nobody", func(t *testing.T) {
		p := startMemory(t, nil).dial(t)
		for name, want := range map[string]string{
			"max.connections": "Invalid max.connections 0", "max.connection.creation.rate": "Invalid max.connection.creation.rate 0",
			"listener.name.plaintext.max.connections":              "Invalid max.connections 0",
			"listener.name.plaintext.max.connection.creation.rate": "Invalid max.connection.creation.rate 0",
		} {
			want = "Invalid value org.apache.kafka.common.config.ConfigException: " + want + " for configuration Invalid dynamic configuration"
			if out := p.tryAlter(brokerKind, "1", name, "0"); out.ErrorCode != 42 || *out.ErrorMessage != want {
				t.Errorf("%s=0: code %d, %q", name, out.ErrorCode, *out.ErrorMessage)
			}
		}
	})
}

// TestProducerExpirationTakesEffectAtOnce: a producer that is forgotten may begin with any sequence number.
func TestProducerExpirationTakesEffectAtOnce(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	p := startMemory(t, now).dial(t)
	p.createTopic("topic", 1)
	code := func(sequence int32) int16 {
		return p.produce("topic", 0, batch.NewBuilder(codec.None).Producer(77, 0, sequence).Append(now.Now().UnixMilli(), nil, []byte("v")).Bytes()).ErrorCode
	}
	if c := code(0); c != 0 {
		t.Fatal(c)
	}
	now.Advance(time.Minute)
	if c := code(10); c != outOfOrder {
		t.Fatalf("code %d of a producer that is known", c)
	}
	p.alter(brokerKind, "", "producer.id.expiration.ms", "30000")
	if c := code(10); c != 0 {
		t.Fatalf("code %d of a producer that is forgotten", c)
	}
	p.alter(brokerKind, "1", "producer.id.expiration.ms", "120000")
	now.Advance(time.Minute)
	if c := code(20); c != outOfOrder {
		t.Fatalf("code %d: this broker's own value is larger than the cluster's", c)
	}
}

const outOfOrder = 45

// TestCleanerConfigsTakeEffectAtOnce: a shorter backoff cleans sooner.
func TestCleanerConfigsTakeEffectAtOnce(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	m := startMemory(t, now, "log.cleaner.backoff.ms=3600000")
	p := m.dial(t)
	p.createTopic("topic", 1, "cleanup.policy", "compact", "segment.ms", "1000", "min.cleanable.dirty.ratio", "0.01")
	for range 3 {
		p.produced("topic", 0, batch.NewBuilder(codec.None).Append(now.Now().UnixMilli(), []byte("key"), make([]byte, 1000)).Bytes())
		now.Advance(2 * time.Second)
	}
	if n := len(m.logs(t, "topic-0")); n != 3 {
		t.Fatalf("%d segments", n)
	}
	p.alter(brokerKind, "", "log.cleaner.backoff.ms", "1000")
	now.Advance(2 * time.Second)
	for deadline := time.Now().Add(20 * time.Second); len(m.logs(t, "topic-0")) == 3; {
		if time.Now().After(deadline) {
			t.Fatal("not cleaned after the shorter backoff")
		}
	}
}
