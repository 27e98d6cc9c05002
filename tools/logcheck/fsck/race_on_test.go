//go:build race

package fsck

// coarse makes the samples of the exhaustive tests smaller: the race detector
// makes everything ten times as slow, and has seen it all after a few.
const coarse = 12
