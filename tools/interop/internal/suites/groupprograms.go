package suites

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"
)

// processMember is a member that is a process of its own: it prints "got partition first last" for what it was given,
// leaves when its standard input ends, and crashes with SIGKILL.
type processMember struct {
	cmd   *exec.Cmd
	input io.Closer
	done  chan struct{}
	log   string
}

// obituary says how it ended, when it has.
func (m *processMember) obituary() string {
	select {
	case <-m.done:
		text, _ := os.ReadFile(m.log)
		return fmt.Sprintf("it has ended (%s):\n%s", m.cmd.ProcessState, rig.Tail(string(text), 8))
	default:
		return ""
	}
}

func (m *processMember) leave(ctx context.Context) error {
	_ = m.input.Close()
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		m.crash()
		return fmt.Errorf("does not leave: %w", ctx.Err())
	}
}

func (m *processMember) crash() { _ = m.cmd.Process.Kill() }

// program starts a member with the group, the topic and args in its arguments.
func program(s *rig.S, args ...string) func(g *groupUnderTest, name string) (member, error) {
	return func(g *groupUnderTest, name string) (member, error) {
		argv := append(args, g.group, g.topic, name)
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(environment(s, g.broker), "BROKER="+g.addr)
		log, err := os.CreateTemp(s.Scratch, "member-"+name+"-")
		if err != nil {
			return nil, err
		}
		cmd.Stderr = log
		m := &processMember{cmd: cmd, done: make(chan struct{}), log: log.Name()}
		if m.input, err = cmd.StdinPipe(); err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		g.onEnd(m.crash)
		go func() {
			defer close(m.done)
			hear(out, log, func(string) *groupUnderTest { return g })
			_ = cmd.Wait()
			_ = log.Close()
		}()
		return m, nil
	}
}

// hear reads what members print until they end; a line may begin with the name of the kind it is about.
func hear(out io.Reader, log io.Writer, of func(kind string) *groupUnderTest) {
	for scan := bufio.NewScanner(out); scan.Scan(); {
		kind, rest, ok := strings.Cut(scan.Text(), ": ")
		if !ok {
			kind, rest = "", scan.Text()
		}
		var (
			partition   int32
			first, last int64
		)
		g := of(kind)
		if n, _ := fmt.Sscanf(rest, "got %d %d %d", &partition, &first, &last); n == 3 && g != nil {
			g.seen.got(partition, first, last)
			continue
		}
		_, _ = fmt.Fprintln(log, scan.Text())
	}
}

// javaHost is one Java process in which the members of all Java kinds live: a JVM for each would cost more than the
// rest of the suite.
type javaHost struct {
	mu      sync.Mutex
	input   io.WriteCloser
	kinds   map[string]*groupUnderTest
	pending map[string]chan string // by kind and member: the answer to the last command
}

// startJavaHost starts it with the first member.
func (h *javaHost) start(s *rig.S, g *groupUnderTest) error {
	cmd := s.JavaCommand(context.Background(), "log4j2.properties", "GroupPlayer")
	cmd.Env = append(environment(s, g.broker), "BROKER="+g.addr)
	log, err := os.Create(filepath.Join(s.Scratch, "group-player.log"))
	if err != nil {
		return err
	}
	cmd.Stderr = log
	if h.input, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	h.kinds, h.pending = map[string]*groupUnderTest{}, map[string]chan string{}
	g.onEnd(func() { _ = cmd.Process.Kill() })
	go func() {
		answers, into := io.Pipe()
		go hear(answers, log, h.of)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			if rest, ok := strings.CutPrefix(scan.Text(), "done "); ok {
				key, failure, _ := strings.Cut(rest, ": ")
				h.mu.Lock()
				answer := h.pending[key]
				h.mu.Unlock()
				if answer != nil {
					answer <- failure
				}
				continue
			}
			_, _ = fmt.Fprintln(into, scan.Text())
		}
		_ = into.Close()
		_ = cmd.Wait()
		_ = log.Close()
	}()
	return nil
}

func (h *javaHost) of(kind string) *groupUnderTest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kinds[kind]
}

// tell sends one command about a member and waits until it is carried out.
func (h *javaHost) tell(ctx context.Context, verb, kind, name string, args ...string) error {
	key, answer := kind+"/"+name, make(chan string, 1)
	h.mu.Lock()
	h.pending[key] = answer
	_, err := fmt.Fprintln(h.input, strings.Join(append([]string{verb, kind, name}, args...), " "))
	h.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case failure := <-answer:
		if failure != "" {
			return errors.New(failure)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s of %s: %w", verb, key, ctx.Err())
	}
}

// join is the start function of a Java kind; settings are client settings as key=value.
func (h *javaHost) join(s *rig.S, settings ...string) func(g *groupUnderTest, name string) (member, error) {
	return func(g *groupUnderTest, name string) (member, error) {
		h.mu.Lock()
		var err error
		if h.input == nil {
			err = h.start(s, g)
		}
		if err == nil {
			h.kinds[g.kind.name] = g
		}
		h.mu.Unlock()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return &javaMember{h, g, name}, h.tell(ctx, "join", g.kind.name, name, append([]string{g.group, g.topic}, settings...)...)
	}
}

type javaMember struct {
	host *javaHost
	g    *groupUnderTest
	name string
}

func (m *javaMember) leave(ctx context.Context) error {
	return m.host.tell(ctx, "leave", m.g.kind.name, m.name)
}

// crash closes the client without leaving the group, static or not, as far as that can be done within a process.
func (m *javaMember) crash() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = m.host.tell(ctx, "crash", m.g.kind.name, m.name)
}
