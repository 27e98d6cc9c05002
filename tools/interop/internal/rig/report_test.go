package rig

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

func suiteInto(t *testing.T) (*S, *strings.Builder, *Report) {
	var out strings.Builder
	r := NewReport(&out)
	e := &Env{Scratch: t.TempDir()}
	e.Begin(r)
	return NewSuite(e, "s"), &out, r
}

func TestProgramCountsWhatIsReported(t *testing.T) {
	cases := []struct{ name, script, last string }{
		{"all is well", `echo PASS a 0.1; echo noise; echo PASS b 0.2; echo DONE 2`, "2 passed, 0 failed"},
		{"a failure with its reason", `echo FAIL a 0.1; echo '| because'; echo PASS b 0.2; echo DONE 2`, "1 passed, 1 failed"},
		{"it breaks off", `echo PASS a 0.1; exit 0`, "1 passed, 1 failed"},
		{"it reports too few", `echo PASS a 0.1; echo DONE 2`, "1 passed, 1 failed"},
		{"it fails silently", `echo PASS a 0.1; echo DONE 1; exit 3`, "1 passed, 1 failed"},
		{"it is not there", `exec /nowhere/at/all`, "0 passed, 1 failed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, out, r := suiteInto(t)
			s.Program(exec.Command("sh", "-c", c.script), 10*time.Second)
			r.Finish()
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if lines[len(lines)-1] != c.last {
				t.Fatalf("got\n%s\nexpected %q at the end", out, c.last)
			}
		})
	}
}

func TestTestTurnsEveryEndIntoALine(t *testing.T) {
	s, out, r := suiteInto(t)
	if !s.Test("good", time.Second, func(*T) {}) {
		t.Error("a good test has not passed")
	}
	if s.Test("bad", time.Second, func(t *T) { t.Fatalf("no") }) {
		t.Error("a bad test has passed")
	}
	if s.Test("panic", time.Second, func(*T) { panic("oh") }) {
		t.Error("a panic has passed")
	}
	if r.Finish() {
		t.Error("a run with failures has passed")
	}
	for _, want := range []string{"PASS s/good ", "FAIL s/bad ", "     no\n", "FAIL s/panic ", "1 passed, 2 failed\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestARunWithoutTestsHasNotPassed(t *testing.T) {
	_, _, r := suiteInto(t)
	if r.Finish() {
		t.Error("nothing was tested and all is well")
	}
}
