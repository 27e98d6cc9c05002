package suites

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kgo"
)

// repairRecords is how many records each damaged partition has: two segments.
const repairRecords = 12_000

// wreck is one kind of damage; f does it to a partition directory.
type wreck struct {
	name string
	f    func(p wreckable) error
}

// wreckable is a partition directory.
type wreckable string

// files are those with a suffix, in order of their offsets.
func (p wreckable) files(suffix string) []string {
	list, _ := filepath.Glob(filepath.Join(string(p), "*"+suffix)) // the pattern is well-formed
	slices.Sort(list)
	return list
}

func (p wreckable) first(suffix string) string { return p.files(suffix)[0] }

func (p wreckable) last(suffix string) string {
	list := p.files(suffix)
	return list[len(list)-1]
}

// change rewrites a file.
func change(name string, f func(data []byte) []byte) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, f(data), 0o644)
}

// bit flips one bit.
func bit(name string, at int) error {
	return change(name, func(data []byte) []byte { data[at] ^= 1 << (at % 8); return data })
}

// inBatch flips a bit of the header of a batch in the middle of the first segment.
func inBatch(field int) func(p wreckable) error {
	return func(p wreckable) error {
		return change(p.first(".log"), func(data []byte) []byte {
			at := 0
			for at < len(data)/2 {
				at += 12 + int(binary.BigEndian.Uint32(data[at+8:]))
			}
			data[at+field] ^= 4
			return data
		})
	}
}

// inLog changes the bytes of the first segment from its middle on.
func inLog(f func(data []byte, middle int) []byte) func(p wreckable) error {
	return func(p wreckable) error {
		return change(p.first(".log"), func(data []byte) []byte { return f(data, len(data)/2/512*512) })
	}
}

// noise is n bytes that mean nothing.
func noise(n int) []byte {
	out := make([]byte, 0, n+8)
	for x := uint64(7); len(out) < n; x = mix(x) {
		out = binary.BigEndian.AppendUint64(out, mix(x))
	}
	return out[:n]
}

// wrecks are done to a partition each.
var wrecks = []wreck{
	{"bit-in-records", inBatch(200)},
	{"bit-in-base-offset", inBatch(6)},
	{"bit-in-length", inBatch(10)},
	{"bit-in-leader-epoch", inBatch(15)},
	{"bit-in-magic", inBatch(16)},
	{"bit-in-crc", inBatch(18)},
	{"bit-in-attributes", inBatch(22)},
	{"bit-in-last-offset-delta", inBatch(26)},
	{"bit-in-timestamp", inBatch(40)},
	{"bit-in-record-count", inBatch(60)},
	{"sector-of-zeros", inLog(func(data []byte, m int) []byte { clear(data[m : m+512]); return data })},
	{"sector-twice", inLog(func(data []byte, m int) []byte { return slices.Concat(data[:m], data[m-512:m], data[m:]) })},
	{"sectors-swapped", inLog(func(data []byte, m int) []byte {
		return slices.Concat(data[:m], data[m+512:m+1024], data[m:m+512], data[m+1024:])
	})},
	{"page-of-garbage", inLog(func(data []byte, m int) []byte { copy(data[m:], noise(4096)); return data })},
	{"byte-too-many", inLog(func(data []byte, m int) []byte { return slices.Insert(data, m, 9) })},
	{"byte-too-few", inLog(func(data []byte, m int) []byte { return slices.Delete(data, m, m+1) })},
	{"half-a-segment", inLog(func(data []byte, m int) []byte { return data[:m] })},
	{"batch-twice", func(p wreckable) error {
		return change(p.last(".log"), func(data []byte) []byte {
			n := 12 + int(binary.BigEndian.Uint32(data[8:]))
			return slices.Concat(data[:n], data)
		})
	}},
	{"torn-tail", func(p wreckable) error {
		return change(p.last(".log"), func(data []byte) []byte { return data[:len(data)-100] })
	}},
	{"zeros-behind", func(p wreckable) error {
		return change(p.last(".log"), func(data []byte) []byte { return append(data, make([]byte, 3000)...) })
	}},
	{"garbage-behind", func(p wreckable) error {
		return change(p.last(".log"), func(data []byte) []byte { return append(data, noise(777)...) })
	}},
	{"segment-gone", func(p wreckable) error { return os.Remove(p.first(".log")) }},
	{"index-gone", func(p wreckable) error { return os.Remove(p.first(".index")) }},
	{"index-cut", func(p wreckable) error {
		return change(p.first(".index"), func(data []byte) []byte { return data[:len(data)/2+3] })
	}},
	{"index-zeros", func(p wreckable) error {
		return change(p.first(".index"), func(data []byte) []byte { clear(data[len(data)/2 : len(data)/2+128]); return data })
	}},
	{"index-bit", func(p wreckable) error { return bit(p.first(".index"), 203) }},
	{"time-index-gone", func(p wreckable) error { return os.Remove(p.first(".timeindex")) }},
	{"time-index-bit", func(p wreckable) error { return bit(p.first(".timeindex"), 302) }},
	{"snapshot-bit", func(p wreckable) error { return bit(p.last(".snapshot"), 3) }},
	{"epochs-gone", func(p wreckable) error { return os.Remove(p.last("leader-epoch-checkpoint")) }},
	{"epochs-bit", func(p wreckable) error { return bit(p.last("leader-epoch-checkpoint"), 4) }},
	{"epochs-garbage", func(p wreckable) error { return os.WriteFile(p.last("leader-epoch-checkpoint"), noise(9), 0o644) }},
	{"topic-id-gone", func(p wreckable) error { return os.Remove(p.last("partition.metadata")) }},
	{"topic-id-bit", func(p wreckable) error { return bit(p.last("partition.metadata"), 24) }},
	{"nothing", func(wreckable) error { return nil }},
}

// wreckDirectory damages the files of the log directory itself and the metadata log.
func wreckDirectory(data string) error {
	metadata := wreckable(filepath.Join(data, "__cluster_metadata-0"))
	for _, f := range []func() error{
		func() error {
			return change(filepath.Join(data, "meta.properties"), func(p []byte) []byte {
				p[bytes.Index(p, []byte("node.id="))+len("node.id=")] ^= 2
				return p
			})
		},
		func() error { return bit(filepath.Join(data, ".kafka_cleanshutdown"), 5) },
		func() error {
			return os.WriteFile(filepath.Join(data, "recovery-point-offset-checkpoint"), noise(40), 0o644)
		},
		func() error { return bit(filepath.Join(data, "replication-offset-checkpoint"), 0) },
		func() error { return bit(filepath.Join(string(metadata), "quorum-state"), 9) },
		func() error {
			return change(metadata.last(".log"), func(p []byte) []byte { p[len(p)/2] ^= 8; return p })
		},
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// repairReport is what logcheck repair --json prints.
type repairReport struct {
	Status   int
	Evidence string
	Actions  []struct{ Kind, File, What string }
	Lost     []struct {
		Partition          string
		Offset, LastOffset int64
	}
	Left []struct{ Severity, Kind, File, Expected, Found string }
}

// lost says whether the report names the offset as gone.
func (r *repairReport) lost(partition string, offset int64) bool {
	for _, l := range r.Lost {
		if l.Partition == partition && offset >= l.Offset && (offset <= l.LastOffset || l.LastOffset < 0) {
			return true
		}
	}
	return false
}

// repair damages a directory in every way that it knows, lets logcheck repair it, and has Gregor and Apache Kafka serve what
// comes out: every record that the report does not give up is there, at its offset.
func repair(s *rig.S) {
	var source *rig.Broker
	var logcheck string
	plans := make([]plan, len(wrecks))
	if !s.Test("fill", 8*time.Minute, func(t *rig.T) {
		logcheck = filepath.Join(t.Scratch, "logcheck")
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", logcheck, "./tools/logcheck")
		cmd.Dir = t.Root
		_, err := rig.Output(cmd, "")
		t.Must(err, "build")
		source, err = rig.NewBroker(t.Env, "repair", "auto.create.topics.enable=false")
		t.Must(err, "directory")
		t.Must(source.Start(t.Kind), "start")
		t.Cleanup(func() { _ = source.Kill() })
		for i, w := range wrecks {
			plans[i] = plan{topic: "repair-" + w.name, seed: uint64(i), begin: time.Now().Add(-time.Hour).Truncate(time.Millisecond)}
			createTopic(t, source, plans[i].topic, 1, map[string]string{"segment.bytes": "1048576", "index.interval.bytes": "512", "retention.ms": "-1"})
			codec := kgo.NoCompression()
			if i%4 == 3 {
				codec = franzCodecs[codecs[i/4%len(codecs)]]
			}
			cl := newClient(t, source, kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(16384))
			t.Must(plans[i].produce(t.Context(), cl, 0, repairRecords), "produce")
			cl.Close()
		}
		t.Must(source.Stop(), "stop")
		status, report := check(t, logcheck, source.Data)
		if status != 0 {
			t.Fatalf("before any damage: %s", report)
		}
	}) {
		return
	}
	for _, damage := range []string{"cut", "truncate", "quarantine"} {
		for _, owner := range []string{rig.Gregor, rig.Kafka} {
			if owner == rig.Gregor && s.Kind == rig.Kafka {
				continue
			}
			s.Test(damage+"/"+owner, 6*time.Minute, func(t *rig.T) { repairOnce(t, source, logcheck, plans, damage, owner) })
		}
	}
}

// check runs a deep verification.
func check(t *rig.T, logcheck, data string) (status int, report string) {
	out, err := exec.CommandContext(t.Context(), logcheck, "verify", "--deep", data).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !asExit(err, &exit) {
		t.Must(err, "verify")
	}
	if exit != nil {
		status = exit.ExitCode()
	}
	return status, rig.Tail(string(out), 40)
}

func asExit(err error, exit **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*exit = e
	return ok
}

// repairOnce damages a copy, repairs it, and has one broker serve it.
func repairOnce(t *rig.T, source *rig.Broker, logcheck string, plans []plan, damage, owner string) {
	dir, err := t.TempDir("repair-" + damage + "-" + owner)
	t.Must(err, "directory")
	_, err = rig.Output(exec.CommandContext(t.Context(), "cp", "-a", "--sparse=always", source.Data, dir), "")
	t.Must(err, "copy")
	data := filepath.Join(dir, filepath.Base(source.Data))
	for i, w := range wrecks {
		t.Must(w.f(wreckable(filepath.Join(data, plans[i].topic+"-0"))), w.name)
	}
	t.Must(wreckDirectory(data), "damage the directory")
	if status, report := check(t, logcheck, data); status != 1 {
		t.Fatalf("verify of the damaged directory: status %d\n%s", status, report)
	}

	out, err := exec.CommandContext(t.Context(), logcheck, "repair", "--damage", damage, "--json", data).Output()
	var exit *exec.ExitError
	if err != nil && !asExit(err, &exit) {
		t.Must(err, "repair")
	}
	var report repairReport
	t.Must(json.Unmarshal(out, &report), "report of the repair")
	if report.Status != 0 {
		t.Fatalf("repair: status %d, left: %+v", report.Status, report.Left)
	}
	if status, text := check(t, logcheck, data); status != 0 && damage != "quarantine" { // whose partitions a broker makes anew
		t.Fatalf("verify of the repaired directory: status %d\n%s", status, text)
	}
	t.Note("%s: %d actions, %d ranges lost", damage, len(report.Actions), len(report.Lost))

	b, err := rig.AdoptData(t.Env, source, dir)
	t.Must(err, "adopt")
	t.Must(b.Start(owner), "start")
	t.Cleanup(func() { _ = b.Kill() })
	for i := range plans {
		n, err := plans[i].partly(t.Context(), b.Addr, &report)
		t.Must(err, wrecks[i].name)
		if gone := repairRecords - n; gone > 0 {
			t.Note("%s/%s: %d records lost, as reported", damage, wrecks[i].name, gone)
		}
	}
	t.Must(b.Stop(), "stop")
	if status, text := check(t, logcheck, data); status != 0 {
		t.Fatalf("verify of what %s left: status %d\n%s", owner, status, text)
	}
}

// partly reads what the report has not given up and compares it; it returns how many records that are.
func (p plan) partly(ctx context.Context, addr string, report *repairReport) (n int, err error) {
	partition := fmt.Sprintf("%s-%d", p.topic, p.partition)
	want := map[int64]bool{}
	for i := range int64(repairRecords) {
		if !report.lost(partition, i) {
			want[i] = true
		}
	}
	if len(want) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchMaxWait(250*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {p.partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	for n = len(want); len(want) > 0; {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			return 0, fmt.Errorf("%s: %d records are missing and not reported as lost: %w", partition, len(want), err)
		}
		for _, r := range f.Records() {
			if err := p.same(r, r.Offset); err != nil {
				return 0, err
			}
			delete(want, r.Offset)
		}
	}
	return n, nil
}
