package suites

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"
)

// codecs are the names librdkafka, Kafka and this package share.
var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// kcatRun runs kcat with input and returns its standard output.
func kcatRun(t *rig.T, b *rig.Broker, input string, args ...string) string {
	cmd := exec.CommandContext(t.Context(), "kcat", append([]string{"-b", b.Addr}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("kcat %s: %w\n%s", strings.Join(args, " "), err, rig.Tail(errs.String(), 10))
	}
	if strings.Contains(errs.String(), "ERROR") || strings.Contains(errs.String(), "%3|") {
		t.Fatalf("kcat %s complains:\n%s", strings.Join(args, " "), rig.Tail(errs.String(), 10))
	}
	return out.String()
}

func expect(t *rig.T, what, got, want string) {
	if got != want {
		t.Fatalf("%s: got %.400q, expected %.400q", what, got, want)
	}
}

const kcatLimit = time.Minute

func kcat(s *rig.S) {
	s.With(func(b *rig.Broker) {
		kcatRecords(s, b)
		kcatOffsets(s, b)
		kcatMetadata(s, b)
		var text string
		ok := s.Test("make-text", 2*time.Minute, func(t *rig.T) {
			var err error
			text, err = realText(s.Scratch, s.Lines)
			t.Must(err, "text")
		})
		if !ok {
			return
		}
		for _, codec := range codecs {
			s.Test("lines/"+codec, 5*time.Minute, func(t *rig.T) { throughKcat(t, b, text, codec) })
		}
	})
}

func kcatRecords(s *rig.S, b *rig.Broker) {
	for _, codec := range codecs {
		s.Test("codec/"+codec, kcatLimit, func(t *rig.T) {
			topic := rig.Name("kcat-" + codec)
			input := strings.Repeat("one line of text that compresses\n", 500)
			kcatRun(t, b, input, "-P", "-t", topic, "-z", codec, "-X", "linger.ms=20")
			expect(t, "consumed", kcatRun(t, b, "", "-C", "-t", topic, "-o", "beginning", "-e", "-q"), input)
		})
	}
	s.Test("keys", kcatLimit, func(t *rig.T) {
		topic := rig.Name("kcat-keys")
		kcatRun(t, b, "a:1\nb:2\nc:3\n", "-P", "-t", topic, "-K", ":")
		expect(t, "consumed", kcatRun(t, b, "", "-C", "-t", topic, "-e", "-q", "-f", "%o %k=%s %K/%S\n"), "0 a=1 1/1\n1 b=2 1/1\n2 c=3 1/1\n")
	})
	s.Test("headers", kcatLimit, func(t *rig.T) {
		topic := rig.Name("kcat-headers")
		kcatRun(t, b, "v\n", "-P", "-t", topic, "-H", "first=one", "-H", "second=two", "-H", "first=again")
		expect(t, "consumed", kcatRun(t, b, "", "-C", "-t", topic, "-e", "-q", "-f", "%h|%s\n"), "first=one,second=two,first=again|v\n")
	})
	s.Test("tombstones", kcatLimit, func(t *rig.T) {
		topic := rig.Name("kcat-tombstones")
		kcatRun(t, b, "a:1\na:\nb:\n", "-P", "-t", topic, "-K", ":", "-Z")
		expect(t, "consumed", kcatRun(t, b, "", "-C", "-t", topic, "-e", "-q", "-f", "%k %S\n"), "a 1\na -1\nb -1\n")
	})
	s.Test("partitions", kcatLimit, func(t *rig.T) {
		topic := rig.Name("kcat-partitions")
		createTopic(t, b, topic, 4, nil)
		for p := range 4 {
			kcatRun(t, b, fmt.Sprintf("in %d\nmore in %d\n", p, p), "-P", "-t", topic, "-p", fmt.Sprint(p))
		}
		for p := range 4 {
			got := kcatRun(t, b, "", "-C", "-t", topic, "-p", fmt.Sprint(p), "-e", "-q", "-f", "%p %o %s\n")
			expect(t, "consumed", got, fmt.Sprintf("%d 0 in %d\n%d 1 more in %d\n", p, p, p, p))
		}
	})
	s.Test("unknown-partition", kcatLimit, func(t *rig.T) {
		topic := rig.Name("kcat-unknown")
		createTopic(t, b, topic, 1, nil)
		cmd := exec.CommandContext(t.Context(), "kcat", "-b", b.Addr, "-P", "-t", topic, "-p", "7", "-X", "message.timeout.ms=3000")
		cmd.Stdin = strings.NewReader("lost\n")
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatalf("a record was taken for partition 7 of 1:\n%s", out)
		}
	})
	s.Test("idempotent", kcatLimit, func(t *rig.T) {
		topic := rig.Name("kcat-idempotent")
		input := numbered(5000)
		kcatRun(t, b, input, "-P", "-t", topic, "-X", "enable.idempotence=true", "-X", "batch.num.messages=50", "-X", "linger.ms=1")
		expect(t, "consumed", kcatRun(t, b, "", "-C", "-t", topic, "-e", "-q"), input)
	})
	s.Test("acks-0", kcatLimit, func(t *rig.T) {
		topic := rig.Name("kcat-acks0")
		createTopic(t, b, topic, 1, nil)
		input := numbered(1000)
		kcatRun(t, b, input, "-P", "-t", topic, "-X", "acks=0")
		// Nothing says when they are there: wait for as many as were sent.
		expect(t, "consumed", kcatRun(t, b, "", "-C", "-t", topic, "-c", "1000", "-q"), input)
	})
}

func numbered(n int) string {
	var out strings.Builder
	for i := range n {
		_, _ = fmt.Fprintf(&out, "line %d\n", i)
	}
	return out.String()
}

func kcatOffsets(s *rig.S, b *rig.Broker) {
	consume := func(t *rig.T, topic string, args ...string) string {
		return kcatRun(t, b, "", append([]string{"-C", "-t", topic, "-p", "0", "-e", "-q", "-f", "%o "}, args...)...)
	}
	s.Test("offsets", kcatLimit, func(t *rig.T) {
		topic := rig.Name("kcat-offsets")
		kcatRun(t, b, numbered(20), "-P", "-t", topic)
		expect(t, "beginning", consume(t, topic, "-o", "beginning", "-c", "3"), "0 1 2 ")
		expect(t, "17", consume(t, topic, "-o", "17"), "17 18 19 ")
		expect(t, "-5", consume(t, topic, "-o", "-5"), "15 16 17 18 19 ")
		expect(t, "end", consume(t, topic, "-o", "end"), "")
	})
	s.Test("timestamps", kcatLimit, func(t *rig.T) {
		topic := rig.Name("kcat-timestamps")
		start := time.Now().Add(-time.Hour).UnixMilli()
		produceStamped(t, b, topic, start, 1000, 20) // one record a second
		query := func(ms int64) string {
			return strings.TrimSpace(kcatRun(t, b, "", "-Q", "-t", fmt.Sprintf("%s:0:%d", topic, ms)))
		}
		expect(t, "query the 6th", query(start+5000), topic+" [0] offset 5")
		expect(t, "query between", query(start+5001), topic+" [0] offset 6")
		expect(t, "query before all", query(start-1), topic+" [0] offset 0")
		expect(t, "s@", consume(t, topic, "-o", fmt.Sprintf("s@%d", start+17000)), "17 18 19 ")
		// The end of a time range excludes its own offset.
		expect(t, "s@ e@", consume(t, topic, "-o", fmt.Sprintf("s@%d", start+3000), "-o", fmt.Sprintf("e@%d", start+6000)), "3 4 5 ")
	})
}

func kcatMetadata(s *rig.S, b *rig.Broker) {
	s.Test("metadata", kcatLimit, func(t *rig.T) {
		topic := rig.Name("kcat-metadata")
		createTopic(t, b, topic, 3, nil)
		text := kcatRun(t, b, "", "-L", "-t", topic)
		for _, want := range []string{"broker 1 at " + b.Addr, fmt.Sprintf("topic %q with 3 partitions", topic), "partition 2, leader 1, replicas: 1, isrs: 1"} {
			if !strings.Contains(text, want) {
				t.Fatalf("kcat -L does not say %q:\n%s", want, text)
			}
		}
		var listing struct {
			Brokers []struct {
				ID   int    `json:"id"`
				Name string `json:"name"`
			}
			Topics []struct {
				Topic      string
				Partitions []struct {
					Partition, Leader int
					Replicas, Isrs    []struct{ ID int }
				}
			}
		}
		t.Must(json.Unmarshal([]byte(kcatRun(t, b, "", "-L", "-J")), &listing), "kcat -L -J")
		if len(listing.Brokers) != 1 || listing.Brokers[0].ID != 1 || listing.Brokers[0].Name != b.Addr {
			t.Fatalf("brokers %+v", listing.Brokers)
		}
		for _, l := range listing.Topics {
			if l.Topic != topic {
				continue
			}
			if len(l.Partitions) != 3 || l.Partitions[1].Leader != 1 || len(l.Partitions[1].Isrs) != 1 {
				t.Fatalf("partitions %+v", l.Partitions)
			}
			return
		}
		t.Fatalf("%s is not in the listing of all topics", topic)
	})
}

// realText writes n lines of the Go toolchain's sources to one file and returns its path. Files with NUL are left
// out, and so are empty lines: kcat sends an empty line as nothing at all.
func realText(dir string, n int) (string, error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	root := filepath.Join(strings.TrimSpace(string(goroot)), "src")
	path := filepath.Join(dir, "lines.txt")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	w := bufio.NewWriterSize(f, 1<<20)
	left := n
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil || bytes.IndexByte(text, 0) >= 0 {
			return err
		}
		for line := range bytes.Lines(text) {
			if len(line) < 2 || line[len(line)-1] != '\n' {
				continue
			}
			if left == 0 {
				return fs.SkipAll
			}
			left--
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && left > 0 {
		err = fmt.Errorf("%s has %d lines less than wanted", root, left)
	}
	if err == nil {
		err = w.Flush()
	}
	return path, err
}

// throughKcat sends the file's lines through one partition and compares every byte that comes back.
func throughKcat(t *rig.T, b *rig.Broker, path, codec string) {
	topic := rig.Name("kcat-lines-" + codec)
	createTopic(t, b, topic, 1, nil)
	start := time.Now()
	kcatRun(t, b, "", "-P", "-t", topic, "-p", "0", "-z", codec, "-l", path,
		"-X", "linger.ms=50", "-X", "queue.buffering.max.messages=2000000", "-X", "queue.buffering.max.kbytes=1000000")
	in := time.Since(start)

	f, err := os.Open(path)
	t.Must(err, "text")
	t.Cleanup(func() { _ = f.Close() })
	start = time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "kcat", "-b", b.Addr, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q")
	out, err := cmd.StdoutPipe()
	t.Must(err, "pipe")
	t.Must(cmd.Start(), "kcat")
	sent, got := sha256.New(), sha256.New()
	n, err := io.Copy(sent, f)
	t.Must(err, "text")
	m, err := io.Copy(got, out)
	t.Must(err, "consumed")
	t.Must(cmd.Wait(), "kcat -C")
	if n != m || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Fatalf("%d bytes in, %d bytes out, SHA-256 %x and %x", n, m, sent.Sum(nil), got.Sum(nil))
	}
	t.Note("%s: %d MB in %.1f s in, %.1f s out", codec, n/1e6, in.Seconds(), time.Since(start).Seconds())
}
