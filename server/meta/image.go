package meta

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gregor-broker/gregor/wire/prim"
)

// Image is the cluster metadata as of one offset of the metadata log. It never changes: everything reached from it is shared
// with other images and read-only, so any number of goroutines may read it without a lock. The zero value is an empty cluster.
type Image struct {
	Offset int64 // of the last record applied, as given to Delta.Image
	Epoch  int32 // of the last record applied, as given to Delta.Image

	Features       map[string]int16      // finalized levels, metadata.version among them; never level 0
	Brokers        map[int32]*Broker     // registered brokers
	Controllers    map[int32]*Controller // registered controllers
	NextProducerID int64                 // first id of the next block; 0 when no block was ever handed out

	topicsByName table[string, *Topic]
	topicsByID   table[UUID, *Topic]
	partitions   int
	sorted       *sortedTopics

	configs table[ConfigResource, *resourceConfigs]
	quotas  table[string, *ClientQuota]
	acls    table[UUID, *AccessControlEntryRecord]
	scram   table[scramKey, *UserScramCredentialRecord]
	tokens  table[string, *DelegationTokenRecord]
	unknown []*UnknownRecord
	zkState *ZkMigrationStateRecord

	// pending is what the open metadata transaction has made so far; nil outside of one.
	pending *Image
}

// sortedTopics is filled by the first reader that wants the topics in order; images with the same topics share it.
type sortedTopics struct {
	list atomic.Pointer[[]*Topic]
}

// Topic is one topic of an Image; read-only.
type Topic struct {
	Name       string
	ID         UUID
	Partitions []*Partition // ascending ids; Kafka leaves no gaps, but a log may

	owner *owner
}

// Partition is one partition of an Image (PartitionRegistration); read-only. Slices may share memory with each other.
type Partition struct {
	ID             int32
	Leader         int32 // NoLeader if there is none
	LeaderEpoch    int32
	PartitionEpoch int32
	RecoveryState  int8
	Replicas       []int32
	ISR            []int32
	Removing       []int32
	Adding         []int32
	Directories    []UUID // as long as Replicas; DirectoryMigrating where the log names none
	ELR            []int32
	LastKnownELR   []int32
}

// Broker is a broker's registration (BrokerRegistration); read-only.
type Broker struct {
	ID                   int32
	Epoch                int64
	IncarnationID        UUID
	EndPoints            []Endpoint
	Features             []SupportedFeature
	Rack                 *string
	Fenced               bool
	InControlledShutdown bool
	IsMigratingZkBroker  bool
	LogDirs              []UUID // online directories; empty if never told
	CordonedLogDirs      []UUID // nil if never told
}

// Controller is a controller's registration (ControllerRegistration); read-only.
type Controller struct {
	ID               int32
	IncarnationID    UUID
	ZkMigrationReady bool
	EndPoints        []Endpoint
	Features         []SupportedFeature
}

// ConfigResource names what a config belongs to: one of the Resource constants and a name.
type ConfigResource struct {
	Type int8
	Name string
}

// ClientQuota is every quota value of one entity; read-only.
type ClientQuota struct {
	Entity []QuotaEntity // sorted by type
	Values map[string]float64

	owner *owner
}

type resourceConfigs struct {
	owner  *owner
	values map[string]string
}

type scramKey struct {
	mechanism int8
	name      string
}

// Partition returns the partition of that id, or nil.
func (t *Topic) Partition(id int32) *Partition {
	if i, ok := t.find(id); ok {
		return t.Partitions[i]
	}
	return nil
}

// find returns where the partition is or belongs. Ids without gaps make it one comparison.
func (t *Topic) find(id int32) (int, bool) {
	if n := len(t.Partitions); id >= 0 && int64(id) < int64(n) && t.Partitions[id].ID == id {
		return int(id), true
	} else if n > 0 && t.Partitions[n-1].ID < id {
		return n, false
	}
	return slices.BinarySearchFunc(t.Partitions, id, func(p *Partition, id int32) int { return cmp.Compare(p.ID, id) })
}

// Topic returns the topic of that name, or nil.
func (im *Image) Topic(name string) *Topic {
	t, _ := im.topicsByName.get(name)
	return t
}

// TopicByID returns the topic of that id, or nil.
func (im *Image) TopicByID(id UUID) *Topic {
	t, _ := im.topicsByID.get(id)
	return t
}

// TopicCount returns how many topics there are.
func (im *Image) TopicCount() int { return im.topicsByID.n }

// PartitionCount returns how many partitions all topics have together.
func (im *Image) PartitionCount() int { return im.partitions }

// Topics returns every topic by ascending name; the slice is shared and read-only. The first call for a set of topics sorts.
func (im *Image) Topics() []*Topic {
	if im.topicsByID.n == 0 {
		return nil
	}
	if p := im.sorted.list.Load(); p != nil {
		return *p
	}
	list := make([]*Topic, 0, im.topicsByID.n)
	for _, t := range im.topicsByID.all() {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
	im.sorted.list.Store(&list)
	return list
}

// Configs returns the configs set on a resource; the map is shared and read-only, nil if none is set.
func (im *Image) Configs(resourceType int8, name string) map[string]string {
	c, ok := im.configs.get(ConfigResource{resourceType, name})
	if !ok {
		return nil
	}
	return c.values
}

// ConfigResources returns every resource that has a config, by type and name.
func (im *Image) ConfigResources() []ConfigResource {
	return sortedKeys(&im.configs, func(a, b ConfigResource) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name))
	})
}

// ClientQuota returns the quotas of exactly that entity, whatever the order of its parts, or nil.
func (im *Image) ClientQuota(entity ...QuotaEntity) *ClientQuota {
	q, _ := im.quotas.get(quotaKey(SortedEntity(entity)))
	return q
}

// SameClientQuotas reports that the client quotas of an earlier image are the same; false means that they may differ.
func (im *Image) SameClientQuotas(earlier *Image) bool {
	return im.quotas.shards == earlier.quotas.shards
}

// ClientQuotas returns every client quota in a fixed order.
func (im *Image) ClientQuotas() []*ClientQuota { return sortedValues(&im.quotas, strings.Compare) }

// ACL returns the ACL of that id, or nil.
func (im *Image) ACL(id UUID) *AccessControlEntryRecord {
	a, _ := im.acls.get(id)
	return a
}

// ACLs returns every ACL by id.
func (im *Image) ACLs() []*AccessControlEntryRecord {
	return sortedValues(&im.acls, func(a, b UUID) int { return slices.Compare(a[:], b[:]) })
}

// ScramCredential returns a user's credential for a mechanism, or nil.
func (im *Image) ScramCredential(mechanism int8, user string) *UserScramCredentialRecord {
	c, _ := im.scram.get(scramKey{mechanism, user})
	return c
}

// ScramCredentials returns every SCRAM credential by mechanism and user.
func (im *Image) ScramCredentials() []*UserScramCredentialRecord {
	return sortedValues(&im.scram, func(a, b scramKey) int {
		return cmp.Or(cmp.Compare(a.mechanism, b.mechanism), strings.Compare(a.name, b.name))
	})
}

// DelegationToken returns the token of that id, or nil.
func (im *Image) DelegationToken(id string) *DelegationTokenRecord {
	t, _ := im.tokens.get(id)
	return t
}

// DelegationTokens returns every delegation token by id.
func (im *Image) DelegationTokens() []*DelegationTokenRecord {
	return sortedValues(&im.tokens, strings.Compare)
}

// UnknownRecords returns the records this release does not know, in the order of the log; read-only.
func (im *Image) UnknownRecords() []*UnknownRecord { return im.unknown }

// InTransaction reports whether a metadata transaction was open at this offset. What it changed so far is not visible here,
// a Delta made from the image continues it, and no snapshot may be taken of it (KIP-868).
func (im *Image) InTransaction() bool { return im.pending != nil }

// MetadataVersion returns the finalized metadata.version; MinMetadataVersion where none was set, as Kafka treats such a log
// (ActivationRecordsGenerator).
func (im *Image) MetadataVersion() int16 {
	if v, ok := im.Features[MetadataVersionFeature]; ok {
		return v
	}
	return MinMetadataVersion
}

// TopicChange is a topic that differs between two images: Old is nil if it is new, New is nil if it is gone.
type TopicChange struct{ Old, New *Topic }

// ChangedTopics yields the topics, by id and in no order, that differ from an earlier image. The cost follows from what
// changed, not from how many topics there are, when im was made from earlier by Deltas. Unchanged partitions of a changed
// topic are the same pointers.
func (im *Image) ChangedTopics(earlier *Image) iter.Seq[TopicChange] {
	return func(yield func(TopicChange) bool) {
		for c := range changes(&earlier.topicsByID, &im.topicsByID) {
			if !yield(TopicChange{c.old, c.new}) {
				return
			}
		}
	}
}

// ChangedConfigs yields the resources whose configs differ from an earlier image, in no order; the cost is as that of
// ChangedTopics.
func (im *Image) ChangedConfigs(earlier *Image) iter.Seq[ConfigResource] {
	return func(yield func(ConfigResource) bool) {
		for c := range changes(&earlier.configs, &im.configs) {
			if !yield(c.key) {
				return
			}
		}
	}
}

func sortedKeys[K comparable, V any](t *table[K, V], compare func(a, b K) int) []K {
	keys := make([]K, 0, t.n)
	for k := range t.all() {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}

func sortedValues[K comparable, V any](t *table[K, V], compare func(a, b K) int) []V {
	values := make([]V, 0, t.n)
	for _, k := range sortedKeys(t, compare) {
		v, _ := t.get(k)
		values = append(values, v)
	}
	return values
}

// SortedEntity returns the parts by type, a type named twice only with its last name (ClientQuotaEntity is a map in Kafka).
func SortedEntity(entity []QuotaEntity) []QuotaEntity {
	parts := make(map[string]*string, len(entity))
	for _, e := range entity {
		parts[e.Type] = e.Name
	}
	list := make([]QuotaEntity, 0, len(parts))
	for _, typ := range slices.Sorted(maps.Keys(parts)) {
		list = append(list, QuotaEntity{Type: typ, Name: parts[typ]})
	}
	return list
}

// quotaKey makes one string of a sorted entity; lengths keep parts apart.
func quotaKey(entity []QuotaEntity) string {
	var key []byte
	for _, e := range entity {
		key = prim.AppendCompactString(key, e.Type)
		key = prim.AppendCompactNullableString(key, e.Name)
	}
	return string(key)
}
