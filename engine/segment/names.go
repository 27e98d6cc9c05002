package segment

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Suffixes of the files of a partition directory (Kafka's LogFileUtils).
const (
	LogSuffix       = ".log"
	IndexSuffix     = ".index"
	TimeIndexSuffix = ".timeindex"
	TxnIndexSuffix  = ".txnindex"
	SnapshotSuffix  = ".snapshot"
	DeletedSuffix   = ".deleted"
	CleanedSuffix   = ".cleaned"
	SwapSuffix      = ".swap"
	// TornSuffix marks bytes that recovery cut from a log although intact
	// batches stood behind the damage: evidence, ignored by Kafka.
	TornSuffix = ".torn"
)

// FileName is the path of the file with that suffix for a base offset.
func FileName(dir string, base int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, suffix))
}

// ParseName splits a file name of a partition directory into its offset and
// suffix (".log", ".snapshot", ".index.deleted", ...). ok is false for names
// that do not begin with 20 digits and a dot.
func ParseName(name string) (offset int64, suffix string, ok bool) {
	digits, rest, found := strings.Cut(name, ".")
	if !found || len(digits) != 20 {
		return 0, "", false
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, "", false
	}
	return int64(n), "." + rest, true
}
