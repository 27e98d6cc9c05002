package server

import (
	"strconv"

	"github.com/gregor-broker/gregor/server/meta"
)

// moveRateName bounds how fast logs are copied between data directories. It
// exists as a dynamic config of a broker only.
const moveRateName = "replica.alter.log.dirs.io.max.bytes.per.second"

// movers is how many logs are copied at a time (KafkaConfig.getNumReplicaAlterLogDirsThreads).
func (b *Broker) movers() int {
	if n := b.cfg.String("num.replica.alter.log.dirs.threads"); n != "" {
		return int(b.cfg.Int("num.replica.alter.log.dirs.threads"))
	}
	return len(b.cfg.LogDirs)
}

// assignDirectory puts on record in which data directory a partition is.
func (b *Broker) assignDirectory(topic meta.UUID, index int32, dir string) error {
	return b.controller.AssignDirectory(topic, index, b.quorum.DirectoryID(dir))
}

// cordoned are the ids of the data directories that take no new partitions.
func (b *Broker) cordoned(im *meta.Image) []meta.UUID {
	var ids []meta.UUID
	for _, dir := range b.settingsOn(im).CordonedLogDirs {
		ids = append(ids, b.quorum.DirectoryID(dir))
	}
	return ids
}

// startMoves takes up the moves that the last process did not end.
func (b *Broker) startMoves() error {
	b.cordon()
	return b.partitions.ResumeMoves()
}

// cordon tells the controller which directories take no new partitions.
func (b *Broker) cordon() {
	if err := b.controller.CordonDirectories(b.cordoned); err != nil {
		b.env.Logger.Warn("cannot note which log directories are cordoned", "error", err)
	}
}

// moveRate is how many bytes are copied per second, 0 for no limit.
func moveRate(s *settings) float64 {
	text, ok := s.own[moveRateName]
	if !ok {
		text = s.cluster[moveRateName]
	}
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0 // none is set
	}
	return rate
}
