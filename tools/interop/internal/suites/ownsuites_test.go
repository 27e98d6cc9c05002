package suites

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWorseThanWantsWhatPassed(t *testing.T) {
	want := map[string]string{"A": "PASS", "A/x": "PASS", "B": "FAIL", "C": "SKIP", "D": "PASS"}
	got := map[string]string{"A": "FAIL", "A/x": "FAIL", "B": "FAIL", "C": "FAIL", "E": "FAIL"}
	worse := worseThan(want, got)
	if !slices.Equal(worse, []string{"A", "A/x", "D"}) {
		t.Fatalf("got %v: what failed, and what did not even run", worse)
	}
	if top := topLevel(worse); !slices.Equal(top, []string{"A", "D"}) {
		t.Fatalf("got %v", top)
	}
}

func TestRecordKeepsWhatEverFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.txt")
	o := ownSuite{name: "own-x"}
	for _, run := range []map[string]string{
		{"A": "PASS", "B": "FAIL", "C": "PASS", "D": "SKIP"},
		{"A": "PASS", "B": "PASS", "C": "FAIL"},
	} {
		if err := o.record(path, run); err != nil {
			t.Fatal(err)
		}
	}
	list, err := readList(path)
	if want := map[string]string{"A": "PASS", "B": "FAIL", "C": "FAIL", "D": "SKIP"}; err != nil || !maps.Equal(list, want) {
		t.Fatalf("got %v, %v, expected %v", list, err, want)
	}
}

func TestReadListRefusesGarbage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.txt")
	for text, want := range map[string]string{"# nothing\n": "lists no test", "MAYBE A\n": "is no result"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := readList(path)
		expectError(t, err, want)
	}
}
