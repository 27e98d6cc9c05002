package meta

import "github.com/gregor-broker/gregor/wire/prim"

// Values of ConfigRecord.ResourceType (ConfigResource.Type). A broker resource named "" is the default of all brokers.
const (
	ResourceTopic         int8 = 2
	ResourceBroker        int8 = 4
	ResourceBrokerLogger  int8 = 8
	ResourceClientMetrics int8 = 16
	ResourceGroup         int8 = 32
)

// ConfigRecord sets one config of one resource, or deletes it when Value is nil.
type ConfigRecord struct {
	ResourceType int8
	ResourceName string
	Name         string
	Value        *string
}

// Key returns KeyConfig.
func (c *ConfigRecord) Key() int16          { return KeyConfig }
func (c *ConfigRecord) version(int16) int16 { return 0 }
func (c *ConfigRecord) appendBody(dst []byte, _ int16) []byte {
	dst = prim.AppendInt8(dst, c.ResourceType)
	dst = prim.AppendCompactString(dst, c.ResourceName)
	dst = prim.AppendCompactString(dst, c.Name)
	return prim.AppendTags0(prim.AppendCompactNullableString(dst, c.Value))
}
func (c *ConfigRecord) readBody(r *prim.Reader, _ int16) {
	c.ResourceType = r.Int8()
	c.ResourceName = r.CompactString()
	c.Name = r.CompactString()
	c.Value = r.CompactNullableString()
	r.SkipTags()
}

// FeatureLevelRecord finalizes a feature at a level; level 0 removes it.
type FeatureLevelRecord struct {
	Name  string
	Level int16
}

// Key returns KeyFeatureLevel.
func (f *FeatureLevelRecord) Key() int16          { return KeyFeatureLevel }
func (f *FeatureLevelRecord) version(int16) int16 { return 0 }
func (f *FeatureLevelRecord) appendBody(dst []byte, _ int16) []byte {
	return prim.AppendTags0(prim.AppendInt16(prim.AppendCompactString(dst, f.Name), f.Level))
}
func (f *FeatureLevelRecord) readBody(r *prim.Reader, _ int16) {
	f.Name = r.CompactString()
	f.Level = r.Int16()
	r.SkipTags()
}

// QuotaEntity is one part of whom a client quota is for: type "user", "client-id" or "ip"; a nil Name is the default.
type QuotaEntity struct {
	Type string
	Name *string
}

// ClientQuotaRecord sets or removes one quota value of one entity.
type ClientQuotaRecord struct {
	Entity   []QuotaEntity
	QuotaKey string // "Key" in Kafka's schema: producer_byte_rate and so on
	Value    float64
	Remove   bool
}

// Key returns KeyClientQuota.
func (q *ClientQuotaRecord) Key() int16          { return KeyClientQuota }
func (q *ClientQuotaRecord) version(int16) int16 { return 0 }
func (q *ClientQuotaRecord) appendBody(dst []byte, _ int16) []byte {
	dst = prim.AppendCompactArrayLen(dst, len(q.Entity))
	for _, e := range q.Entity {
		dst = prim.AppendCompactString(dst, e.Type)
		dst = prim.AppendTags0(prim.AppendCompactNullableString(dst, e.Name))
	}
	dst = prim.AppendCompactString(dst, q.QuotaKey)
	dst = prim.AppendFloat64(dst, q.Value)
	return prim.AppendTags0(prim.AppendBool(dst, q.Remove))
}
func (q *ClientQuotaRecord) readBody(r *prim.Reader, _ int16) {
	q.Entity = required(r, readList(r, 3, func(r *prim.Reader) QuotaEntity {
		e := QuotaEntity{Type: r.CompactString(), Name: r.CompactNullableString()}
		r.SkipTags()
		return e
	}))
	q.QuotaKey = r.CompactString()
	q.Value = r.Float64()
	q.Remove = r.Bool()
	r.SkipTags()
}

// ProducerIDsRecord hands a block of producer ids to a broker; the next block begins at NextProducerID.
type ProducerIDsRecord struct {
	BrokerID       int32 // -1 in snapshots
	BrokerEpoch    int64 // -1 in snapshots
	NextProducerID int64
}

// Key returns KeyProducerIDs.
func (p *ProducerIDsRecord) Key() int16          { return KeyProducerIDs }
func (p *ProducerIDsRecord) version(int16) int16 { return 0 }
func (p *ProducerIDsRecord) appendBody(dst []byte, _ int16) []byte {
	dst = prim.AppendInt64(prim.AppendInt32(dst, p.BrokerID), p.BrokerEpoch)
	return prim.AppendTags0(prim.AppendInt64(dst, p.NextProducerID))
}
func (p *ProducerIDsRecord) readBody(r *prim.Reader, _ int16) {
	p.BrokerID, p.BrokerEpoch, p.NextProducerID = r.Int32(), r.Int64(), r.Int64()
	r.SkipTags()
}

// NoOpRecord changes nothing; it keeps an idle log's high watermark moving.
type NoOpRecord struct{}

// Key returns KeyNoOp.
func (n *NoOpRecord) Key() int16                            { return KeyNoOp }
func (n *NoOpRecord) version(int16) int16                   { return 0 }
func (n *NoOpRecord) appendBody(dst []byte, _ int16) []byte { return prim.AppendTags0(dst) }
func (n *NoOpRecord) readBody(r *prim.Reader, _ int16)      { r.SkipTags() }

// ZkMigrationStateRecord is left over in clusters that were migrated from ZooKeeper; Kafka 4 reads and ignores it.
type ZkMigrationStateRecord struct{ State int8 }

// Key returns KeyZkMigrationState.
func (z *ZkMigrationStateRecord) Key() int16          { return KeyZkMigrationState }
func (z *ZkMigrationStateRecord) version(int16) int16 { return 0 }
func (z *ZkMigrationStateRecord) appendBody(dst []byte, _ int16) []byte {
	return prim.AppendTags0(prim.AppendInt8(dst, z.State))
}
func (z *ZkMigrationStateRecord) readBody(r *prim.Reader, _ int16) {
	z.State = r.Int8()
	r.SkipTags()
}

// BeginTransactionRecord opens a metadata transaction (KIP-868): nothing after it is visible until EndTransactionRecord.
type BeginTransactionRecord struct{ Name *string }

// EndTransactionRecord makes the open transaction's changes visible.
type EndTransactionRecord struct{}

// AbortTransactionRecord drops the open transaction's changes.
type AbortTransactionRecord struct{ Reason *string }

// Key returns KeyBeginTransaction.
func (t *BeginTransactionRecord) Key() int16          { return KeyBeginTransaction }
func (t *BeginTransactionRecord) version(int16) int16 { return 0 }
func (t *BeginTransactionRecord) appendBody(dst []byte, _ int16) []byte {
	return appendTaggedString(dst, t.Name)
}
func (t *BeginTransactionRecord) readBody(r *prim.Reader, _ int16) { t.Name = readTaggedString(r) }

// Key returns KeyEndTransaction.
func (t *EndTransactionRecord) Key() int16                            { return KeyEndTransaction }
func (t *EndTransactionRecord) version(int16) int16                   { return 0 }
func (t *EndTransactionRecord) appendBody(dst []byte, _ int16) []byte { return prim.AppendTags0(dst) }
func (t *EndTransactionRecord) readBody(r *prim.Reader, _ int16)      { r.SkipTags() }

// Key returns KeyAbortTransaction.
func (t *AbortTransactionRecord) Key() int16          { return KeyAbortTransaction }
func (t *AbortTransactionRecord) version(int16) int16 { return 0 }
func (t *AbortTransactionRecord) appendBody(dst []byte, _ int16) []byte {
	return appendTaggedString(dst, t.Reason)
}
func (t *AbortTransactionRecord) readBody(r *prim.Reader, _ int16) { t.Reason = readTaggedString(r) }

// appendTaggedString appends the body of a struct whose only field is a nullable string with tag 0.
func appendTaggedString(dst []byte, s *string) []byte {
	var tags tagSection
	if s != nil {
		tags.string(0, *s)
	}
	return tags.appendTo(dst)
}

func readTaggedString(r *prim.Reader) (s *string) {
	r.Tags(func(tag uint32, r *prim.Reader) {
		if tag == 0 {
			s = r.CompactNullableString()
		}
	})
	return s
}
