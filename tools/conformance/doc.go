// Command conformance sends the same requests to two brokers, in every version
// of every API of the first, and prints where the answers differ:
//
//	go run ./tools/conformance -a KAFKA:PORT -b GREGOR:PORT [-run REGEXP] [-texts]
//
// Both brokers should be fresh and configured alike, the first one an Apache
// Kafka; both with group.initial.rebalance.delay.ms=0, since nobody waits for
// an answer as long as its default is. What must differ - cluster and topic ids, ports, paths, times, session
// and producer ids - is replaced by names before comparing. Texts of errors are
// compared with -texts only. It exits with 1 when anything differs.
//
// A case (cases_*.go) is a function that talks to one broker and gives every
// answer a label; labels that repeat in several versions are reported once,
// with the versions. It owns no broker and changes nothing but topics whose
// names begin with its own prefix, and dynamic configurations that it takes
// back.
package main
