package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// metaProperties is one meta.properties (org.apache.kafka.metadata.properties.MetaProperties).
type metaProperties struct {
	version   int
	clusterID string // empty: absent
	nodeID    int32
	hasNode   bool
	directory meta.UUID // zero: absent
}

// readMetaProperties returns nil without error where there is no such file.
func readMetaProperties(f vfs.FS, dir string) (*metaProperties, error) {
	name := filepath.Join(dir, metaPropertiesFile)
	data, err := vfs.ReadFile(f, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &RefusedError{Reason: ErrMetaProperties, File: name, Found: "it cannot be read", Cause: err}
	}
	p, err := parseMetaProperties(data)
	if errors.Is(err, errReserved) {
		return nil, &RefusedError{Reason: ErrDirectoryID, File: name, Found: err.Error(), Advice: "reserved ids name no directory; remove the line and a new id is made"}
	}
	if err != nil {
		return nil, &RefusedError{Reason: ErrMetaProperties, File: name, Found: err.Error(), Advice: "restore it from before it was changed"}
	}
	return p, nil
}

var errReserved = errors.New("reserved directory id")

func parseMetaProperties(data []byte) (*metaProperties, error) {
	values, err := parseProperties(data)
	if err != nil {
		return nil, err
	}
	p := &metaProperties{clusterID: values["cluster.id"]}
	if v, ok := values["version"]; ok {
		if p.version, err = strconv.Atoi(strings.TrimSpace(v)); err != nil || p.version < 0 || p.version > 1 {
			return nil, fmt.Errorf("version=%s: expected 0 or 1", v)
		}
	}
	// Version 0 is of the ZooKeeper era and calls the node broker.id.
	for _, key := range []string{"node.id", "broker.id"} {
		v, ok := values[key]
		if !ok || p.hasNode {
			continue
		}
		id, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32)
		if err != nil || id < 0 {
			return nil, fmt.Errorf("%s=%s: expected a number from 0", key, v)
		}
		p.nodeID, p.hasNode = int32(id), true
	}
	if v, ok := values["directory.id"]; ok {
		if p.directory, err = meta.ParseUUID(strings.TrimSpace(v)); err != nil {
			return nil, fmt.Errorf("directory.id=%s: %w", v, err)
		}
		if p.directory.Reserved() {
			return nil, fmt.Errorf("%w: directory.id=%s", errReserved, v)
		}
	}
	if p.version == 1 && p.clusterID == "" {
		return nil, errors.New("cluster.id was not found")
	}
	if p.version == 1 && !p.hasNode {
		return nil, errors.New("node.id was not found")
	}
	return p, nil
}

// encode writes version 1 with the lines in the order java.util.Properties happens to give them.
func (p *metaProperties) encode(now time.Time) []byte {
	return []byte("#\n#" + now.UTC().Format("Mon Jan 02 15:04:05 MST 2006") +
		"\nnode.id=" + strconv.Itoa(int(p.nodeID)) +
		"\ndirectory.id=" + p.directory.String() +
		"\nversion=1\ncluster.id=" + escapeProperty(p.clusterID) + "\n")
}

// identity is what the meta.properties of all directories say together (MetaPropertiesEnsemble.verify).
type identity struct {
	clusterID   string
	directories map[string]*metaProperties // by directory; nil: none there
}

// formatted reports whether metadata.log.dir, which is formatted last, is.
func (id *identity) formatted(c *Config) bool { return id.directories[c.MetadataLogDir] != nil }

func readIdentity(f vfs.FS, c *Config) (*identity, error) {
	id := &identity{clusterID: c.ClusterID, directories: map[string]*metaProperties{}}
	from := "the configuration"
	seen := map[meta.UUID]string{}
	for _, dir := range c.dirs() {
		p, err := readMetaProperties(f, dir)
		if err != nil {
			return nil, err
		}
		id.directories[dir] = p
		if p == nil {
			continue
		}
		name := filepath.Join(dir, metaPropertiesFile)
		switch {
		case p.clusterID == "":
		case id.clusterID == "":
			id.clusterID, from = p.clusterID, name
		case id.clusterID != p.clusterID:
			return nil, refuse(ErrClusterID, name, "log.dirs must hold directories of one cluster",
				"invalid cluster.id: expected %s as in %s, but read %s", id.clusterID, from, p.clusterID)
		}
		if p.hasNode && p.nodeID != c.NodeID {
			return nil, refuse(ErrNodeID, name, "set node.id to the node that owns the data, or choose other log.dirs",
				"stored node id %d doesn't match the configured node.id %d", p.nodeID, c.NodeID)
		}
		if p.directory.IsZero() {
			continue
		}
		if other, ok := seen[p.directory]; ok {
			return nil, refuse(ErrDirectoryID, name, "a directory was copied; remove directory.id from the copy's meta.properties",
				"duplicate directory id %s: it is also that of %s", p.directory, other)
		}
		seen[p.directory] = dir
	}
	return id, nil
}

// requireComplete refuses when some but not all directories are formatted: an empty one may be a disk that is not mounted.
func (id *identity) requireComplete(c *Config, contents map[string]*contents) error {
	const advice = "check that the disk is mounted; a new directory must be formatted first (kafka-storage format --ignore-formatted)"
	if id.formatted(c) {
		for _, dir := range c.dirs() {
			if id.directories[dir] == nil {
				return refuse(ErrNotFormatted, dir, advice, "no meta.properties there, but %s has one", c.MetadataLogDir)
			}
		}
		if id.clusterID == "" {
			return refuse(ErrMetaProperties, filepath.Join(c.MetadataLogDir, metaPropertiesFile), "add the line cluster.id=<id of the cluster>",
				"cluster.id was not found in any of log.dirs")
		}
		return nil
	}
	for _, dir := range c.dirs() {
		has := contents[dir]
		switch {
		case len(has.partitions) > 0:
			return refuse(ErrNotFormatted, filepath.Join(dir, has.partitions[0]), advice, "partition data, but no meta.properties in metadata.log.dir %s", c.MetadataLogDir)
		case has.metadataLog:
			return refuse(ErrNotFormatted, filepath.Join(dir, MetadataLogName), "restore meta.properties", "cluster metadata, but no meta.properties in metadata.log.dir %s", c.MetadataLogDir)
		}
	}
	return nil
}
