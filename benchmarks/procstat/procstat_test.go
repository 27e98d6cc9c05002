//go:build linux

package procstat

import (
	"os"
	"testing"
	"time"
)

func TestOwnFigures(t *testing.T) {
	for OwnCPU() < 50*time.Millisecond { // burn until the coarse figure must have moved
	}
	cpu, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if own := OwnCPU(); cpu.Total() <= 0 || cpu.Total() > own+2*tick {
		t.Fatalf("/proc says %v, getrusage %v", cpu, own)
	}
	machine, err := Machine()
	if err != nil {
		t.Fatal(err)
	}
	if machine.Busy < cpu.Total() {
		t.Fatalf("the machine was busy for %v, this process alone for %v", machine.Busy, cpu)
	}
}

func TestSamplerSeesThePeak(t *testing.T) {
	s := Sample(os.Getpid(), time.Hour)
	before, err := ReadMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	b, err := NewBallast(size)
	if err != nil {
		t.Fatal(err)
	}
	s.read()
	if left := b.Release(); left != size {
		t.Fatalf("an untouched ballast of %d bytes has %d left", size, left)
	}
	peak, err := s.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if peak.RSSAnon < before.RSSAnon+size*9/10 || peak.RSS < peak.RSSAnon {
		t.Fatalf("peak %+v, expected %d more anonymous bytes than %+v", peak, size, before)
	}
}

func TestBallastGivesBackWhenStarted(t *testing.T) {
	const size = ballastSlack + 4*ballastChunk
	b, err := NewBallast(size)
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	if left := b.Release(); left > size-ballastSlack {
		t.Fatalf("%d bytes left, the slack of %d was not freed", left, ballastSlack)
	}
}

func TestMissingProcess(t *testing.T) {
	const pid = 1 << 30 // above the largest process id of Linux
	if _, err := CPU(pid); err == nil {
		t.Fatal("cpu of a process that cannot exist")
	}
	if _, err := Sample(pid, time.Hour).Stop(); err == nil {
		t.Fatal("memory of a process that cannot exist")
	}
}
