package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// envelope is around every event of every scenario, in both languages.
type envelope struct {
	EventID       string          `json:"eventId"`
	EventType     string          `json:"eventType"`
	Timestamp     time.Time       `json:"timestamp"`
	CorrelationID string          `json:"correlationId"`
	Sender        string          `json:"sender"`
	Payload       json.RawMessage `json:"payload"`
}

// newEvent makes a record of an event about one thing: the key keeps its events in order.
func newEvent(topic, key, eventType, correlation, sender string, payload any) (*kgo.Record, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("payload of %s: %w", eventType, err)
	}
	value, err := json.Marshal(envelope{newID(), eventType, time.Now().UTC(), correlation, sender, body})
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", eventType, err)
	}
	return &kgo.Record{Topic: topic, Key: []byte(key), Value: value}, nil
}

// decode opens an envelope. An error is what makes a record a poison pill: it is to be reported and passed by.
func decode(r *kgo.Record) (envelope, error) {
	var e envelope
	if err := json.Unmarshal(r.Value, &e); err != nil {
		return e, fmt.Errorf("no event: %w", err)
	}
	if e.EventID == "" || e.EventType == "" {
		return e, errors.New("no event: eventId or eventType is missing")
	}
	return e, nil
}

// payload decodes an event's content.
func payload[T any](e envelope) (T, error) {
	var v T
	if err := json.Unmarshal(e.Payload, &v); err != nil {
		return v, fmt.Errorf("payload of %s %s: %w", e.EventType, e.EventID, err)
	}
	return v, nil
}

// newID is a random version 4 UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
