package wire

import (
	"cmp"
	"fmt"
	"slices"
)

// KeyAPIVersions is the key of the ApiVersions request, the one API whose response header is always version 0 and whose
// unknown versions are answered (KIP-511).
const KeyAPIVersions int16 = 18

// maxKey bounds the table; Kafka's highest key is below 100.
const maxKey = 1023

// Handler answers one request. It runs on the connection's reader and may block, which is that client's backpressure.
// The Request is valid until the Reply has been released, its Body only until the handler returns. A nil Reply is a bug and
// closes the connection.
type Handler func(*Request) Reply

// Spec is one row of the API table.
type Spec struct {
	Key          int16  // Kafka's ApiKeys id
	Name         string // Kafka's name, for example "Produce"
	Min, Max     int16  // versions that are served, inclusive
	AdvertiseMin int16  // lowest version in the ApiVersions answer; below Min only for Produce (KAFKA-18659)
	FlexibleFrom int16  // first flexible version (KIP-482), -1 for never
	Handle       Handler
}

// Flexible reports whether the version of this API uses compact encodings and tagged fields.
func (s *Spec) Flexible(version int16) bool { return s.FlexibleFrom >= 0 && version >= s.FlexibleFrom }

// flexibleResponseHeader reports whether the response header has tagged fields: as the request, but never for ApiVersions,
// whose answer must be readable by a client that does not know yet what the broker speaks.
func (s *Spec) flexibleResponseHeader(version int16) bool {
	return s.Key != KeyAPIVersions && s.Flexible(version)
}

// Table is the immutable set of served APIs; safe for concurrent use.
type Table struct {
	byKey  []*Spec
	sorted []*Spec
}

// NewTable copies the rows into a Table. A duplicate or negative key, an empty version range or a missing handler is an error
// of the program and panics.
func NewTable(rows []Spec) *Table {
	t := &Table{}
	for _, row := range rows {
		if row.Key < 0 || row.Key > maxKey || row.Min < 0 || row.Max < row.Min || row.Handle == nil {
			panic(fmt.Sprintf("wire: table row %d %q: expected a key in 0..%d, versions min <= max and a handler", row.Key, row.Name, maxKey))
		}
		for len(t.byKey) <= int(row.Key) {
			t.byKey = append(t.byKey, nil)
		}
		if t.byKey[row.Key] != nil {
			panic(fmt.Sprintf("wire: table has two rows of key %d", row.Key))
		}
		spec := row
		t.byKey[row.Key] = &spec
		t.sorted = append(t.sorted, &spec)
	}
	slices.SortFunc(t.sorted, func(a, b *Spec) int { return cmp.Compare(a.Key, b.Key) })
	return t
}

// Lookup returns the row of key, nil if the API is not served.
func (t *Table) Lookup(key int16) *Spec {
	if key < 0 || int(key) >= len(t.byKey) {
		return nil
	}
	return t.byKey[key]
}

// All returns the rows in key order; the slice is shared and must not be changed.
func (t *Table) All() []*Spec { return t.sorted }
