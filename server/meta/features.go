package meta

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The metadata.version feature and the levels of it this release reads and writes (MetadataVersion.MINIMUM_VERSION and
// LATEST_PRODUCTION of Kafka 4.3).
const (
	MetadataVersionFeature       = "metadata.version"
	MinMetadataVersion     int16 = 7
	MaxMetadataVersion     int16 = 30
)

// Feature is a feature and the levels of it that Kafka 4.3 understands (org.apache.kafka.server.common.Feature).
type Feature struct {
	Name string
	Min  int16
	Max  int16
	// Since is the metadata.version from which a newly formatted cluster has the feature at level Max; kraft.version is
	// decided by how the quorum is formatted instead.
	Since int16
}

var features = []Feature{
	{MetadataVersionFeature, MinMetadataVersion, MaxMetadataVersion, MinMetadataVersion},
	{"eligible.leader.replicas.version", 0, 1, 26},
	{"group.version", 0, 1, 22},
	{"kraft.version", 0, 1, 21},
	{"share.version", 0, 1, 28},
	{"streams.version", 0, 1, 29},
	{"transaction.version", 0, 2, 24},
}

// Names of the feature levels a broker acts upon.
const (
	EligibleLeaderReplicasFeature = "eligible.leader.replicas.version"
	GroupVersionFeature           = "group.version"
	KRaftVersionFeature           = "kraft.version"
	ShareVersionFeature           = "share.version"
	StreamsVersionFeature         = "streams.version"
	TransactionVersionFeature     = "transaction.version"
)

// Features returns every feature of Kafka 4.3, metadata.version first and the others by name.
func Features() []Feature { return slices.Clone(features) }

// SupportedFeatures returns the ranges of Features as a registration record carries them.
func SupportedFeatures() []SupportedFeature {
	list := make([]SupportedFeature, len(features))
	for i, f := range features {
		list[i] = SupportedFeature{Name: f.Name, Min: f.Min, Max: f.Max}
	}
	return list
}

// metadataVersionNames begins with the name of MinMetadataVersion.
var metadataVersionNames = [...]string{
	"3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2",
	"3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0",
	"4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
}

// MetadataVersionName returns Kafka's name of a metadata.version level ("4.3-IV0"), or "level N" for one it has none for.
func MetadataVersionName(level int16) string {
	if level < MinMetadataVersion || level > MaxMetadataVersion {
		return fmt.Sprintf("level %d", level)
	}
	return metadataVersionNames[level-MinMetadataVersion]
}

// ParseMetadataVersion returns the level of a name, or of the newest level of a release: "4.3-IV0", "4.3", "4.3.1"
// (MetadataVersion.fromVersionString).
func ParseMetadataVersion(name string) (int16, error) {
	release := name
	if parts := strings.SplitN(name, ".", 3); len(parts) == 3 {
		release = parts[0] + "." + parts[1]
	}
	for i, n := range slices.Backward(metadataVersionNames[:]) {
		if of, _, _ := strings.Cut(n, "-"); n == name || of == release {
			return MinMetadataVersion + int16(i), nil
		}
	}
	return 0, fmt.Errorf("metadata.version %q: expected a release or level from %s to %s", name, metadataVersionNames[0], metadataVersionNames[len(metadataVersionNames)-1])
}

// BootstrapRecords returns the feature levels of a cluster newly formatted at a metadata.version (MaxMetadataVersion unless
// asked otherwise): metadata.version first, then every feature that is on by default there, by name. kraft.version is never
// among them: it is a control record.
func BootstrapRecords(metadataVersion int16) []Record {
	list := []Record{&FeatureLevelRecord{Name: MetadataVersionFeature, Level: metadataVersion}}
	for _, f := range features[1:] {
		if f.Name != KRaftVersionFeature && metadataVersion >= f.Since {
			list = append(list, &FeatureLevelRecord{Name: f.Name, Level: f.Max})
		}
	}
	return list
}

// Unsupported returns an error that names everything in an image that Kafka 4.3 does not understand and that must therefore
// not be taken over: levels out of range, features without a row in Features, records of unknown type. nil means none.
func Unsupported(im *Image) error {
	var found []error
	for _, name := range slices.Sorted(maps.Keys(im.Features)) {
		level := im.Features[name]
		i := slices.IndexFunc(features, func(f Feature) bool { return f.Name == name })
		switch {
		case i < 0:
			found = append(found, fmt.Errorf("feature %s is at level %d: expected a feature of Kafka 4.3", name, level))
		case level < features[i].Min || level > features[i].Max:
			found = append(found, fmt.Errorf("feature %s is at level %d: expected %d to %d", name, level, features[i].Min, features[i].Max))
		}
	}
	for _, u := range im.unknown {
		found = append(found, fmt.Errorf("metadata record of type %d version %d: expected a record of Kafka 4.3", u.APIKey, u.Version))
	}
	return errors.Join(found...)
}
