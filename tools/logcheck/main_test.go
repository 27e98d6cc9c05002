package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/tools/logcheck/fsck"
)

// holdLock names the environment variable that makes the test binary hold the
// lock of a directory until its standard input ends.
const holdLock = "LOGCHECK_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdLock); dir != "" {
		lock, err := vfs.OS.Lock(filepath.Join(dir, ".lock"))
		if err != nil {
			os.Exit(3)
		}
		os.Stdout.WriteString("locked\n")
		io.Copy(io.Discard, os.Stdin)
		lock.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// partition makes a partition directory with one segment of three batches.
func partition(t *testing.T) (dir, log string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "orders-0")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var p []byte
	for i := range 3 {
		p = append(p, batch.NewBuilder(codec.None).BaseOffset(int64(i)).LeaderEpoch(0).Append(1_790_000_000_000, []byte("k"), []byte("v")).Bytes()...)
	}
	log = filepath.Join(dir, "00000000000000000000.log")
	if err := os.WriteFile(log, p, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, log
}

func TestStatus(t *testing.T) {
	dir, log := partition(t)
	call := func(args ...string) (status int, out, errs string) {
		var o, e bytes.Buffer
		status = run(context.Background(), args, &o, &e)
		return status, o.String(), e.String()
	}
	if status, out, errs := call("verify", "--deep", dir); status != fsck.StatusClean || !strings.Contains(out, ": clean") || errs != "" {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	if status, out, _ := call("dump", "--format", "raw", dir); status != 0 || out != "v\nv\nv\n" {
		t.Errorf("status %d: %q", status, out)
	}
	if status, out, errs := call("explain", dir, "--offset", "1"); status != 0 || !strings.Contains(out, "offsets 1 to 1") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(log, data, 0o644); err != nil {
		t.Fatal(err)
	}
	status, out, _ := call("verify", "--json", log)
	var loose map[string]any
	if err := json.Unmarshal([]byte(out), &loose); err != nil || status != fsck.StatusFindings || loose["status"] != 1.0 {
		t.Errorf("status %d, %v: %s", status, err, out)
	}
	if status, out, errs := call("dump", log); status != fsck.StatusFindings || !strings.Contains(out, "!!") || errs == "" {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	if status, out, errs := call("repair", "--dry-run", dir); status != fsck.StatusFindings || !strings.Contains(out, "can be repaired; nothing was changed") || errs != "" {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	if now, _ := os.ReadFile(log); !bytes.Equal(now, data) {
		t.Error("a dry run changed the file")
	}
	status, out, _ = call("repair", "--json", "--evidence", filepath.Join(t.TempDir(), "kept"), dir)
	var done fsck.RepairReport
	if err := json.Unmarshal([]byte(out), &done); err != nil || status != fsck.StatusClean || len(done.Actions) != 1 || done.Actions[0].Kind != fsck.ActionPatch {
		t.Errorf("status %d, %v: %s", status, err, out)
	}
	if status, out, _ := call("repair", dir); status != fsck.StatusClean || !strings.Contains(out, "nothing to repair") {
		t.Errorf("status %d: %s", status, out)
	}
	for _, args := range [][]string{{"verify", filepath.Join(dir, "nothing")}, {"verify"}, {"dump"}, {"explain", log}, {"explain", log + "@99999"}, {"mend", dir}, {"repair"}, {"repair", "--damage=all", dir}, {}} {
		if status, out, errs := call(args...); status != fsck.StatusUnchecked || errs == "" {
			t.Errorf("%v: status %d: %s%s", args, status, out, errs)
		}
	}
	for _, args := range [][]string{{"help"}, {"verify", "--help"}, {"repair", "--help"}, {"dump", "--help"}, {"explain", "--help"}} {
		if status, out, _ := call(args...); status != 0 || !strings.Contains(out, "Usage: logcheck") {
			t.Errorf("%v: status %d: %s", args, status, out)
		}
	}
}

// TestRunningBroker has another process hold the lock: it is named, the check
// goes on, and the lock is held all the while.
func TestRunningBroker(t *testing.T) {
	dir, _ := partition(t)
	root := filepath.Dir(dir)
	if pid, err := fsck.Running(root); err != nil || pid != 0 {
		t.Fatalf("nobody holds the lock: %d, %v", pid, err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), holdLock+"="+root)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("%q, %v", line, err)
	}
	for range 2 {
		var o, e bytes.Buffer
		status := run(context.Background(), []string{"verify", root}, &o, &e)
		if status == fsck.StatusUnchecked || !strings.Contains(o.String(), "is running on "+root) {
			t.Errorf("status %d: %s%s", status, o.String(), e.String())
		}
		if pid, err := fsck.Running(root); err != nil || pid != c.Process.Pid {
			t.Errorf("process %d, %v, expected %d", pid, err, c.Process.Pid)
		}
	}
	var o, e bytes.Buffer
	if status := run(context.Background(), []string{"repair", dir}, &o, &e); status != fsck.StatusUnchecked || !strings.Contains(e.String(), "stop it first") {
		t.Errorf("repair of a directory in use: status %d: %s%s", status, o.String(), e.String())
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if pid, err := fsck.Running(root); err != nil || pid != 0 {
		t.Errorf("the lock was given back: %d, %v", pid, err)
	}
}
