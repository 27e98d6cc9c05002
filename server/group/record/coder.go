package record

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/gregor-broker/gregor/wire/prim"
)

// UUID is a topic id.
type UUID [16]byte

// String is Kafka's form: 22 characters of URL-safe base64.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// MarshalText is String.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

type mode uint8

const (
	reading mode = iota
	writing
	printing // JSON
)

var errNull = errors.New("null where a value is expected")

// coder goes over the fields of a record: into them from in, or from them to out, as bytes or as JSON.
type coder struct {
	in       prim.Reader
	out      []byte
	version  int16
	mode     mode
	flexible bool
}

// label prints the name of a field.
func (c *coder) label(name string) {
	c.comma()
	c.out = append(append(append(c.out, '"'), name...), '"', ':')
}

func (c *coder) comma() {
	if last := c.out[len(c.out)-1]; last != '{' && last != '[' {
		c.out = append(c.out, ',')
	}
}

func (c *coder) text(s string) {
	b, err := json.Marshal(s)
	if err == nil {
		c.out = append(c.out, b...)
	}
}

func (c *coder) int8(name string, v *int8) {
	switch c.mode {
	case reading:
		*v = c.in.Int8()
	case writing:
		c.out = prim.AppendInt8(c.out, *v)
	case printing:
		c.label(name)
		c.out = strconv.AppendInt(c.out, int64(*v), 10)
	}
}

func (c *coder) int16(name string, v *int16) {
	switch c.mode {
	case reading:
		*v = c.in.Int16()
	case writing:
		c.out = prim.AppendInt16(c.out, *v)
	case printing:
		c.label(name)
		c.out = strconv.AppendInt(c.out, int64(*v), 10)
	}
}

func (c *coder) uint16(name string, v *uint16) {
	switch c.mode {
	case reading:
		*v = c.in.Uint16()
	case writing:
		c.out = prim.AppendUint16(c.out, *v)
	case printing:
		c.label(name)
		c.out = strconv.AppendUint(c.out, uint64(*v), 10)
	}
}

func (c *coder) int32(name string, v *int32) {
	switch c.mode {
	case reading:
		*v = c.in.Int32()
	case writing:
		c.out = prim.AppendInt32(c.out, *v)
	case printing:
		c.label(name)
		c.out = strconv.AppendInt(c.out, int64(*v), 10)
	}
}

func (c *coder) int64(name string, v *int64) {
	switch c.mode {
	case reading:
		*v = c.in.Int64()
	case writing:
		c.out = prim.AppendInt64(c.out, *v)
	case printing:
		c.label(name)
		c.out = strconv.AppendInt(c.out, *v, 10)
	}
}

func (c *coder) uuid(name string, v *UUID) {
	switch c.mode {
	case reading:
		*v = c.in.UUID()
	case writing:
		c.out = prim.AppendUUID(c.out, *v)
	case printing:
		c.label(name)
		c.text(v.String())
	}
}

// plainString is a string without its name, as in a list.
func (c *coder) plainString(v *string) {
	switch {
	case c.mode == printing:
		c.text(*v)
	case c.mode == writing && c.flexible:
		c.out = prim.AppendCompactString(c.out, *v)
	case c.mode == writing:
		c.out = prim.AppendString(c.out, *v)
	case c.flexible:
		*v = c.in.CompactString()
	default:
		*v = c.in.String()
	}
}

func (c *coder) string(name string, v *string) {
	if c.mode == printing {
		c.label(name)
	}
	c.plainString(v)
}

// nullable is a string that may be null, which is nil.
func (c *coder) nullable(name string, v **string) {
	switch {
	case c.mode == printing:
		c.label(name)
		if *v == nil {
			c.out = append(c.out, "null"...)
			return
		}
		c.text(**v)
	case c.mode == writing && c.flexible:
		c.out = prim.AppendCompactNullableString(c.out, *v)
	case c.mode == writing:
		c.out = prim.AppendNullableString(c.out, *v)
	case c.flexible:
		*v = c.in.CompactNullableString()
	default:
		*v = c.in.NullableString()
	}
}

// bytes is a byte field; nil is written as empty, for none of the fields may be null.
func (c *coder) bytes(name string, v *[]byte) {
	if c.mode == printing {
		c.label(name)
		c.out = append(c.out, '"')
		c.out = base64.StdEncoding.AppendEncode(c.out, *v)
		c.out = append(c.out, '"')
		return
	}
	if c.mode == writing {
		p := *v
		if p == nil {
			p = []byte{}
		}
		if c.flexible {
			c.out = prim.AppendCompactBytes(c.out, p)
		} else {
			c.out = prim.AppendBytes(c.out, p)
		}
		return
	}
	var p []byte
	if c.flexible {
		p = c.in.CompactBytes()
	} else {
		p = c.in.Bytes()
	}
	if p == nil && c.in.Err() == nil {
		c.in.Fail(fmt.Errorf("%w: %s: %w", prim.ErrMalformed, name, errNull))
	}
	*v = append([]byte{}, p...)
}

// count is the length of a list whose elements take at least min bytes each, -1 for null.
func (c *coder) count(name string, n, min int) int {
	switch {
	case c.mode == printing:
		c.label(name)
		c.out = append(c.out, '[')
		return n
	case c.mode == writing && c.flexible:
		c.out = prim.AppendCompactArrayLen(c.out, n)
		return n
	case c.mode == writing:
		c.out = prim.AppendArrayLen(c.out, n)
		return n
	case c.flexible:
		return c.in.CompactArrayLen(min)
	default:
		return c.in.ArrayLen(min)
	}
}

// orNull is the null of a list that may be null, and reports whether that is all. A list of this kind, which is always a tagged field,
// is empty where the field is absent, and nil stands for an explicit null: so Kafka's message classes have it.
func (c *coder) orNull(name string, null bool) bool {
	switch c.mode {
	case reading:
		if rest := c.in.Rest(); len(rest) == 0 || rest[0] != 0 {
			return false
		}
		c.in.Raw(1)
		return true
	case writing:
		if null {
			c.out = prim.AppendCompactArrayLen(c.out, -1)
		}
	case printing:
		if null {
			c.label(name)
			c.out = append(c.out, "null"...)
		}
	}
	return null
}

// each goes over a list; f is given one element.
func each[T any](c *coder, name string, list *[]T, min int, f func(v *T)) {
	n := c.count(name, len(*list), min)
	if c.mode == reading {
		if n < 0 {
			c.in.Fail(fmt.Errorf("%w: %s: %w", prim.ErrMalformed, name, errNull))
			return
		}
		*list = make([]T, n)
	}
	for i := range *list {
		if c.mode == printing {
			c.comma()
		}
		f(&(*list)[i])
		if c.mode == reading && c.in.Err() != nil {
			return
		}
	}
	if c.mode == printing {
		c.out = append(c.out, ']')
	}
}

// structs goes over a list of structs; f goes over the fields of one, without its tagged fields, which close adds.
func structs[T any](c *coder, name string, list *[]T, min int, f func(v *T)) {
	each(c, name, list, min, func(v *T) {
		c.open()
		f(v)
		c.close()
	})
}

func (c *coder) open() {
	if c.mode == printing {
		c.out = append(c.out, '{')
	}
}

func (c *coder) close() {
	if c.mode == printing {
		c.out = append(c.out, '}')
	}
}

func (c *coder) strings(name string, list *[]string) { each(c, name, list, 1, c.plainString) }

func (c *coder) int32s(name string, list *[]int32) {
	each(c, name, list, 4, func(v *int32) {
		switch c.mode {
		case reading:
			*v = c.in.Int32()
		case writing:
			c.out = prim.AppendInt32(c.out, *v)
		case printing:
			c.out = strconv.AppendInt(c.out, int64(*v), 10)
		}
	})
}

func (c *coder) int16s(name string, list *[]int16) {
	each(c, name, list, 2, func(v *int16) {
		switch c.mode {
		case reading:
			*v = c.in.Int16()
		case writing:
			c.out = prim.AppendInt16(c.out, *v)
		case printing:
			c.out = strconv.AppendInt(c.out, int64(*v), 10)
		}
	})
}

// tagged is a tagged field; set says whether it has another value than the default and is written.
type tagged struct {
	set    bool
	fields func()
}

// tags ends a struct: the tagged fields by their number, nothing at all where the version is not flexible. Fields this release does
// not know are skipped.
func (c *coder) tags(list ...tagged) {
	if !c.flexible {
		return
	}
	switch c.mode {
	case reading:
		if len(list) == 0 {
			c.in.SkipTags()
			return
		}
		c.in.Tags(func(tag uint32, _ *prim.Reader) {
			if int(tag) < len(list) {
				list[tag].fields()
			}
		})
	case writing:
		n := 0
		for _, t := range list {
			if t.set {
				n++
			}
		}
		c.out = prim.AppendUvarint(c.out, uint32(n))
		for i, t := range list {
			if !t.set {
				continue
			}
			outer := c.out
			c.out = nil
			t.fields()
			inner := c.out
			c.out = append(prim.AppendTag(outer, uint32(i), len(inner)), inner...)
		}
	case printing:
		for _, t := range list {
			if t.set {
				t.fields()
			}
		}
	}
}

// present is the byte in front of a struct that may be null; it reports whether the struct follows.
func (c *coder) present(name string, is bool) bool {
	switch c.mode {
	case reading:
		return c.in.Int8() >= 0
	case writing:
		v := int8(1)
		if !is {
			v = -1
		}
		c.out = prim.AppendInt8(c.out, v)
	case printing:
		c.nameOrNull(name, is)
	}
	return is
}

// presentTagged is present of a struct in a tagged field, where the byte is a varint.
func (c *coder) presentTagged(name string, is bool) bool {
	switch c.mode {
	case reading:
		return c.in.Uvarint() != 0
	case writing:
		c.out = prim.AppendBool(c.out, is)
	case printing:
		c.nameOrNull(name, is)
	}
	return is
}

func (c *coder) nameOrNull(name string, is bool) {
	c.label(name)
	if !is {
		c.out = append(c.out, "null"...)
	}
}
