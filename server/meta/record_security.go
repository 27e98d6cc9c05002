package meta

import "github.com/gregor-broker/gregor/wire/prim"

// AccessControlEntryRecord adds an ACL. The numbers are those of ResourceType, PatternType, AclOperation and
// AclPermissionType.
type AccessControlEntryRecord struct {
	ID             UUID
	ResourceType   int8
	ResourceName   string
	PatternType    int8
	Principal      string
	Host           string
	Operation      int8
	PermissionType int8
}

// Key returns KeyAccessControlEntry.
func (a *AccessControlEntryRecord) Key() int16          { return KeyAccessControlEntry }
func (a *AccessControlEntryRecord) version(int16) int16 { return 0 }
func (a *AccessControlEntryRecord) appendBody(dst []byte, _ int16) []byte {
	dst = prim.AppendUUID(dst, a.ID)
	dst = prim.AppendInt8(dst, a.ResourceType)
	dst = prim.AppendCompactString(dst, a.ResourceName)
	dst = prim.AppendInt8(dst, a.PatternType)
	dst = prim.AppendCompactString(dst, a.Principal)
	dst = prim.AppendCompactString(dst, a.Host)
	dst = prim.AppendInt8(dst, a.Operation)
	return prim.AppendTags0(prim.AppendInt8(dst, a.PermissionType))
}
func (a *AccessControlEntryRecord) readBody(r *prim.Reader, _ int16) {
	a.ID = readUUID(r)
	a.ResourceType = r.Int8()
	a.ResourceName = r.CompactString()
	a.PatternType = r.Int8()
	a.Principal = r.CompactString()
	a.Host = r.CompactString()
	a.Operation = r.Int8()
	a.PermissionType = r.Int8()
	r.SkipTags()
}

// RemoveAccessControlEntryRecord removes the ACL of that id.
type RemoveAccessControlEntryRecord struct{ ID UUID }

// Key returns KeyRemoveAccessControlEntry.
func (a *RemoveAccessControlEntryRecord) Key() int16          { return KeyRemoveAccessControlEntry }
func (a *RemoveAccessControlEntryRecord) version(int16) int16 { return 0 }
func (a *RemoveAccessControlEntryRecord) appendBody(dst []byte, _ int16) []byte {
	return prim.AppendTags0(prim.AppendUUID(dst, a.ID))
}
func (a *RemoveAccessControlEntryRecord) readBody(r *prim.Reader, _ int16) {
	a.ID = readUUID(r)
	r.SkipTags()
}

// Values of UserScramCredentialRecord.Mechanism (ScramMechanism).
const (
	ScramSHA256 int8 = 1
	ScramSHA512 int8 = 2
)

// UserScramCredentialRecord sets a user's SCRAM credential for one mechanism.
type UserScramCredentialRecord struct {
	Name       string
	Mechanism  int8
	Salt       []byte
	StoredKey  []byte
	ServerKey  []byte
	Iterations int32
}

// Key returns KeyUserScramCredential.
func (u *UserScramCredentialRecord) Key() int16          { return KeyUserScramCredential }
func (u *UserScramCredentialRecord) version(int16) int16 { return 0 }
func (u *UserScramCredentialRecord) appendBody(dst []byte, _ int16) []byte {
	dst = prim.AppendCompactString(dst, u.Name)
	dst = prim.AppendInt8(dst, u.Mechanism)
	for _, p := range [...][]byte{u.Salt, u.StoredKey, u.ServerKey} {
		dst = append(prim.AppendUvarint(dst, uint32(len(p))+1), p...) // never null
	}
	return prim.AppendTags0(prim.AppendInt32(dst, u.Iterations))
}
func (u *UserScramCredentialRecord) readBody(r *prim.Reader, _ int16) {
	u.Name = r.CompactString()
	u.Mechanism = r.Int8()
	u.Salt, u.StoredKey, u.ServerKey = readBytes(r), readBytes(r), readBytes(r)
	u.Iterations = r.Int32()
	r.SkipTags()
}

// RemoveUserScramCredentialRecord removes a user's SCRAM credential for one mechanism.
type RemoveUserScramCredentialRecord struct {
	Name      string
	Mechanism int8
}

// Key returns KeyRemoveUserScramCredential.
func (u *RemoveUserScramCredentialRecord) Key() int16          { return KeyRemoveUserScramCredential }
func (u *RemoveUserScramCredentialRecord) version(int16) int16 { return 0 }
func (u *RemoveUserScramCredentialRecord) appendBody(dst []byte, _ int16) []byte {
	return prim.AppendTags0(prim.AppendInt8(prim.AppendCompactString(dst, u.Name), u.Mechanism))
}
func (u *RemoveUserScramCredentialRecord) readBody(r *prim.Reader, _ int16) {
	u.Name = r.CompactString()
	u.Mechanism = r.Int8()
	r.SkipTags()
}

// DelegationTokenRecord creates or renews a delegation token; timestamps are milliseconds since 1970.
type DelegationTokenRecord struct {
	Owner               string
	Requester           string
	Renewers            []string
	IssueTimestamp      int64
	MaxTimestamp        int64
	ExpirationTimestamp int64
	TokenID             string
}

// Key returns KeyDelegationToken.
func (d *DelegationTokenRecord) Key() int16          { return KeyDelegationToken }
func (d *DelegationTokenRecord) version(int16) int16 { return 0 }
func (d *DelegationTokenRecord) appendBody(dst []byte, _ int16) []byte {
	dst = prim.AppendCompactString(dst, d.Owner)
	dst = prim.AppendCompactString(dst, d.Requester)
	dst = prim.AppendCompactArrayLen(dst, len(d.Renewers))
	for _, s := range d.Renewers {
		dst = prim.AppendCompactString(dst, s)
	}
	dst = prim.AppendInt64(dst, d.IssueTimestamp)
	dst = prim.AppendInt64(dst, d.MaxTimestamp)
	dst = prim.AppendInt64(dst, d.ExpirationTimestamp)
	return prim.AppendTags0(prim.AppendCompactString(dst, d.TokenID))
}
func (d *DelegationTokenRecord) readBody(r *prim.Reader, _ int16) {
	d.Owner = r.CompactString()
	d.Requester = r.CompactString()
	d.Renewers = required(r, readList(r, 1, readString))
	d.IssueTimestamp, d.MaxTimestamp, d.ExpirationTimestamp = r.Int64(), r.Int64(), r.Int64()
	d.TokenID = r.CompactString()
	r.SkipTags()
}

// RemoveDelegationTokenRecord removes a delegation token.
type RemoveDelegationTokenRecord struct{ TokenID string }

// Key returns KeyRemoveDelegationToken.
func (d *RemoveDelegationTokenRecord) Key() int16          { return KeyRemoveDelegationToken }
func (d *RemoveDelegationTokenRecord) version(int16) int16 { return 0 }
func (d *RemoveDelegationTokenRecord) appendBody(dst []byte, _ int16) []byte {
	return prim.AppendTags0(prim.AppendCompactString(dst, d.TokenID))
}
func (d *RemoveDelegationTokenRecord) readBody(r *prim.Reader, _ int16) {
	d.TokenID = r.CompactString()
	r.SkipTags()
}
