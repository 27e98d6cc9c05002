package quorum

import "github.com/gregor-broker/gregor/engine"

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
