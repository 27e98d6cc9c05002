package suites

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/raw"
	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// follower is a consumer of our own that reads all topics from the beginning for as long as the test lasts and remembers
// everything it was given. A client library would retry, reset and refetch where this must not.
type follower struct {
	committed bool // isolation level read_committed
	keyed     bool // values are entered as key, equals sign, value
	topics    []string
	count     int32 // partitions of each topic
	mu        sync.Mutex
	seen      view
	next      map[place]int64
}

func newFollower(committed bool, topics []string) *follower {
	return followPartitions(committed, topics, txnPartitions)
}

func followPartitions(committed bool, topics []string, count int32) *follower {
	f := &follower{committed: committed, topics: topics, count: count, seen: view{}, next: map[place]int64{}}
	for _, topic := range topics {
		for p := range count {
			f.next[place{topic, p}] = 0
		}
	}
	return f
}

// errGone is what a broker that is being killed answers or does not answer: ask again.
var errGone = errors.New("the broker is away")

// run reads until ctx ends, whatever happens to the broker. An error is data that is not where it was.
func (f *follower) run(ctx context.Context, addr string) error {
	for ctx.Err() == nil {
		err := f.connection(ctx, addr, nil)
		if !errors.Is(err, errGone) && ctx.Err() == nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// upTo reads until every partition is read up to its end in ends.
func (f *follower) upTo(ctx context.Context, addr string, ends map[place]int64) error {
	return f.connection(ctx, addr, func() bool {
		for at, end := range ends {
			if f.next[at] < end {
				return false
			}
		}
		return true
	})
}

// connection reads on one connection until done holds or the connection breaks.
func (f *follower) connection(ctx context.Context, addr string, done func() bool) error {
	c, err := raw.Dial(ctx, addr)
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	for done == nil || !done() {
		if err := f.fetch(c); err != nil {
			return err
		}
	}
	return nil
}

// fetch asks for all partitions once, outside any session.
func (f *follower) fetch(c *raw.Conn) error {
	q := raw.FetchRequest("", 0, 0, 8<<20)
	q.Topics = nil
	q.MaxWaitMillis = 100
	if f.committed {
		q.IsolationLevel = 1
	}
	for _, topic := range f.topics {
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic = topic
		for p := range f.count {
			rp := kmsg.NewFetchRequestTopicPartition()
			rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = p, f.next[place{topic, p}], 1<<20, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		q.Topics = append(q.Topics, rt)
	}
	resp, err := raw.Ask[*kmsg.FetchResponse](c, q)
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, rt := range resp.Topics {
		for _, p := range rt.Partitions {
			at := place{rt.Topic, p.Partition}
			switch {
			case p.ErrorCode == 1:
				return fmt.Errorf("%s-%d: offset %d is out of range (start %d, end %d)", at.topic, at.partition, f.next[at], p.LogStartOffset, p.HighWatermark)
			case p.ErrorCode != 0:
				return fmt.Errorf("%w: error code %d", errGone, p.ErrorCode)
			}
			if err := f.take(at, &p); err != nil {
				return fmt.Errorf("%s-%d: %w", at.topic, at.partition, err)
			}
		}
	}
	return nil
}

// take enters the batches of one answer. With read_committed it leaves out what the answer says was aborted, the way
// that KIP-98 describes: a producer's data is aborted from the first offset named for it up to its next abort marker.
func (f *follower) take(at place, p *kmsg.FetchResponseTopicPartition) error {
	aborted := slices.Clone(p.AbortedTransactions)
	slices.SortFunc(aborted, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return cmp.Compare(a.FirstOffset, b.FirstOffset)
	})
	skip := map[int64]bool{}
	for rest := p.RecordBatches; len(rest) > 61; {
		size := 12 + int(int32(binary.BigEndian.Uint32(rest[8:])))
		if size < 61 {
			return fmt.Errorf("a batch of %d bytes at offset %d", size, f.next[at])
		}
		if size > len(rest) {
			return nil // Kafka cuts the last one
		}
		var b kmsg.RecordBatch
		if err := b.ReadFrom(rest[:size]); err != nil {
			return fmt.Errorf("a batch at offset %d: %w", f.next[at], err)
		}
		rest = rest[size:]
		last := b.FirstOffset + int64(b.LastOffsetDelta)
		if last < f.next[at] {
			continue
		}
		for len(aborted) > 0 && aborted[0].FirstOffset <= last {
			skip[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		const codec, transactional, control = 0x07, 0x10, 0x20
		switch {
		case b.Attributes&codec != 0:
			return fmt.Errorf("a compressed batch at offset %d, nobody sends them", b.FirstOffset)
		case b.Attributes&control != 0:
			var key kmsg.ControlRecordKey
			records := kmsg.NewRecord()
			if err := records.ReadFrom(b.Records); err != nil {
				return fmt.Errorf("control batch at offset %d: %w", b.FirstOffset, err)
			}
			if err := key.ReadFrom(records.Key); err != nil {
				return fmt.Errorf("control batch at offset %d: %w", b.FirstOffset, err)
			}
			if key.Type == kmsg.ControlRecordKeyTypeAbort {
				delete(skip, b.ProducerID)
			}
		case f.committed && b.Attributes&transactional != 0 && skip[b.ProducerID]:
		default:
			if err := f.records(at, &b); err != nil {
				return err
			}
		}
		f.next[at] = last + 1
	}
	return nil
}

func (f *follower) records(at place, b *kmsg.RecordBatch) error {
	rest := b.Records
	for range b.NumRecords {
		length, n := binary.Varint(rest)
		if n <= 0 || length < 0 || int(length) > len(rest)-n {
			return fmt.Errorf("a batch at offset %d whose records do not chain", b.FirstOffset)
		}
		r := kmsg.NewRecord()
		if err := r.ReadFrom(rest[:n+int(length)]); err != nil {
			return fmt.Errorf("a record of the batch at offset %d: %w", b.FirstOffset, err)
		}
		rest = rest[n+int(length):]
		if offset := b.FirstOffset + int64(r.OffsetDelta); offset >= f.next[at] {
			value := string(r.Value)
			if f.keyed {
				value = string(r.Key) + "=" + value
			}
			f.seen[at] = append(f.seen[at], entry{offset, value})
		}
	}
	return nil
}

// counts is how many records came from each partition so far.
func (f *follower) counts() map[place]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[place]int{}
	for at, entries := range f.seen {
		out[at] = len(entries)
	}
	return out
}

// readView reads everything of these topics up to the end offsets of that isolation level.
func readView(ctx context.Context, addr string, topics []string, committed bool) (view, error) {
	return newFollower(committed, topics).everything(ctx, addr)
}

// everything is what readView says, with this follower.
func (f *follower) everything(ctx context.Context, addr string) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var ends map[place]int64
	for {
		var err error
		if ends == nil {
			ends, err = marks(ctx, addr, f.topics, f.count, f.committed)
		}
		if err == nil {
			err = f.upTo(ctx, addr, ends)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, errGone) || ctx.Err() != nil {
			return nil, fmt.Errorf("reading everything again: %w", err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	for at, entries := range f.seen {
		// What came behind the end meanwhile is not asked for.
		n, _ := slices.BinarySearchFunc(entries, ends[at], func(e entry, end int64) int { return cmp.Compare(e.offset, end) })
		f.seen[at] = entries[:n]
	}
	return f.seen, nil
}

// marks are the last stable offsets (committed) or high watermarks of all partitions of the topics.
func marks(ctx context.Context, addr string, topics []string, count int32, committed bool) (map[place]int64, error) {
	c, err := raw.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	defer func() { _ = c.Close() }()
	return marksOn(c, topics, count, committed)
}

func marksOn(c *raw.Conn, topics []string, count int32, committed bool) (map[place]int64, error) {
	q := kmsg.NewPtrListOffsetsRequest()
	q.SetVersion(5)
	q.ReplicaID = -1
	if committed {
		q.IsolationLevel = 1
	}
	for _, topic := range topics {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = topic
		for p := range count {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p, -1, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		q.Topics = append(q.Topics, rt)
	}
	resp, err := raw.Ask[*kmsg.ListOffsetsResponse](c, q)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	out := map[place]int64{}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if p.ErrorCode != 0 {
				return nil, fmt.Errorf("%w: end of %s-%d: error code %d", errGone, topic.Topic, p.Partition, p.ErrorCode)
			}
			out[place{topic.Topic, p.Partition}] = p.Offset
		}
	}
	return out, nil
}

// watchMarks asks for last stable offsets and high watermarks without pause until ctx ends: neither goes back, and the
// first is never above the second.
func watchMarks(ctx context.Context, addr string, topics []string) error {
	stable, high := newTide("the last stable offset"), newTide("the high watermark")
	for ctx.Err() == nil {
		err := func() error {
			c, err := raw.Dial(ctx, addr)
			if err != nil {
				time.Sleep(2 * time.Millisecond)
				return nil
			}
			defer func() { _ = c.Close() }()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			for {
				lso, err := marksOn(c, topics, txnPartitions, true)
				if err != nil {
					return nil
				}
				hw, err := marksOn(c, topics, txnPartitions, false)
				if err != nil {
					return nil
				}
				for at, n := range lso {
					if n > hw[at] {
						return fmt.Errorf("the last stable offset of %s-%d is %d, the high watermark asked for later %d", at.topic, at.partition, n, hw[at])
					}
					if err := stable.see(at, n); err != nil {
						return err
					}
					if err := high.see(at, hw[at]); err != nil {
						return err
					}
				}
				time.Sleep(5 * time.Millisecond)
			}
		}()
		if err != nil {
			return err
		}
	}
	return nil
}

// watchCommits asks for the groups' committed offsets of a topic until ctx ends: they never go back.
func watchCommits(ctx context.Context, addr string, groups []string, topic string) error {
	committed := newTide("the committed offset")
	for ctx.Err() == nil {
		for _, group := range groups {
			offsets, err := committedOffsets(ctx, addr, group, topic, txnPartitions)
			if err != nil {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			for p, n := range offsets {
				if n < 0 {
					if committed.at(place{group + " of " + topic, p}) > 0 {
						return fmt.Errorf("group %s has lost its offset of %s-%d", group, topic, p)
					}
					continue
				}
				if err := committed.see(place{group + " of " + topic, p}, n); err != nil {
					return err
				}
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// committedOffsets asks the coordinator itself at version 7, without caches and retries; -1 is none. Pending
// transactional offsets are an error (RequireStable).
func committedOffsets(ctx context.Context, addr, group, topic string, partitions int32) (map[int32]int64, error) {
	c, err := raw.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	return committedOn(c, group, topic, partitions)
}

func committedOn(c *raw.Conn, group, topic string, partitions int32) (map[int32]int64, error) {
	q := kmsg.NewPtrOffsetFetchRequest()
	q.SetVersion(7)
	q.Group, q.RequireStable = group, true
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic = topic
	for p := range partitions {
		rt.Partitions = append(rt.Partitions, p)
	}
	q.Topics = append(q.Topics, rt)
	resp, err := raw.Ask[*kmsg.OffsetFetchResponse](c, q)
	if err != nil {
		return nil, err
	}
	if resp.ErrorCode != 0 {
		return nil, fmt.Errorf("offsets of group %s: error code %d", group, resp.ErrorCode)
	}
	out := map[int32]int64{}
	for _, rt := range resp.Topics {
		for _, p := range rt.Partitions {
			if p.ErrorCode != 0 {
				return nil, fmt.Errorf("offset of group %s, %s-%d: error code %d", group, rt.Topic, p.Partition, p.ErrorCode)
			}
			out[p.Partition] = p.Offset
		}
	}
	return out, nil
}

// player is a program in another language that takes part: it reports what it does on standard output, line by line,
// and ends well some time after its standard input has ended.
type player struct {
	name  string
	cmd   *exec.Cmd
	input io.Closer
	exit  chan error
	log   *os.File
}

// startPlayer starts cmd; each line that it prints goes to told, whose error ends the program.
func startPlayer(t *rig.T, name string, cmd *exec.Cmd, told func(line string) error) (*player, error) {
	log, err := os.CreateTemp(t.Scratch, t.Suite+"-"+name+"-")
	if err != nil {
		return nil, err
	}
	p := &player{name: name, cmd: cmd, exit: make(chan error, 1), log: log}
	cmd.Stderr = log
	if p.input, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(p.kill)
	go func() {
		var failed error
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, 1<<20)
		for scan.Scan() {
			if strings.HasPrefix(scan.Text(), "note ") {
				_, _ = fmt.Fprintln(log, scan.Text())
			}
			if err := told(scan.Text()); err != nil && failed == nil {
				failed = fmt.Errorf("%q: %w", scan.Text(), err)
				_ = cmd.Process.Kill()
			}
		}
		err := cmd.Wait()
		if failed == nil && err != nil {
			text, _ := os.ReadFile(log.Name())
			failed = fmt.Errorf("%w\n%s", err, rig.Tail(string(text), 25))
		}
		_ = log.Close()
		if failed != nil {
			failed = fmt.Errorf("%s: %w", name, failed)
		}
		p.exit <- failed
	}()
	return p, nil
}

func (p *player) kill() { _ = p.cmd.Process.Kill() }

// leave tells the program to come to an end.
func (p *player) leave() { _ = p.input.Close() }

// tell enters one line of a writing program: begin n count | acked n i topic partition offset | trying n |
// committed n | aborted n; lines of any other kind are for people.
func (h *history) tell(writer string, line string) error {
	var (
		k         = txnKey{writer: writer}
		i, count  int
		partition int32
		offset    int64
		topic     string
	)
	kind, rest, _ := strings.Cut(line, " ")
	scan := func(into ...any) error {
		if n, err := fmt.Sscan(rest, into...); err != nil {
			return fmt.Errorf("%d of %d fields: %w", n, len(into), err)
		}
		return nil
	}
	switch kind {
	case "begin":
		if err := scan(&k.n, &count); err != nil {
			return err
		}
		h.begin(k, count)
	case "acked":
		if err := scan(&k.n, &i, &topic, &partition, &offset); err != nil {
			return err
		}
		h.ack(k, i, place{topic, partition}, offset)
	case "trying", "committed", "aborted":
		if err := scan(&k.n); err != nil {
			return err
		}
		switch kind {
		case "trying":
			h.trying(k)
		case "committed":
			h.ended(k, txnCommitted)
		default:
			h.ended(k, txnAborted)
		}
	}
	return nil
}
