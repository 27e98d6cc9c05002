package api

import (
	"github.com/gregor-broker/gregor/wire"
	"github.com/gregor-broker/gregor/wire/fetch"
	"github.com/gregor-broker/gregor/wire/produce"
)

// Table is everything this broker serves, at Apache Kafka 4.3's versions. A
// key whose behaviour is not there is not in it: clients test what they see.
func Table(d Deps) *wire.Table {
	h := &handlers{Deps: d}
	h.table = wire.NewTable([]wire.Spec{
		{Key: 0, Name: "Produce", AdvertiseMin: 0, Min: produce.MinVersion, Max: produce.MaxVersion, FlexibleFrom: produce.FlexibleFrom, Handle: h.produce},
		{Key: 1, Name: "Fetch", AdvertiseMin: 4, Min: fetch.MinVersion, Max: fetch.MaxVersion, FlexibleFrom: fetch.FlexibleFrom, Handle: h.fetch},
		{Key: 2, Name: "ListOffsets", AdvertiseMin: 1, Min: 1, Max: 11, FlexibleFrom: 6, Handle: cold(h.listOffsets)},
		{Key: 3, Name: "Metadata", AdvertiseMin: 0, Min: 0, Max: 13, FlexibleFrom: 9, Handle: cold(h.metadata)},
		{Key: 10, Name: "FindCoordinator", AdvertiseMin: 0, Min: 0, Max: 6, FlexibleFrom: 3, Handle: cold(h.findCoordinator)},
		{Key: 18, Name: "ApiVersions", AdvertiseMin: 0, Min: 0, Max: 4, FlexibleFrom: 3, Handle: h.apiVersions},
		{Key: 19, Name: "CreateTopics", AdvertiseMin: 2, Min: 2, Max: 7, FlexibleFrom: 5, Handle: cold(h.createTopics)},
		{Key: 20, Name: "DeleteTopics", AdvertiseMin: 1, Min: 1, Max: 6, FlexibleFrom: 4, Handle: cold(h.deleteTopics)},
		{Key: 21, Name: "DeleteRecords", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 2, Handle: cold(h.deleteRecords)},
		{Key: 22, Name: "InitProducerId", AdvertiseMin: 0, Min: 0, Max: 5, FlexibleFrom: 2, Handle: cold(h.initProducerID)},
		{Key: 23, Name: "OffsetForLeaderEpoch", AdvertiseMin: 2, Min: 2, Max: 4, FlexibleFrom: 4, Handle: cold(h.offsetForLeaderEpoch)},
		{Key: 29, Name: "DescribeAcls", AdvertiseMin: 1, Min: 1, Max: 3, FlexibleFrom: 2, Handle: cold(h.describeACLs)},
		{Key: 30, Name: "CreateAcls", AdvertiseMin: 1, Min: 1, Max: 3, FlexibleFrom: 2, Handle: cold(h.createACLs)},
		{Key: 31, Name: "DeleteAcls", AdvertiseMin: 1, Min: 1, Max: 3, FlexibleFrom: 2, Handle: cold(h.deleteACLs)},
		{Key: 32, Name: "DescribeConfigs", AdvertiseMin: 1, Min: 1, Max: 4, FlexibleFrom: 4, Handle: cold(h.describeConfigs)},
		{Key: 33, Name: "AlterConfigs", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 2, Handle: cold(h.alterConfigs)},
		{Key: 35, Name: "DescribeLogDirs", AdvertiseMin: 1, Min: 1, Max: 5, FlexibleFrom: 2, Handle: cold(h.describeLogDirs)},
		{Key: 37, Name: "CreatePartitions", AdvertiseMin: 0, Min: 0, Max: 3, FlexibleFrom: 2, Handle: cold(h.createPartitions)},
		{Key: 44, Name: "IncrementalAlterConfigs", AdvertiseMin: 0, Min: 0, Max: 1, FlexibleFrom: 1, Handle: cold(h.incrementalAlterConfigs)},
		{Key: 60, Name: "DescribeCluster", AdvertiseMin: 0, Min: 0, Max: 2, FlexibleFrom: 0, Handle: cold(h.describeCluster)},
		{Key: 75, Name: "DescribeTopicPartitions", AdvertiseMin: 0, Min: 0, Max: 0, FlexibleFrom: 0, Handle: cold(h.describeTopicPartitions)},
	})
	return h.table
}
