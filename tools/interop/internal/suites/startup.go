package suites

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/raw"
	"github.com/gregor-broker/gregor/tools/interop/internal/rig"
)

// startup measures from exec to the first acknowledged record with a client that hides nothing.
func startup(s *rig.S) {
	for _, c := range []struct {
		name    string
		prepare bool
	}{{"fresh-directory", false}, {"existing-directory", true}} {
		s.Test(c.name, 4*time.Minute, func(t *rig.T) {
			runs := 5
			if t.Kind == rig.Kafka {
				runs = 1
			}
			var best, worst time.Duration
			var resident, anonymous int64
			for range runs {
				b, err := rig.NewBroker(t.Env, "startup")
				t.Must(err, "directory")
				t.Cleanup(func() { _ = b.Kill() })
				if c.prepare {
					t.Must(b.Start(t.Kind), "first start")
					createTopic(t, b, "existing", 10, nil)
					franzAsync(t, b, "existing", 1000)
					t.Must(b.Stop(), "first stop")
				}
				began := time.Now()
				t.Must(b.Launch(t.Kind), "launch")
				t.Must(firstRecord(t.Context(), b), "first record")
				took := time.Since(began)
				best, worst = lesser(best, took), max(worst, took)
				resident, err = b.Resident()
				t.Must(err, "memory")
				anonymous, err = b.Anonymous()
				t.Must(err, "memory")
				t.Must(b.Stop(), "stop")
			}
			t.Note("%s: %s to %s from exec to the first acknowledged record in %d runs; then %.1f MiB resident, %.1f MiB of them anonymous",
				c.name, best.Round(100*time.Microsecond), worst.Round(100*time.Microsecond), runs, float64(resident)/(1<<20), float64(anonymous)/(1<<20))
		})
	}
	s.Test("binary", time.Minute, func(t *rig.T) {
		if t.Kind == rig.Kafka {
			t.Note("Apache Kafka: the Java runtime and 94 jars")
			return
		}
		info, err := os.Stat(t.Binary)
		t.Must(err, "binary")
		t.Note("binary: %.1f MB", float64(info.Size())/1e6)
	})
}

func lesser(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

// firstRecord connects as soon as the broker listens, creates a topic and appends one record, asking again only for
// answers that say "not yet".
func firstRecord(ctx context.Context, b *rig.Broker) error {
	c, err := raw.DialUntil(ctx, b.Addr, b.Alive)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	topic, batch := rig.Name("startup"), raw.Batch([]byte("first"))
	for {
		code, err := c.CreateTopic(topic, 1)
		if err != nil {
			// A listener that takes connections before it can serve may drop them.
			if err := b.Alive(); err != nil {
				return err
			}
			_ = c.Close()
			if c, err = raw.DialUntil(ctx, b.Addr, b.Alive); err != nil {
				return err
			}
			continue
		}
		if code == 0 || code == topicAlreadyExists {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("create: error code %d: %w", code, ctx.Err())
		}
	}
	for {
		_, code, err := c.Produce(topic, 0, batch)
		if err != nil {
			return fmt.Errorf("produce: %w", err)
		}
		if code == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("produce: error code %d: %w", code, ctx.Err())
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// topicAlreadyExists is the error code TOPIC_ALREADY_EXISTS.
const topicAlreadyExists = 36
