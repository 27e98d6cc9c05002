package server_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFramesOfKafka sends requests whose answers Apache Kafka 4.3.1 gave once
// (go run ./tools/conformance -record) and compares byte by byte.
func TestFramesOfKafka(t *testing.T) {
	data, err := os.ReadFile("testdata/kafka-4.3.1.frames")
	if err != nil {
		t.Fatal(err)
	}
	p := startMemory(t, nil).dial(t)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) < 60 {
		t.Fatalf("only %d frames", len(lines))
	}
	for _, line := range lines {
		var key, version int16
		var request, want []byte
		if _, err := fmt.Sscanf(line, "%d %d %x %x", &key, &version, &request, &want); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		r := kmsg.RequestForKey(key)
		r.SetVersion(version)
		if err := r.ReadFrom(request); err != nil {
			t.Fatal(err)
		}
		p.send(r)
		_, got, err := p.next()
		if err != nil {
			t.Fatalf("%T v%d: %v", r, version, err)
		}
		if r.IsFlexible() && key != 18 {
			got = got[1:]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%T v%d:\n     got %s\nexpected %s\n%s", r, version, hex.EncodeToString(got), hex.EncodeToString(want), readable(want))
		}
	}
}

// readable shows the texts in a frame.
func readable(p []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '.'
		}
		return r
	}, string(p))
}
