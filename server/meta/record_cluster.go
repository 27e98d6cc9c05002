package meta

import "github.com/gregor-broker/gregor/wire/prim"

// Endpoint is where a broker or controller listens.
type Endpoint struct {
	Name             string // listener name
	Host             string
	Port             uint16
	SecurityProtocol int16 // 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
}

// SupportedFeature is the range of levels of one feature that a broker or controller understands.
type SupportedFeature struct {
	Name string
	Min  int16
	Max  int16
}

func readEndpoint(r *prim.Reader) Endpoint {
	e := Endpoint{Name: r.CompactString(), Host: r.CompactString(), Port: r.Uint16(), SecurityProtocol: r.Int16()}
	r.SkipTags()
	return e
}

func readFeature(r *prim.Reader) SupportedFeature {
	f := SupportedFeature{Name: r.CompactString(), Min: r.Int16(), Max: r.Int16()}
	r.SkipTags()
	return f
}

func readEndpoints(r *prim.Reader) []Endpoint        { return required(r, readList(r, 7, readEndpoint)) }
func readFeatures(r *prim.Reader) []SupportedFeature { return required(r, readList(r, 6, readFeature)) }

func appendEndpoints(dst []byte, list []Endpoint) []byte {
	dst = prim.AppendCompactArrayLen(dst, len(list))
	for _, e := range list {
		dst = prim.AppendCompactString(dst, e.Name)
		dst = prim.AppendCompactString(dst, e.Host)
		dst = prim.AppendUint16(dst, e.Port)
		dst = prim.AppendTags0(prim.AppendInt16(dst, e.SecurityProtocol))
	}
	return dst
}

func appendFeatures(dst []byte, list []SupportedFeature) []byte {
	dst = prim.AppendCompactArrayLen(dst, len(list))
	for _, f := range list {
		dst = prim.AppendCompactString(dst, f.Name)
		dst = prim.AppendInt16(dst, f.Min)
		dst = prim.AppendTags0(prim.AppendInt16(dst, f.Max))
	}
	return dst
}

// RegisterBrokerRecord registers a broker and replaces everything known of that id before.
type RegisterBrokerRecord struct {
	BrokerID             int32
	IsMigratingZkBroker  bool // v2+
	IncarnationID        UUID
	BrokerEpoch          int64
	EndPoints            []Endpoint
	Features             []SupportedFeature
	Rack                 *string
	Fenced               bool   // Kafka registers every broker fenced
	InControlledShutdown bool   // v1+
	LogDirs              []UUID // v3+
	CordonedLogDirs      []UUID // v4+: nil is null, not told yet
}

// Key returns KeyRegisterBroker.
func (b *RegisterBrokerRecord) Key() int16 { return KeyRegisterBroker }

// version is MetadataVersion.registerBrokerRecordVersion.
func (b *RegisterBrokerRecord) version(mv int16) int16 {
	switch {
	case mv >= cordonedLogDirsVersion:
		return 4
	case mv >= directoryAssignmentVersion:
		return 3
	case mv >= 8:
		return 2
	}
	return 1
}

func (b *RegisterBrokerRecord) appendBody(dst []byte, version int16) []byte {
	dst = prim.AppendInt32(dst, b.BrokerID)
	if version >= 2 {
		dst = prim.AppendBool(dst, b.IsMigratingZkBroker)
	}
	dst = prim.AppendUUID(dst, b.IncarnationID)
	dst = prim.AppendInt64(dst, b.BrokerEpoch)
	dst = appendEndpoints(dst, b.EndPoints)
	dst = appendFeatures(dst, b.Features)
	dst = prim.AppendCompactNullableString(dst, b.Rack)
	dst = prim.AppendBool(dst, b.Fenced)
	if version >= 1 {
		dst = prim.AppendBool(dst, b.InControlledShutdown)
	}
	var tags tagSection
	if version >= 3 && len(b.LogDirs) > 0 {
		tags.uuids(0, b.LogDirs)
	}
	if version >= 4 && b.CordonedLogDirs != nil {
		tags.uuids(1, b.CordonedLogDirs)
	}
	return tags.appendTo(dst)
}

func (b *RegisterBrokerRecord) readBody(r *prim.Reader, version int16) {
	b.BrokerID = r.Int32()
	if version >= 2 {
		b.IsMigratingZkBroker = r.Bool()
	}
	b.IncarnationID = readUUID(r)
	b.BrokerEpoch = r.Int64()
	b.EndPoints = readEndpoints(r)
	b.Features = readFeatures(r)
	b.Rack = r.CompactNullableString()
	b.Fenced = r.Bool()
	if version >= 1 {
		b.InControlledShutdown = r.Bool()
	}
	r.Tags(func(tag uint32, r *prim.Reader) {
		switch {
		case tag == 0 && version >= 3:
			b.LogDirs = required(r, readUUIDs(r))
		case tag == 1 && version >= 4:
			b.CordonedLogDirs = readUUIDs(r)
		}
	})
}

// UnregisterBrokerRecord removes a broker's registration of that epoch.
type UnregisterBrokerRecord struct {
	BrokerID    int32
	BrokerEpoch int64
}

// FenceBrokerRecord fences a broker; superseded by BrokerRegistrationChangeRecord.
type FenceBrokerRecord struct {
	ID    int32
	Epoch int64
}

// UnfenceBrokerRecord unfences a broker; superseded by BrokerRegistrationChangeRecord.
type UnfenceBrokerRecord struct {
	ID    int32
	Epoch int64
}

// Key returns KeyUnregisterBroker.
func (b *UnregisterBrokerRecord) Key() int16          { return KeyUnregisterBroker }
func (b *UnregisterBrokerRecord) version(int16) int16 { return 0 }
func (b *UnregisterBrokerRecord) appendBody(dst []byte, _ int16) []byte {
	return appendBrokerEpoch(dst, b.BrokerID, b.BrokerEpoch)
}
func (b *UnregisterBrokerRecord) readBody(r *prim.Reader, _ int16) {
	b.BrokerID, b.BrokerEpoch = readBrokerEpoch(r)
}

// Key returns KeyFenceBroker.
func (b *FenceBrokerRecord) Key() int16          { return KeyFenceBroker }
func (b *FenceBrokerRecord) version(int16) int16 { return 0 }
func (b *FenceBrokerRecord) appendBody(dst []byte, _ int16) []byte {
	return appendBrokerEpoch(dst, b.ID, b.Epoch)
}
func (b *FenceBrokerRecord) readBody(r *prim.Reader, _ int16) { b.ID, b.Epoch = readBrokerEpoch(r) }

// Key returns KeyUnfenceBroker.
func (b *UnfenceBrokerRecord) Key() int16          { return KeyUnfenceBroker }
func (b *UnfenceBrokerRecord) version(int16) int16 { return 0 }
func (b *UnfenceBrokerRecord) appendBody(dst []byte, _ int16) []byte {
	return appendBrokerEpoch(dst, b.ID, b.Epoch)
}
func (b *UnfenceBrokerRecord) readBody(r *prim.Reader, _ int16) { b.ID, b.Epoch = readBrokerEpoch(r) }

func appendBrokerEpoch(dst []byte, id int32, epoch int64) []byte {
	return prim.AppendTags0(prim.AppendInt64(prim.AppendInt32(dst, id), epoch))
}

func readBrokerEpoch(r *prim.Reader) (id int32, epoch int64) {
	id, epoch = r.Int32(), r.Int64()
	r.SkipTags()
	return id, epoch
}

// BrokerRegistrationChangeRecord changes some facts of a broker's registration of that epoch.
type BrokerRegistrationChangeRecord struct {
	BrokerID             int32
	BrokerEpoch          int64
	Fenced               int8   // 1 fenced, -1 unfenced, 0 unchanged
	InControlledShutdown int8   // v1+: 1 in controlled shutdown, 0 unchanged
	LogDirs              []UUID // v2+: empty is unchanged
	CordonedLogDirs      []UUID // v3+: nil is unchanged, empty is none cordoned
}

// Key returns KeyBrokerRegistrationChange.
func (b *BrokerRegistrationChangeRecord) Key() int16 { return KeyBrokerRegistrationChange }

// version is the smallest that holds the change, as Kafka's controller writes each kind of change in the version that
// introduced it, but never one that metadata.version does not allow.
func (b *BrokerRegistrationChangeRecord) version(mv int16) int16 {
	switch {
	case b.CordonedLogDirs != nil && mv >= cordonedLogDirsVersion:
		return 3
	case len(b.LogDirs) > 0 && mv >= directoryAssignmentVersion:
		return 2
	case b.InControlledShutdown != 0:
		return 1
	}
	return 0
}

func (b *BrokerRegistrationChangeRecord) appendBody(dst []byte, version int16) []byte {
	dst = prim.AppendInt32(dst, b.BrokerID)
	dst = prim.AppendInt64(dst, b.BrokerEpoch)
	var tags tagSection
	if b.Fenced != 0 {
		tags.int8(0, b.Fenced)
	}
	if version >= 1 && b.InControlledShutdown != 0 {
		tags.int8(1, b.InControlledShutdown)
	}
	if version >= 2 && len(b.LogDirs) > 0 {
		tags.uuids(2, b.LogDirs)
	}
	if version >= 3 && b.CordonedLogDirs != nil {
		tags.uuids(3, b.CordonedLogDirs)
	}
	return tags.appendTo(dst)
}

func (b *BrokerRegistrationChangeRecord) readBody(r *prim.Reader, version int16) {
	b.BrokerID = r.Int32()
	b.BrokerEpoch = r.Int64()
	r.Tags(func(tag uint32, r *prim.Reader) {
		switch {
		case tag == 0:
			b.Fenced = r.Int8()
		case tag == 1 && version >= 1:
			b.InControlledShutdown = r.Int8()
		case tag == 2 && version >= 2:
			b.LogDirs = required(r, readUUIDs(r))
		case tag == 3 && version >= 3:
			b.CordonedLogDirs = readUUIDs(r)
		}
	})
}

// RegisterControllerRecord registers a controller and replaces everything known of that id before (metadata.version 15+).
type RegisterControllerRecord struct {
	ControllerID     int32
	IncarnationID    UUID
	ZkMigrationReady bool
	EndPoints        []Endpoint
	Features         []SupportedFeature
}

// Key returns KeyRegisterController.
func (c *RegisterControllerRecord) Key() int16          { return KeyRegisterController }
func (c *RegisterControllerRecord) version(int16) int16 { return 0 }
func (c *RegisterControllerRecord) appendBody(dst []byte, _ int16) []byte {
	dst = prim.AppendInt32(dst, c.ControllerID)
	dst = prim.AppendUUID(dst, c.IncarnationID)
	dst = prim.AppendBool(dst, c.ZkMigrationReady)
	dst = appendEndpoints(dst, c.EndPoints)
	dst = appendFeatures(dst, c.Features)
	return prim.AppendTags0(dst)
}
func (c *RegisterControllerRecord) readBody(r *prim.Reader, _ int16) {
	c.ControllerID = r.Int32()
	c.IncarnationID = readUUID(r)
	c.ZkMigrationReady = r.Bool()
	c.EndPoints = readEndpoints(r)
	c.Features = readFeatures(r)
	r.SkipTags()
}
