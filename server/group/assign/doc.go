// Package assign computes which member of a KIP-848 group reads which partitions: the server-side assignors of Apache Kafka 4.3, "uniform"
// (UniformAssignor and its two builders) and "range" (RangeAssignor).
//
// Assignors are functions of values: the same members, subscriptions and previous assignments always give the same result. Where Kafka goes
// by the order of a hash map, members are taken by ascending id and topics by ascending topic id. The package knows no groups, epochs or
// records, and keeps nothing.
package assign
