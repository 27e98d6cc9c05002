//go:build linux && interop

package contestant

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/benchmarks/loadgen"
)

// TestKafkaAcceptsPreparedRequests needs Apache Kafka's jars in the directory KAFKA_JARS names. The broker checks the
// CRC, every record and the absent producer id of each version, and the same bytes again.
func TestKafkaAcceptsPreparedRequests(t *testing.T) {
	env := &Environment{KafkaJars: os.Getenv("KAFKA_JARS"), Java: "java", JavaOptions: []string{"-Xmx512m"}}
	if err := env.Check(Kafka); err != nil {
		t.Fatal(err)
	}
	s, err := env.Prepare(t.Context(), Kafka, filepath.Join(t.TempDir(), "kafka"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	})
	if err := s.AwaitListening(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := loadgen.Dial(t.Context(), s.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	id, err := c.CreateTopic(t.Context(), "prepared", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	for version := int16(loadgen.MinProduceVersion); version <= loadgen.MaxProduceVersion; version++ {
		for _, records := range []int{1, loadgen.RecordsThatFit(1024, 1<<20)} {
			p, err := loadgen.Prepare(version, loadgen.Target{Topic: "prepared", TopicID: id}, loadgen.Batch(records, 1024, time.Now()), records)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := c.Produce(p); err != nil {
					t.Fatalf("version %d, %d records: %v", version, records, err)
				}
			}
			r, err := loadgen.Run(t.Context(), loadgen.Options{Address: s.Address, PID: s.PID(), Requests: []*loadgen.Prepared{p}, Connections: 2, InFlight: 5, Frames: 20})
			if err != nil {
				t.Fatalf("version %d, %d records: %v", version, records, err)
			}
			if r.PeakMemory.RSSAnon == 0 || r.PeakMemory.RSS < r.PeakMemory.RSSAnon {
				t.Fatalf("memory of the broker: %+v", r.PeakMemory)
			}
		}
	}
}
