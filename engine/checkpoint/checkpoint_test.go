package checkpoint

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	in := []Entry{{"a.b_c-d", 0, 12}, {"x", 41, -1}, {"x", 42, 1<<63 - 1}}
	const text = "0\n3\na.b_c-d 0 12\nx 41 -1\nx 42 9223372036854775807\n"
	if got := string(Encode(in)); got != text {
		t.Fatalf("encoded %q", got)
	}
	out, err := Decode([]byte(text))
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Fatalf("decoded %v, %v", out, err)
	}
}

func TestDecodeNamesTheLine(t *testing.T) {
	for text, line := range map[string]string{
		"1\n0\n": "line 1", "0\n": "line 2", "0\nx\n": "line 2", "0\n2\na 0 1\n": "line 2", "0\n0\na 0 1\n": "line 2",
		"0\n1\na 0\n": "line 3", "0\n1\na -1 5\n": "line 3", "0\n2\na 0 5\nb 0 five\n": "line 4", "0\n-1\n": "line 2",
	} {
		_, err := Decode([]byte(text))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), line) {
			t.Errorf("%q: got %v, expected an error in %s", text, err, line)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("0\n1\ntopic 0 5\n"))
	f.Add([]byte("0\n0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(Encode(entries))
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%q decodes to %v, which does not survive: %v", data, entries, err)
		}
	})
}
