//go:build linux

package loadgen

import (
	"errors"
	"fmt"
	"time"

	"github.com/gregor-broker/gregor/benchmarks/histogram"
	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

// maxResponse bounds a response; a Produce response for one partition has some 60 bytes.
const maxResponse = 1 << 20

// Options describe one run.
type Options struct {
	Address     string      // host:port of the server
	Requests    []*Prepared // connection i sends a copy of request i modulo their number
	Rotate      bool        // connection i goes through requests i, i + Connections, ... in turn
	Connections int         // at least 1
	InFlight    int         // unanswered requests per connection, at least 1

	WarmupFrames int64         // answered before counting begins; the warm-up is over when both hold
	Warmup       time.Duration // time before counting begins
	Frames       int64         // counted answers after which the run ends; 0 = no limit
	Duration     time.Duration // counted time after which the run ends; 0 = no limit

	PID        int           // process whose CPU time and memory are measured; 0 = none
	StallAfter time.Duration // give up when no answer arrives for this long; 0 = 60 s
	OnMeasure  func()        // called on the sending thread when the warm-up is over; may be nil
}

func (o *Options) check() error {
	switch {
	case len(o.Requests) == 0:
		return errors.New("load: no prepared request")
	case o.Connections < 1 || o.InFlight < 1:
		return fmt.Errorf("load: %d connections with %d in flight, expected at least 1 of each", o.Connections, o.InFlight)
	case o.Frames <= 0 && o.Duration <= 0:
		return errors.New("load: neither a number of frames nor a duration ends the run")
	}
	if o.StallAfter <= 0 {
		o.StallAfter = time.Minute
	}
	return nil
}

// requestsOf lists what connection i sends.
func (o *Options) requestsOf(i int) (turn []*Prepared) {
	if !o.Rotate || i >= len(o.Requests) {
		return []*Prepared{o.Requests[i%len(o.Requests)]}
	}
	for ; i < len(o.Requests); i += o.Connections {
		turn = append(turn, o.Requests[i])
	}
	return turn
}

// Result is what was counted after the warm-up.
type Result struct {
	Frames     int64
	Records    int64
	Bytes      int64 // request bytes of those frames, length prefixes included
	Elapsed    time.Duration
	Latency    histogram.Histogram // from the first byte handed to the kernel to the response read
	ServerCPU  procstat.Times      // of the measured process
	ClientCPU  time.Duration       // of the sending thread
	OtherCPU   time.Duration       // of everything else on the machine, the kernel's own threads included
	Steal      time.Duration       // taken by the hypervisor
	PeakMemory procstat.Memory     // of the measured process, warm-up included
}

// FramesPerSecond is the rate of answered requests.
func (r *Result) FramesPerSecond() float64 { return float64(r.Frames) / r.Elapsed.Seconds() }

// ServerCPUPerFrame is the server's user and system time for one request.
func (r *Result) ServerCPUPerFrame() time.Duration {
	return r.ServerCPU.Total() / time.Duration(max(r.Frames, 1))
}

// ClientCPUPerFrame is the generator's user and system time for one request.
func (r *Result) ClientCPUPerFrame() time.Duration {
	return r.ClientCPU / time.Duration(max(r.Frames, 1))
}

// meter takes the figures that are differences between the begin and the end of the counted part.
type meter struct {
	pid     int
	began   time.Time
	server  procstat.Times
	client  time.Duration
	process time.Duration
	machine procstat.MachineTimes
}

func startMeter(pid int) (m meter, err error) {
	m.pid = pid
	if pid != 0 {
		if m.server, err = procstat.CPU(pid); err != nil {
			return m, err
		}
	}
	if m.machine, err = procstat.Machine(); err != nil {
		return m, err
	}
	m.client, m.process, m.began = procstat.ThreadCPU(), procstat.OwnCPU(), time.Now()
	return m, nil
}

func (m meter) finish(r *Result) error {
	r.Elapsed = time.Since(m.began)
	end, err := startMeter(m.pid)
	if err != nil {
		return err
	}
	r.ServerCPU = end.server.Sub(m.server)
	r.ClientCPU = end.client - m.client
	r.Steal = end.machine.Steal - m.machine.Steal
	r.OtherCPU = max(end.machine.Busy-m.machine.Busy-r.ServerCPU.Total()-(end.process-m.process), 0)
	return nil
}
