package server

import (
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/server/config"
)

func TestThreadCountsChangeByTwo(t *testing.T) {
	cfg, err := config.Load("", []string{"log.dirs=/data"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ now, next, refusal string }{
		{"", "16", ""},
		{"", "4", ""},
		{"", "17", "num.io.threads=17, value should not be greater than double the current value 8"},
		{"", "3", "num.io.threads=3, value should be at least half the current value 8"},
		{"16", "32", ""},
		{"32", "", "num.io.threads=8, value should be at least half the current value 32"},
	} {
		at := func(v string) *config.Config {
			values := map[string]string{}
			if v != "" {
				values["num.io.threads"] = v
			}
			next, err := cfg.WithDynamic(nil, values)
			if err != nil {
				t.Fatal(err)
			}
			return next
		}
		err := checkThreads(at(c.now), at(c.next))
		if c.refusal == "" && err != nil || c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)) {
			t.Errorf("%q to %q: %v, expected %q", c.now, c.next, err, c.refusal)
		}
	}
}
