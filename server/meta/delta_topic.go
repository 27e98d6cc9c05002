package meta

import (
	"fmt"
	"slices"
)

// topicsChanged forgets the sorted list that belongs to the set of topics before.
func (d *Delta) topicsChanged() { d.im.sorted = new(sortedTopics) }

func (d *Delta) setTopic(t *Topic) {
	d.im.topicsByName.set(d.owner, t.Name, t)
	d.im.topicsByID.set(d.owner, t.ID, t)
	d.topicsChanged()
}

func (d *Delta) dropTopic(t *Topic) {
	d.im.topicsByName.remove(d.owner, t.Name)
	d.im.topicsByID.remove(d.owner, t.ID)
	d.im.partitions -= len(t.Partitions)
	d.topicsChanged()
}

// writableTopic returns a topic whose list of partitions may be changed.
func (d *Delta) writableTopic(t *Topic) *Topic {
	if t.owner == d.owner {
		return t
	}
	next := &Topic{Name: t.Name, ID: t.ID, Partitions: slices.Clone(t.Partitions), owner: d.owner}
	d.setTopic(next)
	return next
}

// applyTopic creates a topic. Kafka's controller never writes a name or an id twice without a RemoveTopicRecord between; the
// later record wins here, except that one saying nothing new keeps the partitions, whose data would be orphaned.
func (d *Delta) applyTopic(r *TopicRecord) error {
	if r.Name == "" {
		return fmt.Errorf("topic %s: %w: expected a name, found none", r.TopicID, ErrInvalidRecord)
	}
	byName, byID := d.im.Topic(r.Name), d.im.TopicByID(r.TopicID)
	if byName != nil && byName == byID {
		return nil
	}
	if byName != nil {
		d.dropTopic(byName)
	}
	if byID != nil {
		d.dropTopic(byID)
	}
	d.setTopic(&Topic{Name: r.Name, ID: r.TopicID, owner: d.owner})
	return nil
}

func (d *Delta) applyRemoveTopic(r *RemoveTopicRecord) error {
	t := d.im.TopicByID(r.TopicID)
	if t == nil {
		return fmt.Errorf("remove topic %s: %w", r.TopicID, ErrUnknownTopic)
	}
	d.dropTopic(t)
	d.im.configs.remove(d.owner, ConfigResource{ResourceTopic, t.Name})
	return nil
}

func (d *Delta) applyPartition(r *PartitionRecord) error {
	t := d.im.TopicByID(r.TopicID)
	if t == nil {
		return fmt.Errorf("partition %d of topic %s: %w", r.PartitionID, r.TopicID, ErrUnknownTopic)
	}
	if r.PartitionID < 0 {
		return fmt.Errorf("partition %d of topic %q: %w: expected an id from 0", r.PartitionID, t.Name, ErrInvalidRecord)
	}
	if r.LeaderRecoveryState != RecoveryStateRecovered && r.LeaderRecoveryState != RecoveryStateRecovering {
		return fmt.Errorf("partition %d of topic %q: %w: expected leader recovery state 0 or 1, found %d", r.PartitionID, t.Name, ErrInvalidRecord, r.LeaderRecoveryState)
	}
	d.setPartition(t, &Partition{
		ID: r.PartitionID, Leader: r.Leader, LeaderEpoch: r.LeaderEpoch, PartitionEpoch: r.PartitionEpoch,
		RecoveryState: r.LeaderRecoveryState, Replicas: r.Replicas, ISR: r.ISR, Removing: r.RemovingReplicas, Adding: r.AddingReplicas,
		Directories: r.Directories, ELR: r.EligibleLeaderReplicas, LastKnownELR: r.LastKnownELR,
	})
	return nil
}

// applyPartitionChange is PartitionRegistration.merge.
func (d *Delta) applyPartitionChange(r *PartitionChangeRecord) error {
	t := d.im.TopicByID(r.TopicID)
	if t == nil {
		return fmt.Errorf("change of partition %d of topic %s: %w", r.PartitionID, r.TopicID, ErrUnknownTopic)
	}
	old := t.Partition(r.PartitionID)
	if old == nil {
		return fmt.Errorf("change of partition %d of topic %q: %w", r.PartitionID, t.Name, ErrUnknownPartition)
	}
	p := *old
	switch r.LeaderRecoveryState {
	case RecoveryStateUnchanged:
	case RecoveryStateRecovered, RecoveryStateRecovering:
		p.RecoveryState = r.LeaderRecoveryState
	default:
		return fmt.Errorf("change of partition %d of topic %q: %w: expected leader recovery state -1, 0 or 1, found %d", r.PartitionID, t.Name, ErrInvalidRecord, r.LeaderRecoveryState)
	}
	p.PartitionEpoch++
	if r.Leader != NoLeaderChange {
		p.Leader = r.Leader
		p.LeaderEpoch++
	}
	replace(&p.ISR, r.ISR)
	replace(&p.Replicas, r.Replicas)
	replace(&p.Removing, r.RemovingReplicas)
	replace(&p.Adding, r.AddingReplicas)
	replace(&p.Directories, r.Directories)
	replace(&p.ELR, r.EligibleLeaderReplicas)
	replace(&p.LastKnownELR, r.LastKnownELR)
	d.setPartition(t, &p)
	return nil
}

func replace[T any](field *[]T, value []T) {
	if value != nil {
		*field = value
	}
}

// applyClearElr is TopicsDelta.replay(ClearElrRecord): only partitions that have something to clear move their epoch.
func (d *Delta) applyClearElr(r *ClearElrRecord) error {
	if r.TopicName != "" {
		t := d.im.Topic(r.TopicName)
		if t == nil {
			return fmt.Errorf("clear eligible leader replicas of topic %q: %w", r.TopicName, ErrUnknownTopic)
		}
		d.clearElr(t)
		return nil
	}
	var found []*Topic // clearing changes the table that is being walked
	for _, t := range d.im.topicsByID.all() {
		found = append(found, t)
	}
	for _, t := range found {
		d.clearElr(t)
	}
	return nil
}

func (d *Delta) clearElr(t *Topic) {
	for i, old := range t.Partitions {
		if len(old.ELR) == 0 && len(old.LastKnownELR) == 0 {
			continue
		}
		t = d.writableTopic(t)
		p := *old
		p.ELR, p.LastKnownELR = nil, nil
		p.PartitionEpoch++
		t.Partitions[i] = &p
	}
}

// setPartition adds or replaces a partition; p is not reachable from any image yet.
func (d *Delta) setPartition(t *Topic, p *Partition) {
	p.Replicas = d.shareInts(p.Replicas)
	p.ISR = d.shareInts(p.ISR)
	p.ELR = d.shareInts(p.ELR)
	p.LastKnownELR = d.shareInts(p.LastKnownELR)
	if len(p.Removing) == 0 {
		p.Removing = nil
	}
	if len(p.Adding) == 0 {
		p.Adding = nil
	}
	p.Directories = d.shareUUIDs(fitDirectories(p.Directories, len(p.Replicas)))
	t = d.writableTopic(t)
	i, found := t.find(p.ID)
	if found {
		t.Partitions[i] = p
		return
	}
	t.Partitions = slices.Insert(t.Partitions, i, p)
	d.im.partitions++
}

// shareInts returns a slice equal to s that is kept already if it can: the replicas, in-sync replicas and so on of one
// partition, and those of neighbouring partitions, mostly are the same few numbers.
func (d *Delta) shareInts(s []int32) []int32 {
	if len(s) == 0 {
		return nil
	}
	if !slices.Equal(s, d.lastInts) {
		d.lastInts = s
	}
	return d.lastInts
}

func (d *Delta) shareUUIDs(s []UUID) []UUID {
	if len(s) == 0 {
		return nil
	}
	if !slices.Equal(s, d.lastUUIDs) {
		d.lastUUIDs = s
	}
	return d.lastUUIDs
}

// fitDirectories makes directories parallel to replicas: a record older than directory ids has none and means "migrating"
// (PartitionRegistration.defaultToMigrating), and a list of another length, which Kafka would refuse, must not leave a
// replica without an entry.
func fitDirectories(dirs []UUID, replicas int) []UUID {
	if len(dirs) == replicas {
		return dirs
	}
	fit := make([]UUID, replicas)
	copy(fit, dirs)
	return fit
}
