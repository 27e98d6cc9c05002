package suites

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/raw"
	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	handTxn    = "handover-txn"
	handInput  = "handover-input"
	handSimple = "handover-simple"      // a group of offsets alone, committed by an admin
	handTxnGrp = "handover-txn-offsets" // a group whose offsets are committed in transactions
)

// pending is a transaction that one owner of the directory leaves open and the next one has to deal with.
type pending struct {
	fate  string // commit, abort, more (goes on and commits), fence, timeout
	x     *raw.Transaction
	spots map[place]entry // the records in it
	// offset is what it commits for the group of transactional offsets; 0: nothing.
	offset int64
}

// ledgerOfCoordinators is what the next owner must find of groups and transactions.
type ledgerOfCoordinators struct {
	round   int
	visible view // what read_committed must see of handTxn
	open    []*pending
	simple  map[int32]kadm.Offset
	txnGrp  int64            // offset committed in the last transaction that committed
	counts  map[string]int64 // records that a group has consumed and committed, by group
	stayers []*stayer
}

// stayer is a member that stays in its group while the directory changes hands.
type stayer struct {
	g      *groupUnderTest
	m      member
	client *kgo.Client
	id     string
	epoch  int32
}

// handoverCoordinators lets Gregor and Apache Kafka own one directory in turns and carry committed offsets, groups with
// members in them, and finished and open transactions.
func handoverCoordinators(s *rig.S) {
	var b *rig.Broker
	if !s.Test("directory", time.Minute, func(t *rig.T) {
		var err error
		b, err = rig.NewBroker(t.Env, "handover-groups", coordinators...)
		t.Must(err, "directory")
	}) {
		return
	}
	defer func() { _ = b.Kill() }()
	l := &ledgerOfCoordinators{visible: view{}, simple: map[int32]kadm.Offset{}, counts: map[string]int64{}}
	defer func() {
		for _, st := range l.stayers {
			st.m.crash()
		}
	}()
	for round := range handoverRounds {
		for _, owner := range []string{s.Kind, rig.Kafka} {
			name := fmt.Sprintf("round-%d/%s", round+1, owner)
			if !s.Test(name, handoverLimit, func(t *rig.T) { l.own(t, b, owner) }) {
				return
			}
		}
	}
	if !s.Test("last/"+s.Kind, handoverLimit, func(t *rig.T) { l.own(t, b, s.Kind) }) {
		return
	}
	s.Test("kafka-logs-no-error", time.Minute, func(t *rig.T) {
		lines, err := b.ErrorLines(rig.Kafka)
		t.Must(err, "logs")
		if len(lines) > 0 {
			t.Fatalf("%d lines:\n%s", len(lines), strings.Join(lines[:min(10, len(lines))], "\n"))
		}
	})
}

// again paces what a coordinator that is loading or busy has to be asked again: 14, 15, 16 of a coordinator, 51 for
// concurrent transactions.
func again(ctx context.Context) func(error) error {
	deadline := time.Now().Add(30 * time.Second)
	return func(err error) error {
		for _, code := range []string{"14", "15", "16", "51"} {
			if strings.HasSuffix(err.Error(), "error code "+code) && time.Now().Before(deadline) && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
				return nil
			}
		}
		return err
	}
}

func (l *ledgerOfCoordinators) own(t *rig.T, b *rig.Broker, owner string) {
	began := time.Now()
	t.Must(b.Start(owner), "start")
	started := time.Since(began)
	c, err := raw.Dial(t.Context(), b.Addr)
	t.Must(err, "connection")
	defer func() { _ = c.Close() }()

	if l.round == 0 {
		createTopic(t, b, handTxn, txnPartitions, nil)
		createTopic(t, b, handInput, txnPartitions, nil)
		for p := range int32(txnPartitions) {
			l.visible[place{handTxn, p}] = nil
		}
	} else {
		l.find(t, b, c)
	}
	l.round++
	l.commitSimple(t, b)
	l.finishSome(t, c)
	l.leaveOpen(t, c)
	l.consume(t, b)
	how := "stopped"
	if l.round%3 == 0 {
		how = "killed"
		t.Must(b.Kill(), "kill")
	} else {
		t.Must(b.Stop(), "stop")
	}
	t.Note("%s: answers after %.1f s, %s after %.1f s", owner, started.Seconds(), how, time.Since(began).Seconds())
}

// find checks everything that the owner before has left, and deals with what was left open.
func (l *ledgerOfCoordinators) find(t *rig.T, b *rig.Broker, c *raw.Conn) {
	ctx := t.Context()
	// Nothing of an open transaction is visible: the last stable offset stands at the first record of the first one.
	first := map[place]int64{}
	for _, o := range l.open {
		for at, e := range o.spots {
			if n, ok := first[at]; !ok || e.offset < n {
				first[at] = e.offset
			}
		}
	}
	eventually(t, func() error {
		stable, err := marks(ctx, b.Addr, []string{handTxn}, txnPartitions, true)
		if err != nil {
			return err
		}
		if !maps.Equal(stable, first) {
			return fmt.Errorf("last stable offsets %v, the first open records are at %v", stable, first)
		}
		return nil
	})
	// Offsets that were committed in finished transactions are there; those in an open one are unstable.
	eventually(t, func() error {
		_, err := committedOffsets(ctx, b.Addr, handTxnGrp, handInput, 1)
		if err == nil || !strings.Contains(err.Error(), "error code 88") {
			return fmt.Errorf("offsets with a transaction open: %v, expected UNSTABLE_OFFSET_COMMIT (88)", err)
		}
		return nil
	})
	eventually(t, func() error { return l.offsetsAsLeft(ctx, b) })
	for _, o := range l.open {
		t.Must(l.resolve(t, c, o), fmt.Sprintf("%s, left open for the next owner to %s (new protocol: %v)", o.x.ID, o.fate, o.x.New))
	}
	l.open = nil
	t.Must(untilNothingOpen(ctx, b.Addr, []string{handTxn}), "end of what was left open")
	v, err := readView(ctx, b.Addr, []string{handTxn}, true)
	t.Must(err, "read_committed")
	for at, want := range l.visible {
		slices.SortFunc(want, func(a, b entry) int { return int(a.offset - b.offset) })
		if !slices.Equal(v[at], want) {
			t.Fatalf("%s-%d: %d records are visible, expected %d: %.600v, expected %.600v", at.topic, at.partition, len(v[at]), len(want), v[at], want)
		}
	}
	eventually(t, func() error {
		offsets, err := committedOffsets(ctx, b.Addr, handTxnGrp, handInput, 1)
		if err == nil && offsets[0] != l.txnGrp {
			err = fmt.Errorf("offset %d was committed in a transaction, %d is there", l.txnGrp, offsets[0])
		}
		return err
	})
}

// offsetsAsLeft compares the offsets of all groups with what was committed.
func (l *ledgerOfCoordinators) offsetsAsLeft(ctx context.Context, b *rig.Broker) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	got, err := adm.FetchOffsets(ctx, handSimple)
	if err != nil {
		return err
	}
	for p, want := range l.simple {
		o, _ := got.Lookup(handInput, p)
		if o.At != want.At || o.Metadata != want.Metadata || o.LeaderEpoch != want.LeaderEpoch {
			return fmt.Errorf("group %s, partition %d: %+v, expected %+v", handSimple, p, o.Offset, want)
		}
	}
	for group, n := range l.counts {
		got, err := adm.FetchOffsets(ctx, group)
		if err != nil {
			return err
		}
		sum := int64(0)
		got.Each(func(o kadm.OffsetResponse) { sum += max(0, o.At) })
		if sum != n {
			return fmt.Errorf("group %s has committed %d records, %d are there", group, n, sum)
		}
	}
	return nil
}

// resolve deals with one open transaction the way it was left for.
func (l *ledgerOfCoordinators) resolve(t *rig.T, c *raw.Conn, o *pending) error {
	retry := again(t.Context())
	commit := false
	switch o.fate {
	case "timeout":
		return nil // the coordinator has to find it itself
	case "fence":
		// Another producer of the same id: the old one is out.
		next, err := raw.Begin(c, o.x.ID, o.x.New, 60_000, retry)
		if err != nil {
			return err
		}
		if next.PID == o.x.PID && next.Epoch <= o.x.Epoch {
			return fmt.Errorf("producer %d came back with epoch %d after %d", next.PID, next.Epoch, o.x.Epoch)
		}
		if err := o.x.End(c, true, func(err error) error { return err }); err == nil {
			return errors.New("the fenced producer has committed")
		}
		return nil
	case "more":
		// As if nothing had happened: the next sequence number, then the end.
		if err := l.write(t, c, o); err != nil {
			return err
		}
		commit = true
	case "commit":
		commit = true
	}
	if err := o.x.End(c, commit, retry); err != nil {
		return err
	}
	if commit {
		l.committed(o)
	}
	return nil
}

func (l *ledgerOfCoordinators) committed(o *pending) {
	for at, e := range o.spots {
		l.visible[at] = append(l.visible[at], e)
	}
	if o.offset > 0 {
		l.txnGrp = o.offset
	}
}

// write puts one more record into every partition.
func (l *ledgerOfCoordinators) write(t *rig.T, c *raw.Conn, o *pending) error {
	for p := range int32(txnPartitions) {
		at := place{handTxn, p}
		value := fmt.Sprintf("%s %s %d", o.x.ID, o.fate, o.x.Next[fmt.Sprintf("%s-%d", at.topic, at.partition)])
		offset, err := o.x.Produce(c, at.topic, at.partition, []byte(value), again(t.Context()))
		if err != nil {
			return err
		}
		if _, there := o.spots[at]; there {
			l.visible[at] = append(l.visible[at], entry{offset, value}) // a second one, of a transaction that commits
			continue
		}
		o.spots[at] = entry{offset, value}
	}
	return nil
}

func (l *ledgerOfCoordinators) begin(t *rig.T, c *raw.Conn, fate string, isNew bool, timeoutMillis int32) *pending {
	id := fmt.Sprintf("handover-%s-%v-%d", fate, isNew, l.round%2) // an id comes back after two rounds
	x, err := raw.Begin(c, id, isNew, timeoutMillis, again(t.Context()))
	t.Must(err, "begin "+id)
	o := &pending{fate: fate, x: x, spots: map[place]entry{}}
	t.Must(l.write(t, c, o), "produce in "+id)
	return o
}

// finishSome commits and aborts transactions of both protocols.
func (l *ledgerOfCoordinators) finishSome(t *rig.T, c *raw.Conn) {
	for _, isNew := range []bool{false, true} {
		for _, commit := range []bool{true, false} {
			o := l.begin(t, c, map[bool]string{true: "done", false: "undone"}[commit], isNew, 60_000)
			o.offset = l.txnGrp + 1
			t.Must(o.x.Offset(c, handTxnGrp, handInput, 0, o.offset, again(t.Context())), "offset")
			t.Must(o.x.End(c, commit, again(t.Context())), "end")
			if commit {
				l.committed(o)
			}
		}
	}
}

// leaveOpen begins transactions of every fate and does not end them. The one that is left to its timeout comes last, so
// that the others hold the last stable offset until the next owner has looked at it.
func (l *ledgerOfCoordinators) leaveOpen(t *rig.T, c *raw.Conn) {
	const long = 600_000
	for _, isNew := range []bool{false, true} {
		for _, fate := range []string{"commit", "abort", "more", "fence"} {
			l.open = append(l.open, l.begin(t, c, fate, isNew, long))
		}
	}
	o := l.begin(t, c, "offsets", true, long)
	o.fate, o.offset = "commit", l.txnGrp+10
	t.Must(o.x.Offset(c, handTxnGrp, handInput, 0, o.offset, again(t.Context())), "offset")
	l.open = append(l.open, o)
	for _, isNew := range []bool{false, true} {
		// Not before the next owner is up: Kafka 4.3.1 takes partitions whose leader it does not know yet for deleted,
		// completes such a transaction without its markers, and the last stable offset stands still for ever.
		l.open = append(l.open, l.begin(t, c, "timeout", isNew, 15_000))
	}
}

// commitSimple commits offsets with metadata for a group without members.
func (l *ledgerOfCoordinators) commitSimple(t *rig.T, b *rig.Broker) {
	var offsets kadm.Offsets
	for p := range int32(txnPartitions) {
		o := kadm.Offset{Topic: handInput, Partition: p, At: int64(l.round*10) + int64(p), LeaderEpoch: -1, Metadata: fmt.Sprintf("round %d ü", l.round)}
		l.simple[p] = o
		offsets.Add(o)
	}
	adm := newAdmin(t, b)
	t.Must(adm.CommitAllOffsets(t.Context(), handSimple, offsets), "commit")
}

// consume has four groups read what is new, two of members that come and go, two of members that stay for ever.
func (l *ledgerOfCoordinators) consume(t *rig.T, b *rig.Broker) {
	const n = 300
	cl := newClient(t, b)
	for i := range n {
		r := &kgo.Record{Topic: handInput, Partition: int32(i % txnPartitions), Value: fmt.Appendf(nil, "%d", i)}
		cl.Produce(t.Context(), r, nil)
	}
	t.Must(cl.Flush(t.Context()), "produce")
	total := int64(l.round) * n
	if l.round == 1 {
		for _, protocol := range []string{"classic", "consumer"} {
			l.stayers = append(l.stayers, l.stay(t, b, protocol))
		}
	}
	for _, protocol := range []string{"classic", "consumer"} {
		g := l.group("handover-come-and-go-"+protocol, protocol, b)
		m, err := franzMember(g, "handover", protocolOptions(protocol)...)
		t.Must(err, g.group)
		t.Must(l.untilConsumed(t.Context(), g, total), g.group)
		t.Must(m.leave(t.Context()), g.group)
		t.Must(g.empties(t.Context()), g.group)
		l.counts[g.group] = total
	}
	for _, st := range l.stayers {
		t.Must(l.untilConsumed(t.Context(), st.g, total), st.g.group)
		l.counts[st.g.group] = total
		r, err := describe(t.Context(), b.Addr, st.g.group, st.g.kind.protocol, handInput)
		t.Must(err, st.g.group)
		t.Must(r.complete(1, txnPartitions), st.g.group)
		id, epoch := st.client.GroupMetadata()
		if st.id == "" {
			st.id, st.epoch = id, epoch
		}
		// A classic member of franz-go joins again, as who it was, after it was alone for a while: its generation rises.
		if id != st.id || epoch < st.epoch || epoch != st.epoch && st.g.kind.protocol == "consumer" {
			t.Fatalf("group %s: member %s, generation or epoch %d; it was %s, %d before the directory changed hands", st.g.group, id, epoch, st.id, st.epoch)
		}
		st.epoch = epoch
	}
}

func protocolOptions(protocol string) []kgo.Opt {
	opts := []kgo.Opt{kgo.SessionTimeout(30 * time.Second)}
	if protocol == "consumer" {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	return opts
}

func (l *ledgerOfCoordinators) group(name, protocol string, b *rig.Broker) *groupUnderTest {
	return &groupUnderTest{kind: groupKind{name: name, protocol: protocol}, broker: b, addr: b.Addr, group: name, topic: handInput, seen: newConsumed()}
}

// stay starts a member that stays.
func (l *ledgerOfCoordinators) stay(t *rig.T, b *rig.Broker, protocol string) *stayer {
	st := &stayer{g: l.group("handover-stays-"+protocol, protocol, b)}
	var err error
	st.m, err = franzMember(st.g, "handover-stays", append(protocolOptions(protocol), kgo.WithHooks(clientHook{&st.client}))...)
	t.Must(err, st.g.group)
	return st
}

// clientHook hands out the client that a member makes.
type clientHook struct{ into **kgo.Client }

// OnNewClient is called by kgo.NewClient.
func (h clientHook) OnNewClient(cl *kgo.Client) { *h.into = cl }

// untilConsumed waits until the group has committed n records altogether.
func (l *ledgerOfCoordinators) untilConsumed(ctx context.Context, g *groupUnderTest, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	last := errors.New("nothing yet")
	for ctx.Err() == nil {
		offsets, err := committedOffsets(ctx, g.addr, g.group, g.topic, txnPartitions)
		sum := int64(0)
		for _, o := range offsets {
			sum += max(0, o)
		}
		if err == nil && sum == n {
			return nil
		}
		last = fmt.Errorf("%d of %d records are committed: %w", sum, n, errors.Join(err))
		time.Sleep(20 * time.Millisecond)
	}
	return last
}
