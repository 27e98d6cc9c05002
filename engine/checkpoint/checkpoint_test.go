package checkpoint

import (
	"errors"
	"os"
	"reflect"
	"slices"
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
		"0\n1\na 0\n": "line 3", "0\n1\na -1 5\n": "line 3", "0\n2\na 0 5\nb 0 five\n": "line 4", "0\n-1\n": "line 2", "": "line 1",
		"0\n2\na 0 5\na 0 6\n": "line 4", "0\n1\na 0 -2\n": "line 3", "0\n1\na 0 5 6\n": "line 3", "0\n1\na 2147483648 5\n": "line 3",
	} {
		_, err := Decode([]byte(text))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), line) {
			t.Errorf("%q: got %v, expected an error in %s", text, err, line)
		}
	}
}

func TestKafkaFile(t *testing.T) {
	data, err := os.ReadFile("testdata/replication-offset-checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := Decode(data)
	if err != nil || len(entries) == 0 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	if string(Encode(entries)) != string(data) {
		t.Fatal("it is not written as it was read")
	}
}

func TestDecodeAcceptsWhatJavaReads(t *testing.T) {
	for _, text := range []string{"0\n1\na 0 5", "0\r\n1\r\na 0 5\r\n", "0\n1\na  0\t5\n"} {
		if got, err := Decode([]byte(text)); err != nil || len(got) != 1 || got[0] != (Entry{"a", 0, 5}) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("0\n1\ntopic 0 5\n"))
	f.Add([]byte("0\n0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(Encode(entries))
		if err != nil || !slices.Equal(again, entries) {
			t.Fatalf("%q decodes to %v, which does not survive: %v", data, entries, err)
		}
	})
}
