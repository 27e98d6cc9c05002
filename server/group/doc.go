// Package group is the group coordinator as a state machine: committed offsets, classic groups and the groups of
// KIP-848, written in the records of __consumer_offsets (Kafka's GroupCoordinatorShard, GroupMetadataManager,
// OffsetMetadataManager).
//
// It owns what a group is, who is in it and what was committed. A Machine is the state of one partition of the topic; it has
// no goroutine, clock or file. Groups of other kinds that are found in the log (share groups, streams groups) keep their name and are
// otherwise left alone.
//
// Hard state is what the log says: offsets, pending transactional offsets, KIP-848 groups, and of a classic group what its last
// record says. It is changed in Apply and EndTransaction only. Soft state is what Kafka forgets too when a coordinator moves: who has
// been given a member id but has not joined, whose request is parked, when a session ends, and a classic group's rebalance
// as long as its assignments have not come.
//
// What bounds memory: a request (2 MiB) bounds what one member brings, group.max.size and metadataLimit the members of a group,
// pendingLimit those that were only given an id; of a member one join and one sync are parked; groups and offsets live until
// their retention has passed, as in Kafka. One operation writes at most batchLimit bytes.
//
// The package never sees a connection, a partition's log or an API version table; what a request may touch at all
// (topics that exist, access) is decided before it comes here.
package group
