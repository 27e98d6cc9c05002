package suites

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/raw"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// seat is one member's place in a group.
type seat struct {
	group      string
	id         string
	generation int32 // or member epoch
	leads      bool
}

// sit has classic members join a group at once, each on a connection of its own, and returns where they sit. What
// group.initial.rebalance.delay.ms says is part of the time it takes.
func sit(ctx context.Context, conns []*raw.Conn, group, topic string, partitions int32) ([]seat, error) {
	seats := make([]seat, len(conns))
	for i := range seats {
		seats[i].group = group
	}
	err := rejoinAll(conns, seats, topic, partitions, func(int) bool { return true })
	return seats, errors.Join(err, ctx.Err())
}

// rejoinAll has those members join at once that which holds for.
func rejoinAll(conns []*raw.Conn, seats []seat, topic string, partitions int32, which func(i int) bool) error {
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i, c := range conns {
		if which(i) {
			wg.Go(func() { seats[i], errs[i] = joinAndSync(c, seats[i].group, topic, partitions, seats[i].id) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// allAgree has the members beat until nobody is told of a rebalance; who is, joins again.
func allAgree(ctx context.Context, conns []*raw.Conn, seats []seat, topic string, partitions int32) error {
	for ctx.Err() == nil {
		stale := map[int]bool{}
		for i, c := range conns {
			code, err := beatOnce(c, seats[i])
			if err != nil {
				return err
			}
			if code != 0 {
				stale[i] = true
			}
		}
		if len(stale) == 0 {
			return nil
		}
		if err := rejoinAll(conns, seats, topic, partitions, func(i int) bool { return stale[i] }); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// beatOnce sends one heartbeat and returns its error code.
func beatOnce(c *raw.Conn, s seat) (int16, error) {
	q := kmsg.NewPtrHeartbeatRequest()
	q.SetVersion(3)
	q.Group, q.MemberID, q.Generation = s.group, s.id, s.generation
	resp, err := raw.Ask[*kmsg.HeartbeatResponse](c, q)
	if err != nil {
		return 0, err
	}
	return resp.ErrorCode, nil
}

// joinAndSync joins at version 3, which takes a member without an id at once.
func joinAndSync(c *raw.Conn, group, topic string, partitions int32, id string) (seat, error) {
	for {
		s, retry, err := joinOnce(c, group, topic, partitions, id)
		if err == nil {
			return s, nil
		}
		if !retry {
			return s, err
		}
		id = s.id
	}
}

func joinOnce(c *raw.Conn, group, topic string, partitions int32, id string) (s seat, retry bool, err error) {
	q := kmsg.NewPtrJoinGroupRequest()
	q.SetVersion(3)
	q.Group, q.MemberID, q.ProtocolType = group, id, "consumer"
	q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = 300_000, 60_000
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics = []string{topic}
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", meta.AppendTo(nil)
	q.Protocols = append(q.Protocols, p)
	joined, err := raw.Ask[*kmsg.JoinGroupResponse](c, q)
	if err != nil {
		return seat{}, false, err
	}
	s = seat{group, joined.MemberID, joined.Generation, joined.LeaderID == joined.MemberID}
	switch joined.ErrorCode {
	case 0:
	case 14, 15, 16, 27: // loading, not there yet, not here, a rebalance under way
		time.Sleep(5 * time.Millisecond)
		s.id = id
		return s, true, errors.New("not yet")
	default:
		return seat{}, false, fmt.Errorf("JoinGroup of %s: error code %d", group, joined.ErrorCode)
	}
	y := kmsg.NewPtrSyncGroupRequest()
	y.SetVersion(2)
	y.Group, y.Generation, y.MemberID = group, joined.Generation, joined.MemberID
	if joined.LeaderID == joined.MemberID {
		for i, m := range joined.Members {
			a := kmsg.NewConsumerMemberAssignment()
			t := kmsg.NewConsumerMemberAssignmentTopic()
			t.Topic = topic
			for p := int32(i); p < partitions; p += int32(len(joined.Members)) {
				t.Partitions = append(t.Partitions, p)
			}
			a.Topics = append(a.Topics, t)
			ya := kmsg.NewSyncGroupRequestGroupAssignment()
			ya.MemberID, ya.MemberAssignment = m.MemberID, a.AppendTo(nil)
			y.GroupAssignment = append(y.GroupAssignment, ya)
		}
	}
	synced, err := raw.Ask[*kmsg.SyncGroupResponse](c, y)
	if err != nil {
		return seat{}, false, err
	}
	if synced.ErrorCode != 0 {
		if synced.ErrorCode == 27 { // somebody else came: once more
			return s, true, errors.New("not yet")
		}
		return seat{}, false, fmt.Errorf("SyncGroup of %s: error code %d", group, synced.ErrorCode)
	}
	return s, false, nil
}

// frame is a request as it goes over the wire.
func frame(r kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("gregor-interop")).AppendRequest(nil, r, 1)
}

func heartbeatFrame(s seat) []byte {
	q := kmsg.NewPtrHeartbeatRequest()
	q.SetVersion(3)
	q.Group, q.MemberID, q.Generation = s.group, s.id, s.generation
	return frame(q)
}

// cheapFrame is a question of the same size that the broker answers without any state: where a coordinator is.
func cheapFrame(s seat) []byte {
	q := kmsg.NewPtrFindCoordinatorRequest()
	q.SetVersion(2)
	q.CoordinatorKey = s.group
	for missing := len(heartbeatFrame(s)) - len(frame(q)); missing > 0; missing-- {
		q.CoordinatorKey += "x"
	}
	return frame(q)
}

func consumerHeartbeatFrame(s seat) []byte {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.SetVersion(1)
	q.Group, q.MemberID, q.MemberEpoch, q.RebalanceTimeoutMillis = s.group, s.id, s.generation, -1
	return frame(q)
}

// fleet sends prepared requests over a few connections at a steady pace: each one once in every period. It is as cheap
// as a client can be, so that the broker's cost is what is seen.
type fleet struct {
	stop     context.CancelFunc
	wg       sync.WaitGroup
	answered atomic.Int64
	refused  atomic.Int64 // error code of an answer that was refused
	failed   atomic.Pointer[error]
}

const fleetConns = 4

// launch starts sending; errorAt is where the error code stands in an answer, behind its length.
func launch(addr string, frames [][]byte, period time.Duration, errorAt int) *fleet {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fleet{stop: cancel}
	for i := range fleetConns {
		var mine [][]byte
		for j := i; j < len(frames); j += fleetConns {
			mine = append(mine, frames[j])
		}
		f.wg.Go(func() {
			if err := f.drive(ctx, addr, mine, period, errorAt); err != nil && ctx.Err() == nil {
				f.failed.CompareAndSwap(nil, &err)
			}
		})
	}
	return f
}

func (f *fleet) drive(ctx context.Context, addr string, frames [][]byte, period time.Duration, errorAt int) error {
	c, err := raw.Dial(ctx, addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	f.wg.Go(func() {
		if err := f.listen(c, errorAt); ctx.Err() == nil {
			f.failed.CompareAndSwap(nil, &err)
		}
	})
	// A slice of the frames every 20 ms.
	const step = 20 * time.Millisecond
	steps := int(period / step)
	tick := time.NewTicker(step)
	defer tick.Stop()
	var buffer []byte
	for n := 0; ; n++ {
		buffer = buffer[:0]
		k := n % steps
		for _, one := range frames[k*len(frames)/steps : (k+1)*len(frames)/steps] {
			buffer = append(buffer, one...)
		}
		if len(buffer) > 0 {
			if _, err := c.Write(buffer); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// listen takes answers until the connection breaks, and returns why it did.
func (f *fleet) listen(c *raw.Conn, errorAt int) error {
	in := bufio.NewReaderSize(c, 64<<10)
	var head [16]byte
	for {
		if _, err := io.ReadFull(in, head[:4]); err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(head[:]))
		if size < errorAt+2 || size > 1<<20 {
			return fmt.Errorf("an answer of %d bytes", size)
		}
		if _, err := io.ReadFull(in, head[:errorAt+2]); err != nil {
			return err
		}
		if code := binary.BigEndian.Uint16(head[errorAt:]); code != 0 {
			f.refused.Store(int64(code))
		}
		if _, err := in.Discard(size - errorAt - 2); err != nil {
			return err
		}
		f.answered.Add(1)
	}
}

// land stops it and says what went wrong.
func (f *fleet) land() error {
	f.stop()
	f.wg.Wait()
	if err := f.failed.Load(); err != nil {
		return *err
	}
	if code := f.refused.Load(); code != 0 {
		return fmt.Errorf("answers with error code %d", code)
	}
	return nil
}
