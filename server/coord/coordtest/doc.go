// Package coordtest has a log in memory, for testing coordinators without disk
// or network: syncs happen when the test says so, or at once, and can fail.
//
// It is imported by tests only.
package coordtest
