package prim

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	text, empty := "grüße", ""
	id := [16]byte{1, 2, 3, 15: 9}
	var b []byte
	b = AppendInt8(b, -5)
	b = AppendBool(b, true)
	b = AppendBool(b, false)
	b = AppendInt16(b, -300)
	b = AppendUint16(b, 65535)
	b = AppendInt32(b, math.MinInt32)
	b = AppendUint32(b, math.MaxUint32)
	b = AppendInt64(b, math.MinInt64)
	b = AppendFloat64(b, math.Pi)
	b = AppendUUID(b, id)
	uvarints := []uint32{0, 1, 127, 128, 16383, 16384, 1<<28 - 1, 1 << 28, math.MaxUint32}
	for _, v := range uvarints {
		before := len(b)
		b = AppendUvarint(b, v)
		if got := len(b) - before; got != UvarintSize(v) {
			t.Fatalf("UvarintSize(%d) = %d, appended %d", v, UvarintSize(v), got)
		}
	}
	varints := []int32{0, -1, 1, 63, -64, 64, math.MaxInt32, math.MinInt32}
	for _, v := range varints {
		b = AppendVarint(b, v)
	}
	varlongs := []int64{0, -1, 1, math.MaxInt64, math.MinInt64}
	for _, v := range varlongs {
		b = AppendVarlong(b, v)
	}
	b = AppendString(b, text)
	b = AppendNullableString(b, nil)
	b = AppendNullableString(b, &empty)
	b = AppendStringBytes(b, []byte(text))
	b = AppendStringBytes(b, nil)
	b = AppendCompactString(b, text)
	b = AppendCompactNullableString(b, nil)
	b = AppendCompactNullableString(b, &empty)
	b = AppendCompactStringBytes(b, []byte(text))
	b = AppendCompactStringBytes(b, nil)
	b = AppendBytes(b, []byte{1, 2})
	b = AppendBytes(b, nil)
	b = AppendCompactBytes(b, []byte{3})
	b = AppendCompactBytes(b, nil)
	b = AppendArrayLen(b, 2)
	b = AppendArrayLen(b, -1)
	b = AppendCompactArrayLen(b, 3)
	b = AppendCompactArrayLen(b, -1)
	b = AppendTags0(b)
	b = AppendUvarint(b, 2)
	b = AppendTag(b, 0, 4)
	b = AppendInt32(b, 77)
	b = AppendTag(b, 5, 1)
	b = append(b, 9)
	b = append(b, "tail"...)

	r := NewReader(b)
	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Fatalf("%s at %d: got %v, want %v (%v)", what, r.Offset(), got, want, r.Err())
		}
	}
	check("int8", r.Int8(), int8(-5))
	check("bool", r.Bool(), true)
	check("bool", r.Bool(), false)
	check("int16", r.Int16(), int16(-300))
	check("uint16", r.Uint16(), uint16(65535))
	check("int32", r.Int32(), int32(math.MinInt32))
	check("uint32", r.Uint32(), uint32(math.MaxUint32))
	check("int64", r.Int64(), int64(math.MinInt64))
	check("float64", r.Float64(), math.Pi)
	check("uuid", r.UUID(), id)
	for _, v := range uvarints {
		check("uvarint", r.Uvarint(), v)
	}
	for _, v := range varints {
		check("varint", r.Varint(), v)
	}
	for _, v := range varlongs {
		check("varlong", r.Varlong(), v)
	}
	check("string", r.String(), text)
	check("null string", r.NullableString(), (*string)(nil))
	check("empty string", *r.NullableString(), "")
	check("string bytes", string(r.StringBytes()), text)
	check("null string bytes", r.StringBytes() == nil, true)
	check("compact string", r.CompactString(), text)
	check("null compact string", r.CompactNullableString(), (*string)(nil))
	check("empty compact string", *r.CompactNullableString(), "")
	check("compact string bytes", string(r.CompactStringBytes()), text)
	check("null compact string bytes", r.CompactStringBytes() == nil, true)
	check("bytes", string(r.Bytes()), "\x01\x02")
	check("null bytes", r.Bytes() == nil, true)
	check("compact bytes", string(r.CompactBytes()), "\x03")
	check("null compact bytes", r.CompactBytes() == nil, true)
	check("array", r.ArrayLen(1), 2)
	check("null array", r.ArrayLen(1), -1)
	check("compact array", r.CompactArrayLen(1), 3)
	check("null compact array", r.CompactArrayLen(1), -1)
	r.SkipTags()
	tags := 0
	r.Tags(func(tag uint32, f *Reader) {
		tags++
		switch tag {
		case 0:
			check("field", f.Int32(), int32(77))
			check("remaining in field", f.Remaining(), 0)
		case 5:
			check("remaining in unread field", f.Remaining(), 1)
		default:
			t.Fatalf("unexpected tag %d", tag)
		}
	})
	check("tags", tags, 2)
	check("rest", string(r.Rest()), "tail")
	check("raw", string(r.Raw(4)), "tail")
	if err := r.Finish(); err != nil {
		t.Fatal(err)
	}
}

func TestMalformed(t *testing.T) {
	cases := map[string]struct {
		input []byte
		read  func(*Reader)
	}{
		"short int32":             {[]byte{1, 2, 3}, func(r *Reader) { r.Int32() }},
		"short int64":             {make([]byte, 7), func(r *Reader) { r.Int64() }},
		"short uuid":              {make([]byte, 15), func(r *Reader) { r.UUID() }},
		"empty uvarint":           {nil, func(r *Reader) { r.Uvarint() }},
		"unended uvarint":         {[]byte{0x80, 0x80}, func(r *Reader) { r.Uvarint() }},
		"six byte uvarint":        {[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0}, func(r *Reader) { r.Uvarint() }},
		"33 bit uvarint":          {[]byte{0xff, 0xff, 0xff, 0xff, 0x1f}, func(r *Reader) { r.Uvarint() }},
		"65 bit varlong":          {[]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 2}, func(r *Reader) { r.Varlong() }},
		"null string":             {[]byte{255, 255}, func(r *Reader) { _ = r.String() }},
		"null compact string":     {[]byte{0}, func(r *Reader) { _ = r.CompactString() }},
		"string of minus two":     {[]byte{255, 254}, func(r *Reader) { r.StringBytes() }},
		"string past the end":     {[]byte{0, 3, 'a', 'b'}, func(r *Reader) { r.StringBytes() }},
		"compact string too long": {append(AppendUvarint(nil, 32769), make([]byte, 40000)...), func(r *Reader) { r.CompactStringBytes() }},
		"bytes past the end":      {[]byte{127, 255, 255, 255, 1}, func(r *Reader) { r.Bytes() }},
		"bytes of minus two":      {[]byte{255, 255, 255, 254}, func(r *Reader) { r.Bytes() }},
		"compact bytes of 4 GiB":  {[]byte{255, 255, 255, 255, 15}, func(r *Reader) { r.CompactBytes() }},
		"raw negative":            {[]byte{1}, func(r *Reader) { r.Raw(-1) }},
		"array past the end":      {[]byte{0, 0, 0, 3, 1, 2, 3, 4}, func(r *Reader) { r.ArrayLen(2) }},
		"array of minus two":      {[]byte{255, 255, 255, 254}, func(r *Reader) { r.ArrayLen(1) }},
		"array of nothing":        {[]byte{127, 255, 255, 255}, func(r *Reader) { r.ArrayLen(0) }},
		"compact array of 4 Gi":   {[]byte{255, 255, 255, 255, 15}, func(r *Reader) { r.CompactArrayLen(1) }},
		"tags past the end":       {[]byte{1, 0, 5, 1}, func(r *Reader) { r.SkipTags() }},
		"tag count past the end":  {[]byte{200, 1, 0, 0}, func(r *Reader) { r.SkipTags() }},
		"too many tags":           {append(AppendUvarint(nil, MaxTaggedFields+1), make([]byte, 4*MaxTaggedFields)...), func(r *Reader) { r.Tags(func(uint32, *Reader) {}) }},
		"more tags than wanted":   {[]byte{3, 0, 0, 1, 0, 2, 0}, func(r *Reader) { r.SkipTagsAtMost(2) }},
		"tag field past itself":   {[]byte{1, 0, 2, 1, 2, 3, 4}, func(r *Reader) { r.Tags(func(_ uint32, f *Reader) { f.Int32() }) }},
		"tag size past the end":   {[]byte{1, 0, 9, 1}, func(r *Reader) { r.Tags(func(uint32, *Reader) {}) }},
		"bytes after the end":     {[]byte{0, 0}, func(r *Reader) { r.Int8(); _ = r.Finish() }},
		"no allowance":            {nil, func(r *Reader) { r.Charge(1, 1) }},
		"allowance used up":       {nil, func(r *Reader) { r.Allow(10); r.Charge(5, 2); r.Charge(1, 1) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := NewReader(c.input)
			c.read(r)
			err := r.Err()
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("got error %v, expected ErrMalformed", err)
			}
			at := r.Offset()
			if r.Int8() != 0 || r.Uvarint() != 0 || r.Varlong() != 0 || r.UUID() != [16]byte{} || r.Rest() != nil || r.ArrayLen(1) != 0 || r.String() != "" {
				t.Fatal("a read after the error returned something")
			}
			r.SkipTags()
			r.Tags(func(uint32, *Reader) { t.Fatal("tag after the error") })
			if r.Err() != err || r.Offset() != at {
				t.Fatal("the first error does not stick")
			}
		})
	}
}

func TestFailKeepsTheFirstError(t *testing.T) {
	first := errors.New("first")
	r := NewReader([]byte{1, 2})
	r.Fail(first)
	r.Fail(errors.New("second"))
	r.Int64()
	if r.Err() != first || r.Finish() != first {
		t.Fatalf("got %v", r.Err())
	}
	r.Reset([]byte{7})
	if r.Int8() != 7 || r.Finish() != nil {
		t.Fatal("Reset did not start again")
	}
}

func TestLongStringsAreCut(t *testing.T) {
	long := strings.Repeat("x", MaxStringBytes-1) + "ü and more"
	b := AppendCompactString(AppendString(nil, long), long)
	b = AppendCompactStringBytes(AppendStringBytes(b, []byte(long)), []byte(long))
	r := NewReader(b)
	want := long[:MaxStringBytes-1]
	if r.String() != want || r.CompactString() != want {
		t.Fatal("a long string is not cut before the character that does not fit")
	}
	if len(r.StringBytes()) != MaxStringBytes || len(r.CompactStringBytes()) != MaxStringBytes || r.Finish() != nil {
		t.Fatal("long bytes are not cut")
	}
}

func TestSlicesHaveNoSpareCapacity(t *testing.T) {
	input := AppendBytes(AppendStringBytes(nil, []byte("ab")), []byte("cd"))
	r := NewReader(input)
	_ = append(r.StringBytes(), 'X')
	_ = append(r.Bytes(), 'Y')
	if !bytes.Equal(input, AppendBytes(AppendStringBytes(nil, []byte("ab")), []byte("cd"))) {
		t.Fatal("appending to a returned slice changed the input")
	}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	input := AppendTags0(AppendCompactBytes(AppendStringBytes(AppendInt64(nil, 1), []byte("name")), []byte("data")))
	input = append(input, 2, 0, 1, 9, 1, 0)
	if n := testing.AllocsPerRun(100, func() {
		var r Reader
		r.Reset(input)
		r.Int64()
		r.StringBytes()
		r.CompactBytes()
		r.SkipTags()
		r.SkipTags()
		if r.Finish() != nil {
			t.Fatal(r.Err())
		}
	}); n != 0 {
		t.Fatalf("%v allocations, expected none", n)
	}
}

// FuzzReader runs any program of reads over any bytes: the first half of the input chooses the reads.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, []byte{0, 3, 'a', 'b', 'c', 0, 0, 0, 1, 1, 1, 0, 1, 9, 0x80, 1})
	f.Add([]byte{18, 17, 16, 15, 14, 13, 12, 11, 10}, []byte{255, 255, 255, 255, 15, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, program, input []byte) {
		kept := bytes.Clone(input)
		r := NewReader(input)
		r.Allow(len(input))
		inside := func(p []byte) {
			if len(p) > len(input) || cap(p) != len(p) {
				t.Fatalf("slice of length %d and capacity %d from %d bytes", len(p), cap(p), len(input))
			}
		}
		for _, op := range program {
			before, failed := r.Offset(), r.Err() != nil
			switch op % 22 {
			case 0:
				r.Int8()
			case 1:
				r.Int16()
			case 2:
				r.Int32()
			case 3:
				r.Int64()
			case 4:
				r.UUID()
			case 5:
				r.Uvarint()
			case 6:
				r.Varint()
			case 7:
				r.Varlong()
			case 8:
				inside(r.StringBytes())
			case 9:
				inside(r.CompactStringBytes())
			case 10:
				_ = r.String()
			case 11:
				_ = r.CompactString()
			case 12:
				r.NullableString()
			case 13:
				r.CompactNullableString()
			case 14:
				inside(r.Bytes())
			case 15:
				inside(r.CompactBytes())
			case 16:
				inside(r.Raw(int(int8(op))))
			case 17:
				if n := r.ArrayLen(3); n*3 > r.Remaining() {
					t.Fatalf("%d elements of 3 bytes in %d", n, r.Remaining())
				}
			case 18:
				if n := r.CompactArrayLen(2); n*2 > r.Remaining() {
					t.Fatalf("%d elements of 2 bytes in %d", n, r.Remaining())
				}
			case 19:
				r.SkipTags()
			case 20:
				r.Tags(func(_ uint32, f *Reader) { f.Uvarint(); f.SkipTags() })
			case 21:
				r.Charge(int(op), 3)
			}
			if r.Offset() < before || r.Offset() > len(input) || r.Remaining() != len(input)-r.Offset() {
				t.Fatalf("offset %d after %d in %d bytes, %d remain", r.Offset(), before, len(input), r.Remaining())
			}
			if failed && r.Offset() != before {
				t.Fatal("a read after the error moved")
			}
			if r.Err() != nil && !errors.Is(r.Err(), ErrMalformed) {
				t.Fatalf("error %v does not wrap ErrMalformed", r.Err())
			}
		}
		inside(r.Rest())
		if !bytes.Equal(kept, input) {
			t.Fatal("reading changed the input")
		}
	})
}

// FuzzVarints compares both directions of the variable length integers.
func FuzzVarints(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, v int64) {
		r := NewReader(AppendUvarint(AppendVarint(AppendVarlong(nil, v), int32(v)), uint32(v)))
		if a, b, c := r.Varlong(), r.Varint(), r.Uvarint(); a != v || b != int32(v) || c != uint32(v) || r.Finish() != nil {
			t.Fatalf("%d became %d, %d, %d (%v)", v, a, b, c, r.Err())
		}
	})
}
