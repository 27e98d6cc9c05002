package controller

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/gregor-broker/gregor/server/meta"
)

// ProducerIDBlockSize is how many producer ids AllocateProducerIDs hands out at a time (ProducerIdsBlock).
const ProducerIDBlockSize = 1000

// AllocateProducerIDs reserves ProducerIDBlockSize producer ids, never given to anybody before, and returns the first.
func (k *Controller) AllocateProducerIDs() (first int64, err error) {
	err = k.Change(func(im *meta.Image) ([]meta.Record, error) {
		if first = im.NextProducerID; first > math.MaxInt64-ProducerIDBlockSize {
			return nil, &Error{CodeUnknownServerError, "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit"}
		}
		return []meta.Record{&meta.ProducerIDsRecord{
			BrokerID: k.c.NodeID, BrokerEpoch: k.q.BrokerEpoch(), NextProducerID: first + ProducerIDBlockSize,
		}}, nil
	})
	return first, err
}

// Types of elections (ElectionType).
const (
	ElectPreferred int8 = 0
	ElectUnclean   int8 = 1
)

// TopicPartitions names partitions of a topic.
type TopicPartitions struct {
	Topic      string
	Partitions []int32
}

// ElectionResult is the answer for one topic.
type ElectionResult struct {
	Topic      string
	Partitions []ElectedPartition
}

// ElectedPartition is the answer for one partition.
type ElectedPartition struct {
	Partition int32
	Err       *Error // nil: elected
}

// ElectLeaders elects leaders; nil topics are all, and then partitions that need none are left out of the answer, while their
// topics stay in it.
func (k *Controller) ElectLeaders(electionType int8, topics []TopicPartitions) ([]ElectionResult, error) {
	if electionType != ElectPreferred && electionType != ElectUnclean {
		return nil, errorf(CodeInvalidRequest, "Unknown election type %d", electionType)
	}
	var results []ElectionResult
	err := k.Change(func(im *meta.Image) (records []meta.Record, err error) {
		results = nil
		elect := func(topic string, partition int32) *Error {
			record, e := k.elect(im, topic, partition, electionType)
			if record != nil {
				records = append(records, record)
			}
			return e
		}
		if topics == nil {
			for _, t := range im.Topics() {
				r := ElectionResult{Topic: t.Name}
				for _, p := range t.Partitions {
					if e := elect(t.Name, p.ID); e == nil || e.Code != CodeElectionNotNeeded {
						r.Partitions = append(r.Partitions, ElectedPartition{p.ID, e})
					}
				}
				results = append(results, r)
			}
			return records, nil
		}
		for _, t := range topics {
			r := ElectionResult{Topic: t.Topic}
			for _, p := range t.Partitions {
				r.Partitions = append(r.Partitions, ElectedPartition{p, elect(t.Topic, p)})
			}
			results = append(results, r)
		}
		return records, nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (k *Controller) elect(im *meta.Image, topic string, partition int32, electionType int8) (meta.Record, *Error) {
	t := im.Topic(topic)
	if t == nil {
		return nil, errorf(CodeUnknownTopicOrPartition, "No such topic as %s", topic)
	}
	p := t.Partition(partition)
	if p == nil {
		return nil, errorf(CodeUnknownTopicOrPartition, "No such partition as %s-%d", topic, partition)
	}
	preferred := len(p.Replicas) > 0 && p.Replicas[0] == p.Leader
	if electionType == ElectPreferred && preferred || electionType == ElectUnclean && p.Leader != meta.NoLeader {
		return nil, &Error{CodeElectionNotNeeded, messageElectionNotNeeded}
	}
	mine := slices.Contains(p.Replicas, k.c.NodeID)
	if !mine || p.Leader == k.c.NodeID || electionType == ElectPreferred && p.Replicas[0] != k.c.NodeID {
		if electionType == ElectPreferred {
			return nil, &Error{CodePreferredLeaderUnavailable, messageNoPreferredLeader}
		}
		return nil, &Error{CodeEligibleLeadersUnavailable, messageNoEligibleLeader}
	}
	change := meta.NewPartitionChange(t.ID, p.ID)
	change.Leader, change.ISR = k.c.NodeID, []int32{k.c.NodeID}
	if len(p.ELR) > 0 {
		change.EligibleLeaderReplicas = []int32{}
	}
	if len(p.LastKnownELR) > 0 {
		change.LastKnownELR = []int32{}
	}
	return change, nil
}

// Reassignment is a partition of an AlterPartitionReassignments request.
type Reassignment struct {
	Topic     string
	Partition int32
	Replicas  []int32 // nil: cancel
	// SameFactor refuses a change of the number of replicas (KIP-860).
	SameFactor bool
}

// AlterPartitionReassignments answers reassignments for a cluster of one node: to the replicas a partition already has there is
// nothing to do, to others there is no broker, and there is never one to cancel.
func (k *Controller) AlterPartitionReassignments(list []Reassignment) []*Error {
	im := k.Image()
	answers := make([]*Error, len(list))
	for i, r := range list {
		answers[i] = k.reassign(im, &r)
	}
	return answers
}

func (k *Controller) reassign(im *meta.Image, r *Reassignment) *Error {
	t := im.Topic(r.Topic)
	if t == nil {
		return errorf(CodeUnknownTopicOrPartition, "Unable to find a topic named %s.", r.Topic)
	}
	p := t.Partition(r.Partition)
	if p == nil {
		return errorf(CodeUnknownTopicOrPartition, "Unable to find partition %s:%d.", r.Topic, r.Partition)
	}
	if r.Replicas == nil {
		return &Error{Code: CodeNoReassignmentInProgress}
	}
	if e := k.checkAssignment(im, r.Replicas, -1); e != nil {
		return e
	}
	if have := len(p.Replicas); r.SameFactor && have != len(r.Replicas) {
		return errorf(CodeInvalidReplicationFactor, "The replication factor is changed from %d to %d", have, len(r.Replicas))
	}
	return nil
}

// Types of feature updates (FeatureUpdate.UpgradeType).
const (
	Upgrade         int8 = 1
	SafeDowngrade   int8 = 2
	UnsafeDowngrade int8 = 3
)

// FeatureUpdate is a feature of an UpdateFeatures request.
type FeatureUpdate struct {
	Name        string
	Level       int16 // 0 turns it off
	UpgradeType int8
}

// UpdateFeatures changes finalized feature levels, all or none; an error is an *Error. With validateOnly it changes nothing.
func (k *Controller) UpdateFeatures(updates []FeatureUpdate, validateOnly bool) error {
	return k.Change(func(im *meta.Image) (records []meta.Record, err error) {
		for _, u := range updates {
			made, e := k.updateFeature(im, &u, updates)
			if e != nil {
				return nil, e
			}
			records = append(records, made...)
		}
		if validateOnly {
			records = nil
		}
		return records, nil
	})
}

func (k *Controller) updateFeature(im *meta.Image, u *FeatureUpdate, all []FeatureUpdate) ([]meta.Record, *Error) {
	invalid := func(reason string) *Error {
		return errorf(CodeInvalidUpdateVersion, "Invalid update version %d for feature %s. %s", u.Level, u.Name, reason)
	}
	if u.UpgradeType < Upgrade || u.UpgradeType > UnsafeDowngrade {
		return nil, invalid("The controller does not support the given upgrade type.")
	}
	if u.Level < 0 {
		return nil, invalid("A feature version cannot be less than 0.")
	}
	current := im.Features[u.Name]
	if u.Name == meta.KRaftVersionFeature {
		_, current = k.q.Voters()
	}
	if reason := k.unsupportedLevel(u); reason != "" {
		return nil, invalid(reason)
	}
	switch {
	case u.Level < current && u.UpgradeType == Upgrade:
		return nil, invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case u.Level > current && u.UpgradeType != Upgrade:
		return nil, invalid("Can't downgrade to a newer version.")
	}
	if !slices.ContainsFunc(meta.Features(), func(f meta.Feature) bool { return f.Name == u.Name }) {
		return nil, invalid("Feature " + u.Name + " not found.")
	}
	switch u.Name {
	case meta.MetadataVersionFeature:
		return updateMetadataVersion(u, current)
	case meta.KRaftVersionFeature:
		if u.Level == current {
			return nil, nil
		}
		if u.Level < current {
			return nil, invalid("Can't downgrade the version of this feature.")
		}
		return nil, invalid("The voters of this cluster are static; it is formatted or restarted without controller.quorum.voters to change that.")
	case meta.EligibleLeaderReplicasFeature:
		if u.Level > 0 && proposedLevel(im, meta.MetadataVersionFeature, all) < 23 {
			return nil, invalid(fmt.Sprintf("%s could not be set to %d because it depends on metadata.version level 23", u.Name, u.Level))
		}
	}
	records := []meta.Record{&meta.FeatureLevelRecord{Name: u.Name, Level: u.Level}}
	if u.Name == meta.EligibleLeaderReplicasFeature && u.Level > 0 && current == 0 {
		records = append(records, k.minISRRecords(im)...)
	}
	return records, nil
}

// minISRRecords moves min.insync.replicas where eligible leader replicas want it: a cluster default, and none per broker.
func (k *Controller) minISRRecords(im *meta.Image) (records []meta.Record) {
	if _, ok := im.Configs(meta.ResourceBroker, "")[minInSyncReplicas]; !ok {
		value := "1"
		if k.c.Default != nil {
			if v, ok := k.c.Default(meta.ResourceBroker, minInSyncReplicas); ok {
				value = v
			}
		}
		records = append(records, &meta.ConfigRecord{ResourceType: meta.ResourceBroker, Name: minInSyncReplicas, Value: &value})
	}
	name := strconv.Itoa(int(k.c.NodeID))
	if _, ok := im.Configs(meta.ResourceBroker, name)[minInSyncReplicas]; ok {
		records = append(records, &meta.ConfigRecord{ResourceType: meta.ResourceBroker, ResourceName: name, Name: minInSyncReplicas})
	}
	return records
}

func proposedLevel(im *meta.Image, name string, all []FeatureUpdate) int16 {
	for _, u := range all {
		if u.Name == name {
			return u.Level
		}
	}
	return im.Features[name]
}

// unsupportedLevel says in Kafka's words why this node does not know a level (QuorumFeatures.reasonNotSupported), or "".
func (k *Controller) unsupportedLevel(u *FeatureUpdate) string {
	var known meta.Feature
	for _, f := range meta.Features() {
		if f.Name == u.Name {
			known = f
		}
	}
	if u.Level >= known.Min && u.Level <= known.Max {
		return ""
	}
	if known.Max == 0 {
		return fmt.Sprintf("Local controller %d does not support this feature.", k.c.NodeID)
	}
	return fmt.Sprintf("Local controller %d only supports versions %d-%d", k.c.NodeID, known.Min, known.Max)
}

// metadataUnchanged are the levels of metadata.version that changed no record, so that stepping back over them loses nothing
// (MetadataVersion's didMetadataChange).
var metadataUnchanged = []int16{9, 10, 12, 16, 18, 19, 20, 21, 22, 24, 25, 26, 27, 28, 29}

func updateMetadataVersion(u *FeatureUpdate, current int16) ([]meta.Record, *Error) {
	if u.Level < current {
		for level := current; level > u.Level; level-- {
			if slices.Contains(metadataUnchanged, level) {
				continue
			}
			reason := "Refusing to perform the requested downgrade because it might delete metadata information."
			if u.UpgradeType == UnsafeDowngrade {
				reason = "Unsafe metadata downgrade is not supported in this version."
			}
			return nil, errorf(CodeInvalidUpdateVersion, "Unsupported metadata.version downgrade from %d to %d. %s", current, u.Level, reason)
		}
	}
	return []meta.Record{&meta.FeatureLevelRecord{Name: u.Name, Level: u.Level}}, nil
}
