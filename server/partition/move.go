package partition

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/server/meta"
)

// moves are the logs on their way to other data directories (KIP-113).
type moves struct {
	slots chan struct{} // one for each that may be copied at a time
	ctx   context.Context
	end   context.CancelFunc
	all   sync.WaitGroup

	asking sync.Mutex // held by MoveTo: one at a time
	mu     sync.Mutex
	under  map[*Partition]*moving
	ended  bool
}

// moving is one of them.
type moving struct {
	move *engine.Move
	stop context.CancelFunc
	over chan struct{} // closed when it is
}

func newMoves(atATime int) *moves {
	m := &moves{slots: make(chan struct{}, max(atATime, 1)), under: map[*Partition]*moving{}}
	m.ctx, m.end = context.WithCancel(context.Background())
	return m
}

func (m *moves) of(p *Partition) *moving {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.under[p]
}

// cancel ends the move of a partition, if there is one, and does not wait for that.
func (m *moves) cancel(p *Partition) {
	if one := m.of(p); one != nil {
		one.stop()
	}
}

// Future is a log that is being copied to another data directory.
type Future struct {
	Partition *Partition
	Dir       string
	Size      int64 // bytes copied
	Lag       int64 // offsets between the copy's end and the log's
}

// Futures lists the logs that are being moved, in no order.
func (s *Set) Futures() []Future {
	s.moves.mu.Lock()
	defer s.moves.mu.Unlock()
	var out []Future
	for p, one := range s.moves.under {
		if log := p.log.Load(); log != nil && log.Dir() != one.move.Dir() {
			out = append(out, Future{Partition: p, Dir: one.move.Dir(), Size: one.move.Size(), Lag: max(log.End()-one.move.End(), 0)})
		}
	}
	return out
}

// MoveTo begins to move the partition's log to another data directory and returns; the log stays in use. A move to a third
// one that is under way ends. Nothing is to do where the log is there already, or on its way there.
//
// Errors: those of Log and of engine.Store.StartMove.
func (s *Set) MoveTo(p *Partition, dir string) error {
	s.moves.asking.Lock()
	defer s.moves.asking.Unlock()
	if one := s.moves.of(p); one != nil {
		if one.move.Dir() == dir {
			return nil
		}
		one.stop()
		<-one.over
	}
	log, err := p.Log()
	if err != nil || log.Dir() == dir {
		return err
	}
	move, err := s.opt.Store.StartMove(log, dir)
	if err != nil {
		return err
	}
	one := &moving{move: move, over: make(chan struct{})}
	ctx, stop := context.WithCancel(s.moves.ctx)
	one.stop = stop
	s.moves.mu.Lock()
	defer s.moves.mu.Unlock()
	if s.moves.ended {
		move.Close()
		return engine.ErrClosed
	}
	s.moves.under[p] = one
	s.moves.all.Go(func() {
		defer stop()
		s.carry(ctx, p, one)
	})
	return nil
}

// carry does a move and cleans up behind it.
func (s *Set) carry(ctx context.Context, p *Partition, one *moving) {
	name := LogName(p.Topic, p.Index)
	s.opt.Logger.Info("moving a log", "partition", name, "to", one.move.Dir())
	err := s.carryOver(ctx, p, one.move)
	switch {
	case err == nil:
	case errors.Is(err, engine.ErrUndecided):
		p.offline(err)
		s.opt.Logger.Error("partition is offline", "partition", name, "error", err)
		one.move.Close()
	case s.moves.ctx.Err() != nil:
		// The next start goes on, from the beginning.
		one.move.Close()
	default:
		if errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrClosed) {
			s.opt.Logger.Info("the move of a log was called off", "partition", name, "to", one.move.Dir())
		} else {
			s.opt.Logger.Error("cannot move a log; it stays where it is", "partition", name, "to", one.move.Dir(), "error", err)
		}
		if err := one.move.Cancel(); err != nil {
			s.opt.Logger.Error("cannot remove the copy of a log; it goes at the next start", "partition", name, "to", one.move.Dir(), "error", err)
		}
	}
	s.moves.mu.Lock()
	delete(s.moves.under, p)
	s.moves.mu.Unlock()
	close(one.over)
}

func (s *Set) carryOver(ctx context.Context, p *Partition, move *engine.Move) error {
	select {
	case s.moves.slots <- struct{}{}:
		defer func() { <-s.moves.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := move.Copy(ctx); err != nil {
		return err
	}
	log, err := p.Log()
	if err != nil {
		return err
	}
	// After a crash in the middle of what follows, the record says which of the two directories has everything.
	if err := s.opt.Assign(p.TopicID, p.Index, move.Dir()); err != nil {
		return fmt.Errorf("cannot note the new directory: %w", err)
	}
	_, err = move.Finish(ctx, func(l *engine.Log) { p.log.Store(l) })
	if err != nil && !errors.Is(err, engine.ErrUndecided) && s.Get(p.TopicID, p.Index) == p {
		if err := s.opt.Assign(p.TopicID, p.Index, log.Dir()); err != nil {
			s.opt.Logger.Error("cannot note that a log stayed in its directory; the next start does", "partition", log.Name(), "error", err)
		}
	}
	// What became durable by the move was told nobody.
	p.wakeAll()
	return err
}

// ResumeMoves begins the moves anew that the last process did not end. A copy that belongs to no partition of this broker is
// left alone.
func (s *Set) ResumeMoves() error {
	futures, err := s.opt.Store.Futures()
	if err != nil {
		return err
	}
	for _, f := range futures {
		p := s.Get(meta.UUID(f.ID), partitionOf(f.Log))
		if p == nil || LogName(p.Topic, p.Index) != f.Log {
			s.opt.Logger.Warn("an unfinished copy of a partition that the metadata does not know is left alone; remove it if it is of no use",
				"dir", f.Dir, "name", f.Name)
			continue
		}
		log, err := p.Log()
		if err != nil {
			continue
		}
		if log.Dir() == f.Dir {
			err = s.opt.Store.DropFuture(f)
		} else {
			err = s.MoveTo(p, f.Dir)
		}
		if err != nil {
			s.opt.Logger.Error("cannot go on moving a log", "partition", f.Log, "to", f.Dir, "error", err)
		}
	}
	return nil
}

// partitionOf is the partition id in the name of a log, -1 if there is none.
func partitionOf(log string) int32 {
	n, err := strconv.ParseInt(log[strings.LastIndexByte(log, '-')+1:], 10, 32)
	if err != nil {
		return -1
	}
	return int32(n)
}

// StopMoves ends every move and waits for that; the next start takes them up. Before the store is closed.
func (s *Set) StopMoves() {
	s.moves.mu.Lock()
	s.moves.ended = true
	s.moves.mu.Unlock()
	s.moves.end()
	s.moves.all.Wait()
}
