// Package suites owns the suites: what is tried on a broker, with which client, and what must come of it. Every test
// makes its own topics under random names and every wait is bounded. It never looks inside the broker: what it knows
// about Gregor is its command line, its port and its directory.
package suites
