package quorum

import (
	"errors"
	"fmt"
	"strings"
)

// Why Inspect refuses a directory. Each refusal is a *RefusedError that wraps one of these; nothing was changed.
var (
	ErrRoles           = errors.New("not a combined node")               // process.roles, or the directory of a node that is no voter
	ErrSeveralVoters   = errors.New("several voters")                    // the quorum has more than this node
	ErrNotVoter        = errors.New("not a voter")                       // the quorum's voter is another node or directory
	ErrOtherBrokers    = errors.New("other brokers are registered")      // more than this node in the cluster
	ErrFeatures        = errors.New("unsupported feature level")         // metadata.version, other features, unknown record types
	ErrMigration       = errors.New("ZooKeeper migration in progress")   // ZkMigrationState PRE_MIGRATION or MIGRATION
	ErrNodeID          = errors.New("node id mismatch")                  // meta.properties against node.id or against each other
	ErrClusterID       = errors.New("cluster id mismatch")               // meta.properties against each other or the configuration
	ErrDirectoryID     = errors.New("invalid directory id")              // duplicate or reserved directory.id
	ErrMetaProperties  = errors.New("invalid meta.properties")           // unreadable, or a version other than 0 and 1
	ErrNotFormatted    = errors.New("log directory is not formatted")    // part of log.dirs, or data without meta.properties
	ErrMissingMetadata = errors.New("the cluster metadata is missing")   // partitions without __cluster_metadata-0
	ErrCorrupt         = errors.New("the cluster metadata is corrupted") // damage that is no torn tail
	ErrMisplacedLog    = errors.New("metadata log in a directory that is not metadata.log.dir")
)

// RefusedError says why a directory is not taken over: what was found, in which file, and what to do.
type RefusedError struct {
	Reason error  // one of the Err values above
	File   string // file or directory that shows it
	Found  string // what was found and what was expected
	Advice string // what the operator can do
	Cause  error  // lower error, if any
}

// Error is one sentence with everything in it.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%v: %s: %s", e.Reason, e.File, e.Found)
	if e.Cause != nil {
		text += fmt.Sprintf(": %v", e.Cause)
	}
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	return strings.ReplaceAll(text, "\n", "; ")
}

// Unwrap gives the reason and the cause.
func (e *RefusedError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

func refuse(reason error, file, advice, format string, args ...any) error {
	return &RefusedError{Reason: reason, File: file, Found: fmt.Sprintf(format, args...), Advice: advice}
}

// ErrFailed is wrapped by every error of Commit after the first append or sync that failed.
var ErrFailed = errors.New("the metadata log has failed")

// ErrClosed is what Commit returns after Close.
var ErrClosed = errors.New("quorum is closed")
