package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// answers says whether something listens at one of the addresses.
func answers(addresses []string) bool {
	for _, a := range addresses {
		if c, err := net.DialTimeout("tcp", a, time.Second); err == nil {
			c.Close()
			return true
		}
	}
	return false
}

// temporary is a broker of our own.
type temporary struct {
	address string
	dir     string
	cmd     *exec.Cmd
}

// startBroker builds the broker and runs it in a directory that goes with it.
func startBroker(ctx context.Context) (_ *temporary, err error) {
	dir, err := os.MkdirTemp("", "gregor-scenarios-")
	if err != nil {
		return nil, err
	}
	b := &temporary{dir: dir}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	program := filepath.Join(dir, "gregor")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/gregor-broker/gregor/cmd/gregor").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the broker: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	b.address = fmt.Sprintf("127.0.0.1:%d", port)
	properties := filepath.Join(dir, "server.properties")
	text := fmt.Sprintf("listeners=PLAINTEXT://%s\nadvertised.listeners=PLAINTEXT://%s\nlog.dirs=%s\n", b.address, b.address, filepath.Join(dir, "data"))
	if err := os.WriteFile(properties, []byte(text), 0o600); err != nil {
		return nil, err
	}
	b.cmd = exec.Command(program, properties)
	output, err := os.Create(filepath.Join(dir, "output.log"))
	if err != nil {
		return nil, err
	}
	defer output.Close()
	b.cmd.Stdout, b.cmd.Stderr = output, output
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is ours to pass on
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	for range 500 {
		if answers([]string{b.address}) {
			return b, nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
	said, _ := os.ReadFile(output.Name()) // empty says enough
	return nil, fmt.Errorf("the temporary broker does not answer: %s", said)
}

// stop ends the broker and removes its directory.
func (b *temporary) stop() {
	if b.cmd != nil && b.cmd.Process != nil {
		err := b.cmd.Process.Signal(syscall.SIGTERM)
		if err == nil || errors.Is(err, os.ErrProcessDone) {
			_ = b.cmd.Wait() // how it ended is no concern of the scenarios
		}
	}
	if err := os.RemoveAll(b.dir); err != nil {
		fmt.Fprintln(os.Stderr, "scenarios:", err)
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
