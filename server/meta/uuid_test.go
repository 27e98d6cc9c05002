package meta

import (
	"strings"
	"testing"
)

func TestParseUUID(t *testing.T) {
	const text = "tM_HBWdJRSWyQ2_nmrdzTA"
	id, err := ParseUUID(text)
	if err != nil || id.String() != text {
		t.Fatalf("ParseUUID(%q) = %s, %v", text, id, err)
	}
	padded, err := ParseUUID(text + "==")
	if err != nil || padded != id {
		t.Fatalf("padded: %s, %v", padded, err)
	}
	if zero, err := ParseUUID(strings.Repeat("A", 22)); err != nil || !zero.IsZero() {
		t.Fatalf("zero: %s, %v", zero, err)
	}
	for _, bad := range []string{"", "A", text[:21], text + "=", text + "A", text + "A=", "tM/HBWdJRSWyQ2/nmrdzTA", text[:20] + "\n\n", text[:21] + "=", text + "AA"} {
		if id, err := ParseUUID(bad); err == nil {
			t.Errorf("ParseUUID(%q) = %s, expected an error", bad, id)
		}
	}
}

func TestNewUUID(t *testing.T) {
	seen := make(map[UUID]bool)
	for range 5000 {
		id := NewUUID()
		if seen[id] || id.Reserved() || strings.HasPrefix(id.String(), "-") {
			t.Fatalf("NewUUID() = %s", id)
		}
		seen[id] = true
		back, err := ParseUUID(id.String())
		if err != nil || back != id {
			t.Fatalf("%s came back as %s, %v", id, back, err)
		}
	}
}

func TestReservedUUIDs(t *testing.T) {
	for id, want := range map[UUID]bool{{}: true, DirectoryUnassigned: true, DirectoryLost: true, {15: 99}: true, {15: 100}: false, {7: 1}: false, {0: 1}: false} {
		if id.Reserved() != want {
			t.Errorf("%v.Reserved() = %v", [16]byte(id), !want)
		}
	}
	if MetadataTopicID.String() != "AAAAAAAAAAAAAAAAAAAAAQ" {
		t.Errorf("metadata topic id is %s", MetadataTopicID)
	}
}

func FuzzParseUUID(f *testing.F) {
	f.Add("tM_HBWdJRSWyQ2_nmrdzTA")
	f.Add("AAAAAAAAAAAAAAAAAAAAAA==")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseUUID(s)
		if err != nil {
			return
		}
		if back, err := ParseUUID(id.String()); err != nil || back != id {
			t.Fatalf("%q became %s, then %s, %v", s, id, back, err)
		}
	})
}
