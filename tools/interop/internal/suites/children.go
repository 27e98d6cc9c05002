package suites

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"
)

// child is a process that runs beside the test: its output goes to a file, and it is killed when the test ends.
type child struct {
	name  string
	cmd   *exec.Cmd
	input io.Closer
	log   string
	exit  chan struct{}
	state error
}

func startChild(t *rig.T, name string, cmd *exec.Cmd) *child {
	log, err := os.CreateTemp(t.Scratch, name+"-")
	t.Must(err, name)
	defer func() { _ = log.Close() }()
	c := &child{name: name, cmd: cmd, log: log.Name(), exit: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	c.input, err = cmd.StdinPipe()
	t.Must(err, name)
	t.Must(cmd.Start(), name)
	t.Cleanup(c.kill)
	go func() {
		c.state = cmd.Wait()
		close(c.exit)
	}()
	return c
}

// kill ends it with SIGKILL and waits.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.exit
}

// alive is an error with the end of its output once it has ended.
func (c *child) alive() error {
	select {
	case <-c.exit:
		return fmt.Errorf("%s has ended: %w\n%s", c.name, errors.Join(errors.New("by itself"), c.state), c.tail(20))
	default:
		return nil
	}
}

func (c *child) tail(n int) string {
	text, _ := os.ReadFile(c.log)
	return rig.Tail(string(text), n)
}

func (c *child) printed(text string) bool {
	all, _ := os.ReadFile(c.log)
	return strings.Contains(string(all), text)
}

// end closes its standard input, sends SIGTERM when term is set, and waits at most limit.
func (c *child) end(limit time.Duration, term bool) error {
	if err := c.alive(); err != nil {
		return err
	}
	_ = c.input.Close()
	if term {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-c.exit:
	case <-time.After(limit):
		c.kill()
		return fmt.Errorf("%s does not end within %s\n%s", c.name, limit, c.tail(20))
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 && code != 128+int(syscall.SIGTERM) {
		return fmt.Errorf("%s: exit status %d\n%s", c.name, code, c.tail(20))
	}
	return nil
}
