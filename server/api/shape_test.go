package api

import (
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire"
)

// fill gives every field of a message a value; arrays get up to three elements.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if r.IntN(3) == 0 && v.Type().Elem().Kind() != reflect.Struct {
			v.SetZero()
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" {
				fill(r, v.Field(i))
			}
		}
	case reflect.Slice:
		n := r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString("some string"[:r.IntN(12)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(int8(r.Int())))
	case reflect.Uint8:
		v.SetUint(uint64(uint8(r.Int())))
	}
}

func sample(key, version int16, r *rand.Rand) kmsg.Request {
	q := kmsg.RequestForKey(key)
	fill(r, reflect.ValueOf(q).Elem())
	q.SetVersion(version)
	return q
}

// TestShapesAreThoseOfTheMessages encodes random requests of every key and
// version: their shape must accept them whole, and nothing shorter.
func TestShapesAreThoseOfTheMessages(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, spec := range Table(Deps{}).All() {
		s, ok := shapes[spec.Key]
		if !ok {
			if spec.Key > 1 {
				t.Errorf("%s has no shape: every request of it is refused", spec.Name)
			}
			continue
		}
		for v := spec.Min; v <= spec.Max; v++ {
			for range 200 {
				body := sample(spec.Key, v, r).AppendTo(nil)
				if err := s.check(body, v, spec.Flexible(v)); err != nil {
					t.Fatalf("%s v%d: %v\n%x", spec.Name, v, err, body)
				}
				if len(body) == 0 {
					continue
				}
				short := body[:r.IntN(len(body))]
				if s.check(short, v, spec.Flexible(v)) == nil {
					t.Fatalf("%s v%d: %d of %d bytes pass\n%x", spec.Name, v, len(short), len(body), body)
				}
			}
		}
	}
}

// TestHostileFramesCostLittle sends frames that announce as many elements as
// they have bytes, nested as deep as the message goes.
func TestHostileFramesCostLittle(t *testing.T) {
	table := Table(Deps{}).All()
	for _, pattern := range []string{"\x00", "\x01", "\x02", "\xff\xff\x7f", "\x00\x0f\x00\x00", "\x80\x80\x40", "\x00\x00\x00\x01", "\x02a", "\x02a\x02"} {
		for _, shift := range []int{0, 4, 6, 8, 9, 12} {
			p := make([]byte, maxColdBytes)
			for i := shift; i < len(p); i++ {
				p[i] = pattern[(i-shift)%len(pattern)]
			}
			if shift >= 4 {
				binary.BigEndian.PutUint32(p[shift-4:], maxColdBytes-16)
			}
			for _, spec := range table {
				for _, v := range []int16{spec.Min, spec.Max} {
					hostileFrame(t, spec, v, p, pattern, shift)
				}
			}
		}
	}
}

func hostileFrame(t *testing.T, spec *wire.Spec, v int16, p []byte, pattern string, shift int) {
	s, ok := shapes[spec.Key]
	if !ok || s.check(p, v, spec.Flexible(v)) != nil {
		return
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	q := kmsg.RequestForKey(spec.Key)
	q.SetVersion(v)
	_ = q.ReadFrom(p)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > (2*coldFactor+2)*maxColdBytes {
		t.Errorf("%s v%d, %q from byte %d: a frame of %d bytes took %d", spec.Name, v, pattern, shift, len(p), took)
	}
}

// TestLargeLegitimateRequestsPass: what real tools send is far from the bound.
func TestLargeLegitimateRequestsPass(t *testing.T) {
	check := func(q kmsg.Request) {
		t.Helper()
		body := q.AppendTo(nil)
		if err := shapes[q.Key()].check(body, q.GetVersion(), q.IsFlexible()); err != nil {
			t.Errorf("%T of %d bytes: %v", q, len(body), err)
		}
	}
	m, l, d, c := kmsg.NewPtrMetadataRequest(), kmsg.NewPtrListOffsetsRequest(), kmsg.NewPtrDescribeConfigsRequest(), kmsg.NewPtrCreateTopicsRequest()
	m.Version, l.Version, d.Version, c.Version = 12, 9, 4, 7
	name := "t"
	for i := range 10_000 {
		m.Topics = append(m.Topics, kmsg.MetadataRequestTopic{Topic: &name})
		d.Resources = append(d.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: 2, ResourceName: name})
		c.Topics = append(c.Topics, kmsg.CreateTopicsRequestTopic{Topic: name, Configs: []kmsg.CreateTopicsRequestTopicConfig{{Name: "x", Value: &name}}})
		if i%100 == 0 {
			l.Topics = append(l.Topics, kmsg.ListOffsetsRequestTopic{Topic: name})
		}
		t := &l.Topics[len(l.Topics)-1]
		t.Partitions = append(t.Partitions, kmsg.ListOffsetsRequestTopicPartition{Partition: int32(i)})
	}
	for _, q := range []kmsg.Request{m, l, d, c} {
		check(q)
	}
}

// FuzzShapes walks garbage as every key and version and lets kmsg decode what
// passes: neither may panic.
func FuzzShapes(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	table := Table(Deps{})
	for _, spec := range table.All() {
		for v := spec.Min; v <= spec.Max; v++ {
			f.Add(spec.Key, v, sample(spec.Key, v, r).AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		s, ok := shapes[key]
		spec := table.Lookup(key)
		if !ok || version < spec.Min || version > spec.Max {
			return
		}
		q := kmsg.RequestForKey(key)
		q.SetVersion(version)
		if s.check(body, version, q.IsFlexible()) == nil {
			if err := q.ReadFrom(body); err != nil {
				t.Fatalf("%T v%d passes the walk but does not decode: %v", q, version, err)
			}
		}
	})
}

// TestEndlessTagsAreRefused: twenty bytes that announce four billion tagged fields, which kmsg would all look for.
func TestEndlessTagsAreRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, spec := range Table(Deps{}).All() {
		for v := spec.Min; v <= spec.Max; v++ {
			s, ok := shapes[spec.Key]
			if !ok || !spec.Flexible(v) {
				continue
			}
			body := sample(spec.Key, v, r).AppendTo(nil)
			body = append(body[:len(body)-1], 0xff, 0xff, 0xff, 0xff, 0x0f)
			if s.check(body, v, true) == nil {
				t.Errorf("%s v%d passes", spec.Name, v)
			}
		}
	}
}

// TestUnshapedRequestsAreRefused: a key that nobody drew the shape of.
func TestUnshapedRequestsAreRefused(t *testing.T) {
	spec := &wire.Spec{Key: 999, Name: "Unknown", Max: 0, FlexibleFrom: -1}
	if checkCold(&wire.Request{Spec: spec, Key: 999}) == nil {
		t.Error("a request without a shape passes")
	}
}
