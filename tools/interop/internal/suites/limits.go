package suites

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/raw"
	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// limits changes the bounds of connections while there are some: who is served, who waits and who is closed.
func limits(s *rig.S) {
	s.With(func(b *rig.Broker) {
		test := func(name string, f func(t *rig.T, x *limited)) {
			s.Test(name, time.Minute, func(t *rig.T) {
				x := &limited{t: t, b: b}
				x.admin = x.letIn()
				f(t, x)
			})
		}
		const total, perIP, overrides, rate = "max.connections", "max.connections.per.ip", "max.connections.per.ip.overrides", "max.connection.creation.rate"
		test("of-the-broker", func(t *rig.T, x *limited) {
			x.alter("", total, "2")
			second := x.letIn()
			third := x.held()
			_ = second.Close()
			x.answered(third)
			x.alter("", total, "")
		})
		test("per-address", func(t *rig.T, x *limited) {
			defer x.alter("", perIP, "")
			x.alter("", perIP, "2")
			x.letIn()
			x.turnedAway()
			x.alter("", perIP, "3")
			x.letIn()
			x.turnedAway()
		})
		test("named-address", func(t *rig.T, x *limited) {
			defer x.alter("", perIP, "", overrides, "")
			x.alter("", perIP, "0", overrides, "127.0.0.1:2,::1:2,10.1.2.3:9")
			x.letIn()
			x.turnedAway()
		})
		if s.Kind == rig.Gregor {
			// Apache Kafka goes on closing until it has noticed the end of the first one, the administrator's too.
			test("of-the-broker/lowered", func(t *rig.T, x *limited) {
				silent, later := x.letIn(), x.letIn()
				time.Sleep(1500 * time.Millisecond) // who was heard of last is what decides
				x.serve(later)
				x.serve(x.admin)
				x.alter("", total, "2")
				x.closed(silent)
				x.serve(later)
				x.serve(x.admin)
				x.alter("", total, "")
			})
		}
		test("of-a-listener", func(t *rig.T, x *limited) {
			name := "listener.name.plaintext." + total
			defer x.alter("1", name, "")
			x.alter("1", name, "2")
			second := x.letIn()
			third := x.held()
			x.alter("1", name, "3")
			x.answered(third)
			fourth := x.held()
			_ = second.Close()
			x.answered(fourth)
		})
		for _, name := range []string{rate, "listener.name.plaintext." + rate} {
			test(name, func(t *rig.T, x *limited) {
				defer x.alter("1", name, "")
				x.alter("1", name, "1")
				c := x.held() // after the ten that ten seconds without any have left
				begin := time.Now()
				x.answered(c)
				t.Note("%s=1: the listener waited, and was back after %v", name, time.Since(begin).Round(time.Millisecond))
			})
		}
		for _, name := range []string{total, rate, "listener.name.plaintext." + total, "listener.name.plaintext." + rate} {
			test("nobody/"+name, func(t *rig.T, x *limited) {
				base := strings.TrimPrefix(name, "listener.name.plaintext.")
				want := "Invalid value org.apache.kafka.common.config.ConfigException: Invalid " + base + " 0 for configuration Invalid dynamic configuration"
				if out := x.tryAlter("1", name, "0"); out.ErrorCode != 42 || out.ErrorMessage == nil || *out.ErrorMessage != want {
					t.Fatalf("%s=0: code %d, %q", name, out.ErrorCode, text(out.ErrorMessage))
				}
			})
		}
	})
}

// limited is one test's connections.
type limited struct {
	t     *rig.T
	b     *rig.Broker
	admin *raw.Conn
}

func (x *limited) dial() *raw.Conn {
	c, err := raw.Dial(x.t.Context(), x.b.Addr)
	x.t.Must(err, "dial")
	x.t.Cleanup(func() { _ = c.Close() })
	return c
}

// serve has a request answered.
func (x *limited) serve(c *raw.Conn) {
	_, err := raw.Ask[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest())
	x.t.Must(err, "a connection that is let in")
}

// letIn dials until a connection is served: a change takes a moment to be in force, and the last test's connections to be
// forgotten.
func (x *limited) letIn() *raw.Conn {
	for {
		c := x.dial()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, err := raw.Ask[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest())
		if err == nil {
			deadline, _ := x.t.Context().Deadline()
			_ = c.SetDeadline(deadline)
			return c
		}
		_ = c.Close()
		x.t.Must(x.t.Context().Err(), "no connection is let in: "+err.Error())
	}
}

// turnedAway dials until a connection is closed.
func (x *limited) turnedAway() {
	for {
		c := x.dial()
		_, err := raw.Ask[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest())
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		_ = c.Close()
		x.t.Must(x.t.Context().Err(), "every connection is let in")
	}
}

// closed waits until the broker has closed a connection.
func (x *limited) closed(c *raw.Conn) {
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		x.t.Fatalf("read of a connection that is to be closed: %v", err)
	}
}

// held dials until a connection has to wait: its request is not answered for a moment.
func (x *limited) held() *raw.Conn {
	for {
		c := x.dial()
		x.t.Must(c.Send(kmsg.NewPtrApiVersionsRequest()), "send")
		_ = c.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return c
		case err != nil:
			x.t.Fatalf("a connection that has to wait was closed: %v", err)
		}
		_ = c.Close()
		x.t.Must(x.t.Context().Err(), "no connection has to wait")
	}
}

// answered reads what held has asked for.
func (x *limited) answered(c *raw.Conn) {
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, err := c.Frame()
	x.t.Must(err, "a connection that waited is not served")
}

// alter sets configs of broker 1 or, as "", of all; an empty value takes one away.
func (x *limited) alter(broker string, pairs ...string) {
	if e := x.tryAlter(broker, pairs...); e.ErrorCode != 0 {
		x.t.Fatalf("alter %v: code %d, %s", pairs, e.ErrorCode, text(e.ErrorMessage))
	}
	if x.t.Kind == rig.Kafka {
		time.Sleep(time.Second) // it answers before the change is in force
	}
}

func (x *limited) tryAlter(broker string, pairs ...string) kmsg.IncrementalAlterConfigsResponseResource {
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r.Version = 1
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, broker
	for i := 0; i < len(pairs); i += 2 {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = pairs[i], &pairs[i+1]
		if pairs[i+1] == "" {
			c.Op, c.Value = kmsg.IncrementalAlterConfigOpDelete, nil
		}
		resource.Configs = append(resource.Configs, c)
	}
	r.Resources = append(r.Resources, resource)
	out, err := raw.Ask[*kmsg.IncrementalAlterConfigsResponse](x.admin, r)
	x.t.Must(err, "alter configs")
	return out.Resources[0]
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
