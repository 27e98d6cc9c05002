package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	telemetryTopic      = "scenario.telemetry"
	alarmsTopic         = "scenario.alarms"
	telemetryPartitions = 6
	window              = 10   // readings of a rolling average
	tooHot              = 80.0 // an average above is an alarm
)

type reading struct {
	Device  string  `json:"device"`
	Number  int     `json:"number"`
	Celsius float64 `json:"celsius"`
}

type alarm struct {
	Device  string  `json:"device"`
	Number  int     `json:"number"`
	Average float64 `json:"average"`
}

// rolling is the average of the last readings of one device.
type rolling struct {
	last  []float64
	alarm bool
}

// add takes a reading in and says whether the alarm begins.
func (r *rolling) add(v float64) (average float64, begins bool) {
	r.last = append(r.last, v)
	if len(r.last) > window {
		r.last = r.last[1:]
	}
	for _, x := range r.last {
		average += x
	}
	average /= float64(len(r.last))
	hot := len(r.last) == window && average > tooHot
	begins, r.alarm = hot && !r.alarm, hot
	return average, begins
}

// celsius is what a device measures: a wave, and two devices that overheat.
func celsius(device, number int) float64 {
	t := 60 + 8*math.Sin(float64(number)/5+float64(device))
	if device%5 == 4 && number >= 40 {
		t += 30
	}
	return math.Round(t*10) / 10
}

// runTelemetry lets devices send readings over six partitions; a monitor keeps a rolling average of each and raises
// alarms in a topic of their own.
func runTelemetry(ctx context.Context, s *stage) error {
	for topic, partitions := range map[string]int32{telemetryTopic: telemetryPartitions, alarmsTopic: 1} {
		if err := s.topic(ctx, topic, partitions); err != nil {
			return err
		}
	}
	monitor, err := s.tail(ctx, telemetryTopic)
	if err != nil {
		return err
	}
	alarms, err := s.tail(ctx, alarmsTopic)
	if err != nil {
		return err
	}
	producer, err := s.client()
	if err != nil {
		return err
	}
	const devices, readings = 10, 80
	expected := map[string]alarm{}
	models := make([]rolling, devices)
	var records []*kgo.Record
	for n := range readings {
		for d := range devices {
			r := reading{fmt.Sprintf("%s-sensor-%02d", s.run, d), n, celsius(d, n)}
			if average, begins := models[d].add(r.Celsius); begins {
				expected[fmt.Sprintf("%s@%d", r.Device, n)] = alarm{r.Device, n, average}
			}
			record, err := newEvent(telemetryTopic, r.Device, "Reading", fmt.Sprintf("%s-%d-%d", s.run, d, n), r.Device, r)
			if err != nil {
				return err
			}
			records = append(records, record)
		}
	}
	s.say("sensors", "%d devices send %d readings each", devices, readings)
	if err := send(ctx, producer, records...); err != nil {
		return err
	}
	home, err := s.monitor(ctx, monitor, producer, len(records))
	if err != nil {
		return err
	}
	used := map[int32]bool{}
	for _, p := range home {
		used[p] = true
	}
	s.check(len(home) == devices, "every device stayed in its partition, in order (%d devices over %d partitions)", len(home), len(used))
	raised := map[string]alarm{}
	err = each(ctx, alarms, func(r *kgo.Record) (bool, error) {
		e, err := decode(r)
		if err != nil || !strings.HasPrefix(e.CorrelationID, s.run) {
			return false, nil
		}
		a, err := payload[alarm](e)
		if err != nil {
			return false, err
		}
		raised[fmt.Sprintf("%s@%d", a.Device, a.Number)] = a
		return len(raised) == len(expected), nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d alarms were raised: %w", len(raised), len(expected), err)
	}
	right := 0
	for key, want := range expected {
		if got, found := raised[key]; found && math.Abs(got.Average-want.Average) < 0.001 {
			right++
		}
	}
	s.check(right == len(expected) && right > 0, "the %d alarms that had to come came, with the averages they had to have", len(expected))
	return nil
}

// monitor reads the readings and raises alarms. It returns the partition of each device.
func (s *stage) monitor(ctx context.Context, c, producer *kgo.Client, readings int) (map[string]int32, error) {
	home := map[string]int32{}
	last := map[string]int{}
	averages := map[string]*rolling{}
	seen := 0
	err := each(ctx, c, func(rec *kgo.Record) (bool, error) {
		e, err := decode(rec)
		if err != nil {
			s.say("monitor", "%s-%d offset %d: %v: passed by", rec.Topic, rec.Partition, rec.Offset, err)
			return false, nil
		}
		if !strings.HasPrefix(e.CorrelationID, s.run) {
			return false, nil
		}
		r, err := payload[reading](e)
		if err != nil {
			return false, err
		}
		if p, known := home[r.Device]; known && (p != rec.Partition || last[r.Device]+1 != r.Number) {
			s.check(false, "reading %d of %s in partition %d follows reading %d in partition %d", r.Number, r.Device, rec.Partition, last[r.Device], p)
		}
		home[r.Device], last[r.Device] = rec.Partition, r.Number
		if averages[r.Device] == nil {
			averages[r.Device] = &rolling{}
		}
		if average, begins := averages[r.Device].add(r.Celsius); begins {
			s.say("monitor", "%s: %.1f °C on average over %d readings", r.Device, average, window)
			record, err := newEvent(alarmsTopic, r.Device, "Overheated", e.CorrelationID, "monitor", alarm{r.Device, r.Number, average})
			if err != nil {
				return false, err
			}
			if err := send(ctx, producer, record); err != nil {
				return false, err
			}
		}
		seen++
		return seen == readings, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%d of %d readings arrived: %w", seen, readings, err)
	}
	return home, nil
}
