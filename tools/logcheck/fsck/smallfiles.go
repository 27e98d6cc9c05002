package fsck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// properties is meta.properties, version 1.
type properties struct {
	version     string
	nodeID      int32
	directoryID meta.UUID
	clusterID   string
}

// clusterIDForm is how Kafka and Gregor write cluster ids.
var clusterIDForm = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// parseProperties reads meta.properties as Kafka and Gregor write it: comments
// and key=value lines.
func parseProperties(data []byte) (*properties, error) {
	values := map[string]string{}
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("line %d: expected key=value, found %.64q", i+1, line)
		}
		if _, twice := values[key]; twice {
			return nil, fmt.Errorf("line %d: key %q is there twice", i+1, key)
		}
		values[key] = strings.TrimSuffix(value, "\r")
	}
	for key := range values {
		switch key {
		case "version", "cluster.id", "node.id", "directory.id", "broker.id":
		default:
			return nil, fmt.Errorf("expected version, cluster.id, node.id, directory.id, found key %.64q", key)
		}
	}
	p := &properties{version: values["version"], clusterID: values["cluster.id"]}
	if p.version != "1" {
		return nil, fmt.Errorf("expected version 1, found %q", p.version)
	}
	node, err := strconv.ParseInt(values["node.id"], 10, 32)
	if err != nil || node < 0 {
		return nil, fmt.Errorf("expected a node.id from 0, found %.64q", values["node.id"])
	}
	p.nodeID = int32(node)
	if p.directoryID, err = meta.ParseUUID(values["directory.id"]); err != nil {
		return nil, fmt.Errorf("directory.id: %w", err)
	}
	if p.directoryID.String() != values["directory.id"] || p.directoryID.Reserved() {
		return nil, fmt.Errorf("expected a directory.id that is not reserved, found %q", values["directory.id"])
	}
	if !clusterIDForm.MatchString(p.clusterID) {
		return nil, fmt.Errorf("expected a cluster.id of letters, digits, - and _, found %.64q", p.clusterID)
	}
	return p, nil
}

func (d *directory) checkProperties(path string, data []byte) {
	report := func(expected, found string) {
		d.report(Finding{Severity: Damage, Kind: KindProperties, File: path, Position: 0, Expected: expected, Found: found})
	}
	p, err := parseProperties(data)
	if err != nil {
		report("meta.properties", err.Error())
		return
	}
	for _, o := range d.v.dirs {
		if o.clusterID != "" && o.clusterID != p.clusterID && o.path < d.path {
			report("cluster.id "+o.clusterID+", as in "+o.path, p.clusterID)
		}
	}
	c := d.v.cluster
	if c == nil || !c.complete || len(c.image.Brokers) == 0 {
		return
	}
	b := c.image.Brokers[p.nodeID]
	if b == nil {
		report("the node.id of a broker in the metadata", fmt.Sprint(p.nodeID))
		return
	}
	known := len(b.LogDirs) == 0
	for _, id := range b.LogDirs {
		known = known || id == p.directoryID
	}
	if !known {
		report("a directory.id that the broker registered with", p.directoryID.String())
	}
}

// marker is .kafka_cleanshutdown (CleanShutdownFileHandler).
type marker struct {
	Version     *int   `json:"version"`
	BrokerEpoch *int64 `json:"brokerEpoch"`
}

// strictJSON decodes one object with exactly the named keys, or fewer, as a
// reader that distinguishes letter case sees them, without white space, as no
// writer makes any, and nothing behind it.
func strictJSON(data []byte, into any, keys ...string) error {
	d := json.NewDecoder(bytes.NewReader(data))
	var fields map[string]json.RawMessage
	if err := d.Decode(&fields); err != nil {
		return err
	}
	for key := range fields {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("expected %s, found key %.64q", strings.Join(keys, ", "), key)
		}
	}
	if i := bytes.IndexAny(data[:d.InputOffset()], " \t\r\n"); i >= 0 {
		return fmt.Errorf("expected no white space, found byte %#02x at %d", data[i], i)
	}
	if rest := bytes.TrimSpace(data[d.InputOffset():]); len(rest) > 0 {
		return fmt.Errorf("%d bytes behind the object", len(rest))
	}
	return json.Unmarshal(data, into)
}

// markerWritten is the metadata.version from which the marker holds the broker epoch: that of 4.0.
const markerWritten = 23

func (d *directory) checkMarker(path string, data []byte) {
	report := func(expected, found string) {
		d.report(Finding{Severity: Rebuildable, Kind: KindMarker, File: path, Position: 0, Expected: expected, Found: found})
	}
	c := d.v.cluster
	var epoch int64 = unknown
	if c != nil && c.complete {
		if b := c.image.Brokers[d.nodeID]; b != nil {
			epoch = b.Epoch
		}
	}
	if len(data) == 0 {
		if c != nil && c.complete && c.image.MetadataVersion() >= markerWritten {
			report("the broker epoch", "an empty file")
		}
		return
	}
	var m marker
	if err := strictJSON(data, &m, "version", "brokerEpoch"); err != nil {
		report("a clean shutdown marker", err.Error())
		return
	}
	switch {
	case m.Version == nil || *m.Version != 0 || m.BrokerEpoch == nil:
		report("version 0 and brokerEpoch", string(data))
	case epoch >= 0 && *m.BrokerEpoch != epoch && *m.BrokerEpoch != -1:
		report(fmt.Sprintf("broker epoch %d, that of its registration", epoch), fmt.Sprint(*m.BrokerEpoch))
	}
}

// quorumState is the file quorum-state (QuorumStateData), versions 0 and 1.
type quorumState struct {
	ClusterID     *string `json:"clusterId"`
	LeaderID      *int32  `json:"leaderId"`
	LeaderEpoch   *int32  `json:"leaderEpoch"`
	VotedID       *int32  `json:"votedId"`
	VotedDir      *string `json:"votedDirectoryId"`
	AppliedOffset *int64  `json:"appliedOffset"`
	CurrentVoters []struct {
		VoterID int32 `json:"voterId"`
	} `json:"currentVoters"`
	DataVersion *int16 `json:"data_version"`
}

func parseQuorumState(data []byte) (*quorumState, error) {
	var q quorumState
	if err := strictJSON(data, &q, "clusterId", "leaderId", "leaderEpoch", "votedId", "votedDirectoryId", "appliedOffset", "currentVoters", "data_version"); err != nil {
		return nil, err
	}
	switch {
	case q.DataVersion == nil || *q.DataVersion < 0 || *q.DataVersion > 1:
		return nil, errors.New("expected data_version 0 or 1")
	case q.LeaderEpoch == nil || *q.LeaderEpoch < 0 || q.LeaderID == nil || *q.LeaderID < -1 || q.VotedID == nil || *q.VotedID < -1:
		return nil, errors.New("expected leaderEpoch from 0, leaderId and votedId from -1")
	case (*q.DataVersion == 1) != (q.VotedDir != nil):
		return nil, fmt.Errorf("expected votedDirectoryId from version 1 on, found version %d", *q.DataVersion)
	case *q.DataVersion == 1 && (q.ClusterID != nil || q.AppliedOffset != nil || q.CurrentVoters != nil):
		return nil, errors.New("expected no clusterId, appliedOffset and currentVoters in version 1")
	}
	if q.VotedDir != nil {
		id, err := meta.ParseUUID(*q.VotedDir)
		if err != nil {
			return nil, err
		}
		if *q.VotedID == -1 && !id.IsZero() || id.String() != *q.VotedDir {
			return nil, fmt.Errorf("votedDirectoryId %s for votedId %d", *q.VotedDir, *q.VotedID)
		}
	}
	return &q, nil
}

// checkQuorumState compares quorum-state with the metadata log. A single voter
// has led every epoch that it knows.
func (v *verifier) checkQuorumState(e *checking, p *Partition, on promise) {
	path := filepath.Join(p.Path, quorumName)
	report := func(expected, found string) {
		e.report.add(Finding{Severity: Damage, Kind: KindQuorum, File: path, Position: 0, Partition: p.Name, Offset: unknown, LastOffset: unknown, Expected: expected, Found: found})
	}
	data, err := vfs.ReadFile(v.fs, path)
	if err != nil {
		report("a file that can be read", err.Error())
		return
	}
	q, err := parseQuorumState(data)
	if err != nil {
		report("quorum-state", err.Error())
		return
	}
	c := v.cluster
	if c == nil || !c.complete {
		return
	}
	newest := c.image.Epoch
	switch {
	case *q.LeaderEpoch < newest, on.clean && c.voters == 1 && *q.LeaderEpoch != newest:
		report(fmt.Sprintf("leaderEpoch %d, the newest of the log", newest), fmt.Sprint(*q.LeaderEpoch))
	case c.voters == 1 && *q.LeaderID != c.leader && (*q.LeaderID != -1 || on.clean) && *q.LeaderEpoch == newest:
		report(fmt.Sprintf("leaderId %d, the only voter", c.leader), fmt.Sprint(*q.LeaderID))
	case c.voters == 1 && *q.VotedID != -1 && *q.VotedID != c.leader:
		report(fmt.Sprintf("votedId -1 or %d, the only voter", c.leader), fmt.Sprint(*q.VotedID))
	}
}

// parseTopicID reads partition.metadata (PartitionMetadataFile).
func parseTopicID(data []byte) (meta.UUID, error) {
	first, second, ok := strings.Cut(strings.TrimSuffix(string(data), "\n"), "\n")
	if !ok || first != "version: 0" {
		return meta.UUID{}, fmt.Errorf("expected \"version: 0\", found %.64q", first)
	}
	text, ok := strings.CutPrefix(second, "topic_id: ")
	if !ok {
		return meta.UUID{}, fmt.Errorf("expected \"topic_id: ...\", found %.64q", second)
	}
	id, err := meta.ParseUUID(text)
	if err == nil && id.String() != strings.TrimRight(text, "=") {
		err = fmt.Errorf("expected %s, found %s: bits set that an id does not have", id, text)
	}
	return id, err
}
