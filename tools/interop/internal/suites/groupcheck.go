package suites

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/raw"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumed is which records of a topic the members of a group were given. Safe for concurrent use.
type consumed struct {
	mu   sync.Mutex
	seen map[int32][]bool
	n    int64 // with repetitions
}

func newConsumed() *consumed { return &consumed{seen: map[int32][]bool{}} }

// got enters the records of a partition from first to last.
func (c *consumed) got(partition int32, first, last int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if more := int(last) + 1 - len(c.seen[partition]); more > 0 {
		c.seen[partition] = append(c.seen[partition], make([]bool, more)...)
	}
	for o := first; o <= last; o++ {
		c.seen[partition][o] = true
	}
	c.n += last - first + 1
}

// missing says which record below the ends nobody was given; more than there are is an error too.
func (c *consumed) missing(ends map[int32]int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, end := range ends {
		seen := c.seen[p]
		if int64(len(seen)) > end {
			return fmt.Errorf("partition %d ends at %d, offset %d was delivered", p, end, len(seen)-1)
		}
		if o := slices.Index(seen, false); o >= 0 {
			return fmt.Errorf("partition %d: offset %d was never delivered, %d was", p, o, len(seen)-1)
		}
		if int64(len(seen)) < end {
			return fmt.Errorf("partition %d: %d of %d records were delivered", p, len(seen), end)
		}
	}
	return nil
}

// roster is a group as its coordinator describes it at one moment.
type roster struct {
	state   string
	epoch   int32                     // of a consumer protocol group
	members map[string]map[int32]bool // member id -> partitions of the one topic
	settled bool                      // every member is where the group is
}

// overlap is an error when two members own one partition at the same time, in the same generation or epoch.
func (r roster) overlap() error {
	owner := map[int32]string{}
	for _, member := range slices.Sorted(maps.Keys(r.members)) {
		for p := range r.members[member] {
			if other, taken := owner[p]; taken {
				return fmt.Errorf("partition %d belongs to both %s and %s (state %s, epoch %d)", p, other, member, r.state, r.epoch)
			}
			owner[p] = member
		}
	}
	return nil
}

// complete is nil when the group is Stable with n members and every partition has its owner.
func (r roster) complete(n, partitions int) error {
	owned := 0
	for _, ps := range r.members {
		owned += len(ps)
	}
	if r.state != "Stable" || len(r.members) != n || owned != partitions || !r.settled {
		return fmt.Errorf("state %s, %d members, expected %d; %d partitions with an owner, expected %d (epochs agree: %v)", r.state, len(r.members), n, owned, partitions, r.settled)
	}
	return nil
}

// describe asks the coordinator about a group of the classic or the consumer protocol.
func describe(ctx context.Context, addr, group, protocol, topic string) (roster, error) {
	c, err := raw.Dial(ctx, addr)
	if err != nil {
		return roster{}, fmt.Errorf("%w: %w", errGone, err)
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return describeOn(c, group, protocol, topic)
}

func describeOn(c *raw.Conn, group, protocol, topic string) (roster, error) {
	if protocol == "consumer" {
		return describeConsumer(c, group, topic)
	}
	q := kmsg.NewPtrDescribeGroupsRequest()
	q.SetVersion(5)
	q.Groups = []string{group}
	resp, err := raw.Ask[*kmsg.DescribeGroupsResponse](c, q)
	if err != nil {
		return roster{}, fmt.Errorf("%w: %w", errGone, err)
	}
	if len(resp.Groups) != 1 || resp.Groups[0].ErrorCode != 0 {
		return roster{}, fmt.Errorf("%w: describing group %s: error code %d", errGone, group, resp.Groups[0].ErrorCode)
	}
	g := resp.Groups[0]
	r := roster{state: g.State, members: map[string]map[int32]bool{}, settled: true}
	for _, m := range g.Members {
		owned := map[int32]bool{}
		r.members[m.MemberID] = owned
		if len(m.MemberAssignment) == 0 {
			continue
		}
		var a kmsg.ConsumerMemberAssignment
		if err := a.ReadFrom(m.MemberAssignment); err != nil {
			return roster{}, fmt.Errorf("assignment of %s in group %s: %w", m.MemberID, group, err)
		}
		for _, t := range a.Topics {
			if t.Topic == topic {
				for _, p := range t.Partitions {
					owned[p] = true
				}
			}
		}
	}
	return r, nil
}

func describeConsumer(c *raw.Conn, group, topic string) (roster, error) {
	q := kmsg.NewPtrConsumerGroupDescribeRequest()
	q.SetVersion(0)
	q.Groups = []string{group}
	resp, err := raw.Ask[*kmsg.ConsumerGroupDescribeResponse](c, q)
	if err != nil {
		return roster{}, fmt.Errorf("%w: %w", errGone, err)
	}
	if len(resp.Groups) != 1 {
		return roster{}, fmt.Errorf("an answer about %d groups to a question about one", len(resp.Groups))
	}
	g := resp.Groups[0]
	switch {
	case g.ErrorCode == 69: // GROUP_ID_NOT_FOUND
		return roster{state: "Dead"}, nil
	case g.ErrorCode != 0:
		return roster{}, fmt.Errorf("%w: describing group %s: error code %d", errGone, group, g.ErrorCode)
	}
	r := roster{state: g.State, epoch: g.Epoch, members: map[string]map[int32]bool{}, settled: g.Epoch == g.AssignmentEpoch}
	for _, m := range g.Members {
		owned := map[int32]bool{}
		for _, t := range m.Assignment.TopicPartitions {
			if t.Topic == topic {
				for _, p := range t.Partitions {
					owned[p] = true
				}
			}
		}
		r.members[m.MemberID] = owned
		r.settled = r.settled && m.MemberEpoch == g.Epoch
	}
	return r, nil
}

// watched is what a watcher of one group has seen.
type watched struct {
	mu     sync.Mutex
	states map[string]int // how often each state was seen
	epoch  int32          // the highest so far
	failed error
}

// restless is how often the group was seen in a state other than Stable, and its highest epoch.
func (w *watched) restless() (n int, epoch int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for state, times := range w.states {
		if state != "Stable" {
			n += times
		}
	}
	return n, w.epoch
}

func (w *watched) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// watch describes the group and asks for its committed offsets again and again until ctx ends: no partition has two
// owners, epochs and committed offsets never go back, not even over a kill of the broker. (Committed offsets may where commits come late.)
func (w *watched) watch(ctx context.Context, addr string, g *groupUnderTest) {
	committed := newTide("the offset committed by " + g.group)
	for ctx.Err() == nil {
		err := func() error {
			c, err := raw.Dial(ctx, addr)
			if err != nil {
				return errGone
			}
			defer func() { _ = c.Close() }()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			for {
				r, err := describeOn(c, g.group, g.kind.protocol, g.topic)
				if err == nil {
					err = w.see(r)
				}
				if err != nil {
					return err
				}
				offsets, err := committedOn(c, g.group, g.topic, groupPartitions)
				if err != nil {
					return errGone
				}
				for p, n := range offsets {
					if n < 0 && committed.at(place{g.topic, p}) > 0 {
						return fmt.Errorf("the committed offset of partition %d, %d, is gone", p, committed.at(place{g.topic, p}))
					}
					if n >= 0 {
						if err := committed.see(place{g.topic, p}, n); err != nil && !g.kind.late() {
							return err
						}
					}
				}
				select {
				case <-ctx.Done():
					return errGone
				case <-time.After(40 * time.Millisecond):
				}
			}
		}()
		if !errors.Is(err, errGone) {
			w.mu.Lock()
			w.failed = err
			w.mu.Unlock()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *watched) see(r roster) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.state == "" || r.state == "Dead" && w.states["Stable"] == 0 {
		return nil
	}
	w.states[r.state]++
	if r.epoch < w.epoch {
		return fmt.Errorf("the group's epoch went from %d back to %d", w.epoch, r.epoch)
	}
	w.epoch = r.epoch
	return r.overlap()
}
