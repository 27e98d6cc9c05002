package quorum

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// OpenLog opens the metadata log in the store, or creates it in a directory where nobody has: what Kafka formats with static
// voters has none. Records are never deleted by the engine's own retention, so lc must leave Delete and Compact off; its
// SegmentBytes is metadata.log.segment.bytes. f and c are those of the Open that follows.
func OpenLog(st *engine.Store, f vfs.FS, c Config, lc engine.LogConfig) (Log, error) {
	c = c.withDefaults()
	_, err := f.Stat(c.logPath())
	var l *engine.Log
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l, err = st.CreateLog(c.MetadataLogDir, MetadataLogName, engine.ID(meta.MetadataTopicID), lc)
	case err == nil:
		l, err = st.OpenLog(c.MetadataLogDir, MetadataLogName, lc)
	}
	if err != nil {
		return nil, fmt.Errorf("open the metadata log: %w", err)
	}
	return EngineLog(l), nil
}

// EngineLog makes the metadata log of the engine's log of that name.
func EngineLog(l *engine.Log) Log { return engineLog{l} }

type engineLog struct{ *engine.Log }

func (l engineLog) Append(p []byte, leaderEpoch int32, w Waiter) (baseOffset int64, err error) {
	done, err := l.Log.Append(p, engine.AppendOptions{LeaderEpoch: leaderEpoch}, w)
	return done.BaseOffset, err
}

func (l engineLog) DeletePrefix(offset int64) error {
	_, err := l.DeleteRecordsBefore(offset)
	return err
}
