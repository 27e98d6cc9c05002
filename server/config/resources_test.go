package config

import (
	"errors"
	"testing"
	"time"
)

func TestGroupConfigValues(t *testing.T) {
	c := fromText(t, "group.consumer.session.timeout.ms=50000\ngroup.share.max.delivery.count.limit=7\n")
	g := c.GroupConfig(nil)
	if g.Consumer.SessionTimeout != 50*time.Second || g.Consumer.HeartbeatInterval != 5*time.Second || g.Consumer.AssignmentInterval != time.Second {
		t.Errorf("without overrides: %+v", g.Consumer)
	}
	if g.Share.AutoOffsetReset != "latest" || g.Share.ReadCommitted || !g.Share.RenewAcknowledge || g.Share.DeliveryCountLimit != 5 {
		t.Errorf("without overrides: %+v", g.Share)
	}
	g = c.GroupConfig(map[string]string{"consumer.session.timeout.ms": " 46000 ", "consumer.heartbeat.interval.ms": "1000000", "consumer.assignment.interval.ms": "x",
		"share.delivery.count.limit": "10", "share.isolation.level": "read_committed", "share.auto.offset.reset": "by_duration:PT1H",
		"streams.num.standby.replicas": "2", "streams.initial.rebalance.delay.ms": "7"})
	if g.Consumer.SessionTimeout != 46*time.Second || g.Consumer.HeartbeatInterval != 15*time.Second || g.Consumer.AssignmentInterval != time.Second {
		t.Errorf("own, beyond the bound and unreadable: %+v", g.Consumer)
	}
	if g.Share.DeliveryCountLimit != 7 || !g.Share.ReadCommitted || g.Share.AutoOffsetReset != "by_duration:PT1H" {
		t.Errorf("%+v", g.Share)
	}
	if g.Streams.NumStandbyReplicas != 2 || g.Streams.InitialRebalanceDelay != 7*time.Millisecond {
		t.Errorf("%+v", g.Streams)
	}
	dynamic, err := c.WithDynamic(nil, map[string]string{"group.consumer.assignment.interval.ms": "2000"})
	if err != nil {
		t.Fatal(err)
	}
	if got := dynamic.GroupConfig(nil).Consumer.AssignmentInterval; got != 2*time.Second {
		t.Errorf("the cluster's default is not in force: %s", got)
	}
}

func TestValidateGroupConfigs(t *testing.T) {
	c := fromText(t, "")
	for _, test := range []struct{ name, value, want string }{
		{"consumer.session.timeout.ms", "50000", ""},
		{"no.such", "1", "Unknown group config name: no.such"},
		{"consumer.session.timeout.ms", "44999", "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"},
		{"consumer.heartbeat.interval.ms", "15001", "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms"},
		{"share.partition.max.record.locks", "99", "Invalid value 99 for configuration share.partition.max.record.locks: Value must be at least 100"},
		{"streams.num.standby.replicas", "3", "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas"},
		{"share.isolation.level", "x", "Invalid value x for configuration share.isolation.level: String must be one of: read_committed, read_uncommitted"},
		{"share.auto.offset.reset", "earliest", ""},
		{"share.auto.offset.reset", "by_duration:P1DT2H3M4.5S", ""},
		{"share.auto.offset.reset", "by_duration:pt-1h61m", ""},
		{"share.auto.offset.reset", "by_duration:-PT1H", "Invalid value by_duration:-PT1H for configuration share.auto.offset.reset: Invalid value `by_duration:-PT1H` for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."},
	} {
		err := c.ValidateGroupConfigs(map[string]string{test.name: test.value})
		if got := ""; err != nil && err.Error() != test.want || err == nil && test.want != got {
			t.Errorf("%s=%s: %v, expected %q", test.name, test.value, err, test.want)
		}
	}
	for _, bad := range []string{"", "P", "PT", "P1DT", "1H", "PT1X", "PT99999999999999999999S", "P-1D"} {
		if validOffsetReset("by_duration:" + bad) {
			t.Errorf("by_duration:%s was taken", bad)
		}
	}
	wide := fromText(t, "group.consumer.min.session.timeout.ms=100\ngroup.consumer.max.heartbeat.interval.ms=60000\n")
	err := wide.ValidateGroupConfigs(map[string]string{"consumer.session.timeout.ms": "6000", "consumer.heartbeat.interval.ms": "6000"})
	if err == nil || err.Error() != "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms" {
		t.Errorf("a session as long as a heartbeat: %v", err)
	}
}

func TestGroupEntries(t *testing.T) {
	c := fromText(t, "group.consumer.session.timeout.ms=50000\n")
	entries := c.GroupEntries(map[string]string{"consumer.session.timeout.ms": "46000"}, nil, map[string]string{"group.share.assignment.interval.ms": "3000"})
	if len(entries) != len(GroupDefs()) {
		t.Fatalf("%d entries", len(entries))
	}
	for _, e := range entries {
		text := *e.Value
		switch e.Name {
		case "consumer.session.timeout.ms":
			if text != "46000" || e.Source != SourceGroup || len(e.Synonyms) != 3 || e.Synonyms[1].Source != SourceStatic || e.Synonyms[2].Source != SourceDefault {
				t.Errorf("%+v", e)
			}
		case "share.assignment.interval.ms":
			if text != "3000" || e.Source != SourceClusterDefault {
				t.Errorf("%+v", e)
			}
		case "share.auto.offset.reset":
			if text != "latest" || e.Source != SourceDefault || len(e.Synonyms) != 1 || e.Synonyms[0].Name != e.Name {
				t.Errorf("%+v", e)
			}
		}
	}
}

func TestClientMetrics(t *testing.T) {
	for _, test := range []struct {
		name, value, want string
		request           bool
	}{
		{"interval.ms", "100", "", false},
		{"interval.ms", "99", "Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)", true},
		{"interval.ms", "x", "Invalid value x for configuration interval.ms: Not a number of type INT", false},
		{"metrics", "a,,b", "Configuration 'metrics' values must not be empty.", false},
		{"match", "client_id = a.*,client_software_name=b", "", false},
		{"match", "client_id=", "Illegal client matching pattern: client_id=", false},
		{"match", "x=y", "Illegal client matching pattern: x=y", false},
		{"match", "client_id=[", "Illegal client matching pattern: client_id=[", false},
		{"no.such", "1", "Unknown client metrics configuration: no.such", true},
	} {
		err := ValidateClientMetrics("s", map[string]string{test.name: test.value})
		if err == nil && test.want != "" || err != nil && err.Error() != test.want {
			t.Errorf("%s=%s: %v, expected %q", test.name, test.value, err, test.want)
		}
		if refused := RequestError(""); errors.As(err, &refused) != test.request {
			t.Errorf("%s=%s: %T", test.name, test.value, err)
		}
	}
	if err := ValidateClientMetrics("", nil); err == nil {
		t.Error("a subscription without a name was taken")
	}
	entries := ClientMetricsEntries(map[string]string{"metrics": "a, b"})
	if len(entries) != 3 || *entries[2].Value != "a,b" || entries[2].Source != SourceClientMetrics || *entries[0].Value != "300000" || entries[0].Source != SourceDefault {
		t.Errorf("%+v", entries)
	}
}
