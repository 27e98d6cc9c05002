package api

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/wire"
)

type wakes struct{ n atomic.Int32 }

func (w *wakes) Wake() { w.n.Add(1) }

func heartbeatCode(code int16) *kmsg.HeartbeatResponse {
	r := kmsg.NewPtrHeartbeatResponse()
	r.ErrorCode = code
	return r
}

// expectCode decodes what a reply encodes to, behind bytes of another reply.
func expectCode(t *testing.T, l *later, code int16) {
	t.Helper()
	p := wire.GetPayload()
	defer wire.PutPayload(p)
	p.SetBuffer(append(p.Buffer(), "before"...))
	if err := l.Encode(p); err != nil {
		t.Fatal(err)
	}
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.SetVersion(4)
	if err := resp.ReadFrom(p.Bytes()[len("before"):]); err != nil || resp.ErrorCode != code {
		t.Fatalf("code %d, expected %d; %v", resp.ErrorCode, code, err)
	}
}

func TestLaterIsCompletedOnce(t *testing.T) {
	// Before the handler returns.
	l, w := newLater(4), new(wakes)
	l.complete(heartbeatCode(1))
	l.complete(heartbeatCode(2))
	l.settle()
	if !l.Wait(w) || w.n.Load() != 0 {
		t.Fatal("a complete reply waits")
	}
	expectCode(t, l, 1)
	l.Release()

	// Between the handler's return and the connection's Wait.
	l = newLater(4)
	l.settle()
	l.complete(heartbeatCode(3))
	if !l.Wait(w) {
		t.Fatal("a complete reply waits")
	}
	expectCode(t, l, 3)

	// Afterwards.
	l = newLater(4)
	l.settle()
	if l.Wait(w) || w.n.Load() != 0 {
		t.Fatal("ready without a response")
	}
	l.complete(heartbeatCode(4))
	l.complete(heartbeatCode(5))
	if w.n.Load() != 1 {
		t.Fatalf("woken %d times", w.n.Load())
	}
	expectCode(t, l, 4)

	// After the connection has died.
	l = newLater(4)
	l.Wait(w)
	l.Release()
	l.complete(heartbeatCode(6))
}

// TestLaterUnderRace: whoever comes second, the completion or the wait, exactly
// one of them makes the reply ready.
func TestLaterUnderRace(t *testing.T) {
	for range 2000 {
		l, w := newLater(4), new(wakes)
		var all sync.WaitGroup
		for code := range int16(3) {
			all.Go(func() { l.complete(heartbeatCode(code)) })
		}
		l.settle()
		ready := l.Wait(w)
		all.Wait()
		if ready == (w.n.Load() == 1) {
			t.Fatalf("ready %v and woken %d times", ready, w.n.Load())
		}
		l.Release()
	}
}

func TestGather(t *testing.T) {
	calls := 0
	newGather(0, func(a []int) { calls += 1 + len(a) })
	if calls != 1 {
		t.Fatal("nothing to gather is not complete at once")
	}
	const n = 50
	var got []int
	g := newGather(n, func(a []int) { got = a })
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { g.put(i, i*i) })
	}
	all.Wait()
	for i, v := range got {
		if v != i*i {
			t.Fatalf("answer %d is %d", i, v)
		}
	}
	if len(got) != n {
		t.Fatalf("%d answers", len(got))
	}
}

func TestParkedRequestsMayBeKept(t *testing.T) {
	q := kmsg.NewPtrJoinGroupRequest()
	q.SetVersion(9)
	q.Group, q.MemberID = "group", "member"
	q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("metadata")}}
	frame := q.AppendTo(nil)
	var kept *kmsg.JoinGroupRequest
	handle := parked(func(_ *wire.Request, q *kmsg.JoinGroupRequest, l *later) { kept = q })
	req := &wire.Request{Spec: &wire.Spec{Key: 11, Name: "JoinGroup", Max: 9, FlexibleFrom: 6}, Key: 11, Version: 9, Body: frame}
	if reply := handle(req); reply.Wait(new(wakes)) {
		t.Fatal("ready without a response")
	}
	clear(frame) // the connection uses its memory again
	if string(kept.Protocols[0].Metadata) != "metadata" || kept.Group != "group" {
		t.Fatalf("kept %q", kept.Protocols[0].Metadata)
	}
	req.Body = []byte{1, 2, 3}
	p := wire.GetPayload()
	defer wire.PutPayload(p)
	var closing *wire.CloseError
	if err := handle(req).Encode(p); !errors.As(err, &closing) {
		t.Fatalf("a malformed request is answered: %v", err)
	}
}

func TestCoordinatorCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int16
	}{
		{nil, errNone}, {coord.ErrLoading, errCoordinatorLoadInProgress}, {fmt.Errorf("x: %w", coord.ErrNotCoordinator), errNotCoordinator},
		{fmt.Errorf("%w: %w", coord.ErrNotAvailable, engine.ErrStorage), errCoordinatorNotAvailable},
		{fmt.Errorf("%w: %w", coord.ErrNotCoordinator, engine.ErrStorage), errNotCoordinator},
		{fmt.Errorf("%w: %w", coord.ErrNotAvailable, engine.ErrSegmentTooSmall), errUnknownServerError},
		{errors.New("else"), errUnknownServerError},
	} {
		if got := coordinatorCode(c.err); got != c.want {
			t.Errorf("code of %v is %d, expected %d", c.err, got, c.want)
		}
	}
}

func TestJavaHost(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:40000":            "/127.0.0.1",
		"[::ffff:10.1.2.3]:1":        "/10.1.2.3",
		"[::1]:9092":                 "/0:0:0:0:0:0:0:1",
		"[2001:db8::a:0:ff]:1":       "/2001:db8:0:0:0:a:0:ff",
		"[fe80::1%eth0]:1":           "/fe80:0:0:0:0:0:0:1%eth0",
		"somewhere else":             "/somewhere else",
		"[0:0:0:0:0:ffff:7f00:1]:12": "/127.0.0.1",
	} {
		if got := javaHost(address); got != want {
			t.Errorf("%s is %s, expected %s", address, got, want)
		}
	}
}
