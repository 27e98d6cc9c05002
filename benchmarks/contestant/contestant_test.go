//go:build linux

package contestant

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/benchmarks/loadgen"
	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

// TestLifeOfAServer builds the floor, starts it, uses it, stops it, starts it again in the same directory, kills it.
func TestLifeOfAServer(t *testing.T) {
	binary, err := Build(t.Context(), t.TempDir(), "github.com/gregor-broker/gregor/benchmarks/floor")
	if err != nil {
		t.Fatal(err)
	}
	env := &Environment{FloorBinary: binary}
	for _, name := range []string{Floor, FloorNoFsync} {
		s, err := env.Prepare(t.Context(), name, filepath.Join(t.TempDir(), "server"))
		if err != nil {
			t.Fatal(err)
		}
		for _, end := range []func() error{s.Stop, s.Kill} {
			if _, err := s.Start(); err != nil {
				t.Fatal(err)
			}
			if err := s.AwaitListening(t.Context()); err != nil {
				t.Fatal(err)
			}
			if m, err := procstat.ReadMemory(s.PID()); err != nil || m.RSS == 0 {
				t.Fatalf("memory of the running server: %+v, %v", m, err)
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if c, err := loadgen.Dial(t.Context(), s.Address); err == nil {
				t.Fatalf("the ended server accepts connections: %v", c.Close())
			}
		}
	}
}

// TestServerThatDoesNotStart wants to hear that the process ended, not to wait.
func TestServerThatDoesNotStart(t *testing.T) {
	env := &Environment{FloorBinary: "/bin/false"}
	s, err := env.Prepare(t.Context(), Floor, filepath.Join(t.TempDir(), "server"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitListening(t.Context()); err == nil || !strings.Contains(err.Error(), "exited while starting") {
		t.Fatalf("waiting for a dead server: %v", err)
	}
	if err := s.Kill(); err != nil {
		t.Fatalf("killing a dead server: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, t.TempDir(), "github.com/gregor-broker/gregor/benchmarks/floor"); err == nil {
		t.Fatal("a cancelled build succeeded")
	}
}

// TestProperties checks what the brokers are told, and that the arguments name that file.
func TestProperties(t *testing.T) {
	env := &Environment{GregorBinary: "/bin/true", GregorFormat: []string{"format", "{properties}"}, GregorRun: []string{"--config={properties}"}}
	s, err := env.Prepare(t.Context(), Gregor, filepath.Join(t.TempDir(), "server"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(s.Dir, "server.properties"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"listeners=PLAINTEXT://" + s.Address, "log.dirs=" + s.Dir, "process.roles=broker,controller"} {
		if !strings.Contains(string(text), want) {
			t.Fatalf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "flush") {
		t.Fatalf("gregor's durability was configured away from its default:\n%s", text)
	}
	if arguments := s.command().Args; !slices.Contains(arguments, "--config="+filepath.Join(s.Dir, "server.properties")) {
		t.Fatalf("arguments %q do not name the properties", arguments)
	}
	s.Name = KafkaFlush
	if !strings.Contains(s.serverProperties([]int{1, 2}), "log.flush.interval.messages=1\n") {
		t.Fatal("kafka-flush does not flush")
	}
}
