package api

import (
	"slices"

	"github.com/gregor-broker/gregor/wire"
	"github.com/gregor-broker/gregor/wire/fetch"
	"github.com/gregor-broker/gregor/wire/produce"
)

// Table is everything this broker serves, at Apache Kafka 4.3's versions. A
// key whose behaviour is not there is not in it: clients test what they see.
func Table(d Deps) *wire.Table {
	h := &handlers{Deps: d}
	h.table = wire.NewTable(h.metered(h.rows()))
	return h.table
}

// controllerKeys are what a controller serves clients on its own listener (KIP-919, KIP-853; ControllerApis), as far as it is
// there. What Kafka's controllers and brokers say to each other is not: nobody else belongs to this quorum.
var controllerKeys = []int16{18, 19, 20, 29, 30, 31, 32, 33, 37, 43, 44, 45, 46, 49, 50, 51, 55, 57, 60, 64, 80, 81}

// ControllerTable is what is served on a listener of controller.listener.names; any other key ends the connection, as in Kafka.
func ControllerTable(d Deps) *wire.Table {
	h := &handlers{Deps: d, controller: true}
	h.table = wire.NewTable(h.metered(slices.DeleteFunc(h.rows(), func(s wire.Spec) bool { return !slices.Contains(controllerKeys, s.Key) })))
	return h.table
}

// rows are the handlers of all that is served anywhere.
func (h *handlers) rows() []wire.Spec {
	return []wire.Spec{
		{Key: 0, Name: "Produce", AdvertiseMin: 0, Min: produce.MinVersion, Max: produce.MaxVersion, FlexibleFrom: produce.FlexibleFrom, Handle: h.produce},
		{Key: 1, Name: "Fetch", AdvertiseMin: 4, Min: fetch.MinVersion, Max: fetch.MaxVersion, FlexibleFrom: fetch.FlexibleFrom, Handle: h.fetch},
		{Key: 2, Name: "ListOffsets", AdvertiseMin: 1, Min: 1, Max: 11, FlexibleFrom: 6, Handle: cold(h.listOffsets)},
		{Key: 3, Name: "Metadata", AdvertiseMin: 0, Min: 0, Max: 13, FlexibleFrom: 9, Handle: cold(h.metadata)},
		{Key: 8, Name: "OffsetCommit", AdvertiseMin: 2, Min: 2, Max: 10, FlexibleFrom: 8, Handle: parked(h.offsetCommit)},
		{Key: 9, Name: "OffsetFetch", AdvertiseMin: 1, Min: 1, Max: 10, FlexibleFrom: 6, Handle: parked(h.offsetFetch)},
		{Key: 10, Name: "FindCoordinator", AdvertiseMin: 0, Min: 0, Max: 6, FlexibleFrom: 3, Handle: cold(h.findCoordinator)},
		{Key: 11, Name: "JoinGroup", AdvertiseMin: 0, Min: 0, Max: 9, FlexibleFrom: 6, Handle: parked(h.joinGroup)},
		{Key: 12, Name: "Heartbeat", AdvertiseMin: 0, Min: 0, Max: 4, FlexibleFrom: 4, Handle: parked(h.heartbeat)},
		{Key: 13, Name: "LeaveGroup", AdvertiseMin: 0, Min: 0, Max: 5, FlexibleFrom: 4, Handle: parked(h.leaveGroup)},
		{Key: 14, Name: "SyncGroup", AdvertiseMin: 0, Min: 0, Max: 5, FlexibleFrom: 4, Handle: parked(h.syncGroup)},
		{Key: 15, Name: "DescribeGroups", AdvertiseMin: 0, Min: 0, Max: 6, FlexibleFrom: 5, Handle: parked(h.describeGroups)},
		{Key: 16, Name: "ListGroups", AdvertiseMin: 0, Min: 0, Max: 5, FlexibleFrom: 3, Handle: parked(h.listGroups)},
		{Key: 18, Name: "ApiVersions", AdvertiseMin: 0, Min: 0, Max: 4, FlexibleFrom: 3, Handle: h.apiVersions},
		{Key: 19, Name: "CreateTopics", AdvertiseMin: 2, Min: 2, Max: 7, FlexibleFrom: 5, Handle: cold(h.createTopics)},
		{Key: 20, Name: "DeleteTopics", AdvertiseMin: 1, Min: 1, Max: 6, FlexibleFrom: 4, Handle: cold(h.deleteTopics)},
		{Key: 21, Name: "DeleteRecords", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 2, Handle: cold(h.deleteRecords)},
		{Key: 22, Name: "InitProducerId", AdvertiseMin: 0, Min: 0, Max: 5, FlexibleFrom: 2, Handle: parked(h.initProducerID)},
		{Key: 23, Name: "OffsetForLeaderEpoch", AdvertiseMin: 2, Min: 2, Max: 4, FlexibleFrom: 4, Handle: cold(h.offsetForLeaderEpoch)},
		{Key: 24, Name: "AddPartitionsToTxn", AdvertiseMin: 0, Min: 0, Max: 5, FlexibleFrom: 3, Handle: parked(h.addPartitionsToTxn)},
		{Key: 25, Name: "AddOffsetsToTxn", AdvertiseMin: 0, Min: 0, Max: 4, FlexibleFrom: 3, Handle: parked(h.addOffsetsToTxn)},
		{Key: 26, Name: "EndTxn", AdvertiseMin: 0, Min: 0, Max: 5, FlexibleFrom: 3, Handle: parked(h.endTxn)},
		{Key: 27, Name: "WriteTxnMarkers", AdvertiseMin: 1, Min: 1, Max: 2, FlexibleFrom: 1, Handle: parked(h.writeTxnMarkers)},
		{Key: 28, Name: "TxnOffsetCommit", AdvertiseMin: 0, Min: 0, Max: 5, FlexibleFrom: 3, Handle: parked(h.txnOffsetCommit)},
		{Key: 29, Name: "DescribeAcls", AdvertiseMin: 1, Min: 1, Max: 3, FlexibleFrom: 2, Handle: cold(h.describeACLs)},
		{Key: 30, Name: "CreateAcls", AdvertiseMin: 1, Min: 1, Max: 3, FlexibleFrom: 2, Handle: cold(h.createACLs)},
		{Key: 31, Name: "DeleteAcls", AdvertiseMin: 1, Min: 1, Max: 3, FlexibleFrom: 2, Handle: cold(h.deleteACLs)},
		{Key: 32, Name: "DescribeConfigs", AdvertiseMin: 1, Min: 1, Max: 4, FlexibleFrom: 4, Handle: cold(h.describeConfigs)},
		{Key: 33, Name: "AlterConfigs", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 2, Handle: cold(h.alterConfigs)},
		{Key: 34, Name: "AlterReplicaLogDirs", AdvertiseMin: 1, Min: 1, Max: 2, FlexibleFrom: 2, Handle: cold(h.alterReplicaLogDirs)},
		{Key: 35, Name: "DescribeLogDirs", AdvertiseMin: 1, Min: 1, Max: 5, FlexibleFrom: 2, Handle: cold(h.describeLogDirs)},
		{Key: 37, Name: "CreatePartitions", AdvertiseMin: 0, Min: 0, Max: 3, FlexibleFrom: 2, Handle: cold(h.createPartitions)},
		{Key: 42, Name: "DeleteGroups", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 2, Handle: parked(h.deleteGroups)},
		{Key: 43, Name: "ElectLeaders", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 2, Handle: cold(h.electLeaders)},
		{Key: 44, Name: "IncrementalAlterConfigs", AdvertiseMin: 0, Min: 0, Max: 1, FlexibleFrom: 1, Handle: cold(h.incrementalAlterConfigs)},
		{Key: 45, Name: "AlterPartitionReassignments", AdvertiseMin: 0, Min: 0, Max: 1, FlexibleFrom: 0, Handle: cold(h.alterPartitionReassignments)},
		{Key: 46, Name: "ListPartitionReassignments", AdvertiseMin: 0, Min: 0, Max: 0, FlexibleFrom: 0, Handle: cold(h.listPartitionReassignments)},
		{Key: 47, Name: "OffsetDelete", AdvertiseMin: 0, Min: 0, Max: 0, FlexibleFrom: -1, Handle: parked(h.offsetDelete)},
		{Key: 48, Name: "DescribeClientQuotas", AdvertiseMin: 0, Min: 0, Max: 1, FlexibleFrom: 1, Handle: cold(h.describeClientQuotas)},
		{Key: 49, Name: "AlterClientQuotas", AdvertiseMin: 0, Min: 0, Max: 1, FlexibleFrom: 1, Handle: cold(h.alterClientQuotas)},
		{Key: 50, Name: "DescribeUserScramCredentials", AdvertiseMin: 0, Min: 0, Max: 0, FlexibleFrom: 0, Handle: cold(h.describeUserScramCredentials)},
		{Key: 51, Name: "AlterUserScramCredentials", AdvertiseMin: 0, Min: 0, Max: 0, FlexibleFrom: 0, Handle: cold(h.alterUserScramCredentials)},
		{Key: 55, Name: "DescribeQuorum", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 0, Handle: cold(h.describeQuorum)},
		{Key: 57, Name: "UpdateFeatures", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 0, Handle: cold(h.updateFeatures)},
		{Key: 60, Name: "DescribeCluster", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 0, Handle: cold(h.describeCluster)},
		{Key: 61, Name: "DescribeProducers", AdvertiseMin: 0, Min: 0, Max: 0, FlexibleFrom: 0, Handle: cold(h.describeProducers)},
		{Key: 64, Name: "UnregisterBroker", AdvertiseMin: 0, Min: 0, Max: 0, FlexibleFrom: 0, Handle: cold(h.unregisterBroker)},
		{Key: 65, Name: "DescribeTransactions", AdvertiseMin: 0, Min: 0, Max: 0, FlexibleFrom: 0, Handle: parked(h.describeTransactions)},
		{Key: 66, Name: "ListTransactions", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 0, Handle: parked(h.listTransactions)},
		{Key: 68, Name: "ConsumerGroupHeartbeat", AdvertiseMin: 0, Min: 0, Max: 1, FlexibleFrom: 0, Handle: parked(h.consumerGroupHeartbeat)},
		{Key: 69, Name: "ConsumerGroupDescribe", AdvertiseMin: 0, Min: 0, Max: 1, FlexibleFrom: 0, Handle: parked(h.consumerGroupDescribe)},
		{Key: 74, Name: "ListConfigResources", AdvertiseMin: 0, Min: 0, Max: 1, FlexibleFrom: 0, Handle: cold(h.listConfigResources)},
		{Key: 75, Name: "DescribeTopicPartitions", AdvertiseMin: 0, Min: 0, Max: 0, FlexibleFrom: 0, Handle: cold(h.describeTopicPartitions)},
		{Key: 80, Name: "AddRaftVoter", AdvertiseMin: 0, Min: 0, Max: 1, FlexibleFrom: 0, Handle: cold(h.addRaftVoter)},
		{Key: 81, Name: "RemoveRaftVoter", AdvertiseMin: 0, Min: 0, Max: 0, FlexibleFrom: 0, Handle: cold(h.removeRaftVoter)},
	}
}
