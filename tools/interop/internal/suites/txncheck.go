package suites

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kgo"
)

// coordinators is what a broker is told when its coordinators are on trial: few internal partitions, quick timeouts.
var coordinators = []string{
	"offsets.topic.num.partitions=4", "transaction.state.log.num.partitions=4",
	"group.min.session.timeout.ms=1000", "group.consumer.min.session.timeout.ms=1000", "group.consumer.session.timeout.ms=6000",
	"group.consumer.min.heartbeat.interval.ms=100", "group.consumer.heartbeat.interval.ms=500",
	"transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
	"broker.session.timeout.ms=2000", "broker.heartbeat.interval.ms=500", // Kafka waits for the killed one's session
}

// txnCommitsARound is how many commits are answered before the next kill.
const txnCommitsARound = 150

// txnLoops are the consume-transform-produce loops by name: each has a group and a topic of its own.
var txnLoops = []string{"franz", "franz-consumer", "java", "java-consumer", "librdkafka"}

// txnRun is one run of the transaction checker.
type txnRun struct {
	b       *rig.Broker
	h       *history
	writers []*franzWriter
	loops   []*franzLoop
	players []*player // writers, then loops
	nloops  int       // of the players
	done    chan error
}

// txncheck kills the broker under transactional writers, readers and consume-transform-produce loops, and accounts for
// every transaction.
func txncheck(s *rig.S) {
	rounds := s.RoundsOr(10, 2)
	var b *rig.Broker
	if !s.Test("broker", 3*time.Minute, func(t *rig.T) {
		var err error
		b, err = rig.NewBroker(t.Env, "txncheck", coordinators...)
		t.Must(err, "directory")
		t.Must(b.Start(t.Kind), "start")
		for _, topic := range txnTopics() {
			createTopic(t, b, topic, txnPartitions, nil)
		}
	}) {
		if b != nil {
			_ = b.Kill()
		}
		return
	}
	defer func() { _ = b.Kill() }()
	s.Test("zombies", 2*time.Minute, func(t *rig.T) { zombies(t, b) })
	s.Test("rounds", 6*time.Minute+time.Duration(rounds)*45*time.Second, func(t *rig.T) { txnRounds(t, b, rounds) })
}

func txnTopics() []string {
	out := []string{txnData, txnIn}
	for _, loop := range txnLoops {
		out = append(out, outOf(loop))
	}
	return out
}

// zombies lets a second producer take over a transactional id: the first one's open transaction must be aborted and
// its commit refused for good.
func zombies(t *rig.T, b *rig.Broker) {
	topic := rig.Name("txn-zombie")
	createTopic(t, b, topic, txnPartitions, nil)
	for _, old := range []bool{false, true} {
		w := &franzWriter{name: "zombie", topic: topic, old: old}
		first, err := w.open(b.Addr, topic)
		t.Must(err, "client")
		t.Cleanup(first.Close)
		t.Must(first.BeginTransaction(), "begin")
		t.Must(first.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("never to be seen")}).FirstErr(), "produce")
		second, err := w.open(b.Addr, topic)
		t.Must(err, "client")
		t.Cleanup(second.Close)
		t.Must(second.BeginTransaction(), "begin")
		t.Must(second.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("good")}).FirstErr(), "produce")
		if err := first.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
			t.Fatalf("a fenced producer has committed (old protocol: %v)", old)
		}
		if err := first.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("never")}).FirstErr(); err == nil {
			t.Fatalf("a fenced producer goes on (old protocol: %v)", old)
		}
		t.Must(second.EndTransaction(t.Context(), kgo.TryCommit), "commit")
	}
	t.Must(untilNothingOpen(t.Context(), b.Addr, []string{topic}), "the end of both")
	v, err := readView(t.Context(), b.Addr, []string{topic}, true)
	t.Must(err, "read")
	for _, e := range v[place{topic, 0}] {
		if e.value != "good" {
			t.Fatalf("offset %d is %q", e.offset, e.value)
		}
	}
	if n := len(v[place{topic, 0}]); n != 2 {
		t.Fatalf("%d records, expected 2", n)
	}
}

// start lets all writers and loops begin.
func (x *txnRun) start(t *rig.T, ctx context.Context) {
	x.writers = []*franzWriter{
		{name: "franz-1", topic: txnData, h: x.h}, {name: "franz-2", topic: txnData, h: x.h}, {name: "franz-3", topic: txnData, h: x.h},
		{name: "franz-old", topic: txnData, h: x.h, old: true}, {name: "feed", topic: txnIn, h: x.h},
	}
	for _, w := range x.writers {
		go func() { x.done <- named("writer "+w.name, w.run(ctx, x.b.Addr)) }()
	}
	for i := range 4 {
		// Two members in each group.
		l := &franzLoop{group: "loop-franz", out: outOf("franz"), consumer: i%2 == 1}
		if l.consumer {
			l.group, l.out = "loop-franz-consumer", outOf("franz-consumer")
		}
		l.id = fmt.Sprintf("%s-%d", l.group, i)
		x.loops = append(x.loops, l)
		go func() { x.done <- l.run(ctx, x.b.Addr) }()
	}
	environ := append(os.Environ(), "BROKER="+x.b.Addr, "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1")
	play := func(name string, cmd *exec.Cmd) {
		cmd.Env = environ
		p, err := startPlayer(t, name, cmd, func(line string) error { return x.h.tell(name, line) })
		t.Must(err, name)
		x.players = append(x.players, p)
	}
	partitions := fmt.Sprint(txnPartitions)
	java := func(args ...string) *exec.Cmd {
		return t.JavaCommand(ctx, "log4j2.properties", "TxnPlayer", args...)
	}
	python := func(args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(t.Cache, "python", "bin", "python"),
			append([]string{filepath.Join(t.Interop, "python", "txn_player.py")}, args...)...)
	}
	play("java", java("write", "java", txnData, partitions))
	old := java("write", "java-old", txnData, partitions)
	classpath := slices.Index(old.Args, "-cp") + 1
	old.Args[classpath] = filepath.Join(t.Cache, "kafka-3.9", "lib", "*") + ":" + filepath.Join(t.Cache, "java")
	play("java-old", old)
	play("librdkafka", python("write", "librdkafka", txnData, partitions))
	x.nloops = 3
	play("loop-java", java("loop", "loop-java-0", "loop-java", "classic", txnIn, outOf("java")))
	play("loop-java-consumer", java("loop", "loop-java-consumer-0", "loop-java-consumer", "consumer", txnIn, outOf("java-consumer")))
	play("loop-librdkafka", python("loop", "loop-librdkafka-0", "loop-librdkafka", "classic", txnIn, outOf("librdkafka")))
}

func named(name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// failedAlready is the error of a part that has ended although nobody told it to.
func (x *txnRun) failedAlready() error {
	select {
	case err := <-x.done:
		return cmp.Or(err, errors.New("a writer or loop has ended by itself"))
	default:
	}
	for _, p := range x.players {
		select {
		case err := <-p.exit:
			return cmp.Or(err, fmt.Errorf("%s has ended by itself", p.name))
		default:
		}
	}
	return nil
}

// wait waits until n in-process parts and these players have ended well.
func (x *txnRun) wait(ctx context.Context, n int, players []*player) error {
	for range n {
		select {
		case err := <-x.done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("writers or loops do not come to an end: %w", ctx.Err())
		}
	}
	for _, p := range players {
		select {
		case err := <-p.exit:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("%s does not come to an end: %w", p.name, ctx.Err())
		}
	}
	return nil
}

func txnRounds(t *rig.T, b *rig.Broker, rounds int) {
	random := rand.New(rand.NewPCG(uint64(t.Seed), 1))
	t.Note("seed %d, %d rounds", t.Seed, rounds)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	x := &txnRun{b: b, h: newHistory(), done: make(chan error, 32)}
	topics := txnTopics()
	groups := []string{}
	for _, loop := range txnLoops {
		groups = append(groups, "loop-"+loop)
	}

	// Those who watch, until they are told that it is over.
	watching, over := context.WithCancel(ctx)
	watchers := make(chan error, 8)
	committed, uncommitted := newFollower(true, topics), newFollower(false, topics)
	for name, f := range map[string]func() error{
		"read_committed":   func() error { return committed.run(watching, b.Addr) },
		"read_uncommitted": func() error { return uncommitted.run(watching, b.Addr) },
		"watching offsets": func() error { return watchMarks(watching, b.Addr, topics) },
		"watching commits": func() error { return watchCommits(watching, b.Addr, groups, txnIn) },
	} {
		go func() { watchers <- named(name, f()) }()
	}
	x.start(t, ctx)

	check := func(round int) {
		select {
		case err := <-watchers:
			t.Fatalf("round %d: %w\n%s", round, err, b.LogTail(10))
		default:
		}
		if round == rounds {
			return // all others have come to an end as they should
		}
		if err := x.failedAlready(); err != nil {
			t.Fatalf("round %d: %w\n%s", round, err, b.LogTail(10))
		}
	}
	began := time.Now()
	for round := range rounds {
		target := x.h.commits() + txnCommitsARound
		deadline := time.Now().Add(time.Minute)
		for x.h.commits() < target {
			check(round)
			if time.Now().After(deadline) {
				t.Fatalf("round %d: a minute without %d more commits\n%s", round, txnCommitsARound, b.LogTail(10))
			}
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(time.Duration(random.Int64N(int64(700 * time.Millisecond)))) // the random moment itself
		check(round)
		t.Must(b.Kill(), "kill")
		t.Must(b.Start(t.Kind), fmt.Sprintf("start of round %d", round))
	}
	t.Note("%d kills within %s", rounds, time.Since(began).Round(100*time.Millisecond))

	// Writers end, then what they left open, then the loops, when they have seen everything.
	for _, w := range x.writers {
		w.stop.Store(true)
	}
	for _, p := range x.players[:x.nloops] {
		p.leave()
	}
	ending, cancelEnding := context.WithTimeout(ctx, 3*time.Minute)
	defer cancelEnding()
	t.Must(x.wait(ending, len(x.writers), x.players[:x.nloops]), "end of the writers")
	t.Must(untilNothingOpen(ending, b.Addr, topics[:2]), "end of the writers")
	in, err := readView(ending, b.Addr, []string{txnIn}, true)
	t.Must(err, "input")
	t.Must(untilCommitted(ending, b.Addr, groups, in), "end of the loops")
	for _, l := range x.loops {
		l.stop.Store(true)
	}
	for _, p := range x.players[x.nloops:] {
		p.leave()
	}
	t.Must(x.wait(ending, len(x.loops), x.players[x.nloops:]), "end of the loops")
	t.Must(untilNothingOpen(ending, b.Addr, topics), "end of the loops")
	check(rounds)
	x.verdict(t, ending, committed, uncommitted, topics)
	check(rounds)
	over()
	for range 4 {
		t.Must(<-watchers, "watchers")
	}

	// The same again after a clean stop and a start.
	t.Must(b.Stop(), "stop")
	t.Must(b.Start(t.Kind), "start")
	x.verdict(t, ending, committed, uncommitted, topics)
	t.Must(b.Stop(), "stop")
}

// verdict reads everything again and holds it against the history and against what was seen as it happened.
func (x *txnRun) verdict(t *rig.T, ctx context.Context, committed, uncommitted *follower, topics []string) {
	final, err := readView(ctx, x.b.Addr, topics, true)
	t.Must(err, "read_committed")
	raw, err := readView(ctx, x.b.Addr, topics, false)
	t.Must(err, "read_uncommitted")
	t.Must(caughtUp(ctx, committed, final), "read_committed consumer")
	t.Must(caughtUp(ctx, uncommitted, raw), "read_uncommitted consumer")
	committed.mu.Lock()
	defer committed.mu.Unlock()
	uncommitted.mu.Lock()
	defer uncommitted.mu.Unlock()
	t.Must(sameView("the read_committed consumer", committed.seen, final), "streams")
	t.Must(sameView("the read_uncommitted consumer", uncommitted.seen, raw), "streams")
	written := func(v view) view {
		out := maps.Clone(v)
		maps.DeleteFunc(out, func(at place, _ []entry) bool { return at.topic != txnData && at.topic != txnIn })
		return out
	}
	t.Must(x.h.verify(written(final), written(raw)), "history")
	moved := 0
	for _, loop := range txnLoops {
		for p := range int32(txnPartitions) {
			in, out := final[place{txnIn, p}], final[place{outOf(loop), p}]
			t.Must(exactlyOnce(outOf(loop), in, out, p), "exactly once")
			moved += len(out)
		}
	}
	var lines []string
	for who, n := range x.h.outcomes() {
		lines = append(lines, fmt.Sprintf("%s %d/%d/%d/%d", who, n[txnCommitted], n[txnAborted], n[txnOpen], n[txnUnknown]))
		if n[txnCommitted] == 0 {
			t.Fatalf("%s has committed nothing", who)
		}
	}
	slices.Sort(lines)
	t.Note("committed/aborted/left open/unknown: %s; %d records through the loops", strings.Join(lines, ", "), moved)
}

// caughtUp waits until the follower has as many records as there are.
func caughtUp(ctx context.Context, f *follower, final view) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		counts, behind := f.counts(), ""
		for at, entries := range final {
			if counts[at] < len(entries) {
				behind = fmt.Sprintf("%s-%d: %d of %d records were delivered", at.topic, at.partition, counts[at], len(entries))
			}
		}
		if behind == "" || ctx.Err() != nil {
			return nil // what is missing is found, and named, by the comparison
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// untilNothingOpen waits until no partition of the topics has an open transaction: the coordinator has to abort what
// was left behind once its timeout is over.
func untilNothingOpen(ctx context.Context, addr string, topics []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for open := ""; ; {
		last := open
		open = ""
		stable, err := marks(ctx, addr, topics, txnPartitions, true)
		if err == nil {
			var high map[place]int64
			if high, err = marks(ctx, addr, topics, txnPartitions, false); err == nil {
				for at, n := range high {
					if stable[at] < n {
						open = fmt.Sprintf("%s-%d: last stable offset %d, high watermark %d", at.topic, at.partition, stable[at], n)
					}
				}
			}
		}
		if err != nil {
			open = cmp.Or(last, err.Error())
		}
		if open == "" {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("a transaction stays open: %s", open)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// untilCommitted waits until every group has committed the end of its input.
func untilCommitted(ctx context.Context, addr string, groups []string, in view) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for _, group := range groups {
		last := ""
		for {
			behind := ""
			offsets, err := committedOffsets(ctx, addr, group, txnIn, txnPartitions)
			if err != nil {
				behind = err.Error()
			}
			for at, entries := range in {
				if n := len(entries); err == nil && n > 0 && offsets[at.partition] < entries[n-1].offset+1 {
					behind = fmt.Sprintf("committed %d of %s-%d, the last record is at %d", offsets[at.partition], at.topic, at.partition, entries[n-1].offset)
				}
			}
			if behind == "" {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("group %s does not finish: %s", group, cmp.Or(last, behind))
			}
			last = behind
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}
