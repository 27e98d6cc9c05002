package server

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/conn"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/quota"
)

// settings is the configuration on one image: server.properties under what has been changed while brokers ran.
type settings struct {
	image        *meta.Image // the newest one it was compared with
	own, cluster map[string]string
	*config.Config
	group config.GroupConfig // of groups without configs of their own
}

// settingsOn returns the configuration on an image. It is asked at every heartbeat of a group.
func (b *Broker) settingsOn(im *meta.Image) *settings {
	s := b.settings.Load()
	if s != nil && s.image == im {
		return s
	}
	next := &settings{image: im}
	next.own, next.cluster = b.dynamic(im)
	if s != nil && maps.Equal(next.own, s.own) && maps.Equal(next.cluster, s.cluster) {
		next.Config, next.group = s.Config, s.group
	} else {
		cfg, err := b.cfg.WithDynamic(next.own, next.cluster)
		if err != nil {
			// Refused when they were to be set; an older broker may have known less.
			b.env.Logger.Error("dynamic broker configs do not fit together and are not in force", "error", err)
			cfg = b.cfg
		}
		next.Config, next.group = cfg, cfg.GroupConfig(nil)
	}
	b.settings.Store(next)
	return next
}

// followSettings puts in force what the metadata says of this broker, and keeps doing so.
func (b *Broker) followSettings() {
	b.configure(b.quorum.Image())
	b.controller.OnImage(func(before, now *meta.Image) {
		for r := range now.ChangedConfigs(before) {
			if r.Type == meta.ResourceBroker {
				b.configure(now)
				// A change that follows another one: not on the goroutine that makes both.
				go b.cordon()
				return
			}
		}
	})
}

// configure puts one image's settings in force, other than those that are asked for when they are needed. Called by one
// goroutine at a time.
func (b *Broker) configure(im *meta.Image) {
	s := b.settingsOn(im)
	b.store.SetCleaner(cleanerOptions(&s.Log))
	b.store.SetMoveRate(moveRate(s))
	b.quotas.SetConnectionRates(connectionRates(s.Config))
	if b.conns != nil {
		b.conns.SetLimits(b.connectionLimits(s.Config))
	}
}

func cleanerOptions(l *config.Log) engine.CleanerOptions {
	return engine.CleanerOptions{
		Disabled: !l.CleanerEnable, Threads: int(l.CleanerThreads), DedupeBufferBytes: l.CleanerDedupeBufferBytes,
		LoadFactor: l.CleanerDedupeLoadFactor, IOBufferBytes: int(l.CleanerIOBufferBytes),
		MaxBytesPerSecond: l.CleanerIOMaxBytesPerSecond, Backoff: l.CleanerBackoff,
	}
}

// protected is the listener that brokers use among themselves, where clients have another one (ConnectionQuotas.protectedListener).
func protected(c *config.Config) string {
	if len(c.Listeners) > 1 {
		return c.InterBrokerListener
	}
	return ""
}

func (b *Broker) connectionLimits(c *config.Config) conn.Limits {
	l := conn.Limits{
		Total: c.Network.MaxConnections, PerIP: c.Network.MaxConnectionsPerIP, Overrides: b.addresses(c.Network.PerIPOverrides),
		Protected: protected(c), Listeners: map[string]int32{},
	}
	for _, x := range slices.Concat(c.Listeners, c.OpenControllerListeners) {
		l.Listeners[x.Name] = x.MaxConnections
	}
	return l
}

func connectionRates(c *config.Config) quota.ConnectionRates {
	r := quota.ConnectionRates{Broker: c.Network.MaxConnectionCreationRate, Protected: protected(c), Listeners: map[string]int32{}}
	for _, x := range slices.Concat(c.Listeners, c.OpenControllerListeners) {
		r.Listeners[x.Name] = x.MaxConnectionCreationRate
	}
	return r
}

// lookupTime bounds how long all names of max.connections.per.ip.overrides may take to become addresses.
const lookupTime = 2 * time.Second

// addresses looks up the hosts of max.connections.per.ip.overrides. One that is not found is left out: Kafka does not start then.
func (b *Broker) addresses(overrides map[string]int32) map[netip.Addr]int32 {
	out := map[netip.Addr]int32{}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	for host, count := range overrides {
		if a, err := netip.ParseAddr(host); err == nil {
			out[a.Unmap().WithZone("")] = count
			continue
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			b.env.Logger.Error("a host of max.connections.per.ip.overrides is not found; max.connections.per.ip holds for it", "host", host, "error", err)
			continue
		}
		for _, a := range found {
			out[a.Unmap().WithZone("")] = count
		}
	}
	return out
}
