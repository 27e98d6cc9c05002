package suites

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"
)

// scenarioNames are those of tools/scenarios.
var scenarioNames = []string{"saga", "traces", "ledger", "telemetry", "audit"}

// scenarios runs the Go and the JavaScript scenarios on one broker; at the end each language has read the other's ledger.
func scenarios(s *rig.S) {
	s.With(func(b *rig.Broker) {
		program := filepath.Join(s.Cache, "scenarios")
		if !s.Test("build", 5*time.Minute, func(t *rig.T) {
			build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./tools/scenarios")
			build.Dir, build.Env = s.Root, append(os.Environ(), "CGO_ENABLED=0")
			out, err := build.CombinedOutput()
			t.Must(err, "go build: "+string(out))
		}) {
			return
		}
		languages := []struct {
			name    string
			command []string
		}{
			{"go", []string{program, "-brokers", b.Addr}},
			{"js", []string{"node", filepath.Join(s.Root, "tools", "scenarios", "js"), "--brokers", b.Addr}},
		}
		perform := func(t *rig.T, command []string, name string) string {
			cmd := exec.CommandContext(t.Context(), command[0], append(command[1:len(command):len(command)], name)...)
			cmd.Env = environment(s, b)
			out, err := cmd.CombinedOutput()
			t.Must(err, string(out))
			if !bytes.Contains(out, []byte("PASS "+name)) {
				t.Fatalf("no word of success:\n%s", out)
			}
			return string(out)
		}
		for _, l := range languages {
			for _, name := range scenarioNames {
				s.Test(l.name+"/"+name, 2*time.Minute, func(t *rig.T) { perform(t, l.command, name) })
			}
		}
		for _, l := range languages {
			s.Test(l.name+"/reads the other's events", 2*time.Minute, func(t *rig.T) {
				if out := perform(t, l.command, "ledger"); !strings.Contains(out, "written by ledger-go, ledger-js") {
					t.Fatalf("both languages should have written to the ledger:\n%s", out)
				}
			})
		}
	})
}
