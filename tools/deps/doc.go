// Package deps holds the test that keeps the map of imports true: which room
// may import which, and why not the others. It has no code of its own.
package deps
