// Package retention owns the decision which segments at the head of a log may
// go, and why (Kafka's UnifiedLog.deleteOldSegments). It is a pure function of
// values: it never touches files, clocks or logs.
package retention
