package suites

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const dumpTool = "org.apache.kafka.tools.DumpLogSegments"

// dump lets Kafka's own DumpLogSegments read a directory after a clean stop, and after kill -9.
func dump(s *rig.S) {
	for _, killed := range []bool{false, true} {
		name := "stopped"
		if killed {
			name = "killed"
		}
		var b *rig.Broker
		ok := s.Test(name+"/fill", 5*time.Minute, func(t *rig.T) {
			var err error
			b, err = rig.NewBroker(t.Env, "dump-"+name)
			t.Must(err, "directory")
			t.Must(b.Start(t.Kind), "start")
			t.Cleanup(func() { _ = b.Kill() })
			fillForDump(t, b)
			if killed {
				t.Must(b.Kill(), "kill")
			} else {
				t.Must(b.Stop(), "stop")
			}
		})
		if ok {
			dumpDirectory(s, b.Data, name, killed)
		}
	}
}

// fillForDump leaves every codec, several segments, a trimmed log, a compacted topic and a deleted one.
func fillForDump(t *rig.T, b *rig.Broker) {
	for _, codec := range codecs {
		topic := "dump-" + codec
		createTopic(t, b, topic, 1, map[string]string{"segment.bytes": "1048576", "index.interval.bytes": "512"})
		cl := newClient(t, b, kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.ProducerBatchMaxBytes(16384))
		t.Must(plan{topic: topic, seed: 9, begin: time.Now().Add(-time.Minute)}.produce(t.Context(), cl, 0, 20_000), "produce")
	}
	createTopic(t, b, "dump-keyed", 2, map[string]string{"cleanup.policy": "compact"})
	cl := newClient(t, b)
	for i := range 500 {
		t.Must(cl.ProduceSync(t.Context(), record("dump-keyed", int32(i%2), i%7)).FirstErr(), "produce")
	}
	createTopic(t, b, "dump-gone", 3, nil)
	adm := newAdmin(t, b)
	_, err := adm.DeleteTopic(t.Context(), "dump-gone")
	t.Must(err, "delete")
	var o kadm.Offsets
	o.AddOffset("dump-none", 0, 12_345, -1)
	deleted, err := adm.DeleteRecords(t.Context(), o)
	t.Must(err, "delete records")
	t.Must(deleted.Error(), "delete records")
}

// complaints are what DumpLogSegments says about a file that is not in order. It calls the first record of a segment
// that does not begin at 0 not consecutive ("-1 is followed by"), whoever wrote it; only other pairs count.
var complaints = regexp.MustCompile(`(?i)isvalid: false|mismatch|corrupt|exception|invalid|^\s*\d+ is followed by|out of order|could not|error|unexpected|trailing`)

func dumpDirectory(s *rig.S, data, name string, killed bool) {
	files := map[string][]string{}
	s.Test(name+"/find-files", time.Minute, func(t *rig.T) {
		err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(path, "-delete/") {
				return err
			}
			kind := strings.TrimPrefix(filepath.Ext(path), ".")
			if strings.Contains(path, "__cluster_metadata-0") {
				kind = "metadata-" + kind
			}
			files[kind] = append(files[kind], path)
			return nil
		})
		t.Must(err, "walk")
		for _, kind := range []string{"log", "index", "timeindex", "metadata-log", "metadata-checkpoint"} {
			if len(files[kind]) == 0 {
				t.Fatalf("no %s file in %s", kind, data)
			}
		}
	})
	check := func(test, kind string, want string, args ...string) {
		s.Test(name+"/"+test, 4*time.Minute, func(t *rig.T) {
			if len(files[kind]) == 0 {
				t.Fatalf("no file to look at")
			}
			out, err := t.Tool(t.Context(), dumpTool, append([]string{"--files", strings.Join(files[kind], ",")}, args...)...)
			t.Must(err, "DumpLogSegments")
			if strings.Count(out, "Dumping ") != len(files[kind]) {
				t.Fatalf("%d files dumped of %d\n%s", strings.Count(out, "Dumping "), len(files[kind]), rig.Tail(out, 5))
			}
			file := ""
			for line := range strings.SplitSeq(out, "\n") {
				if rest, ok := strings.CutPrefix(line, "Dumping "); ok {
					file = rest
				}
				// Payloads are text of ours and hold none of these words; metadata payloads may ("errors").
				head, _, _ := strings.Cut(line, " payload: ")
				if found := complaints.FindString(head); found != "" {
					t.Fatalf("%s says %q: %.300s", file, found, line)
				}
			}
			if want != "" && !strings.Contains(out, want) {
				t.Fatalf("no %q in what was printed:\n%s", want, rig.Tail(out, 5))
			}
		})
	}
	check("log-records", "log", "isvalid: true", "--deep-iteration", "--print-data-log")
	check("metadata-log", "metadata-log", "REGISTER_BROKER_RECORD", "--cluster-metadata-decoder")
	check("metadata-checkpoints", "metadata-checkpoint", "", "--cluster-metadata-decoder")
	if len(files["snapshot"]) > 0 || !killed {
		check("producer-snapshots", "snapshot", "producerId")
	}
	if killed {
		// The indexes of an active segment are larger than what is in them while a broker lives; the next start
		// makes them again, so what a kill leaves there says nothing.
		return
	}
	for _, kind := range []string{"index", "timeindex"} {
		check(kind+"-sanity", kind, "", "--index-sanity-check")
		check(kind+"-verify", kind, "", "--verify-index-only")
	}
	s.Test(name+"/offset-index-entries", time.Minute, func(t *rig.T) {
		out, err := t.Tool(t.Context(), dumpTool, "--files", strings.Join(files["index"], ","))
		t.Must(err, "DumpLogSegments")
		if n := strings.Count(out, "offset: "); n < 100 {
			t.Fatalf("only %d entries in all indexes together", n)
		}
		t.Note("%s", fmt.Sprintf("%d index entries in %d files", strings.Count(out, "offset: "), len(files["index"])))
	})
}
