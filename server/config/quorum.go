package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// buildQuorum reads the settings of the metadata quorum, which has this node as its only voter.
func (c *Config) buildQuorum() error {
	q := &c.Quorum
	for _, item := range c.List("controller.quorum.voters") {
		id, address, ok := strings.Cut(item, "@")
		n, err := strconv.ParseInt(id, 10, 32)
		if !ok || err != nil || n < 0 {
			return c.static.valueErrorf("controller.quorum.voters", "expected id@host:port, found %q", item)
		}
		e, err := parseHostPort(address)
		if err != nil {
			return c.static.valueErrorf("controller.quorum.voters", "expected id@host:port: %v", err)
		}
		q.Voters = append(q.Voters, Voter{ID: int32(n), Host: e.Host, Port: e.Port})
	}
	for _, item := range c.List("controller.quorum.bootstrap.servers") {
		e, err := parseHostPort(item)
		if err != nil {
			return c.static.valueErrorf("controller.quorum.bootstrap.servers", "expected host:port: %v", err)
		}
		q.BootstrapServers = append(q.BootstrapServers, e)
	}
	switch {
	case len(q.Voters) > 1:
		return c.static.valueErrorf("controller.quorum.voters", "this broker is its own and only voter; name only %d@host:port", c.NodeID)
	case len(q.Voters) == 1 && q.Voters[0].ID != c.NodeID:
		return c.static.valueErrorf("controller.quorum.voters", "this broker is its own and only voter; expected its node.id %d", c.NodeID)
	case len(q.BootstrapServers) > 1:
		return c.static.valueErrorf("controller.quorum.bootstrap.servers", "this broker is its own and only controller; name only its own address")
	}
	q.ElectionTimeout, q.ElectionBackoffMax = c.Duration("controller.quorum.election.timeout.ms"), c.Duration("controller.quorum.election.backoff.max.ms")
	q.FetchTimeout, q.RequestTimeout = c.Duration("controller.quorum.fetch.timeout.ms"), c.Duration("controller.quorum.request.timeout.ms")
	q.RetryBackoff, q.AppendLinger = c.Duration("controller.quorum.retry.backoff.ms"), c.Duration("controller.quorum.append.linger.ms")
	q.FetchMaxBytes, q.FetchSnapshotMaxBytes = c.int32("controller.quorum.fetch.max.bytes"), c.int32("controller.quorum.fetch.snapshot.max.bytes")
	q.SegmentBytes, q.SegmentAge = c.Int("metadata.log.segment.bytes"), c.Duration("metadata.log.segment.ms")
	if c.IsSet("internal.metadata.log.segment.bytes") {
		q.SegmentBytes = c.Int("internal.metadata.log.segment.bytes")
	}
	q.RetentionBytes, q.Retention = c.Int("metadata.max.retention.bytes"), c.Duration("metadata.max.retention.ms")
	q.SnapshotBytes, q.SnapshotInterval = c.Int("metadata.log.max.record.bytes.between.snapshots"), c.Duration("metadata.log.max.snapshot.interval.ms")
	q.MaxIdle, q.MaxBatchBytes = c.Duration("metadata.max.idle.interval.ms"), c.int32("internal.metadata.max.batch.size.in.bytes")
	q.HeartbeatInterval, q.SessionTimeout = c.Duration("broker.heartbeat.interval.ms"), c.Duration("broker.session.timeout.ms")
	q.RegistrationTimeout = c.Duration("initial.broker.registration.timeout.ms")
	q.QuotaWindows, q.QuotaWindow = c.int32("controller.quota.window.num"), time.Duration(c.Int("controller.quota.window.size.seconds"))*time.Second
	return nil
}

// refuse names the configurations that ask for something this broker does not do, and says what to do about it.
func (c *Config) refuse() error {
	s := c.static
	if roles := splitList(s["process.roles"].value); !slices.Contains(roles, "broker") || !slices.Contains(roles, "controller") {
		return s.valueErrorf("process.roles", "this broker is its own controller; set broker,controller")
	}
	if !sameInt(s["node.id"].value, s["broker.id"].value) {
		return s.valueErrorf("broker.id", "expected the same number as node.id, or no broker.id at all")
	}
	if n, err := strconv.ParseInt(javaTrim(s["node.id"].value), 10, 32); err != nil || n < 0 {
		return s.valueErrorf("node.id", "expected an integer from 0 to 2147483647")
	}
	for _, r := range [...]struct{ name, reason string }{
		{"authorizer.class.name", "access control is not available, and without it everybody may do everything; remove the key to accept that"},
		{"create.topic.policy.class.name", "Java policies cannot be loaded; remove the key"},
		{"alter.config.policy.class.name", "Java policies cannot be loaded; remove the key"},
		{"client.quota.callback.class", "Java quota callbacks cannot be loaded; remove the key"},
		{"config.providers", "Java configuration providers cannot be loaded; write the values into the file or into KAFKA_ environment variables"},
	} {
		if javaTrim(s[r.name].value) != "" {
			return s.valueErrorf(r.name, "%s", r.reason)
		}
	}
	if at, ok := s["principal.builder.class"]; ok && javaTrim(at.value) != BrokerDef("principal.builder.class").Default {
		return s.valueErrorf("principal.builder.class", "Java principal builders cannot be loaded; remove the key")
	}
	if at, ok := s["remote.log.storage.system.enable"]; ok && strings.EqualFold(javaTrim(at.value), "true") {
		return s.valueErrorf("remote.log.storage.system.enable", "remote storage is not available; set false or remove the key")
	}
	if at, ok := s["security.inter.broker.protocol"]; ok && javaTrim(at.value) != "PLAINTEXT" {
		return s.valueErrorf("security.inter.broker.protocol", "this broker speaks PLAINTEXT only; set PLAINTEXT or remove the key")
	}
	return nil
}

func sameInt(a, b string) bool {
	x, errX := strconv.ParseInt(javaTrim(a), 10, 32)
	y, errY := strconv.ParseInt(javaTrim(b), 10, 32)
	return errX == nil && errY == nil && x == y
}
