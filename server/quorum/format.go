package quorum

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// Format makes new log directories what kafka-storage format --standalone of Kafka 4.3 leaves: meta.properties and
// bootstrap.checkpoint in each, and in metadata.log.dir the first snapshot, which names this node the only voter; with static
// voters, no such snapshot. It adds partition.metadata of the metadata log, which Kafka writes at its first start. Directories
// are created as needed. It holds the lock of every directory meanwhile and fails with vfs.ErrLocked if another broker does.
//
// d must come from an Inspect with the same Config that found the directories unformatted.
func Format(f vfs.FS, c Config, d *Directory) error {
	c = c.withDefaults()
	if d.Formatted {
		return fmt.Errorf("format %s: it is formatted", c.MetadataLogDir)
	}
	release, created, err := lockAll(f, c.dirs())
	if err != nil {
		return err
	}
	return errors.Join(format(f, &c, d, created), release())
}

// lockAll creates the directories and takes their locks as a running broker does. created are the directories that have a new
// entry because of that.
func lockAll(f vfs.FS, dirs []string) (release func() error, created map[string]bool, err error) {
	created = map[string]bool{}
	var locks []io.Closer
	release = func() error {
		var errs []error
		for _, l := range locks {
			errs = append(errs, l.Close())
		}
		return errors.Join(errs...)
	}
	for _, dir := range dirs {
		for up := filepath.Clean(dir); ; up = filepath.Dir(up) {
			if _, err := f.Stat(up); err == nil || up == filepath.Dir(up) {
				break
			}
			created[filepath.Dir(up)] = true
		}
		err := f.MkdirAll(dir, 0o755)
		if err == nil {
			var lock io.Closer
			if lock, err = f.Lock(filepath.Join(dir, ".lock")); err == nil {
				locks = append(locks, lock)
				continue
			}
		}
		return nil, nil, errors.Join(fmt.Errorf("format log directory %s: %w", dir, err), release())
	}
	return release, created, nil
}

func format(f vfs.FS, c *Config, d *Directory, syncDirs map[string]bool) error {
	now := func() int64 { return c.Clock.Now().UnixMilli() }
	clusterID := d.ClusterID
	if clusterID == "" {
		clusterID = meta.NewUUID().String()
	}
	var first, last []func() error
	for _, dir := range c.dirs() {
		p := d.identity.directories[dir]
		if p == nil {
			p = &metaProperties{}
		}
		directory := p.directory
		if directory.IsZero() {
			directory = meta.NewUUID()
		}
		properties := (&metaProperties{version: 1, clusterID: clusterID, nodeID: c.NodeID, directory: directory}).encode(c.Clock.Now())
		write := func() error { return writeFile(f, filepath.Join(dir, metaPropertiesFile), properties, 0o644) }
		first = append(first, func() error {
			name := filepath.Join(dir, bootstrapFile)
			return replace(f, name, func(tmp string) error {
				_, err := writeSnapshot(f, tmp, snapshotID{}, now, []meta.ControlRecord{&meta.SnapshotHeaderRecord{}},
					slices.Values(meta.BootstrapRecords(c.MetadataVersion)), c.MetadataVersion)
				return err
			})
		})
		syncDirs[dir] = true
		if !c.isMetadataDir(dir) {
			first = append(first, write)
			continue
		}
		last = append(last, write)
		path := c.logPath()
		if err := f.MkdirAll(path, 0o755); err != nil {
			return fmt.Errorf("format %s: %w", path, err)
		}
		syncDirs[path] = true
		first = append(first, func() error {
			return writeFile(f, filepath.Join(path, partitionFile), partitionMetadata(), 0o644)
		})
		if len(c.StaticVoters) == 0 {
			first = append(first, func() error {
				return replace(f, filepath.Join(path, snapshotID{}.String()+checkpointSuffix), func(tmp string) error {
					_, err := writeSnapshot(f, tmp, snapshotID{}, now, []meta.ControlRecord{
						&meta.SnapshotHeaderRecord{LastContainedLogTimestamp: now()},
						&meta.KRaftVersionRecord{KRaftVersion: 1},
						&meta.VotersRecord{Voters: []meta.Voter{c.voter(directory)}},
					}, func(func(meta.Record) bool) {}, c.MetadataVersion)
					return err
				})
			})
		}
	}
	// The syncs of one step share the journal's commits, so they run side by side.
	if err := together(first); err != nil {
		return fmt.Errorf("format: %w", err)
	}
	var dirs []func() error
	for dir := range syncDirs {
		dirs = append(dirs, func() error { return f.SyncDir(dir) })
	}
	if err := together(dirs); err != nil {
		return fmt.Errorf("format: %w", err)
	}
	if err := together(last); err != nil {
		return fmt.Errorf("format: %w", err)
	}
	if err := f.SyncDir(c.MetadataLogDir); err != nil {
		return fmt.Errorf("format: %w", err)
	}
	c.Logger.Info("formatted log directories", "dirs", c.dirs(), "cluster.id", clusterID, "node.id", c.NodeID,
		"metadata.version", meta.MetadataVersionName(c.MetadataVersion))
	return nil
}

func partitionMetadata() []byte {
	return []byte("version: 0\ntopic_id: " + meta.MetadataTopicID.String())
}

// together runs the functions at the same time and joins their errors.
func together(work []func() error) error {
	errs := make([]error, len(work))
	var wg sync.WaitGroup
	for i, do := range work[1:] {
		wg.Go(func() { errs[i+1] = do() })
	}
	errs[0] = work[0]()
	wg.Wait()
	return errors.Join(errs...)
}

// replace lets write make a synced temporary file and renames it over name. The rename is not durable yet.
func replace(f vfs.FS, name string, write func(tmp string) error) error {
	tmp := name + ".tmp"
	if err := f.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := write(tmp); err != nil {
		return err
	}
	return f.Rename(tmp, name)
}

// writeFile writes and syncs a whole file under a temporary name and renames it. The rename is not durable yet.
func writeFile(f vfs.FS, name string, data []byte, perm fs.FileMode) error {
	return replace(f, name, func(tmp string) error {
		file, err := f.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, perm)
		if err != nil {
			return err
		}
		_, err = file.WriteAt(data, 0)
		if err == nil {
			err = file.Sync()
		}
		return errors.Join(err, file.Close())
	})
}

// Prepare inspects the directories and formats them if nobody has. What it returns is ready for Open.
func Prepare(f vfs.FS, c Config) (*Directory, error) {
	d, err := Inspect(f, c)
	if err != nil || d.Formatted {
		return d, err
	}
	if err := Format(f, c, d); err != nil {
		return nil, err
	}
	return Inspect(f, c)
}
