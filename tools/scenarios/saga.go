package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The saga's topics; events about one order share its id as key.
const (
	ordersTopic    = "scenario.orders"
	paymentsTopic  = "scenario.payments"
	shipmentsTopic = "scenario.shipments"
	outcomesTopic  = "scenario.order-outcomes"
	sagaPartitions = 3
)

// creditLimit and soldOut decide which orders go wrong, and where.
const (
	creditLimit = 500
	soldOut     = "piano"
)

type order struct {
	OrderID string `json:"orderId"`
	Item    string `json:"item"`
	Amount  int    `json:"amount"`
}

type payment struct {
	order
	Reason string `json:"reason,omitempty"`
}

// saga is one performance: three services, and what they have reported.
type saga struct {
	*stage
	producer *kgo.Client
	poison   atomic.Int32
	services []string
	running  sync.WaitGroup
}

// runSaga places orders and follows them through payment and shipping to their outcome. An order beyond the credit limit
// is declined; one whose goods are sold out is paid, refunded and cancelled.
func runSaga(ctx context.Context, s *stage) error {
	for _, topic := range []string{ordersTopic, paymentsTopic, shipmentsTopic, outcomesTopic} {
		if err := s.topic(ctx, topic, sagaPartitions); err != nil {
			return err
		}
	}
	producer, err := s.client()
	if err != nil {
		return err
	}
	g := &saga{stage: s, producer: producer}
	outcomes, err := s.tail(ctx, outcomesTopic)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer g.running.Wait()
	defer cancel(nil)
	for _, service := range []struct {
		name   string
		topics []string
		react  func(e envelope, o payment) []reaction
	}{
		{"payment", []string{ordersTopic}, g.takePayment},
		{"shipping", []string{paymentsTopic}, g.ship},
		{"order", []string{paymentsTopic, shipmentsTopic}, g.conclude},
	} {
		if err := g.serve(ctx, cancel, service.name, service.topics, service.react); err != nil {
			return err
		}
	}
	expected, err := g.placeOrders(ctx)
	if err != nil {
		return err
	}
	reached, err := g.await(ctx, outcomes, len(expected))
	if err != nil {
		return fmt.Errorf("%d of %d orders have an outcome: %w", len(reached), len(expected), context.Cause(ctx))
	}
	wrong := 0
	for id, want := range expected {
		if reached[id] != want {
			wrong++
			s.say("customer", "order %s ended as %q, expected %q", id, reached[id], want)
		}
	}
	s.check(wrong == 0, "every one of %d orders reached the outcome it should", len(expected))
	s.check(g.poison.Load() == 1, "the record that nobody can read was reported once and passed by (%d reports)", g.poison.Load())
	return g.checkLag(ctx)
}

// reaction is what a service does about an event.
type reaction struct {
	topic, eventType string
	payload          payment
}

// serve runs one service: it reads, reacts, waits until its reactions are acknowledged, and commits.
func (g *saga) serve(ctx context.Context, cancel context.CancelCauseFunc, name string, topics []string, react func(envelope, payment) []reaction) error {
	c, err := g.member(ctx, name, topics...)
	if err != nil {
		return err
	}
	g.services = append(g.services, name)
	g.running.Go(func() {
		err := each(ctx, c, func(r *kgo.Record) (bool, error) {
			e, err := decode(r)
			if err != nil {
				if strings.Contains(string(r.Value), g.run) {
					g.poison.Add(1)
					g.say(name, "%s-%d offset %d cannot be read (%v): reported, passed by", r.Topic, r.Partition, r.Offset, err)
				}
				return false, c.CommitRecords(ctx, r)
			}
			if !strings.HasPrefix(e.CorrelationID, g.run) {
				return false, c.CommitRecords(ctx, r) // of another run
			}
			p, err := payload[payment](e)
			if err != nil {
				return false, err
			}
			for _, out := range react(e, p) {
				record, err := newEvent(out.topic, p.OrderID, out.eventType, e.CorrelationID, name+"-service", out.payload)
				if err != nil {
					return false, err
				}
				if err := send(ctx, g.producer, record); err != nil {
					return false, err
				}
			}
			return false, c.CommitRecords(ctx, r)
		})
		if ctx.Err() == nil {
			cancel(fmt.Errorf("%s service: %w", name, err))
		}
	})
	return nil
}

func (g *saga) takePayment(e envelope, o payment) []reaction {
	if e.EventType != "OrderPlaced" {
		return nil
	}
	if o.Amount > creditLimit {
		o.Reason = "credit limit"
		g.say("payment", "%s: %d is beyond the limit, declined", o.OrderID, o.Amount)
		return []reaction{{paymentsTopic, "PaymentDeclined", o}}
	}
	g.say("payment", "%s: %d taken", o.OrderID, o.Amount)
	return []reaction{{paymentsTopic, "PaymentAccepted", o}}
}

func (g *saga) ship(e envelope, o payment) []reaction {
	if e.EventType != "PaymentAccepted" {
		return nil
	}
	if o.Item == soldOut {
		o.Reason = "sold out"
		g.say("shipping", "%s: no %s left", o.OrderID, o.Item)
		return []reaction{{shipmentsTopic, "ShipmentFailed", o}}
	}
	g.say("shipping", "%s: %s is on its way", o.OrderID, o.Item)
	return []reaction{{shipmentsTopic, "ShipmentSent", o}}
}

func (g *saga) conclude(e envelope, o payment) []reaction {
	switch e.EventType {
	case "PaymentDeclined":
		return []reaction{{outcomesTopic, "OrderCancelled", o}}
	case "ShipmentSent":
		return []reaction{{outcomesTopic, "OrderConfirmed", o}}
	case "ShipmentFailed":
		g.say("order", "%s: giving %d back", o.OrderID, o.Amount)
		return []reaction{{paymentsTopic, "PaymentRefunded", o}, {outcomesTopic, "OrderCancelled", o}}
	}
	return nil
}

// placeOrders sends the orders, and in their midst a record that is no event. It returns what should become of each.
func (g *saga) placeOrders(ctx context.Context) (map[string]string, error) {
	expected := map[string]string{}
	items := []string{"book", "lamp", soldOut, "chair"}
	for i := range 12 {
		o := order{OrderID: fmt.Sprintf("%s-%02d", g.run, i), Item: items[i%len(items)], Amount: 60 * i}
		expected[o.OrderID] = "OrderConfirmed"
		if o.Amount > creditLimit || o.Item == soldOut {
			expected[o.OrderID] = "OrderCancelled"
		}
		record, err := newEvent(ordersTopic, o.OrderID, "OrderPlaced", g.run+"-"+o.OrderID, "shop", o)
		if err != nil {
			return nil, err
		}
		if err := send(ctx, g.producer, record); err != nil {
			return nil, err
		}
		g.say("customer", "%s: a %s for %d", o.OrderID, o.Item, o.Amount)
		if i == 5 {
			pill := &kgo.Record{Topic: ordersTopic, Key: []byte(o.OrderID), Value: []byte("{ not an event of " + g.run)}
			if err := send(ctx, g.producer, pill); err != nil {
				return nil, err
			}
			g.say("customer", "and something nobody can read")
		}
	}
	return expected, nil
}

// await reads outcomes until every order has one.
func (g *saga) await(ctx context.Context, c *kgo.Client, orders int) (map[string]string, error) {
	reached := map[string]string{}
	err := each(ctx, c, func(r *kgo.Record) (bool, error) {
		e, err := decode(r)
		if err != nil || !strings.HasPrefix(e.CorrelationID, g.run) {
			return false, nil
		}
		o, err := payload[order](e)
		if err != nil {
			return false, err
		}
		if before, found := reached[o.OrderID]; found {
			g.check(false, "order %s has two outcomes, %s and %s", o.OrderID, before, e.EventType)
		}
		reached[o.OrderID] = e.EventType
		g.say("order", "%s: %s", o.OrderID, e.EventType)
		return len(reached) == orders, nil
	})
	return reached, err
}

// checkLag looks whether the services have committed everything they were given.
func (g *saga) checkLag(ctx context.Context) error {
	admin := kadm.NewClient(g.producer)
	for _, service := range g.services {
		group := g.group(service)
		for {
			lags, err := admin.Lag(ctx, group)
			if err == nil {
				err = lags.Error()
			}
			if err != nil {
				return fmt.Errorf("lag of %s: %w", group, err)
			}
			if l := lags[group]; l.Lag.Total() == 0 {
				g.check(l.State == "Stable", "group %s is %s and has no lag", group, l.State)
				break
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return fmt.Errorf("group %s does not catch up: %w", group, err)
			}
		}
	}
	return nil
}
