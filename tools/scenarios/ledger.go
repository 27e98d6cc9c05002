package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	ledgerTopic      = "scenario.ledger"
	ledgerPartitions = 2
)

// entry is one line of the ledger: money that comes to an account, or leaves it when it is negative.
type entry struct {
	Account string `json:"account"`
	Amount  int64  `json:"amount"`
	Note    string `json:"note"`
}

// runLedger writes transfers between accounts and then believes nothing but the log: the balances are what a replay from
// the first offset says, other runs and the other language included.
func runLedger(ctx context.Context, s *stage) error {
	if err := s.topic(ctx, ledgerTopic, ledgerPartitions); err != nil {
		return err
	}
	producer, err := s.client()
	if err != nil {
		return err
	}
	expected, err := s.writeLedger(ctx, producer)
	if err != nil {
		return err
	}
	ends, err := s.ends(ctx, ledgerTopic)
	if err != nil {
		return err
	}
	r, err := s.replay(ctx, ends)
	if err != nil {
		return err
	}
	s.say("auditor", "%d entries of %d runs read from offset zero, written by %s; %d records could not be read", r.entries, len(r.runs), strings.Join(slices.Sorted(maps.Keys(r.senders)), ", "), r.unreadable)
	for _, account := range slices.Sorted(maps.Keys(expected)) {
		s.say("auditor", "%-22s %6d", account, r.balances[account])
	}
	own := map[string]int64{}
	for account, balance := range r.balances {
		if strings.HasPrefix(account, s.run) {
			own[account] = balance
		}
	}
	s.check(maps.Equal(own, expected), "the %d balances of this run are what was written", len(expected))
	broken, open := 0, 0
	for _, t := range r.transfers {
		switch {
		case t.sides < 2:
			open++ // another run is at it, or was cut off
		case t.sum != 0:
			broken++
		}
	}
	s.check(broken == 0, "no transfer made or lost money (%d transfers, %d without their other side)", len(r.transfers), open)
	s.check(r.disorder == 0, "offsets rise by one in every partition")
	return nil
}

// opening is what every account begins with.
const opening = 1000

func (s *stage) writeLedger(ctx context.Context, producer *kgo.Client) (map[string]int64, error) {
	owners := []string{"ada", "grace", "edsger", "barbara"}
	balances := map[string]int64{}
	var records []*kgo.Record
	put := func(account, eventType string, amount int64, correlation, note string) error {
		balances[account] += amount
		record, err := newEvent(ledgerTopic, account, eventType, correlation, "ledger-go", entry{account, amount, note})
		records = append(records, record)
		return err
	}
	for i, owner := range owners {
		if err := put(s.run+"."+owner, "AccountOpened", opening, fmt.Sprintf("%s-open-%d", s.run, i), "opening"); err != nil {
			return nil, err
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		from, to := random.IntN(len(owners)), random.IntN(len(owners)-1)
		if to >= from {
			to++
		}
		amount := 1 + random.Int64N(50)
		correlation := fmt.Sprintf("%s-transfer-%d", s.run, i)
		if err := put(s.run+"."+owners[from], "Withdrawn", -amount, correlation, "to "+owners[to]); err != nil {
			return nil, err
		}
		if err := put(s.run+"."+owners[to], "Deposited", amount, correlation, "from "+owners[from]); err != nil {
			return nil, err
		}
	}
	s.say("bank", "%d accounts, 100 transfers, %d entries", len(owners), len(records))
	return balances, send(ctx, producer, records...)
}

// replayed is what the log says.
type replayed struct {
	balances   map[string]int64
	runs       map[string]bool
	transfers  map[string]transfer // by correlation id
	senders    map[string]bool
	entries    int
	unreadable int
	disorder   int
}

// transfer is what was seen of one: how many of its two sides, and their sum.
type transfer struct {
	sides int
	sum   int64
}

// replay reads the ledger from its first offset to the ends.
func (s *stage) replay(ctx context.Context, ends map[int32]int64) (replayed, error) {
	out := replayed{balances: map[string]int64{}, runs: map[string]bool{}, transfers: map[string]transfer{}, senders: map[string]bool{}}
	from := map[int32]kgo.Offset{}
	for p := range ends {
		from[p] = kgo.NewOffset().At(0)
	}
	c, err := s.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{ledgerTopic: from}))
	if err != nil {
		return out, err
	}
	next := map[int32]int64{}
	done := func() bool {
		for p, end := range ends {
			if next[p] < end {
				return false
			}
		}
		return true
	}
	err = each(ctx, c, func(r *kgo.Record) (bool, error) {
		if r.Offset != next[r.Partition] {
			out.disorder++
		}
		next[r.Partition] = r.Offset + 1
		if r.Offset >= ends[r.Partition] {
			return done(), nil
		}
		e, err := decode(r)
		if err != nil {
			out.unreadable++
			s.say("auditor", "%s-%d offset %d: %v: passed by", r.Topic, r.Partition, r.Offset, err)
			return done(), nil
		}
		line, err := payload[entry](e)
		if err != nil {
			return false, err
		}
		run, _, _ := strings.Cut(line.Account, ".")
		out.balances[line.Account] += line.Amount
		out.runs[run] = true
		if e.EventType != "AccountOpened" {
			t := out.transfers[e.CorrelationID]
			out.transfers[e.CorrelationID] = transfer{t.sides + 1, t.sum + line.Amount}
		}
		out.senders[e.Sender] = true
		out.entries++
		return done(), nil
	})
	return out, err
}
