package wire

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestUnreadableSpanIsAnError writes from a mapping whose file has been cut under it: the kernel meets the missing page, not
// the process.
func TestUnreadableSpanIsAnError(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "segment"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := os.Getpagesize()
	if err := f.Truncate(int64(4 * page)); err != nil {
		t.Fatal(err)
	}
	mapped, err := syscall.Mmap(int(f.Fd()), 0, 4*page, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Munmap(mapped); err != nil {
			t.Error(err)
		}
	}()
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	client, server := pair(t)
	go io.Copy(io.Discard, client)
	p := GetPayload()
	released := 0
	p.SetBuffer(append(p.Buffer(), "head"...))
	p.Span(mapped, func() { released++ })
	if _, err := p.WriteTo(server); !errors.Is(err, syscall.EFAULT) {
		t.Fatalf("error %v, expected EFAULT", err)
	}
	PutPayload(p)
	if released != 1 {
		t.Fatalf("released %d times", released)
	}
}
