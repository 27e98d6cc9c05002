package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/wire/prim"
)

func answer(*Request) Reply { return NoResponse }

func testTable() *Table {
	return NewTable([]Spec{
		{Key: KeyAPIVersions, Name: "ApiVersions", Max: 4, FlexibleFrom: 3, Handle: answer},
		{Key: 0, Name: "Produce", Min: 3, Max: 13, FlexibleFrom: 9, Handle: answer},
		{Key: 17, Name: "SaslHandshake", Max: 1, FlexibleFrom: -1, Handle: answer},
	})
}

func TestTable(t *testing.T) {
	table := testTable()
	var keys []int16
	for _, s := range table.All() {
		keys = append(keys, s.Key)
		if table.Lookup(s.Key) != s {
			t.Fatalf("Lookup(%d) is another row", s.Key)
		}
	}
	if len(keys) != 3 || keys[0] != 0 || keys[1] != 17 || keys[2] != 18 {
		t.Fatalf("keys in order %v", keys)
	}
	for _, key := range []int16{-1, 1, 19, 32767, -32768} {
		if table.Lookup(key) != nil {
			t.Fatalf("key %d is served", key)
		}
	}
	for _, rows := range [][]Spec{
		{{Key: 1, Handle: answer}, {Key: 1, Handle: answer}},
		{{Key: -1, Handle: answer}},
		{{Key: 1}},
		{{Key: 1, Min: 2, Max: 1, Handle: answer}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Fatalf("table of %v was accepted", rows)
				}
			}()
			NewTable(rows)
		}()
	}
}

func TestParseHeader(t *testing.T) {
	table := testTable()
	name := "producer-1"
	for _, c := range []struct {
		key, version int16
		client       *string
		flexible     bool
	}{
		{0, 3, &name, false}, {0, 8, nil, false}, {0, 9, &name, true}, {0, 13, nil, true},
		{17, 1, &name, false}, {18, 0, &name, false}, {18, 3, &name, true}, {18, 4, nil, true},
	} {
		frame := append(AppendRequestHeader(nil, c.key, c.version, 42, c.client, c.flexible), "body"...)
		var r Request
		if err := ParseHeader(table, frame, &r); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if r.Key != c.key || r.Version != c.version || r.CorrelationID != 42 || r.HasClientID != (c.client != nil) ||
			c.client != nil && r.ClientID != name || string(r.Body) != "body" || r.Size != len(frame) ||
			r.Spec != table.Lookup(c.key) || r.VersionUnsupported || r.Flexible() != c.flexible {
			t.Fatalf("%+v: got %+v", c, r)
		}
		want := []byte{0, 0, 0, 42}
		if c.flexible && c.key != KeyAPIVersions {
			want = append(want, 0)
		}
		if got := AppendResponseHeader(nil, &r); !bytes.Equal(got, want) {
			t.Fatalf("%+v: response header %x, want %x", c, got, want)
		}
	}
}

func TestHeaderTags(t *testing.T) {
	table := testTable()
	frame := AppendRequestHeader(nil, 0, 9, 1, nil, false)
	frame = append(frame, 2, 0, 3, 'a', 'b', 'c', 1, 0, 'X')
	var r Request
	if err := ParseHeader(table, frame, &r); err != nil || string(r.Body) != "X" {
		t.Fatalf("body %q, error %v", r.Body, err)
	}
	many := prim.AppendUvarint(AppendRequestHeader(nil, 0, 9, 1, nil, false), 20_000_000)
	many = append(many, make([]byte, 1<<20)...)
	if n := testing.AllocsPerRun(10, func() {
		if err := ParseHeader(table, many, &r); !errors.Is(err, prim.ErrMalformed) {
			t.Fatalf("header with 20 million tags: %v", err)
		}
	}); n > 20 {
		t.Fatalf("%v allocations for a hostile header", n)
	}
}

func TestUnsupported(t *testing.T) {
	table := testTable()
	var r Request
	for _, c := range []struct {
		key, version int16
		want         error
	}{{99, 0, ErrUnknownKey}, {-5, 0, ErrUnknownKey}, {0, 2, ErrUnsupportedVersion}, {0, 14, ErrUnsupportedVersion}, {17, -1, ErrUnsupportedVersion}} {
		if err := ParseHeader(table, AppendRequestHeader(nil, c.key, c.version, 1, nil, false), &r); !errors.Is(err, c.want) {
			t.Fatalf("key %d version %d: %v, want %v", c.key, c.version, err, c.want)
		}
	}
	name := "client"
	for _, version := range []int16{5, 32767, -1} {
		frame := append(AppendRequestHeader(nil, KeyAPIVersions, version, 7, &name, true), 0xff, 0xff, 0xff)
		if err := ParseHeader(table, frame, &r); err != nil {
			t.Fatalf("ApiVersions %d: %v", version, err)
		}
		if !r.VersionUnsupported || r.Version != version || len(r.Body) != 0 || r.ClientID != name || r.Flexible() {
			t.Fatalf("ApiVersions %d: %+v", version, r)
		}
		if got := AppendResponseHeader(nil, &r); !bytes.Equal(got, []byte{0, 0, 0, 7}) {
			t.Fatalf("ApiVersions %d: response header %x", version, got)
		}
	}
	if err := ParseHeader(table, []byte{0, 18, 0, 9, 0, 0, 0, 7}, &r); err != nil || r.CorrelationID != 7 || !r.VersionUnsupported {
		t.Fatalf("ApiVersions 9 without a client id: %+v %v", r, err)
	}
}

func TestClientIDIsKept(t *testing.T) {
	table := testTable()
	name := "the same client"
	frame := AppendRequestHeader(nil, 0, 9, 1, &name, true)
	var r Request
	if n := testing.AllocsPerRun(100, func() {
		if err := ParseHeader(table, frame, &r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations for the client id of before", n)
	}
}

func FuzzParseHeader(f *testing.F) {
	table := testTable()
	name := "client"
	f.Add(AppendRequestHeader(nil, 0, 9, 1, &name, true))
	f.Add(AppendRequestHeader(nil, 18, 99, 1, nil, false))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var r Request
		if err := ParseHeader(table, frame, &r); err != nil {
			if !errors.Is(err, prim.ErrMalformed) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrUnsupportedVersion) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if len(r.Body) > len(frame) || !bytes.HasSuffix(frame, r.Body) {
			t.Fatal("body is not the end of the frame")
		}
		AppendResponseHeader(nil, &r)
	})
}

func TestReplies(t *testing.T) {
	p := GetPayload()
	defer PutPayload(p)
	if b := Bytes([]byte("abc")); !b.Wait(nil) || b.Encode(p) != nil || string(p.Bytes()) != "abc" {
		t.Fatal("Bytes is not a ready body")
	}
	reason := errors.New("not allowed")
	c := CloseConnection(reason)
	err := c.Encode(p)
	if !c.Wait(nil) || !errors.Is(err, reason) || !strings.Contains(err.Error(), "not allowed") {
		t.Fatalf("CloseConnection encodes to %v", err)
	}
	if !NoResponse.Wait(nil) || NoResponse.Encode(p) != nil || p.Size() != 3 {
		t.Fatal("NoResponse wrote something")
	}
	c.Release()
	NoResponse.Release()
}

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

type counter int

func (c *counter) Progress() { *c++ }

func TestPayload(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	table := testTable()
	r := &Request{Spec: table.Lookup(0), Version: 9, CorrelationID: 5}
	released := map[string]int{}
	mark := func(name string) func() { return func() { released[name]++ } }
	build := func(p *Payload) {
		p.BeginResponse(r)
		p.SetBuffer(append(p.Buffer(), "head"...))
		p.Span([]byte("span"), mark("span"))
		p.Span(nil, mark("empty"))
		p.Span(nil, nil)
		p.SetBuffer(append(p.Buffer(), "middle"...))
		p.Span(big, mark("big"))
		p.SetBuffer(append(p.Buffer(), "tail"...))
		if n, err := p.EndResponse(); err != nil || n != p.Size() {
			t.Fatalf("EndResponse %d, %v; size %d", n, err, p.Size())
		}
		p.BeginResponse(r)
		p.Span([]byte("second"), nil)
		if n, err := p.EndResponse(); err != nil || n != 4+5+6 {
			t.Fatalf("second EndResponse %d, %v", n, err)
		}
		p.BeginResponse(r)
		p.SetBuffer(append(p.Buffer(), "never"...))
		p.Span([]byte("sent"), mark("cancelled"))
		p.CancelResponse()
		if released["cancelled"] != 1 {
			t.Fatal("CancelResponse did not release")
		}
	}
	first := len("head") + len("span") + len("middle") + len(big) + len("tail")
	var want []byte
	want = append(prim.AppendInt32(want, int32(5+first)), 0, 0, 0, 5, 0)
	want = append(append(append(want, "headspanmiddle"...), big...), "tail"...)
	want = append(append(want, 0, 0, 0, 11, 0, 0, 0, 5, 0), "second"...)

	for _, network := range []string{"tcp", "pipe"} {
		client, server := net.Pipe()
		if network == "tcp" {
			client, server = pair(t)
		}
		clear(released)
		p := GetPayload()
		build(p)
		if !bytes.Equal(p.Bytes(), want) {
			t.Fatal("payload holds other bytes")
		}
		var progress counter
		p.OnProgress(&progress)
		got := make(chan []byte)
		go func() {
			b := make([]byte, len(want))
			n, _ := io.ReadFull(client, b)
			got <- b[:n]
		}()
		n, err := p.WriteTo(server)
		if err != nil || n != int64(len(want)) {
			t.Fatalf("%s: wrote %d, %v", network, n, err)
		}
		if !bytes.Equal(<-got, want) {
			t.Fatalf("%s: other bytes arrived", network)
		}
		if progress < 3 {
			t.Fatalf("%s: progress reported %d times", network, progress)
		}
		if released["span"]+released["big"]+released["empty"] != 0 {
			t.Fatalf("%s: released before Reset", network)
		}
		p.Reset()
		PutPayload(p)
		for _, name := range []string{"span", "big", "empty"} {
			if released[name] != 1 {
				t.Fatalf("%s: %s released %d times", network, name, released[name])
			}
		}
	}
}

func TestPayloadOfAMebibyteHasOneWrite(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	p := GetPayload()
	defer PutPayload(p)
	p.SetBuffer(append(p.Buffer(), "head"...))
	p.Span(make([]byte, 1<<20), nil)
	var progress counter
	p.OnProgress(&progress)
	go io.Copy(io.Discard, client)
	if _, err := p.WriteTo(server); err != nil || progress != 1 {
		t.Fatalf("%d steps, error %v", progress, err)
	}
}

func TestPayloadWritingDoesNotAllocate(t *testing.T) {
	client, server := pair(t)
	go io.Copy(io.Discard, client)
	r := &Request{Spec: testTable().Lookup(0), Version: 9}
	span := make([]byte, 100)
	release := func() {}
	p := GetPayload()
	defer PutPayload(p)
	if n := testing.AllocsPerRun(200, func() {
		for range 3 {
			p.BeginResponse(r)
			p.SetBuffer(append(p.Buffer(), "some bytes"...))
			p.Span(span, release)
			if _, err := p.EndResponse(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.WriteTo(server); err != nil {
			t.Fatal(err)
		}
		p.Reset()
	}); n >= 1 {
		t.Fatalf("%v allocations per payload", n)
	}
}
