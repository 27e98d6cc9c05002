package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Op is a kind of call to a disk.
type Op string

// The kinds of calls. Those from OpCreate to OpSyncAll change the disk.
const (
	OpCreate    Op = "create" // OpenFile with O_CREATE
	OpMkdir     Op = "mkdir"
	OpWrite     Op = "write"
	OpTruncate  Op = "truncate"
	OpAllocate  Op = "allocate"
	OpRename    Op = "rename"
	OpRemove    Op = "remove"
	OpRemoveAll Op = "removeall"
	OpSync      Op = "sync"
	OpSyncDir   Op = "syncdir"
	OpSyncAll   Op = "syncall" // Volume.Sync

	OpOpen     Op = "open" // OpenFile without O_CREATE
	OpRead     Op = "read"
	OpSize     Op = "size"
	OpClose    Op = "close"
	OpMap      Op = "map"
	OpPopulate Op = "populate"
	OpUnmap    Op = "unmap"
	OpReadDir  Op = "readdir"
	OpStat     Op = "stat"
	OpLock     Op = "lock"
	OpUsage    Op = "usage"
)

// Event is one change asked of a disk, as operation logs and transcripts show it.
type Event struct {
	Op   Op
	Name string
	To   string // the new name of a rename
	Off  int64  // of a write or allocation; the new size of a truncation
	Len  int64  // bytes of a write or allocation
	Err  error  // what the call returned
}

// String is the event's line in a transcript, such as "write log/0.log 0+100" or "sync log/0.log: input/output
// error". An error's path is left out, so that transcripts do not depend on the directory of a test.
func (e Event) String() string {
	var line string
	switch e.Op {
	case OpWrite, OpAllocate:
		line = fmt.Sprintf("%s %s %d+%d", e.Op, e.Name, e.Off, e.Len)
	case OpTruncate:
		line = fmt.Sprintf("%s %s %d", e.Op, e.Name, e.Off)
	case OpRename:
		line = fmt.Sprintf("%s %s -> %s", e.Op, e.Name, e.To)
	default:
		line = string(e.Op) + " " + e.Name
	}
	if e.Err == nil {
		return line
	}
	err := e.Err
	var path *fs.PathError
	var link *os.LinkError
	if errors.As(err, &path) {
		err = path.Err
	} else if errors.As(err, &link) {
		err = link.Err
	}
	return line + ": " + err.Error()
}
