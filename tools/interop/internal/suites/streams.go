package suites

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	streamsLines = 3000
	streamsWords = 5 // in a line
	streamsWait  = 3 * time.Minute
)

// streams counts words with Kafka Streams while the program and the broker are restarted and killed.
func streams(s *rig.S) {
	s.With(func(b *rig.Broker) {
		s.Test("exactly-once", 8*time.Minute, func(t *rig.T) { wordCount(t, b, "exactly_once_v2") })
		s.Test("at-least-once", 8*time.Minute, func(t *rig.T) { wordCount(t, b, "at_least_once") })
	}, coordinators...)
}

// streamsLine is line i of the input; the words of all lines together are known.
func streamsLine(i int) string {
	words := make([]string, streamsWords)
	x := uint64(i)
	for w := range words {
		x = mix(x)
		words[w] = fmt.Sprintf("word%d", x%200)
	}
	return strings.Join(words, " ")
}

func wordCount(t *rig.T, b *rig.Broker, guarantee string) {
	in, out := rig.Name("streams-in"), rig.Name("streams-out")
	createTopic(t, b, in, txnPartitions, nil)
	createTopic(t, b, out, txnPartitions, nil)
	state, err := t.TempDir("streams")
	t.Must(err, "state directory")
	application := rig.Name("wordcount")
	start := func() *child {
		cmd := t.JavaCommand(context.Background(), "log4j2.properties", "WordCount", application, in, out, state, guarantee)
		cmd.Env = environment(t.S, b)
		return startChild(t, "streams", cmd)
	}
	cl := newClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	want := map[string]int64{}
	sent := 0
	send := func(n int) {
		for range n {
			line := streamsLine(sent)
			for word := range strings.FieldsSeq(line) {
				want[word]++
			}
			cl.Produce(t.Context(), &kgo.Record{Topic: in, Partition: int32(sent % txnPartitions), Value: []byte(line)}, nil)
			sent++
		}
		t.Must(cl.Flush(t.Context()), "produce")
	}
	follow := newFollower(guarantee == "exactly_once_v2", []string{out})
	follow.keyed = true
	following, over := context.WithCancel(t.Context())
	defer over()
	followed := make(chan error, 1)
	go func() { followed <- follow.run(following, b.Addr) }()
	// until waits until n counts have come out.
	until := func(app *child, n int) {
		deadline := time.Now().Add(streamsWait)
		for {
			got := 0
			for _, c := range follow.counts() {
				got += c
			}
			if got >= n {
				return
			}
			t.Must(app.alive(), "streams")
			if time.Now().After(deadline) || t.Context().Err() != nil {
				t.Fatalf("%d of %d counts within %s\n%s", got, n, streamsWait, app.tail(15))
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	began := time.Now()
	app := start()
	send(streamsLines / 4)
	until(app, 1000)
	t.Must(b.Kill(), "kill") // in the middle
	t.Must(b.Start(t.Kind), "start")
	send(streamsLines / 4)
	until(app, sent*streamsWords*9/10)
	t.Must(app.end(time.Minute, false), "close") // and a restart in good order
	app = start()
	send(streamsLines / 4)
	until(app, sent*streamsWords*9/10)
	if guarantee == "exactly_once_v2" {
		app.kill()
		app = start()
	}
	send(streamsLines / 4)
	until(app, sent*streamsWords)
	t.Must(app.end(time.Minute, false), "close")
	if !app.printed("closed") {
		t.Fatalf("it has not closed in good order:\n%s", app.tail(15))
	}
	over()
	t.Must(<-followed, "reading the counts")
	t.Must(untilNothingOpen(t.Context(), b.Addr, []string{out}), "end")
	last := newFollower(follow.committed, []string{out})
	last.keyed = true
	final, err := last.everything(t.Context(), b.Addr)
	t.Must(err, "counts")
	t.Must(judgeCounts(final, want, guarantee == "exactly_once_v2"), "counts")
	t.Note("%s: %d lines, %d words within %s", guarantee, sent, sent*streamsWords, time.Since(began).Round(100*time.Millisecond))
}

// judgeCounts checks what came out: exactly once, every word counts 1, 2, 3 and so on up to its number; at least once,
// no count is left out and the last one is at least its number.
func judgeCounts(out view, want map[string]int64, exactly bool) error {
	last := map[string]int64{}
	for at, entries := range out {
		for _, e := range entries {
			word, value, _ := strings.Cut(e.value, "=")
			if len(value) != 8 || want[word] == 0 {
				return fmt.Errorf("%s-%d offset %d: %.60q", at.topic, at.partition, e.offset, e.value)
			}
			n := int64(binary.BigEndian.Uint64([]byte(value)))
			if n > last[word]+1 || exactly && n != last[word]+1 {
				return fmt.Errorf("%s-%d offset %d: %s is counted to %d after %d", at.topic, at.partition, e.offset, word, n, last[word])
			}
			last[word] = n
		}
	}
	for word, n := range want {
		if last[word] < n || exactly && last[word] != n {
			return fmt.Errorf("%s is counted to %d, it came %d times", word, last[word], n)
		}
	}
	return nil
}
