package partition

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/server/meta"
)

// find says which data directory has each partition. A crash at the end of a move leaves a partition in two: the one
// that the metadata names has all of it, the other is set aside.
func (s *Set) find(im *meta.Image, found []engine.DirInfo) (map[string]string, error) {
	where := map[string]string{}
	for _, d := range found {
		for _, name := range d.Logs {
			first, twice := where[name]
			if !twice {
				where[name] = d.Path
				continue
			}
			keep, err := s.decide(im, name, first, d.Path)
			if err != nil {
				return nil, err
			}
			away := first
			if keep == first {
				away = d.Path
			}
			s.opt.Logger.Warn("a partition is in two data directories; one of them is set aside as stray, nothing is deleted",
				"partition", name, "kept", keep, "stray", away)
			if err := s.opt.Store.MarkStray(away, name); err != nil {
				return nil, err
			}
			where[name] = keep
		}
	}
	return where, nil
}

// decide says which of two directories of that name is the partition.
func (s *Set) decide(im *meta.Image, name, a, b string) (string, error) {
	at := strings.LastIndexByte(name, '-')
	index, err := strconv.ParseInt(name[at+1:], 10, 32)
	topic := im.Topic(name[:at])
	if err != nil || topic == nil || topic.Partition(int32(index)) == nil {
		return a, nil // neither is
	}
	var mine []string
	for _, dir := range []string{a, b} {
		if id, err := s.opt.Store.ReadID(dir, name); err == nil && (id == engine.ID(topic.ID) || id == engine.ID{}) {
			mine = append(mine, dir)
		}
	}
	if len(mine) == 1 {
		return mine[0], nil
	}
	if dir, ok := s.named(topic.Partition(int32(index))); ok && (dir == a || dir == b) {
		return dir, nil
	}
	return "", fmt.Errorf("partition %s is in two data directories, %s and %s, and the metadata names neither: move one of them away", name, a, b)
}

// named is the data directory that the metadata names for this broker's replica.
func (s *Set) named(p *meta.Partition) (dir string, ok bool) {
	for i, r := range p.Replicas {
		if r == s.opt.Self && i < len(p.Directories) {
			if dir, ok = s.opt.Directories[p.Directories[i]]; ok {
				return dir, true
			}
		}
	}
	return "", false
}
