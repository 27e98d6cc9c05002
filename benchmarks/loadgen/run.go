//go:build linux

package loadgen

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

const (
	memoryInterval = 20 * time.Millisecond
	pollInterval   = 100 * time.Millisecond
	eventsAtOnce   = 128
	edges          = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | (unix.EPOLLET & 0xffffffff)
)

// generator is one run; everything in it belongs to the one thread of Run.
type generator struct {
	options     Options
	epoll       int
	connections []*connection
	warm        bool // the warm-up is over, answers are counted
	over        bool // nothing new is sent
	warmed      int64
	started     time.Time
	meter       meter
	result      Result
}

// Run sends until the options end the run, waits for what is in flight, and returns what was counted. Any error code in
// a response, a lost connection, or a stall ends it with an error. It uses the calling goroutine's thread.
func Run(ctx context.Context, options Options) (*Result, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g := &generator{options: options}
	defer g.close()
	if err := g.open(); err != nil {
		return nil, err
	}
	if options.PID == 0 {
		return &g.result, g.loop(ctx)
	}
	sampler := procstat.Sample(options.PID, memoryInterval)
	err := g.loop(ctx)
	peak, sampleErr := sampler.Stop()
	g.result.PeakMemory = peak
	if err == nil {
		err = sampleErr
	}
	return &g.result, err
}

func (g *generator) open() error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("load: epoll: %w", err)
	}
	g.epoll = epoll
	for i := range g.options.Connections {
		c, err := connect(g.options.Address, g.options.requestsOf(i), g.options.InFlight)
		if err != nil {
			return err
		}
		g.connections = append(g.connections, c)
		event := unix.EpollEvent{Events: edges, Fd: int32(i)} // Fd is ours to use: the index
		if err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, c.fd, &event); err != nil {
			return fmt.Errorf("load: epoll add: %w", err)
		}
	}
	return nil
}

func (g *generator) close() {
	for _, c := range g.connections {
		_ = unix.Close(c.fd)
	}
	if g.epoll > 0 {
		_ = unix.Close(g.epoll)
	}
}

func (g *generator) loop(ctx context.Context) error {
	g.started = time.Now()
	if err := g.advance(g.started); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, eventsAtOnce)
	answered := g.answered // one method value for the whole run
	lastAnswer := g.started
	for {
		n, err := unix.EpollWait(g.epoll, events, int(pollInterval/time.Millisecond))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("load: epoll wait: %w", err)
		}
		before := g.warmed + g.result.Frames
		for _, event := range events[:max(n, 0)] {
			c := g.connections[event.Fd]
			if event.Events&^uint32(unix.EPOLLOUT) != 0 {
				if err := c.receive(answered); err != nil {
					return err
				}
			}
			if err := c.send(g.over); err != nil {
				return err
			}
		}
		now := time.Now()
		if g.warmed+g.result.Frames != before {
			lastAnswer = now
		} else if now.Sub(lastAnswer) > g.options.StallAfter {
			return fmt.Errorf("load: no answer for %v after %d", g.options.StallAfter, before)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("load: %w", err)
		}
		if err := g.advance(now); err != nil {
			return err
		}
		if g.over && g.idle() {
			return nil
		}
	}
}

// answered counts one response.
func (g *generator) answered(latency time.Duration) {
	switch {
	case g.over:
	case g.warm:
		g.result.Frames++
		g.result.Latency.Record(latency)
	default:
		g.warmed++
	}
}

// advance moves from warm-up to counting to draining when it is time.
func (g *generator) advance(now time.Time) (err error) {
	o := &g.options
	if !g.warm {
		if g.warmed < o.WarmupFrames || now.Sub(g.started) < o.Warmup {
			return nil
		}
		g.warm = true
		if o.OnMeasure != nil {
			o.OnMeasure()
		}
		g.meter, err = startMeter(o.PID)
		return err
	}
	done := o.Frames > 0 && g.result.Frames >= o.Frames || o.Duration > 0 && now.Sub(g.meter.began) >= o.Duration
	if g.over || !done {
		return nil
	}
	g.over = true
	r := &g.result
	request := g.connections[0].request // all requests of a run have the same shape
	r.Records = r.Frames * int64(request.Records)
	r.Bytes = r.Frames * int64(len(request.Frame))
	return g.meter.finish(r)
}

func (g *generator) idle() bool {
	for _, c := range g.connections {
		if c.sent > 0 || c.next != c.answer {
			return false
		}
	}
	return true
}
