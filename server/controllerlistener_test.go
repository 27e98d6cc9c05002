package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server"
	"github.com/gregor-broker/gregor/server/config"
)

// withController is a configuration with a listener of the controller.
var withController = []string{"listeners=PLAINTEXT://localhost:9092,CONTROLLER://:9093", "advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://controller.example:19093"}

// What Kafka 4.3.1's controller tells in ApiVersions, without the requests of nodes to each other and those of SASL and delegation tokens.
func TestControllerKeys(t *testing.T) {
	m := startMemory(t, nil, withController...)
	p := dialAt(t, m.controller)
	want := []int16{18, 19, 20, 29, 30, 31, 32, 33, 37, 43, 44, 45, 46, 49, 50, 51, 55, 57, 60, 64, 80, 81}
	atBroker := map[int16]kmsg.ApiVersionsResponseApiKey{}
	for _, k := range m.dial(t).table() {
		atBroker[k.ApiKey] = k
	}
	var got []int16
	for _, k := range p.table() {
		got = append(got, k.ApiKey)
		if b := atBroker[k.ApiKey]; k.MinVersion != b.MinVersion || k.MaxVersion != b.MaxVersion {
			t.Errorf("versions of key %d: %+v, at the broker %+v", k.ApiKey, k, b)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("keys %v, expected %v", got, want)
	}
	if level := p.finalized()["metadata.version"]; level != 30 {
		t.Errorf("metadata.version %d", level)
	}
	for key := range atBroker {
		if slices.Contains(want, key) {
			continue
		}
		p := dialAt(t, m.controller)
		r := kmsg.RequestForKey(key)
		r.SetVersion(atBroker[key].MaxVersion)
		p.send(r)
		if _, _, err := p.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, expected the end of the connection", kmsg.NameForKey(key), err)
		}
	}
}

func TestControllerDescribesCluster(t *testing.T) {
	m := startMemory(t, nil, withController...)
	ask := func(p *peer, version int16, kind int8) *kmsg.DescribeClusterResponse {
		r := kmsg.NewPtrDescribeClusterRequest()
		r.Version, r.EndpointType = version, kind
		return asked[*kmsg.DescribeClusterResponse](p, r)
	}
	broker, controller := m.dial(t), dialAt(t, m.controller)
	for _, c := range []struct {
		name    string
		p       *peer
		version int16
		kind    int8
		address string
		code    int16
		text    string
	}{
		{"brokers of the broker", broker, 2, 1, "localhost:9092", 0, ""},
		{"the broker before there were types", broker, 0, 2, "localhost:9092", 0, ""},
		{"controllers of the broker", broker, 2, 2, "", 114, "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"},
		{"nobody of the broker", broker, 1, 3, "", 115, "Unsupported endpoint type 3"},
		{"controllers of the controller", controller, 1, 2, "controller.example:19093", 0, ""},
		{"brokers of the controller", controller, 2, 1, "", 114, "The request was sent to an endpoint of type CONTROLLER, but we wanted an endpoint of type BROKER"},
		{"the controller before there were types", controller, 0, 2, "", 42, "The request was sent to an endpoint of type CONTROLLER, but we wanted an endpoint of type BROKER"},
		{"nobody of the controller", controller, 2, 0, "", 115, "Unsupported endpoint type 0"},
	} {
		r := ask(c.p, c.version, c.kind)
		if r.ErrorCode != c.code || c.code != 0 && (r.ErrorMessage == nil || *r.ErrorMessage != c.text) {
			t.Errorf("%s: %+v", c.name, r)
			continue
		}
		if c.code != 0 {
			if r.ClusterID != "" || r.ControllerID != -1 || len(r.Brokers) != 0 || r.EndpointType != 1 {
				t.Errorf("%s: %+v", c.name, r)
			}
			continue
		}
		if len(r.Brokers) != 1 || r.ClusterID == "" || r.ControllerID != 1 || r.Brokers[0].NodeID != 1 || fmt.Sprint(r.Brokers[0].Host, ":", r.Brokers[0].Port) != c.address {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// A change that the controller was asked for is the same one.
func TestControllerChanges(t *testing.T) {
	m := startMemory(t, nil, withController...)
	broker, controller := m.dial(t), dialAt(t, m.controller)
	controller.createTopic("t", 2)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version = 7
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
	create.Topics = append(create.Topics, topic)
	if r := asked[*kmsg.CreateTopicsResponse](broker, create); r.Topics[0].ErrorCode != 36 {
		t.Errorf("%+v", r)
	}
	alter := func(p *peer, name string) kmsg.IncrementalAlterConfigsResponseResource {
		return p.tryAlter(brokerKind, name, "log.cleaner.threads", "2")
	}
	if r := alter(controller, "1"); r.ErrorCode != 0 {
		t.Errorf("%+v", r)
	}
	if r := alter(controller, "7"); r.ErrorCode != 102 || *r.ErrorMessage != "No node with id 7 found." {
		t.Errorf("%+v", r)
	}
	if r := alter(broker, "7"); r.ErrorCode != 42 {
		t.Errorf("%+v", r)
	}
}

func TestControllerPortInUse(t *testing.T) {
	cfg, err := config.Load("", append([]string{"log.dirs=/data"}, withController...), nil)
	if err != nil {
		t.Fatal(err)
	}
	first := newPipeListener()
	var log bytes.Buffer
	b, err := server.Open(cfg, server.Env{FS: simfs.New(simfs.Options{}), Logger: slog.New(slog.NewTextHandler(&log, nil)), Listen: func(_ context.Context, address string) (net.Listener, error) {
		if strings.HasSuffix(address, ":9093") {
			return nil, syscall.EADDRINUSE
		}
		return first, nil
	}})
	if err != nil {
		t.Fatalf("nothing but tools needs the port: %v", err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	if text := log.String(); !strings.Contains(text, "listener=CONTROLLER") || !strings.Contains(text, "address already in use") {
		t.Errorf("the log does not say so: %s", text)
	}
	if keys := dialAt(t, first).table(); len(keys) == 0 {
		t.Error("the broker's listener serves nothing")
	}
}
