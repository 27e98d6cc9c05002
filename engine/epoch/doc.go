// Package epoch owns the history of leader epochs of one log: at which offset
// each began (Kafka's LeaderEpochFileCache, KIP-101 and KIP-279), and the text
// form of the leader-epoch-checkpoint file. It never touches files.
package epoch
