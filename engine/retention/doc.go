// Package retention owns the decision which segments at the head of a log may go, and why. It is pure:
// numbers in, a number and a reason out.
//
// The rules are those of UnifiedLog.deleteOldSegments in Kafka.
//
// It never touches files, clocks or logs.
package retention
