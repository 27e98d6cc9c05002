package vfs

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// FaultError is what Guard returns for a touch of memory that could not be read: a page past the end of the file, a
// page the disk failed to read, or a mapping that is gone.
type FaultError struct {
	Addr uintptr // of the touch
	err  runtime.Error
}

// Error says where the fault was.
func (e *FaultError) Error() string {
	return fmt.Sprintf("memory fault at %#x while reading mapped bytes: %v", e.Addr, e.err)
}

// Unwrap gives the runtime's own error.
func (e *FaultError) Unwrap() error { return e.err }

// Guard runs fn and turns a memory fault (SIGBUS or SIGSEGV at a real address) in it into a *FaultError. Any other
// panic, a nil dereference included, goes on. It covers this goroutine only, so fn must touch the mapped bytes
// itself. It is the seat belt: a window unmapped too early may read as other memory without any fault.
func Guard(fn func()) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		cause := recover()
		if cause == nil {
			return
		}
		fault, ok := cause.(interface {
			runtime.Error
			Addr() uintptr
		})
		if !ok {
			panic(cause)
		}
		err = &FaultError{Addr: fault.Addr(), err: fault}
	}()
	fn()
	return nil
}
