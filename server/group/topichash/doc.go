// Package topichash computes the metadata hash by which groups notice that a topic they subscribe to has changed: the 64-bit XXH3 of each
// topic's id, name and partitions, and of those hashes together (KIP-1101; org.apache.kafka.coordinator.group.Utils). A Kafka that takes
// over finds the number it would have computed, so that no group rebalances.
//
// The package is functions of values.
package topichash
