package meta

import (
	"iter"
	"maps"
	"slices"
)

// Records yields records that make an equal image, in the order of Kafka's snapshots (MetadataImage.write): features with
// metadata.version first, registrations, topics with their partitions, configs, client quotas, producer ids, ACLs, SCRAM
// credentials, delegation tokens; then the records this release does not know. Within a kind they are sorted, so equal images
// give equal snapshots. Encode them with Append at the image's MetadataVersion; kinds that it is too old for are left out, as
// Kafka does. What an open metadata transaction has changed is not in them.
func (im *Image) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		_ = im.featureRecords(yield) && im.registrationRecords(yield) && im.topicRecords(yield) && im.configRecords(yield) &&
			im.quotaRecords(yield) && im.producerRecords(yield) && im.securityRecords(yield) && yieldAll(im.unknown, yield)
	}
}

func (im *Image) featureRecords(yield func(Record) bool) bool {
	if v, ok := im.Features[MetadataVersionFeature]; ok && !yield(&FeatureLevelRecord{Name: MetadataVersionFeature, Level: v}) {
		return false
	}
	if im.zkState != nil && !yield(im.zkState) {
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(im.Features)) {
		if name != MetadataVersionFeature && !yield(&FeatureLevelRecord{Name: name, Level: im.Features[name]}) {
			return false
		}
	}
	return true
}

func (im *Image) registrationRecords(yield func(Record) bool) bool {
	for _, id := range slices.Sorted(maps.Keys(im.Brokers)) {
		if !yield(im.Brokers[id].Record()) {
			return false
		}
	}
	if im.MetadataVersion() < controllerRegistrationVersion {
		return true
	}
	for _, id := range slices.Sorted(maps.Keys(im.Controllers)) {
		c := im.Controllers[id]
		if !yield(&RegisterControllerRecord{ControllerID: c.ID, IncarnationID: c.IncarnationID, ZkMigrationReady: c.ZkMigrationReady, EndPoints: c.EndPoints, Features: c.Features}) {
			return false
		}
	}
	return true
}

// Record returns the record that registers the broker as it is now.
func (b *Broker) Record() *RegisterBrokerRecord {
	return &RegisterBrokerRecord{
		BrokerID: b.ID, IsMigratingZkBroker: b.IsMigratingZkBroker, IncarnationID: b.IncarnationID, BrokerEpoch: b.Epoch,
		EndPoints: b.EndPoints, Features: b.Features, Rack: b.Rack, Fenced: b.Fenced, InControlledShutdown: b.InControlledShutdown,
		LogDirs: b.LogDirs, CordonedLogDirs: b.CordonedLogDirs,
	}
}

// Record returns the record that makes the partition as it is now.
func (p *Partition) Record(topic UUID) *PartitionRecord {
	return &PartitionRecord{
		PartitionID: p.ID, TopicID: topic, Replicas: p.Replicas, ISR: p.ISR, RemovingReplicas: p.Removing, AddingReplicas: p.Adding,
		Leader: p.Leader, LeaderRecoveryState: p.RecoveryState, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		// Empty lists are nil in an image, so that they take no space in the record either.
		Directories: p.Directories, EligibleLeaderReplicas: p.ELR, LastKnownELR: p.LastKnownELR,
	}
}

func (im *Image) topicRecords(yield func(Record) bool) bool {
	for _, t := range im.Topics() {
		if !yield(&TopicRecord{Name: t.Name, TopicID: t.ID}) {
			return false
		}
		for _, p := range t.Partitions {
			if !yield(p.Record(t.ID)) {
				return false
			}
		}
	}
	return true
}

func (im *Image) configRecords(yield func(Record) bool) bool {
	for _, resource := range im.ConfigResources() {
		values := im.Configs(resource.Type, resource.Name)
		for _, name := range slices.Sorted(maps.Keys(values)) {
			value := values[name]
			if !yield(&ConfigRecord{ResourceType: resource.Type, ResourceName: resource.Name, Name: name, Value: &value}) {
				return false
			}
		}
	}
	return true
}

func (im *Image) quotaRecords(yield func(Record) bool) bool {
	for _, q := range im.ClientQuotas() {
		for _, key := range slices.Sorted(maps.Keys(q.Values)) {
			if !yield(&ClientQuotaRecord{Entity: q.Entity, QuotaKey: key, Value: q.Values[key]}) {
				return false
			}
		}
	}
	return true
}

func (im *Image) producerRecords(yield func(Record) bool) bool {
	if im.NextProducerID <= 0 {
		return true
	}
	return yield(&ProducerIDsRecord{BrokerID: -1, BrokerEpoch: -1, NextProducerID: im.NextProducerID})
}

func (im *Image) securityRecords(yield func(Record) bool) bool {
	if !yieldAll(im.ACLs(), yield) {
		return false
	}
	if im.MetadataVersion() >= scramVersion && !yieldAll(im.ScramCredentials(), yield) {
		return false
	}
	return im.MetadataVersion() < delegationTokenVersion || yieldAll(im.DelegationTokens(), yield)
}

func yieldAll[R Record](list []R, yield func(Record) bool) bool {
	for _, r := range list {
		if !yield(r) {
			return false
		}
	}
	return true
}
