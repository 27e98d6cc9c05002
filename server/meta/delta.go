package meta

import (
	"errors"
	"fmt"
	"iter"
	"maps"
)

// Errors of Delta.Apply; the error returned wraps one of them and names the record's subject.
var (
	ErrUnknownTopic     = errors.New("no such topic")
	ErrUnknownPartition = errors.New("no such partition")
	ErrBrokerEpoch      = errors.New("not the broker's current registration")
	ErrTransaction      = errors.New("metadata transaction out of order")
	ErrUnknownACL       = errors.New("no such access control entry")
	ErrInvalidRecord    = errors.New("invalid metadata record")
)

// Delta applies records to an image and makes the next one (Kafka's MetadataDelta). It belongs to one goroutine. After Image
// it may go on. An Apply that returns an error has changed nothing.
type Delta struct {
	im     Image  // what the records have made, the open transaction included
	before *Image // what is visible while a transaction is open; nil outside of one
	owner  *owner
	// The small maps are copied as a whole, once between two images.
	ownFeatures, ownBrokers, ownControllers bool
	lastInts                                []int32 // see shareInts
	lastUUIDs                               []UUID
}

// NewDelta returns a Delta that continues from an image, and from the metadata transaction open in it; nil is the empty image.
func NewDelta(im *Image) *Delta {
	d := &Delta{}
	switch {
	case im == nil:
	case im.pending != nil:
		d.im, d.before = *im.pending, im
	default:
		d.im = *im
	}
	d.disown()
	return d
}

// disown makes everything reached so far read-only.
func (d *Delta) disown() {
	d.owner = new(owner)
	d.ownFeatures, d.ownBrokers, d.ownControllers = false, false, false
}

// freeze returns what has been applied as an image nobody will change.
func (d *Delta) freeze() *Image {
	if d.im.sorted == nil {
		d.im.sorted = new(sortedTopics)
	}
	im := d.im
	d.disown()
	return &im
}

// Image returns the visible state as of the given offset and leader epoch. While a metadata transaction is open that is the
// state before it, with the transaction carried along unseen.
func (d *Delta) Image(offset int64, epoch int32) *Image {
	im := d.freeze()
	if d.before != nil {
		visible := *d.before
		visible.pending = im
		im = &visible
	}
	im.Offset, im.Epoch = offset, epoch
	return im
}

// InTransaction reports whether a metadata transaction is open.
func (d *Delta) InTransaction() bool { return d.before != nil }

// Replay applies record values in order, for instance those of the batches of a log; a nil value or a record that cannot be
// decoded or applied ends it with an error that names its offset. Control records must not be among them.
func Replay(d *Delta, records iter.Seq2[int64, []byte]) error {
	for offset, value := range records {
		rec, err := Decode(value)
		if err == nil {
			err = d.Apply(rec)
		}
		if err != nil {
			return fmt.Errorf("metadata record at offset %d: %w", offset, err)
		}
	}
	return nil
}

// Apply applies one record with the meaning Kafka's replay gives it. The record belongs to the Delta from then on.
func (d *Delta) Apply(r Record) error {
	switch r := r.(type) {
	case *TopicRecord:
		return d.applyTopic(r)
	case *PartitionRecord:
		return d.applyPartition(r)
	case *PartitionChangeRecord:
		return d.applyPartitionChange(r)
	case *RemoveTopicRecord:
		return d.applyRemoveTopic(r)
	case *ClearElrRecord:
		return d.applyClearElr(r)
	case *ConfigRecord:
		d.applyConfig(r)
	case *FeatureLevelRecord:
		d.applyFeatureLevel(r)
	case *RegisterBrokerRecord:
		d.setBroker(&Broker{
			ID: r.BrokerID, Epoch: r.BrokerEpoch, IncarnationID: r.IncarnationID, EndPoints: r.EndPoints, Features: r.Features,
			Rack: r.Rack, Fenced: r.Fenced, InControlledShutdown: r.InControlledShutdown, IsMigratingZkBroker: r.IsMigratingZkBroker,
			LogDirs: r.LogDirs, CordonedLogDirs: r.CordonedLogDirs,
		})
	case *UnregisterBrokerRecord:
		if _, err := d.broker(r.BrokerID, r.BrokerEpoch, "unregister"); err != nil {
			return err
		}
		delete(d.brokers(), r.BrokerID)
	case *FenceBrokerRecord:
		return d.applyRegistrationChange(&BrokerRegistrationChangeRecord{BrokerID: r.ID, BrokerEpoch: r.Epoch, Fenced: 1}, "fence")
	case *UnfenceBrokerRecord:
		return d.applyRegistrationChange(&BrokerRegistrationChangeRecord{BrokerID: r.ID, BrokerEpoch: r.Epoch, Fenced: -1}, "unfence")
	case *BrokerRegistrationChangeRecord:
		return d.applyRegistrationChange(r, "change")
	case *RegisterControllerRecord:
		if !d.ownControllers {
			d.im.Controllers, d.ownControllers = cloneMap(d.im.Controllers), true
		}
		d.im.Controllers[r.ControllerID] = &Controller{
			ID: r.ControllerID, IncarnationID: r.IncarnationID, ZkMigrationReady: r.ZkMigrationReady, EndPoints: r.EndPoints, Features: r.Features,
		}
	case *ClientQuotaRecord:
		d.applyClientQuota(r)
	case *ProducerIDsRecord:
		d.im.NextProducerID = r.NextProducerID
	case *AccessControlEntryRecord:
		d.im.acls.set(d.owner, r.ID, r)
	case *RemoveAccessControlEntryRecord:
		if d.im.ACL(r.ID) == nil {
			return fmt.Errorf("remove access control entry %s: %w", r.ID, ErrUnknownACL)
		}
		d.im.acls.remove(d.owner, r.ID)
	case *UserScramCredentialRecord:
		d.im.scram.set(d.owner, scramKey{r.Mechanism, r.Name}, r)
	case *RemoveUserScramCredentialRecord:
		d.im.scram.remove(d.owner, scramKey{r.Mechanism, r.Name})
	case *DelegationTokenRecord:
		d.im.tokens.set(d.owner, r.TokenID, r)
	case *RemoveDelegationTokenRecord:
		d.im.tokens.remove(d.owner, r.TokenID)
	case *ZkMigrationStateRecord:
		d.im.zkState = r
	case *NoOpRecord:
	case *BeginTransactionRecord, *EndTransactionRecord, *AbortTransactionRecord:
		return d.applyTransaction(r)
	case *UnknownRecord:
		// The capacity is cut so that two deltas from one image never append into the same memory.
		d.im.unknown = append(d.im.unknown[:len(d.im.unknown):len(d.im.unknown)], r)
	default:
		return fmt.Errorf("%w: %T", ErrInvalidRecord, r)
	}
	return nil
}

// applyTransaction follows MetadataBatchLoader: what a transaction changes is kept apart from what is visible until it ends.
func (d *Delta) applyTransaction(r Record) error {
	if _, begin := r.(*BeginTransactionRecord); begin {
		if d.before != nil {
			return fmt.Errorf("%w: begin inside an open transaction", ErrTransaction)
		}
		d.before = d.freeze()
		return nil
	}
	if d.before == nil {
		return fmt.Errorf("%w: %s without a begin", ErrTransaction, RecordName(r.Key()))
	}
	if _, abort := r.(*AbortTransactionRecord); abort {
		d.im = *d.before
		d.im.pending = nil
		d.disown()
	}
	d.before = nil
	return nil
}

func (d *Delta) applyFeatureLevel(r *FeatureLevelRecord) {
	if !d.ownFeatures {
		d.im.Features, d.ownFeatures = cloneMap(d.im.Features), true
	}
	if r.Level == 0 {
		delete(d.im.Features, r.Name)
		return
	}
	d.im.Features[r.Name] = r.Level
}

func (d *Delta) applyConfig(r *ConfigRecord) {
	key := ConfigResource{r.ResourceType, r.ResourceName}
	c, ok := d.im.configs.get(key)
	if r.Value == nil {
		if !ok {
			return
		}
		if _, set := c.values[r.Name]; !set {
			return
		}
		if len(c.values) == 1 {
			d.im.configs.remove(d.owner, key)
			return
		}
	}
	switch {
	case !ok:
		c = &resourceConfigs{owner: d.owner, values: make(map[string]string)}
		d.im.configs.set(d.owner, key, c)
	case c.owner != d.owner:
		c = &resourceConfigs{owner: d.owner, values: maps.Clone(c.values)}
		d.im.configs.set(d.owner, key, c)
	}
	if r.Value == nil {
		delete(c.values, r.Name)
		return
	}
	c.values[r.Name] = *r.Value
}

func (d *Delta) applyClientQuota(r *ClientQuotaRecord) {
	entity := SortedEntity(r.Entity)
	key := quotaKey(entity)
	q, ok := d.im.quotas.get(key)
	if r.Remove {
		if !ok {
			return
		}
		if _, set := q.Values[r.QuotaKey]; !set {
			return
		}
		if len(q.Values) == 1 {
			d.im.quotas.remove(d.owner, key)
			return
		}
	}
	switch {
	case !ok:
		q = &ClientQuota{Entity: entity, Values: make(map[string]float64), owner: d.owner}
		d.im.quotas.set(d.owner, key, q)
	case q.owner != d.owner:
		q = &ClientQuota{Entity: q.Entity, Values: maps.Clone(q.Values), owner: d.owner}
		d.im.quotas.set(d.owner, key, q)
	}
	if r.Remove {
		delete(q.Values, r.QuotaKey)
		return
	}
	q.Values[r.QuotaKey] = r.Value
}

// broker returns the registration a record is about, which must be of that epoch (ClusterDelta.getBrokerOrThrow).
func (d *Delta) broker(id int32, epoch int64, action string) (*Broker, error) {
	b := d.im.Brokers[id]
	if b == nil {
		return nil, fmt.Errorf("%s broker %d epoch %d: %w: it is not registered", action, id, epoch, ErrBrokerEpoch)
	}
	if b.Epoch != epoch {
		return nil, fmt.Errorf("%s broker %d: %w: expected epoch %d, found %d", action, id, ErrBrokerEpoch, b.Epoch, epoch)
	}
	return b, nil
}

func (d *Delta) brokers() map[int32]*Broker {
	if !d.ownBrokers {
		d.im.Brokers, d.ownBrokers = cloneMap(d.im.Brokers), true
	}
	return d.im.Brokers
}

func (d *Delta) setBroker(b *Broker) { d.brokers()[b.ID] = b }

func (d *Delta) applyRegistrationChange(r *BrokerRegistrationChangeRecord, action string) error {
	b, err := d.broker(r.BrokerID, r.BrokerEpoch, action)
	if err != nil {
		return err
	}
	if r.Fenced < -1 || r.Fenced > 1 {
		return fmt.Errorf("%s broker %d: %w: expected fenced -1, 0 or 1, found %d", action, r.BrokerID, ErrInvalidRecord, r.Fenced)
	}
	if r.InControlledShutdown < 0 || r.InControlledShutdown > 1 {
		return fmt.Errorf("%s broker %d: %w: expected inControlledShutdown 0 or 1, found %d", action, r.BrokerID, ErrInvalidRecord, r.InControlledShutdown)
	}
	next := *b
	if r.Fenced != 0 {
		next.Fenced = r.Fenced > 0
	}
	if r.InControlledShutdown != 0 {
		next.InControlledShutdown = true
	}
	if len(r.LogDirs) > 0 {
		next.LogDirs = r.LogDirs
	}
	if r.CordonedLogDirs != nil {
		next.CordonedLogDirs = r.CordonedLogDirs
	}
	d.setBroker(&next)
	return nil
}

// cloneMap is maps.Clone that never returns nil.
func cloneMap[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return make(map[K]V)
	}
	return maps.Clone(m)
}
