package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/raw"
)

// readyLimit bounds a start; Kafka needs seconds on two cores.
const readyLimit = 90 * time.Second

// Broker is one broker's directory, its server.properties, and the process that runs on it now. Which software that
// is may change from start to start. For one goroutine.
type Broker struct {
	Addr       string // host:port of the plain listener
	Controller string // host:port of the controller's listener
	Dir        string // working directory: server.properties, data/, and one log per start
	Properties string // path of server.properties
	Data       string // log.dirs

	env   *Env
	port  int
	cmd   *exec.Cmd
	exit  chan struct{} // closed once the process has been waited for
	state error         // what Wait answered; valid once exit is closed
	logs  []string
	kinds []string
}

// NewBroker makes a directory with a server.properties for a single combined node on free ports; extra lines come last.
func NewBroker(e *Env, name string, extra ...string) (*Broker, error) {
	return NewBrokerAt(e, name, 0, extra...)
}

// NewBrokerAt is NewBroker with a port for the plain listener, for tests that have it compiled in; 0 is any free one.
func NewBrokerAt(e *Env, name string, port int, extra ...string) (*Broker, error) {
	dir, err := e.TempDir(name)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	if port != 0 {
		ports[0] = port
	}
	lines := []string{
		"process.roles=broker,controller",
		"node.id=1",
		fmt.Sprintf("controller.quorum.bootstrap.servers=localhost:%d", ports[1]),
		fmt.Sprintf("listeners=PLAINTEXT://localhost:%d,CONTROLLER://localhost:%d", ports[0], ports[1]),
		fmt.Sprintf("advertised.listeners=PLAINTEXT://localhost:%d", ports[0]),
		"inter.broker.listener.name=PLAINTEXT",
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
		"log.dirs=" + filepath.Join(dir, "data"),
		"num.partitions=1",
		"offsets.topic.replication.factor=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
	}
	b := &Broker{
		Addr: fmt.Sprintf("localhost:%d", ports[0]), Controller: fmt.Sprintf("localhost:%d", ports[1]), Dir: dir, env: e, port: ports[0],
		Properties: filepath.Join(dir, "server.properties"), Data: filepath.Join(dir, "data"),
	}
	text := strings.Join(append(lines, extra...), "\n") + "\n"
	return b, os.WriteFile(b.Properties, []byte(text), 0o644)
}

// AdoptBroker is a broker on a directory that already holds a server.properties named p with log.dirs=data, as the
// golden archives do: the two ports of p are replaced by free ones, and transactions that were left open long ago stay
// open, as they were when the directory was packed.
func AdoptBroker(e *Env, dir string) (*Broker, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		Addr: fmt.Sprintf("localhost:%d", ports[0]), Controller: fmt.Sprintf("localhost:%d", ports[1]), Dir: dir, env: e, port: ports[0],
		Properties: filepath.Join(dir, "p"), Data: filepath.Join(dir, "data"),
	}
	text, err := os.ReadFile(b.Properties)
	if err != nil {
		return nil, err
	}
	text = bytes.ReplaceAll(text, []byte("21992"), []byte(strconv.Itoa(ports[0])))
	text = bytes.ReplaceAll(text, []byte("21993"), []byte(strconv.Itoa(ports[1])))
	text = append(text, "\ntransaction.abort.timed.out.transaction.cleanup.interval.ms=3600000\n"...)
	return b, os.WriteFile(b.Properties, text, 0o644)
}

// AdoptData is a broker on dir, which holds a copy of the data directory of another one that is not running, with that
// one's server.properties.
func AdoptData(e *Env, from *Broker, dir string) (*Broker, error) {
	text, err := os.ReadFile(from.Properties)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		Addr: from.Addr, Controller: from.Controller, Dir: dir, env: e, port: from.port,
		Properties: filepath.Join(dir, "server.properties"), Data: filepath.Join(dir, filepath.Base(from.Data)),
	}
	return b, os.WriteFile(b.Properties, bytes.ReplaceAll(text, []byte(from.Data), []byte(b.Data)), 0o644)
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // held together, so that no two are the same
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Launch starts kind's process and returns without waiting for it to answer. Kafka's directory is formatted first
// when nobody has used it yet.
func (b *Broker) Launch(kind string) error {
	if b.cmd != nil {
		return errors.New("the broker is running already")
	}
	var cmd *exec.Cmd
	switch kind {
	case Kafka:
		if err := b.format(); err != nil {
			return err
		}
		cmd = b.env.JavaCommand(context.Background(), "log4j2.properties", "kafka.Kafka", filepath.Base(b.Properties))
	case Gregor:
		cmd = exec.Command(b.env.Binary, filepath.Base(b.Properties))
		// Settings in the environment would win over the file that both kinds share.
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KAFKA_") })
	default:
		return fmt.Errorf("no broker is called %q", kind)
	}
	cmd.Dir = b.Dir
	path := filepath.Join(b.Dir, fmt.Sprintf("%02d-%s.log", len(b.logs), kind))
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	b.logs, b.kinds = append(b.logs, path), append(b.kinds, kind)
	b.cmd, b.exit = cmd, make(chan struct{})
	b.env.track(cmd.Process)
	go func(exit chan struct{}) {
		b.state = cmd.Wait()
		b.env.forget(cmd.Process.Pid)
		close(exit)
	}(b.exit)
	return nil
}

func (b *Broker) format() error {
	if _, err := os.Stat(filepath.Join(b.Data, "meta.properties")); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	cmd := b.env.JavaCommand(ctx, "log4j2-tools.properties", "kafka.tools.StorageTool",
		"format", "-t", "Z3JlZ29yLWludGVyb3AtMQ", "-c", filepath.Base(b.Properties), "--standalone")
	cmd.Dir = b.Dir
	_, err := Output(cmd, "")
	return err
}

// Start launches kind and waits until it answers Metadata with itself as a broker and a leader for every partition.
func (b *Broker) Start(kind string) error {
	if err := b.Launch(kind); err != nil {
		return err
	}
	if err := b.Ready(); err != nil {
		_ = b.Kill()
		return err
	}
	return nil
}

// Ready waits, bounded, until the running broker serves every partition it knows.
func (b *Broker) Ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	var last error
	for ctx.Err() == nil {
		c, err := raw.DialUntil(ctx, b.Addr, b.Alive)
		if err != nil {
			return err
		}
		for ctx.Err() == nil {
			if last = serves(c); last == nil {
				_ = c.Close()
				return nil
			}
			if err := b.Alive(); err != nil {
				return err
			}
			if !errors.Is(last, errNotYet) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_ = c.Close()
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("not ready after %s: %w\n%s", readyLimit, last, b.LogTail(20))
}

var errNotYet = errors.New("not yet")

func serves(c *raw.Conn) error {
	m, err := c.Metadata(false)
	if err != nil {
		return err
	}
	if len(m.Brokers) == 0 || m.ControllerID < 0 {
		return fmt.Errorf("%w: no live broker in its metadata", errNotYet)
	}
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 {
				return fmt.Errorf("%w: %s-%d has error %d, leader %d", errNotYet, *t.Topic, p.Partition, p.ErrorCode, p.Leader)
			}
		}
	}
	return nil
}

// Alive is nil while the process runs, and an error with the end of its log once it has ended.
func (b *Broker) Alive() error {
	select {
	case <-b.exit:
		return fmt.Errorf("the broker ended: %w\n%s", nonNil(b.state), b.LogTail(20))
	default:
		return nil
	}
}

func nonNil(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// Running reports whether a process was launched and not yet stopped.
func (b *Broker) Running() bool { return b.cmd != nil }

// Pid is the running process's id.
func (b *Broker) Pid() int { return b.cmd.Process.Pid }

// Stop asks with SIGTERM and waits; a broker that does not end within a minute is killed and that is an error, as is
// an exit status other than 0 (Java's 143 after a signal counts as 0).
func (b *Broker) Stop() error {
	if b.cmd == nil {
		return nil
	}
	if err := b.Alive(); err != nil {
		b.cmd = nil
		return err
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-b.exit:
	case <-time.After(time.Minute):
		_ = b.Kill()
		return fmt.Errorf("a minute after SIGTERM the broker still runs\n%s", b.LogTail(20))
	}
	code := b.cmd.ProcessState.ExitCode()
	b.cmd = nil
	if code != 0 && code != 128+int(syscall.SIGTERM) {
		return fmt.Errorf("exit status %d after SIGTERM\n%s", code, b.LogTail(20))
	}
	return nil
}

// Kill ends the process with SIGKILL and waits for it to be gone.
func (b *Broker) Kill() error {
	if b.cmd == nil {
		return nil
	}
	err := b.cmd.Process.Kill()
	<-b.exit
	b.cmd = nil
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("the broker had ended by itself: %w\n%s", nonNil(b.state), b.LogTail(20))
	}
	return err
}

// Anonymous is the anonymous memory of the running process in bytes: what it itself holds, without mapped files, which
// the kernel takes back when it wants.
func (b *Broker) Anonymous() (int64, error) { return b.status("RssAnon:") }

// Resident is all resident memory of the running process in bytes, mapped files and its own code included.
func (b *Broker) Resident() (int64, error) { return b.status("VmRSS:") }

func (b *Broker) status(key string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.Pid()))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, key); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in the status of process %d", key, b.Pid())
}

// LogTail is the last n lines of the newest log.
func (b *Broker) LogTail(n int) string {
	if len(b.logs) == 0 {
		return ""
	}
	text, _ := os.ReadFile(b.logs[len(b.logs)-1])
	return Tail(string(text), n)
}

// calmErrors are what a Kafka calls errors that say nothing of what it found: that the machine was slow, and that it was
// stopped while it was still reading.
var calmErrors = []string{"EventPerformanceMonitor", "because the partition is not online or is no longer the leader"}

// ErrorLines are the ERROR and FATAL lines of every log written by kind so far.
func (b *Broker) ErrorLines(kind string) ([]string, error) {
	return b.lines(kind, func(line string) bool {
		for _, calm := range calmErrors {
			if strings.Contains(line, calm) {
				return false
			}
		}
		fields := strings.Fields(line)
		return len(fields) > 4 && (slices.Contains(fields[:5], "ERROR") || slices.Contains(fields[:5], "FATAL"))
	})
}

// Matching are the lines that hold text in every log written by kind so far.
func (b *Broker) Matching(kind, text string) ([]string, error) {
	return b.lines(kind, func(line string) bool { return strings.Contains(line, text) })
}

func (b *Broker) lines(kind string, match func(string) bool) ([]string, error) {
	var found []string
	for i, path := range b.logs {
		if b.kinds[i] != kind {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if match(line) {
				found = append(found, filepath.Base(path)+": "+line)
			}
		}
	}
	return found, nil
}

// With starts the broker on trial in a fresh directory, runs f, and stops it; starting and stopping are tests too.
func (s *S) With(f func(b *Broker), extra ...string) {
	var b *Broker
	ok := s.Test("broker-starts", 2*readyLimit, func(t *T) {
		var err error
		b, err = NewBroker(s.Env, s.Suite, extra...)
		t.Must(err, "directory")
		t.Must(b.Start(s.Kind), "start")
	})
	if !ok {
		return
	}
	f(b)
	s.Test("broker-stops", 2*readyLimit, func(t *T) { t.Must(b.Stop(), "stop") })
}
