//go:build !race

package fsck

// coarse divides the samples of the exhaustive tests.
const coarse = 1
