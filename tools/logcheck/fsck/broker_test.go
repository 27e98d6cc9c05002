package fsck

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server"
	"github.com/gregor-broker/gregor/server/config"
)

// deaf is a listener that nobody calls.
type deaf struct{ closed chan struct{} }

func (d deaf) Accept() (net.Conn, error) { <-d.closed; return nil, net.ErrClosed }
func (d deaf) Close() error {
	select {
	case <-d.closed:
	default:
		close(d.closed)
	}
	return nil
}
func (d deaf) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9092} }

// served starts a broker on the files, stops it, and gives what it complained
// about and what it left.
func served(t *testing.T, files memory) (complaints string, after memory) {
	t.Helper()
	cfg, err := config.Load("", []string{"log.dirs=/data", "node.id=1", "listeners=PLAINTEXT://localhost:9092", "log.segment.bytes=1048576", "metadata.log.segment.bytes=8388608"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	only := memory{}
	for name, data := range files {
		if strings.HasPrefix(name, "/data/") {
			only[name] = data
		}
	}
	disk := simulated(t, only, simfs.Options{})
	var log bytes.Buffer
	b, err := server.Open(cfg, server.Env{FS: disk, Clock: clock.NewManual(repairTime), Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Listen: func(context.Context, string) (net.Listener, error) { return deaf{make(chan struct{})}, nil }})
	if err != nil {
		return err.Error(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		fmt.Fprintln(&log, err)
	}
	return log.String(), load(t, disk, "/data")
}

// TestBrokerStartsOnRepaired repairs all kinds of damage and starts a broker on
// what comes out: it finds nothing to complain about, serves every partition,
// and leaves a clean directory.
func TestBrokerStartsOnRepaired(t *testing.T) {
	good, bad := wrecked(t)
	if complaints, after := served(t, good); complaints != "" {
		t.Fatalf("on the directory as it was made: %s\n%s", complaints, describe(check(t, after, true)))
	}
	if complaints, _ := served(t, bad); complaints == "" {
		t.Fatal("nothing to complain about on a damaged directory")
	}
	tried := 0
	try := func(what string, disk memory, policy Policy) {
		out, r := repaired(t, disk, policy)
		if r.Status != StatusClean {
			return // said by others
		}
		tried++
		complaints, after := served(t, out)
		if complaints != "" {
			t.Errorf("%s, %s: %s\n%s", what, policy, complaints, tell(r))
			return
		}
		if gone := missing(contents(out), contents(after), &RepairReport{}); gone != "" && !strings.HasPrefix(gone, metadataName) {
			t.Errorf("%s, %s: the broker has lost %s\n%s", what, policy, gone, tell(r))
		}
		if r := check(t, after, true); r.Status != StatusClean {
			t.Errorf("%s, %s: left by the broker: %s", what, policy, describe(r))
		}
	}
	for _, policy := range Policies[1:] {
		try("much at once", bad, policy)
	}
	step := 11 * coarse
	if *full {
		step = 1
	}
	for n, name := range good.files() {
		data := good[name]
		for i := n % step; i < len(data); i += 1 + len(data)*step/80 {
			changed := slices.Clone(data)
			changed[i] ^= 1 << (i % 8)
			try(fmt.Sprintf("%s byte %d", name, i), good.with(name, changed), PolicyStop)
			try(fmt.Sprintf("%s cut to %d", name, i), good.with(name, slices.Clone(data[:i])), Policies[1+i%3])
		}
		eachSector(data, func(what string, changed []byte, at int) {
			if (at/512+n)%step == 0 {
				try(name+": "+what, good.with(name, changed), Policies[1+(at/512+n)%3])
			}
		})
	}
	t.Logf("%d repaired directories", tried)
}
