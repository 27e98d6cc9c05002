package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	tracesTopic     = "scenario.traces"
	tracePartitions = 3
)

type traceLine struct {
	Level   string `json:"level"`
	Service string `json:"service"`
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// runTraces writes the log lines of many requests as they interleave, and follows the errors of two of them.
func runTraces(ctx context.Context, s *stage) error {
	if err := s.topic(ctx, tracesTopic, tracePartitions); err != nil {
		return err
	}
	stream, err := s.tail(ctx, tracesTopic)
	if err != nil {
		return err
	}
	producer, err := s.client()
	if err != nil {
		return err
	}
	const requests, lines = 20, 30
	watched := []string{request(s.run, 3), request(s.run, 11)}
	services := []string{"gateway", "basket", "stock", "billing"}
	var records []*kgo.Record
	expected := map[string][]int{}
	for line := range lines {
		for i := range requests {
			correlation := request(s.run, i)
			t := traceLine{"INFO", services[(i+line)%len(services)], line, "step done"}
			if (i*7+line*5)%11 == 0 {
				t.Level, t.Message = "ERROR", fmt.Sprintf("step %d timed out", line)
				if slices.Contains(watched, correlation) {
					expected[correlation] = append(expected[correlation], line)
				}
			}
			record, err := newEvent(tracesTopic, correlation, "LogLine", correlation, t.Service, t)
			if err != nil {
				return err
			}
			records = append(records, record)
		}
	}
	s.say("writer", "%d lines of %d requests; following the errors of %s", len(records), requests, strings.Join(watched, " and "))
	if err := send(ctx, producer, records...); err != nil {
		return err
	}
	found := map[string][]int{}
	seen, unreadable := 0, 0
	err = each(ctx, stream, func(r *kgo.Record) (bool, error) {
		e, err := decode(r)
		if err != nil {
			unreadable++
			s.say("streamer", "%s-%d offset %d: %v: passed by", r.Topic, r.Partition, r.Offset, err)
			return false, nil
		}
		if !strings.HasPrefix(e.CorrelationID, s.run) {
			return false, nil
		}
		seen++
		t, err := payload[traceLine](e)
		if err != nil {
			return false, err
		}
		if t.Level == "ERROR" && slices.Contains(watched, e.CorrelationID) {
			s.say("streamer", "%s %s: %s", e.CorrelationID, t.Service, t.Message)
			found[e.CorrelationID] = append(found[e.CorrelationID], t.Line)
		}
		return seen == len(records), nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d lines arrived: %w", seen, len(records), err)
	}
	for _, correlation := range watched {
		s.check(slices.Equal(found[correlation], expected[correlation]), "%s: its %d errors arrived, each once and in order", correlation, len(expected[correlation]))
	}
	return nil
}

func request(run string, i int) string { return fmt.Sprintf("%s-req-%02d", run, i) }
