package txn

import (
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/server/coord"
)

// client is a transactional producer as clients write them: version 0 adds its partitions itself and keeps its epoch,
// version 2 leaves that to the broker and takes the epoch of the answer. It has one request under way; one that is not
// answered is sent again, or given up, and may still arrive.
type client struct {
	w       *world
	number  int
	id      string
	version int16
	stopped bool
	fenced  int
	idle    int // turns to sleep through
	session int // which process it is

	ready     bool // has a producer id
	mustAbort bool
	mustBump  bool // version 0 gave up on a batch: its sequence numbers are of no use any more
	pid       int64
	epoch     int16
	next      [simPartitions]int32 // sequence numbers
	added     [simPartitions]bool
	txn       *txnHistory

	busy    bool
	call    int    // the request under way
	retry   func() // sends it again
	retries int
}

type fate int

const (
	aborted fate = iota // or nobody asked for a commit: it must not be there
	unknown
	committed
)

// txnHistory is one transaction as its client knows it.
type txnHistory struct {
	name        string
	outcome     fate
	sent, acked []int64
	count       int // requests that did something
}

func (c *client) begin() {
	c.txn = &txnHistory{name: fmt.Sprintf("transaction %d of client %d (%s, version %d)", len(c.w.txns), c.number, c.id, c.version)}
	c.w.txns = append(c.w.txns, c.txn)
	c.added = [simPartitions]bool{}
	c.mustAbort = false
}

// restart forgets everything: a new process with the same transactional id.
func (c *client) restart() {
	c.w.sessions++
	c.session = c.w.sessions
	c.ready, c.busy, c.retry, c.txn, c.mustAbort, c.mustBump = false, false, nil, nil, false, false
	c.next = [simPartitions]int32{}
}

// act is the client's turn.
func (c *client) act() {
	if c.busy {
		c.wait()
		return
	}
	if c.stopped {
		return
	}
	if c.idle > 0 {
		c.idle--
		return
	}
	r := c.w.rand
	switch {
	case r.IntN(100) == 0:
		c.restart()
	case !c.ready:
		c.init(false)
	case c.mustBump && c.txn == nil:
		c.init(true)
	case c.txn == nil:
		c.begin()
	case c.mustAbort:
		c.end(false)
	case c.txn.count > 0 && r.IntN(4) == 0:
		c.end(r.IntN(4) != 0)
	default:
		p := r.IntN(simPartitions)
		if c.version == 0 && !c.added[p] {
			c.add(p)
		} else {
			c.produce(p)
		}
	}
}

// wait is impatience: the answer may be lost.
func (c *client) wait() {
	switch r := c.w.rand.IntN(5); {
	case r == 0:
		c.retries++
		c.retry()
	case r == 1 && c.retries > 0:
		c.giveUp()
	}
}

func (c *client) giveUp() {
	c.busy = false
	c.call++
	if c.txn == nil {
		c.restart()
		return
	}
	if c.txn.outcome == unknown {
		c.restart() // nothing is known of the commit
		return
	}
	c.mustAbort = true
	c.mustBump = c.version == 0
}

// ask sends a request, and again when it is told to: op runs at the broker, however late. Only what has a sequence number
// or an epoch of its own transaction may be late: nothing tells an EndTxn of version 0 from that of the transaction before,
// which is why there is a version 2 (KIP-890).
func (c *client) ask(name string, op func()) { c.askInTime(name, c.version == 0, op) }

func (c *client) askInTime(name string, inTime bool, op func()) {
	c.busy, c.retries = true, 0
	c.call++
	call, session := c.call, c.session
	c.retry = func() {
		c.w.later(fmt.Sprintf("%s of client %d", name, c.number), func() {
			if !inTime || call == c.call && session == c.session && c.busy {
				op()
			}
		})
	}
	c.retry()
}

// answered says whether an answer is to the request under way, which it ends; some are lost.
func (c *client) answered(call, session int) bool {
	if call != c.call || session != c.session || !c.busy || !c.w.calm && c.w.rand.IntN(10) == 0 {
		return false
	}
	c.busy = false
	return true
}

// do runs an operation of the transaction coordinator. One that is being loaded answers nothing here: the client asks
// again.
func (c *client) do(op func(co *coord.Context, m *Machine)) { _ = c.w.rt.DoAt(0, op) }

func (c *client) freshID() int64 {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.lastID++
	return c.w.lastID
}

func (c *client) init(bump bool) {
	q := InitRequest{TransactionalID: c.id, TimeoutMs: 4000, ProducerID: none, ProducerEpoch: none}
	if bump {
		q.ProducerID, q.ProducerEpoch = c.pid, c.epoch
	}
	session, call := c.session, c.call+1
	c.ask("init", func() {
		c.do(func(co *coord.Context, m *Machine) {
			m.InitProducerID(co, q, c.freshID(), func(p Producer, err error) {
				c.w.later(fmt.Sprintf("initialized %d", c.number), func() {
					if !c.answered(call, session) || err != nil {
						return
					}
					switch p.Code {
					case codeNone:
						c.ready, c.pid, c.epoch, c.mustBump = true, p.ID, p.Epoch, false
						c.next = [simPartitions]int32{}
						c.w.owners[c.id] = owner{c.session, p.ID, p.Epoch}
					case codeConcurrentTransactions:
					case codeProducerFenced:
						c.fence()
					default:
						c.w.fatalf("InitProducerId: %d", p.Code)
					}
				})
			})
		})
	})
}

func (c *client) fence() {
	c.fenced++
	c.restart()
	c.idle = c.w.rand.IntN(60)
}

// add is AddPartitionsToTxn or AddOffsetsToTxn.
func (c *client) add(p int) {
	session, call, x := c.session, c.call+1, c.txn
	q := AddRequest{TransactionalID: c.id, ProducerID: c.pid, ProducerEpoch: c.epoch, Partitions: []Partition{{"topic", int32(p)}}}
	if c.w.rand.IntN(2) == 0 {
		q.WaitMs = 100
	}
	c.ask("add", func() {
		c.do(func(co *coord.Context, m *Machine) {
			m.AddPartitions(co, q, func(codes []int16, err error) {
				c.w.later(fmt.Sprintf("added %d", c.number), func() {
					if !c.answered(call, session) || err != nil {
						return
					}
					switch codes[0] {
					case codeNone:
						c.added[p] = true
						x.count++
					case codeConcurrentTransactions:
					case codeProducerFenced, codeInvalidProducerIDMapping:
						c.fence()
					default:
						c.w.fatalf("AddPartitionsToTxn: %d", codes[0])
					}
				})
			})
		})
	})
}

// produce is Produce or TxnOffsetCommit, with what the API layer does around it.
func (c *client) produce(p int) {
	c.w.nextKey++
	key := c.w.nextKey
	session, call, x := c.session, c.call+1, c.txn
	x.sent = append(x.sent, key)
	log, pid, epoch, sequence := c.w.logs[p], c.pid, c.epoch, c.next[p]
	answer := func(code int16, err error) {
		c.w.later(fmt.Sprintf("produced %d", c.number), func() {
			if !c.answered(call, session) {
				return
			}
			switch {
			case code == codeNone && err == nil:
				c.next[p]++
				x.acked = append(x.acked, key)
				x.count++
			case code == codeConcurrentTransactions, errors.Is(err, errOffline), errors.Is(err, coord.ErrNotAvailable), errors.Is(err, coord.ErrLoading):
				c.busy = true // it is sent again
			case code == codeProducerFenced, code == codeInvalidProducerIDMapping, errors.Is(err, producer.ErrFencedEpoch):
				c.fence()
			case code == codeTransactionAbortable, errors.Is(err, producer.ErrTransactionState), errors.Is(err, producer.ErrOutOfOrder):
				c.mustAbort = true
				c.mustBump = c.version == 0
			default:
				c.w.fatalf("Produce: code %d, %v", code, err)
			}
		})
	}
	c.askInTime("produce", c.version == 0 && log.offsets(), func() {
		baseSequence := sequence
		if log.offsets() {
			baseSequence = -1
		}
		guard := log.verifier.Begin(pid, epoch, baseSequence, c.version == 2)
		write := func() {
			log.data(&client{w: c.w, number: c.number, id: c.id, session: session}, key, pid, epoch, sequence, guard, func(err error) { answer(codeNone, err) })
		}
		if guard == 0 {
			write()
			return
		}
		q := AddRequest{TransactionalID: c.id, ProducerID: pid, ProducerEpoch: epoch, Partitions: []Partition{{"topic", int32(p)}}, VerifyOnly: c.version == 0}
		if c.version == 2 {
			q.ClientVersion, q.WaitMs = 2, 100
		}
		c.do(func(co *coord.Context, m *Machine) {
			m.AddPartitions(co, q, func(codes []int16, err error) {
				if err != nil || codes[0] != codeNone {
					code := int16(0)
					if err == nil {
						code = codes[0]
					}
					answer(code, err)
					return
				}
				c.w.later(fmt.Sprintf("append %d", c.number), write)
			})
		})
	})
}

// end is EndTxn.
func (c *client) end(commit bool) {
	session, call, x := c.session, c.call+1, c.txn
	if c.version == 0 && x.count == 0 && c.added == [simPartitions]bool{} && !c.mustAbort {
		c.txn = nil
		return
	}
	if commit {
		x.outcome = unknown
	}
	q := EndRequest{TransactionalID: c.id, ProducerID: c.pid, ProducerEpoch: c.epoch, Commit: commit, ClientVersion: c.version}
	c.ask("end", func() {
		c.do(func(co *coord.Context, m *Machine) {
			m.End(co, q, c.freshID(), func(p Producer, err error) {
				c.w.later(fmt.Sprintf("ended %d", c.number), func() {
					if !c.answered(call, session) || err != nil {
						return
					}
					switch p.Code {
					case codeNone:
						if commit {
							x.outcome = committed
						}
						c.txn = nil
						if c.version == 2 {
							c.pid, c.epoch, c.next = p.ID, p.Epoch, [simPartitions]int32{}
						}
					case codeConcurrentTransactions:
						c.busy = true
					case codeProducerFenced, codeInvalidProducerIDMapping:
						c.fence()
					case codeInvalidTxnState:
						// Version 0 aborts what the coordinator never heard of, or what took too long.
						c.restart()
					default:
						c.w.fatalf("EndTxn: %d", p.Code)
					}
				})
			})
		})
	})
}
