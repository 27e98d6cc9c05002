package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/quota"
	"github.com/gregor-broker/gregor/wire"
)

// Client quotas (KIP-13, KIP-55, KIP-124, KIP-219, KIP-599): an answer leaves at
// once and says for how long the client must pause, and its connection is not
// read for that long. A Fetch beyond its quota is answered without records.
//
// Where nobody has a quota a request pays one atomic load for all of this.
//
// The time of a request is that of its handler on the connection's reader,
// waiting included; what is parked there (a sync, bytes to read, a group) counts
// until it is parked.

// anonymous is the principal of every connection without authentication.
const anonymous = "ANONYMOUS"

func clientOf(req *wire.Request) quota.Client { return quota.Client{User: anonymous, ID: req.ClientID} }

// metered lets every handler but those of Produce and Fetch, which do it
// themselves, meter the time of its requests.
func (h *handlers) metered(rows []wire.Spec) []wire.Spec {
	throttle := h.throttleTime
	for i := range rows {
		if rows[i].Key <= 1 {
			continue
		}
		handle := rows[i].Handle
		rows[i].Handle = func(req *wire.Request) wire.Reply {
			req.Throttle = nil
			if h.Quotas.Enabled(quota.Request) {
				req.Throttle = throttle
			}
			return handle(req)
		}
	}
	return rows
}

// percent is a time as request_percentage counts it: a hundred is one second of
// one handler a second.
func percent(d time.Duration) float64 { return d.Seconds() * 100 }

// throttleTime counts the time of a request until now.
func (h *handlers) throttleTime(req *wire.Request) int32 {
	return mute(req.Conn, h.Quotas.Use(quota.Request, clientOf(req), percent(time.Since(req.Received)), h.NowMs()))
}

// mute mutes a connection for as many milliseconds, which it returns as answers
// tell them.
func mute(c *wire.Conn, ms int64) int32 {
	if ms > 0 {
		c.Mute(time.Now().Add(time.Duration(ms) * time.Millisecond))
	}
	return int32(ms)
}

// tellThrottle puts a pause into a response that can tell one; a longer one that
// is in it already stays.
func tellThrottle(resp kmsg.Response, ms int32) {
	if t, ok := resp.(kmsg.ThrottleResponse); ok {
		if before, _ := t.Throttle(); before < ms {
			resp.(kmsg.SetThrottleResponse).SetThrottle(ms)
		}
	}
}

// throttleProduce counts a Produce request and says for how long the client must
// pause. Without an answer only the bytes count.
func (h *handlers) throttleProduce(req *wire.Request, acks int16) int32 {
	if !h.Quotas.Active() {
		return 0
	}
	ms := h.Quotas.Use(quota.Produce, clientOf(req), float64(req.Size), h.NowMs())
	if acks != 0 {
		ms = max(ms, h.Quotas.Use(quota.Request, clientOf(req), percent(time.Since(req.Received)), h.NowMs()))
	}
	return mute(req.Conn, ms)
}

// fetchMeter is what a Fetch needs to be counted when it is answered.
type fetchMeter struct {
	client quota.Client
	conn   *wire.Conn
	spent  time.Duration // by the reader
}

// meterFetch returns the meter of a request, nil where nobody has a quota.
func (h *handlers) meterFetch(req *wire.Request) *fetchMeter {
	if !h.Quotas.Active() {
		return nil
	}
	return &fetchMeter{client: clientOf(req), conn: req.Conn, spent: time.Since(req.Received)}
}

// responseOverhead is about what a partition takes in a response beside its
// records.
const responseOverhead = 48

// throttled counts a response and says for how long the client must pause
// instead of getting it.
func (m *fetchMeter) throttled(h *handlers, bytes int64, partitions int) int32 {
	now := h.NowMs()
	size := float64(bytes) + float64(partitions)*responseOverhead
	request := h.Quotas.Use(quota.Request, m.client, percent(m.spent), now)
	ms := max(request, h.Quotas.Use(quota.Fetch, m.client, size, now))
	if ms > 0 {
		h.Quotas.TakeBack(quota.Fetch, m.client, size, now)
	}
	return mute(m.conn, ms)
}

// changeQuota is the controller mutation quota of a request, which is strict
// from a version on (KIP-599).
func (h *handlers) changeQuota(req *wire.Request, strictFrom int16) *quota.Change {
	return h.Quotas.NewChange(clientOf(req), req.Version >= strictFrom, h.NowMs)
}
