package deps

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/gregor-broker/gregor/"

// ban forbids a room, and all it contains unless it ends with "$", to reach
// another, directly or through others.
type ban struct {
	from, to, why string
}

// The rooms, from the floor up. "to" ending with "$" means that package alone.
var bans = []ban{
	{"engine", "server", "the engine knows logs, not brokers: it is a library of its own"},
	{"engine", "wire", "the engine takes batches as bytes and must never learn a protocol version"},
	{"engine", "cmd", "nothing below may know the program it is built into"},
	{"engine/vfs$", "engine/", "every file call goes through vfs; if it knew the rooms above, the fake disk could not replace it"},
	{"engine/clock", "engine/", "time is a leaf so that anything may be given a hand-wound one"},
	{"engine/codec", "engine/", "codecs are bytes to bytes and bounded; files would make them untestable by fuzzing"},
	{"engine/checkpoint", "engine/", "text to values; files are the caller's"},
	{"engine/epoch", "engine/", "the epoch cache is pure, so that Kafka's cases can be tried on values"},
	{"engine/retention", "engine/", "the decision what may be deleted is a pure function; it must not be able to delete"},
	{"engine/commit", "engine/", "group commit is given a sync function; with files in reach it would grow recovery logic"},
	{"engine/journal", "engine$", "imports point down"},
	{"engine/journal", "engine/commit", "when to sync, and what, is not the journal's decision"},
	{"engine/compact", "engine/vfs", "what compaction keeps is decided on bytes and numbers; it must not be able to delete"},
	{"engine/compact", "engine/producer", "a log looks its producers up for the filter, under its own lock"},
	{"engine/batch", "engine/vfs", "batches are views over bytes wherever they lie"},
	{"engine/batch", "engine/segment", "imports point down"},
	{"engine/index", "engine/segment", "an index is rebuilt by its segment, never the other way"},
	{"engine/index", "engine/batch", "an index holds numbers; what a batch is concerns the segment"},
	{"engine/producer", "engine/vfs", "producer state encodes itself; who writes the file is the log's business"},
	{"engine/producer", "engine/segment", "recovery feeds producers, producers never read a segment"},
	{"engine/segment", "engine/commit", "when to sync is not a segment's decision"},
	{"engine/segment", "engine$", "imports point down"},
	{"wire", "engine", "the wire knows bytes; a format change on disk must not touch it"},
	{"wire", "server", "imports point down"},
	{"wire/prim", "wire$", "the primitive types are the floor of the wire"},
	{"server/config", "server/", "settings are read by everyone and read no one"},
	{"server/session", "server/", "fetch sessions are pure, so that KIP-227's cases can be tried on values"},
	{"server/session", "engine", "a session remembers what a client was told, not where it lies"},
	{"server/quota", "wire$", "a meter takes amounts and gives times; it must not know what they are of"},
	{"server/quota", "engine", "a meter is given the time, so that Kafka's cases can be tried on values"},
	{"server/quota", "server/conn", "who pauses a connection is not who says for how long"},
	{"server/quota", "server/api", "imports point down"},
	{"server/meta", "server/", "the image is read by everyone and reads no one"},
	{"server/meta", "engine", "records are values; the log they stand in is the quorum's"},
	{"server/meta", "wire$", "metadata is not a protocol: only the primitive types are shared"},
	{"server/partition", "server/api", "a partition never learns which request moved it"},
	{"server/partition", "server/conn", "a partition never sees a connection"},
	{"server/partition", "wire$", "a partition has errors of its own; Kafka's codes are the API layer's"},
	{"server/quorum", "server/partition", "the metadata log is below the partitions it describes"},
	{"server/quorum", "server/api", "imports point down"},
	{"server/quorum", "server/conn", "a quorum of one needs no network, and the core of a larger one must not either"},
	{"server/controller", "server/partition", "decisions are made on an image alone, so that they can be tested without a disk"},
	{"server/controller", "server/conn", "decisions are made on an image alone"},
	{"server/coord", "engine$", "a shard writes to the log it is given; with the store in reach it would open one"},
	{"server/coord", "engine/vfs", "a coordinator has no files"},
	{"server/coord", "server/", "the runtime knows no machine, no request and no partition, or it could run only those"},
	{"server/coord", "wire", "a shard answers with values; which request asked is the API layer's"},
	{"server/group", "engine$", "groups are a state machine, to be tried by seed without a disk"},
	{"server/group", "engine/vfs", "groups are a state machine, to be tried by seed without a disk"},
	{"server/group", "server/partition", "what a group writes goes through its coordinator's log and nowhere else"},
	{"server/group", "server/controller", "a group reads the image; it never changes a topic"},
	{"server/group", "server/txn", "a transaction reaches a group's offsets by records and markers alone"},
	{"server/group", "server/api", "imports point down"},
	{"server/group", "server/conn", "a group knows members, not connections"},
	{"server/group", "wire$", "a group takes and returns messages as values; replies and frames are the API layer's"},
	{"server/group/assign", "server/", "assignors are pure functions"},
	{"server/group/assign", "engine", "assignors are pure functions"},
	{"server/group/record", "server/", "records are values, so that logcheck can read them too"},
	{"server/group/record", "engine", "records are values; the log they stand in is the coordinator's"},
	{"server/txn", "engine$", "transactions are a state machine, to be tried by seed without a disk"},
	{"server/txn", "engine/vfs", "transactions are a state machine, to be tried by seed without a disk"},
	{"server/txn", "server/partition", "markers are written by whoever the machine is given, not by itself"},
	{"server/txn", "server/controller", "producer ids are handed in: a machine must not wait for the metadata log"},
	{"server/txn", "server/group", "a transaction knows partitions, not what is in them"},
	{"server/txn", "server/api", "imports point down"},
	{"server/txn", "server/conn", "a transaction knows producers, not connections"},
	{"server/txn", "wire$", "requests are the API layer's"},
	{"server/txn/record", "server/", "records are values, so that logcheck can read them too"},
	{"server/txn/record", "engine", "records are values; the log they stand in is the coordinator's"},
	{"server/conn", "engine", "connections move bytes; a file in reach would tempt them to read it"},
	{"server/conn", "server/api", "handlers are given to connections as a table"},
	{"server/conn", "server/partition", "connections know no topics"},
	{"server/api", "server/conn", "a handler answers with a Reply and never touches a socket"},
	{"tools/logcheck", "server$", "a repair tool must work on what no broker can open"},
	{"tools/logcheck", "wire$", "a repair tool speaks files, not protocol"},
}

// imports returns, for every package of the module, all packages of the module
// that it reaches.
func imports(t *testing.T) map[string]map[string]bool {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	direct := map[string][]string{}
	d := json.NewDecoder(bytes.NewReader(out))
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue
		}
		direct[from] = []string{}
		for _, i := range p.Imports {
			if to, ours := strings.CutPrefix(i, module); ours {
				direct[from] = append(direct[from], to)
			}
		}
	}
	reach := map[string]map[string]bool{}
	var visit func(from string) map[string]bool
	visit = func(from string) map[string]bool {
		if r, ok := reach[from]; ok {
			return r
		}
		r := map[string]bool{}
		reach[from] = r
		for _, to := range direct[from] {
			r[to] = true
			for far := range visit(to) {
				r[far] = true
			}
		}
		return r
	}
	for from := range direct {
		visit(from)
	}
	return reach
}

func covers(pattern, name string) bool {
	if exact, ok := strings.CutSuffix(pattern, "$"); ok {
		return name == exact
	}
	if children, ok := strings.CutSuffix(pattern, "/"); ok {
		return strings.HasPrefix(name, children+"/")
	}
	return name == pattern || strings.HasPrefix(name, pattern+"/")
}

func TestImportsPointDown(t *testing.T) {
	reach := imports(t)
	used := map[int]bool{}
	for from, tos := range reach {
		for i, b := range bans {
			if !covers(b.from, from) {
				continue
			}
			used[i] = true
			for to := range tos {
				// A room may always use its own parts and what those are made of.
				if covers(b.to, to) && !covers(b.from, to) && to != from {
					t.Errorf("%s reaches %s: forbidden, because %s", from, to, b.why)
				}
			}
		}
	}
	for i, b := range bans {
		if !used[i] && b.from != "tools/logcheck" {
			t.Errorf("the ban on %s names no package: the map has moved on", b.from)
		}
	}
}

// TestNoCycleThroughTheTop keeps the program out of everyone's reach.
func TestNoCycleThroughTheTop(t *testing.T) {
	var wrong []string
	for from, tos := range imports(t) {
		for to := range tos {
			if covers("cmd", to) || to == "server" && !covers("cmd", from) && !covers("benchmarks", from) && !covers("tools", from) {
				wrong = append(wrong, from+" -> "+to)
			}
		}
	}
	sort.Strings(wrong)
	for _, w := range wrong {
		t.Errorf("%s: only the command and the benchmarks build a broker", w)
	}
}
