package suites

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"
)

const (
	connectLines = 2000 // written before each step
	connectWait  = 2 * time.Minute
)

// connectRun is a distributed Connect worker with a file source and a file sink.
type connectRun struct {
	b            *rig.Broker
	rest         string
	properties   string
	topic        string
	source, sink string
	lines        int
	worker       *child
}

// connect copies a file through a topic into another file with Kafka Connect while the worker and the broker are
// restarted and killed.
func connect(s *rig.S) {
	s.With(func(b *rig.Broker) {
		s.Test("file-to-file", 10*time.Minute, func(t *rig.T) { fileToFile(t, b) })
	}, coordinators...)
}

func fileToFile(t *rig.T, b *rig.Broker) {
	dir, err := t.TempDir("connect")
	t.Must(err, "directory")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	t.Must(err, "port")
	t.Must(l.Close(), "port")
	x := &connectRun{
		b: b, rest: "http://" + l.Addr().String(), properties: filepath.Join(dir, "worker.properties"), topic: rig.Name("connect-lines"),
		source: filepath.Join(dir, "source.txt"), sink: filepath.Join(dir, "sink.txt"),
	}
	internal := []string{}
	for _, of := range []string{"config", "offset", "status"} {
		internal = append(internal, rig.Name("connect-"+of))
	}
	text := strings.Join([]string{
		"bootstrap.servers=" + b.Addr, "group.id=" + rig.Name("connect"), "listeners=" + x.rest,
		"key.converter=org.apache.kafka.connect.storage.StringConverter", "value.converter=org.apache.kafka.connect.storage.StringConverter",
		"config.storage.topic=" + internal[0], "offset.storage.topic=" + internal[1], "status.storage.topic=" + internal[2],
		"config.storage.replication.factor=1", "offset.storage.replication.factor=1", "status.storage.replication.factor=1",
		"offset.storage.partitions=3", "status.storage.partitions=3", "offset.flush.interval.ms=500", "exactly.once.source.support=enabled",
		"session.timeout.ms=6000", "heartbeat.interval.ms=500", "rebalance.timeout.ms=10000", "scheduled.rebalance.max.delay.ms=1000",
		"worker.sync.timeout.ms=3000", "plugin.discovery=service_load", "reconnect.backoff.max.ms=200",
		"connector.client.config.override.policy=All",
	}, "\n")
	t.Must(os.WriteFile(x.properties, []byte(text+"\n"), 0o644), "properties")
	createTopic(t, b, x.topic, 1, nil)
	began := time.Now()

	x.write(t)
	x.start(t)
	x.configure(t, "source", map[string]string{
		"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "tasks.max": "1", "file": x.source, "topic": x.topic,
	})
	x.configure(t, "sink", map[string]string{
		"connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "tasks.max": "1", "file": x.sink, "topics": x.topic,
		"consumer.override.isolation.level": "read_committed", "consumer.override.session.timeout.ms": "6000",
	})
	x.untilCopied(t, "first")
	x.write(t)
	t.Must(x.worker.end(time.Minute, true), "worker")
	x.write(t)
	x.start(t)
	x.untilCopied(t, "worker restarted")
	x.write(t)
	t.Must(b.Kill(), "kill")
	t.Must(b.Start(t.Kind), "start")
	x.untilCopied(t, "broker killed")
	x.write(t)
	x.worker.kill()
	x.start(t)
	x.untilCopied(t, "worker killed")

	// The topic has every line once: the source is exactly once. The sink may repeat some, never leave one out.
	f := followPartitions(true, []string{x.topic}, 1)
	v, err := f.everything(t.Context(), b.Addr)
	t.Must(err, "topic")
	t.Must(x.judge(v[place{x.topic, 0}]), "topic")
	adm := newAdmin(t, b)
	for _, topic := range internal {
		if configs := dynamicConfigs(t.Context(), t, adm, topic); !strings.Contains(configs, "cleanup.policy=compact") {
			t.Fatalf("%s has %q, expected a compacted topic", topic, configs)
		}
	}
	for _, name := range []string{"source", "sink"} {
		t.Must(x.ask(t.Context(), http.MethodDelete, "/connectors/"+name, nil, nil), "delete "+name)
	}
	t.Must(x.worker.end(time.Minute, true), "worker")
	t.Note("%d lines within %s", x.lines, time.Since(began).Round(100*time.Millisecond))
}

func (x *connectRun) line(i int) string { return fmt.Sprintf("line %d %x", i, mix(uint64(i))) }

func (x *connectRun) write(t *rig.T) {
	f, err := os.OpenFile(x.source, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	t.Must(err, "source")
	var text strings.Builder
	for range connectLines {
		_, _ = fmt.Fprintln(&text, x.line(x.lines))
		x.lines++
	}
	_, err = f.WriteString(text.String())
	t.Must(errors.Join(err, f.Close()), "source")
}

func (x *connectRun) start(t *rig.T) {
	cmd := t.JavaCommand(context.Background(), "log4j2.properties", "org.apache.kafka.connect.cli.ConnectDistributed", x.properties)
	x.worker = startChild(t, "connect", cmd)
	x.until(t, "the worker answers", func() error {
		var info struct {
			Version string `json:"version"`
		}
		return x.ask(t.Context(), http.MethodGet, "/", nil, &info)
	})
}

func (x *connectRun) configure(t *rig.T, name string, config map[string]string) {
	// A worker that is in the middle of a rebalance answers 409 or 500: ask again.
	x.until(t, "connector "+name, func() error {
		return x.ask(t.Context(), http.MethodPut, "/connectors/"+name+"/config", config, nil)
	})
}

func (x *connectRun) until(t *rig.T, what string, f func() error) {
	deadline := time.Now().Add(connectWait)
	for {
		err := f()
		if err == nil {
			return
		}
		t.Must(x.worker.alive(), what)
		if time.Now().After(deadline) || t.Context().Err() != nil {
			t.Fatalf("not within %s: %s: %w\n%s", connectWait, what, err, x.worker.tail(15))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// untilCopied waits until every line is in the sink, and checks what is there.
func (x *connectRun) untilCopied(t *rig.T, what string) {
	x.until(t, what, func() error {
		text, err := os.ReadFile(x.sink)
		if err != nil {
			return err
		}
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		if last := lines[len(lines)-1]; last != x.line(x.lines-1) {
			return fmt.Errorf("%d lines in the sink, the last one %q, expected %q", len(lines), last, x.line(x.lines-1))
		}
		next := 0
		for i, line := range lines {
			if line == x.line(next) {
				next++
				continue
			}
			// A repetition: some line from before.
			var number int
			if _, err := fmt.Sscanf(line, "line %d ", &number); err != nil || number >= next || line != x.line(number) {
				t.Fatalf("%s: line %d of the sink is %q, expected %q", what, i, line, x.line(next))
			}
		}
		if next != x.lines {
			return fmt.Errorf("%d of %d lines are in the sink", next, x.lines)
		}
		return nil
	})
}

// judge checks the topic: every line once, in order.
func (x *connectRun) judge(entries []entry) error {
	for i, e := range entries {
		if i >= x.lines || e.value != x.line(i) {
			return fmt.Errorf("offset %d is %q, expected %q", e.offset, e.value, x.line(i))
		}
	}
	if len(entries) != x.lines {
		return fmt.Errorf("%d of %d lines are in the topic", len(entries), x.lines)
	}
	return nil
}

func (x *connectRun) ask(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	q, err := http.NewRequestWithContext(ctx, method, x.rest+path, sent)
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s %.300s", method, path, resp.Status, text)
	}
	if into != nil {
		return json.Unmarshal(text, into)
	}
	return nil
}
