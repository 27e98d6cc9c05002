package server

import (
	"net/netip"
	"time"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/quota"
)

// newQuotas makes the meters of clients and lets them follow the metadata.
func (b *Broker) newQuotas() *quota.Manager {
	g, q := &b.cfg.Groups, &b.cfg.Quorum
	m := quota.New(quota.Windows{Samples: int(g.QuotaWindows), Size: g.QuotaWindow}, quota.Windows{Samples: int(q.QuotaWindows), Size: q.QuotaWindow})
	m.Update(b.quorum.Image())
	b.controller.OnImage(func(before, now *meta.Image) {
		if !now.SameClientQuotas(before) {
			m.Update(now)
		}
	})
	return m
}

// refuse is for how long a new connection waits before it is closed, because its
// address makes too many; 0 lets it in.
func (b *Broker) refuse(address netip.Addr) time.Duration {
	return time.Duration(b.quotas.Connect(address, b.nowMs())) * time.Millisecond
}

// pace is for how long a listener waits with a new connection, because more than its share came in.
func (b *Broker) pace(listener string) time.Duration {
	return time.Duration(b.quotas.Accept(listener, b.nowMs())) * time.Millisecond
}
