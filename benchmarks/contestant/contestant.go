//go:build linux

package contestant

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Names of the contestants.
const (
	Floor        = "floor"         // benchmarks/floor with fdatasync
	FloorNoFsync = "floor-nofsync" // the same without
	Gregor       = "gregor"        // durable, as it is by default
	Kafka        = "kafka"         // Apache Kafka as it is by default: acknowledged from the page cache
	KafkaFlush   = "kafka-flush"   // Apache Kafka with log.flush.interval.messages=1: synced before each answer
)

// Names are all contestants.
var Names = []string{Floor, FloorNoFsync, Gregor, Kafka, KafkaFlush}

const (
	stopTimeout  = 60 * time.Second
	readyTimeout = 120 * time.Second
	dialPause    = 500 * time.Microsecond
)

// Environment says where the contestants' programs are. Build fills in those that are made from this repository.
type Environment struct {
	FloorBinary  string
	GregorBinary string
	GregorFormat []string // arguments that format the directories first; empty = not needed
	GregorRun    []string // arguments that run the broker; "{properties}" stands for the server.properties file
	KafkaJars    string   // directory with the jars of kafka_2.13, kafka-tools and log4j-core
	Java         string   // the java command
	JavaOptions  []string // heap and collector; those of kafka-server-start.sh by default
}

// DefaultJavaOptions are what kafka-run-class.sh and kafka-server-start.sh of Kafka 4.3 pass.
var DefaultJavaOptions = []string{
	"-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
}

// Broker tells whether a contestant speaks the whole protocol, so that a topic must be created first.
func Broker(name string) bool { return name != Floor && name != FloorNoFsync }

// Check says whether name is a contestant and its program can be run.
func (e *Environment) Check(name string) error {
	if !slices.Contains(Names, name) {
		return fmt.Errorf("contestant %q, expected one of %s", name, strings.Join(Names, ", "))
	}
	switch name {
	case Kafka, KafkaFlush:
		if jars, err := filepath.Glob(filepath.Join(e.KafkaJars, "kafka_2.13-*.jar")); err != nil || len(jars) == 0 {
			return fmt.Errorf("contestant %s: no kafka_2.13 jar in directory %q", name, e.KafkaJars)
		}
	case Gregor:
		if _, err := os.Stat(e.GregorBinary); err != nil {
			return fmt.Errorf("contestant %s: %w", name, err)
		}
	default:
		if _, err := os.Stat(e.FloorBinary); err != nil {
			return fmt.Errorf("contestant %s: %w", name, err)
		}
	}
	return nil
}

// Build compiles a package of this module with CGO_ENABLED=0, trimmed and stripped as a release is, and returns the
// path of the binary in dir.
func Build(ctx context.Context, dir, pkg string) (string, error) {
	binary := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// Server is one contestant with its directory. Prepare makes it; it may be started and stopped many times.
type Server struct {
	Name    string
	Address string // host:port of the plaintext listener
	Dir     string // everything the server writes is below it

	env        *Environment
	properties string
	cmd        *exec.Cmd
	exited     chan struct{}
	exitErr    error
	log        *os.File
}

// Prepare makes a fresh directory dir, chooses ports, and formats the directory where that is needed.
func (e *Environment) Prepare(ctx context.Context, name, dir string) (*Server, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	s := &Server{Name: name, Address: fmt.Sprintf("127.0.0.1:%d", ports[0]), Dir: dir, env: e, properties: filepath.Join(dir, "server.properties")}
	if !Broker(name) {
		return s, nil
	}
	if err := os.WriteFile(s.properties, []byte(s.serverProperties(ports)), 0o644); err != nil {
		return nil, err
	}
	var format *exec.Cmd
	switch {
	case name == Kafka || name == KafkaFlush:
		format = exec.CommandContext(ctx, e.Java, "-Xmx256m", "-cp", filepath.Join(e.KafkaJars, "*"), "kafka.tools.StorageTool",
			"format", "-t", clusterID, "-c", s.properties, "--standalone")
	case len(e.GregorFormat) > 0:
		format = exec.CommandContext(ctx, e.GregorBinary, s.fill(e.GregorFormat)...)
	default:
		return s, nil
	}
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format directory of %s: %w\n%s", name, err, out)
	}
	return s, nil
}

// clusterID is any 16 bytes in url-safe base64: no two contestants ever meet.
const clusterID = "AAAAAAAAQACAAAAAAAAAAQ"

// serverProperties is one KRaft node of both roles, everything else as it is by default.
func (s *Server) serverProperties(ports []int) string {
	lines := []string{
		"process.roles=broker,controller",
		"node.id=1",
		fmt.Sprintf("controller.quorum.bootstrap.servers=127.0.0.1:%d", ports[1]),
		fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", ports[0], ports[1]),
		fmt.Sprintf("advertised.listeners=PLAINTEXT://127.0.0.1:%d", ports[0]),
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
		"inter.broker.listener.name=PLAINTEXT",
		"log.dirs=" + filepath.Join(s.Dir, "data"),
		"offsets.topic.replication.factor=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
	}
	if s.Name == KafkaFlush {
		lines = append(lines, "log.flush.interval.messages=1")
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s *Server) fill(arguments []string) []string {
	filled := slices.Clone(arguments)
	for i := range filled {
		filled[i] = strings.ReplaceAll(filled[i], "{properties}", s.properties)
	}
	return filled
}

func (s *Server) command() *exec.Cmd {
	switch s.Name {
	case Floor:
		return exec.Command(s.env.FloorBinary, "-listen", s.Address, "-dir", s.Dir)
	case FloorNoFsync:
		return exec.Command(s.env.FloorBinary, "-listen", s.Address, "-dir", s.Dir, "-no-fsync")
	case Gregor:
		return exec.Command(s.env.GregorBinary, s.fill(s.env.GregorRun)...)
	default:
		arguments := slices.Concat(s.env.JavaOptions, []string{"-cp", filepath.Join(s.env.KafkaJars, "*"), "kafka.Kafka", s.properties})
		return exec.Command(s.env.Java, arguments...)
	}
}

// Start executes the server and returns the moment before the exec, without waiting until it listens.
func (s *Server) Start() (time.Time, error) {
	var err error
	s.log, err = os.OpenFile(filepath.Join(s.Dir, "output.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return time.Time{}, err
	}
	s.cmd = s.command()
	s.cmd.Dir = s.Dir
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is ours to pass on
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return began, errors.Join(fmt.Errorf("start %s: %w", s.Name, err), s.log.Close())
	}
	s.exited = make(chan struct{})
	go func() {
		s.exitErr = s.cmd.Wait()
		close(s.exited)
	}()
	return began, nil
}

// AwaitListening waits until the server accepts connections.
func (s *Server) AwaitListening(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Address)
		if err == nil {
			return conn.Close()
		}
		if err := s.Pause(ctx); err != nil {
			return err
		}
	}
}

// Pause waits a moment for a starting server. It fails when the server has exited or ctx ended.
func (s *Server) Pause(ctx context.Context) error {
	select {
	case <-s.exited:
		return fmt.Errorf("%s exited while starting (%w); its output is in %s", s.Name, errors.Join(s.exitErr, errExited), s.log.Name())
	case <-ctx.Done():
		return fmt.Errorf("%s does not answer at %s: %w", s.Name, s.Address, ctx.Err())
	case <-time.After(dialPause):
		return nil
	}
}

var errExited = errors.New("process ended")

// PID is the process of the running server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stop asks the server to end (SIGTERM) and waits; after a minute it kills it and returns an error.
func (s *Server) Stop() error {
	if err := s.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.exited:
		return s.log.Close()
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("%s did not end within %v of SIGTERM", s.Name, stopTimeout), s.Kill())
	}
}

// Kill ends the server at once (SIGKILL), as a crash does.
func (s *Server) Kill() error {
	if err := s.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-s.exited
	return s.log.Close()
}

func (s *Server) signal(signal syscall.Signal) error {
	if err := s.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", s.Name, err)
	}
	return nil
}

// freePorts returns n distinct ports nobody listens on now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("free port: %w", err)
		}
		defer listener.Close() // held until all are chosen, so that they differ
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
