package wire

import "github.com/gregor-broker/gregor/wire/prim"

// Leader is the leader of a partition as Produce and Fetch answers name it (KIP-951). The zero value is not sent.
type Leader struct {
	Set       bool  // whether the tagged field is written
	ID, Epoch int32 // broker id and leader epoch, -1 for unknown
}

// NodeEndpoint is where a broker named by a Leader can be reached (KIP-951).
type NodeEndpoint struct {
	ID   int32
	Host string
	Port int32
	Rack *string // nil for none
}

// AppendLeader appends l as a tagged field, head included, in Produce from version 10 and Fetch from version 12.
func AppendLeader(dst []byte, tag uint32, l Leader) []byte {
	dst = prim.AppendTag(dst, tag, 9)
	dst = prim.AppendInt32(dst, l.ID)
	dst = prim.AppendInt32(dst, l.Epoch)
	return prim.AppendTags0(dst)
}

// AppendNodeEndpoints appends the section of tagged fields at the end of a Produce (from version 10) or Fetch (from version
// 16) response: the endpoints under tag 0, an empty section when there are none.
func AppendNodeEndpoints(dst []byte, nodes []NodeEndpoint) []byte {
	if len(nodes) == 0 {
		return prim.AppendTags0(dst)
	}
	var body []byte
	body = prim.AppendCompactArrayLen(body, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		body = prim.AppendInt32(body, n.ID)
		body = prim.AppendCompactString(body, n.Host)
		body = prim.AppendInt32(body, n.Port)
		body = prim.AppendCompactNullableString(body, n.Rack)
		body = prim.AppendTags0(body)
	}
	dst = prim.AppendUvarint(dst, 1)
	dst = prim.AppendTag(dst, 0, len(body))
	return append(dst, body...)
}
