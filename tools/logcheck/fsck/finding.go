package fsck

import (
	"fmt"
	"slices"
	"strings"
)

// Severity says how bad a finding is. A higher one is worse.
type Severity int

const (
	// Harmless means that nothing is lost or read wrongly; it does not make a target unclean.
	Harmless Severity = iota
	// Rebuildable means that the data is whole and what is wrong can be made from it again.
	Rebuildable
	// TornTail means that the log ends in a write that was cut short and that nothing promises.
	TornTail
	// Damage means that bytes that were promised are not what they were.
	Damage
)

var severityNames = [...]string{"harmless", "rebuildable", "torn tail", "damage"}

// String gives the word that reports use.
func (s Severity) String() string {
	if s < 0 || int(s) >= len(severityNames) {
		return fmt.Sprintf("severity %d", int(s))
	}
	return severityNames[s]
}

// MarshalText gives String, for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(severityNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("severity %q: expected one of %v", text, severityNames)
	}
	*s = Severity(i)
	return nil
}

// Kind names what a finding is about; the words are stable, for programs.
type Kind string

// The kinds of findings.
const (
	KindBatch       Kind = "batch"               // bytes that are no intact batch
	KindBaseOffset  Kind = "base-offset"         // a batch's offset does not follow
	KindGap         Kind = "offset-gap"          // offsets are missing
	KindOverlap     Kind = "offset-overlap"      // offsets are there twice
	KindRecords     Kind = "records"             // the records of a batch whose checksum is right
	KindLeaderEpoch Kind = "leader-epoch"        // a batch's leader epoch
	KindTail        Kind = "tail"                // the end of the log
	KindShort       Kind = "log-too-short"       // the log ends before what was promised
	KindOffsetIndex Kind = "offset-index"        // .index
	KindTimeIndex   Kind = "time-index"          // .timeindex
	KindTxnIndex    Kind = "transaction-index"   // .txnindex
	KindSnapshot    Kind = "producer-snapshot"   // .snapshot
	KindEpochFile   Kind = "epoch-checkpoint"    // leader-epoch-checkpoint
	KindCheckpoint  Kind = "offset-checkpoint"   // the four offset checkpoints
	KindTopicID     Kind = "partition-metadata"  // partition.metadata
	KindMetadata    Kind = "metadata-record"     // records of the metadata log and of its snapshots
	KindProperties  Kind = "meta-properties"     // meta.properties
	KindMarker      Kind = "clean-marker"        // .kafka_cleanshutdown
	KindQuorum      Kind = "quorum-state"        // quorum-state
	KindStray       Kind = "stray"               // a partition that the metadata does not know
	KindMissing     Kind = "missing"             // a file or directory that should be there
	KindJournal     Kind = "journal"             // Gregor's commit journal
	KindLeftover    Kind = "leftover"            // files of interrupted or unfinished work
	KindUnknown     Kind = "unknown-file"        // files of no known kind
	KindUnreadable  Kind = "unreadable"          // could not be checked
	KindSnapshotLog Kind = "metadata-checkpoint" // snapshots of the metadata log, bootstrap.checkpoint
)

// Finding is one thing that is not as it must be.
type Finding struct {
	Severity   Severity `json:"severity"`
	Kind       Kind     `json:"kind"`
	File       string   `json:"file"`
	Position   int64    `json:"position"`            // first byte in the file, -1 for the file as a whole
	Length     int64    `json:"length,omitempty"`    // bytes from Position on, 0 when unknown
	Partition  string   `json:"partition,omitempty"` // topic-partition
	Offset     int64    `json:"offset"`              // first offset concerned, -1 for none
	LastOffset int64    `json:"lastOffset"`          // last offset concerned, -1 when unknown
	Expected   string   `json:"expected"`
	Found      string   `json:"found"`
	Located    string   `json:"located,omitempty"` // the very bytes that are wrong, when that is proven
	Broker     string   `json:"broker"`            // what a broker does with it
	Fixes      []Fix    `json:"fixes,omitempty"`   // the bytes that would mend it, proven twice

	// What a repair must know besides.
	size      int64    // of the batch whose field is wrong
	epochs    [2]int32 // leader epochs of the batches around missing offsets
	witnesses int      // how many files say that the log was longer
	at        int64    // the offset that was due at the place
	inner     bool     // the end of a segment of a compacted log is gone, or the beginning of a log: there is nothing to cut
	surplus   bool     // what is in front of it is whole without it
}

// Fix is one byte that two proofs say was another.
type Fix struct {
	Position int64 `json:"position"`
	Found    byte  `json:"found"`
	Correct  byte  `json:"correct"`
}

// Where gives the place of the finding in one phrase.
func (f *Finding) Where() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Position >= 0 {
		fmt.Fprintf(&b, "@%d", f.Position)
		if f.Length > 0 {
			fmt.Fprintf(&b, "+%d", f.Length)
		}
	}
	return b.String()
}

// brokerDoes says what a broker does with a finding of a kind when the finding
// itself says nothing more exact.
func brokerDoes(k Kind, s Severity) string {
	switch k {
	case KindBatch, KindBaseOffset, KindGap, KindOverlap:
		if s == TornTail {
			return "both cut the log here at a start without the clean marker; after a clean stop Kafka appends behind it"
		}
		return "Kafka serves it and clients fail on it, or cuts the log here and deletes all later segments when it recovers; Gregor keeps the partition offline if it recovers this part, and otherwise serves it"
	case KindRecords:
		return "both serve it; clients fail to decode the batch"
	case KindLeaderEpoch:
		return "both serve it; a follower or a client that asks where an epoch ends is told wrongly"
	case KindTail:
		return "both cut it at a start without the clean marker; after a clean stop Kafka appends behind it and cannot read on from there"
	case KindShort:
		return "Kafka goes on from the shorter end; Gregor keeps the partition offline"
	case KindOffsetIndex:
		return "both follow it as it is unless the segment lies above the recovery point of an unclean start: lookups by offset go wrong or are slow"
	case KindTimeIndex:
		return "both follow it as it is unless they recover the segment: lookups by time go wrong and retention.ms may delete too early"
	case KindTxnIndex:
		return "read_committed consumers see aborted records, or miss committed ones; Kafka recovers the segment when the file is malformed"
	case KindSnapshot:
		return "both take the next older snapshot and replay from there"
	case KindEpochFile:
		return "Kafka fails to load the log when it is malformed and else believes it; Gregor makes a malformed one again from the batches"
	case KindCheckpoint:
		return "Kafka takes the whole log directory offline when it is malformed and else believes it"
	case KindTopicID, KindStray:
		return "both rename the directory to -stray and do not serve it"
	case KindMetadata, KindSnapshotLog:
		return "both refuse to start"
	case KindProperties, KindQuorum:
		return "both refuse to start, or start as another node"
	case KindMarker:
		return "the controller takes the stop for an unclean one"
	case KindJournal:
		if s == Damage {
			return "Gregor uses what can be read of it and keeps the file beside it; Kafka ignores it"
		}
		return "Gregor puts it back at its next start; Kafka goes on without it, so that acknowledged records are lost"
	case KindMissing:
		return "see the expectation"
	case KindLeftover, KindUnknown:
		return "ignored, or removed at the next start"
	}
	return ""
}
