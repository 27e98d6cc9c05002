package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func atHome() (string, error) { return "gregor-host", nil }

func TestWithoutFile(t *testing.T) {
	c, err := load("", nil, nil, nil, atHome)
	if err != nil {
		t.Fatal(err)
	}
	cwd, _ := os.Getwd()
	if !slices.Equal(c.LogDirs, []string{filepath.Join(cwd, "data")}) || c.MetadataLogDir != c.LogDirs[0] {
		t.Errorf("log dirs %v, metadata in %s", c.LogDirs, c.MetadataLogDir)
	}
	if len(c.Listeners) != 1 || c.Listeners[0].Addr() != ":9092" || c.Listeners[0].Name != "PLAINTEXT" || c.InterBrokerListener != "PLAINTEXT" {
		t.Errorf("listeners %+v", c.Listeners)
	}
	if len(c.Advertised) != 1 || c.Advertised[0].Addr() != "localhost:9092" {
		t.Errorf("advertised %+v", c.Advertised)
	}
	if len(c.ControllerListeners) != 1 || c.ControllerListeners[0].Addr() != "localhost:9093" || c.ControllerListeners[0].Name != "CONTROLLER" {
		t.Errorf("controller %+v", c.ControllerListeners)
	}
	if c.NodeID != 1 || !c.AutoCreateTopics || !c.DeleteTopics || c.NumPartitions != 1 || c.DefaultReplicationFactor != 1 {
		t.Errorf("node %d create %v delete %v partitions %d factor %d", c.NodeID, c.AutoCreateTopics, c.DeleteTopics, c.NumPartitions, c.DefaultReplicationFactor)
	}
	if c.String("offsets.topic.replication.factor") != "1" || c.Transactions.TopicMinISR != 1 || c.Offsets.TopicReplicationFactor != 1 || c.Offsets.TopicPartitions != 50 {
		t.Errorf("internal topics: %+v %+v", c.Offsets, c.Transactions)
	}
	if c.LogLevel != slog.LevelInfo || c.LogFormat != "text" || c.CacheBytes != 16<<20 {
		t.Errorf("log %v %s, cache %d", c.LogLevel, c.LogFormat, c.CacheBytes)
	}
	if c.Network.QueuedMaxRequestBytes != 0 || c.Network.RequestMaxBytes != 100<<20 || c.Network.MaxIdle != 10*time.Minute || c.Network.FetchSessionSlots != 1000 {
		t.Errorf("network %+v", c.Network)
	}
	if c.Log.FlushScheduler != math.MaxInt64 || c.Log.ProducerIDExpiration != 24*time.Hour || c.Offsets.Retention != 7*24*time.Hour {
		t.Errorf("log %+v offsets %+v", c.Log, c.Offsets)
	}
	if len(c.Warnings) != 0 || len(c.Topics) != 0 {
		t.Errorf("warnings %v topics %v", c.Warnings, c.Topics)
	}
}

func TestSampleFile(t *testing.T) {
	c, err := Load("../../cmd/gregor/server.properties", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []TopicSpec{{Name: "multi-partition-topic", Partitions: 3}, {Name: "test-topic", Partitions: 1}}; !reflect.DeepEqual(c.Topics, want) {
		t.Errorf("topics %+v", c.Topics)
	}
	if c.Advertised[0].Addr() != "localhost:9092" || len(c.Quorum.Voters) != 1 || c.Quorum.Voters[0] != (Voter{1, "localhost", 9093}) {
		t.Errorf("advertised %+v voters %+v", c.Advertised, c.Quorum.Voters)
	}
}

func TestMissingFile(t *testing.T) {
	_, err := Load("no-such.properties", nil, nil)
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "no-such.properties: ") {
		t.Errorf("error %v", err)
	}
}

func TestPrecedence(t *testing.T) {
	file := "num.partitions=2\nlog.dirs=/file\nlog.retention.hours=1\n"
	environ := []string{"KAFKA_NUM_PARTITIONS=3", "KAFKA_LOG_DIRS=/env/a, /env/b", "GREGOR_LOG_LEVEL=DEBUG", "GREGOR_CACHE_BYTES=0", "PATH=/bin", "KAFKA_HEAP_OPTS=-Xmx1g",
		"KAFKA_OPTS=-Dx", "KAFKA_LOG4J_ROOT_LOGLEVEL=WARN", "KAFKA_JMX_PORT=9999", "KAFKA_VERSION=4.3.1", "KAFKA_PORT=tcp://10.0.0.1:9092", "KAFKA_SERVICE_HOST=10.0.0.1",
		"KAFKA_TOPIC_A___B__C_PARTITIONS=4", "KAFKA_LISTENER_NAME_PLAINTEXT_MAX_CONNECTIONS=7", "=C:=odd", "KAFKA_TOPIC_PREFIX=x", "KAFKA_RSM_CONFIG_X=1"}
	c, err := load("server.properties", []byte(file), []string{"num.partitions=4", "gregor.log.format=json"}, environ, atHome)
	if err != nil {
		t.Fatal(err)
	}
	if c.NumPartitions != 4 || !slices.Equal(c.LogDirs, []string{"/env/a", "/env/b"}) || c.LogLevel != slog.LevelDebug || c.CacheBytes != 0 || c.LogFormat != "json" {
		t.Errorf("partitions %d dirs %v level %v cache %d format %s", c.NumPartitions, c.LogDirs, c.LogLevel, c.CacheBytes, c.LogFormat)
	}
	if want := []TopicSpec{{Name: "a-b_c", Partitions: 4}}; !reflect.DeepEqual(c.Topics, want) {
		t.Errorf("topics %+v", c.Topics)
	}
	if c.Listeners[0].MaxConnections != 7 || c.Listeners[0].MaxConnectionCreationRate != noLimit {
		t.Errorf("listener %+v", c.Listeners[0])
	}
	if len(c.Warnings) != 2 || !strings.Contains(c.Warnings[0], "KAFKA_SERVICE_HOST") || !strings.Contains(c.Warnings[1], "KAFKA_TOPIC_PREFIX") {
		t.Errorf("warnings %q", c.Warnings)
	}
	if got := c.TopicConfig(nil, nil, nil).RetentionMs; got != 3_600_000 {
		t.Errorf("retention %d", got)
	}
}

func TestJavaProperties(t *testing.T) {
	file := "# comment\n! comment\n\n  broker.rack : a\\\r\n    b  \r\nlog.dirs = /x/\\u0041,\\\n   /y\nnum.partitions\t3\nmax.connections=5\nmax.connections=6\nadvertised.listeners=PLAINTEXT\\://h\\:1\nsuper.users=${x}\n"
	c := fromText(t, file)
	if got, _ := c.raw("broker.rack"); got != "ab  " {
		t.Errorf("rack %q", got)
	}
	if !slices.Equal(c.LogDirs, []string{"/x/A", "/y"}) || c.NumPartitions != 3 || c.Network.MaxConnections != 6 || c.Advertised[0].Addr() != "h:1" {
		t.Errorf("dirs %v partitions %d connections %d advertised %v", c.LogDirs, c.NumPartitions, c.Network.MaxConnections, c.Advertised)
	}
	if got, _ := c.raw("super.users"); got != "${x}" {
		t.Errorf("expanded to %q", got)
	}
	latin := fromText(t, "broker.rack=\xe4\n")
	if latin.Rack != "ä" {
		t.Errorf("rack %q", latin.Rack)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"log.segment.bytes=abc", "server.properties: log.segment.bytes=abc: expected an integer of bytes >= 1048576 that fits 32 bits"},
		{"log.segment.bytes=10", "server.properties: log.segment.bytes=10: expected an integer of bytes >= 1048576 that fits 32 bits"},
		{"log.retention.ms=x", "server.properties: log.retention.ms=x: expected an integer of milliseconds"},
		{"log.retention.ms=0", "server.properties: log.retention.ms=0: must be unlimited (-1) or, greater than or equal to 1"},
		{"log.retention.hours=0", "server.properties: log.retention.hours=0: log.retention.ms must be unlimited (-1) or, greater than or equal to 1"},
		{"auto.create.topics.enable=yes", "server.properties: auto.create.topics.enable=yes: expected true or false"},
		{"compression.type=brotli", "server.properties: compression.type=brotli: expected one of uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"log.cleanup.policy=keep", "server.properties: log.cleanup.policy=keep: expected any of compact, delete separated by commas, or nothing"},
		{"compression.gzip.level=0", "server.properties: compression.gzip.level=0: expected an integer from 1 to 9, or -1 that fits 32 bits"},
		{"gregor.log.level=loud", "server.properties: gregor.log.level=loud: expected one of debug, info, warn, error"},
		{"gregor.cache.bytes=-1", "server.properties: gregor.cache.bytes=-1: expected an integer of bytes >= 0"},
		{"log.dir=", "server.properties: log.dir=: expected one or more values separated by commas"},
		{"lisners=PLAINTEXT://:9092", "server.properties: lisners: unknown configuration; the nearest known name is listeners"},
		{"logs.dirs=/x", "server.properties: logs.dirs: unknown configuration; the nearest known name is log.dirs"},
		{"num.partition=1", "server.properties: num.partition: unknown configuration; the nearest known name is num.partitions"},
		{"gregor.cache.byte=1", "server.properties: gregor.cache.byte: unknown configuration; the nearest known name is gregor.cache.bytes"},
		{"ssl.keystor.location=/x", "server.properties: ssl.keystor.location: unknown configuration; the nearest known name is ssl.keystore.location"},
		{"retention.ms=1", "server.properties: retention.ms: unknown configuration; topics have this name, the broker's is log.retention.ms"},
		{"leader.replication.throttled.rate=1", "server.properties: leader.replication.throttled.rate: can only be set while the broker runs"},
		{"zookeeper.connect=localhost:2181", "server.properties: zookeeper.connect: removed in Kafka 4.0 with ZooKeeper; delete it"},
		{"inter.broker.protocol.version=3.9", "server.properties: inter.broker.protocol.version: removed in Kafka 4.0; delete it"},
		{"log.message.format.version=2.8", "server.properties: log.message.format.version: removed in Kafka 4.0; delete it"},
		{"port=9092", "server.properties: port: removed in Kafka 3.0; delete it"},
		{"process.roles=broker", "server.properties: process.roles=broker: this broker is its own controller; set broker,controller"},
		{"process.roles=broker,king", "server.properties: process.roles=broker,king: expected one or more of broker, controller separated by commas"},
		{"node.id=-1", "server.properties: node.id=-1: expected an integer >= 0 that fits 32 bits"},
		{"node.id=1\nbroker.id=2", "server.properties: broker.id=2: expected the same number as node.id, or no broker.id at all"},
		{"controller.quorum.voters=1@a:1,2@b:1", "server.properties: controller.quorum.voters=1@a:1,2@b:1: this broker is its own and only voter; name only 1@host:port"},
		{"controller.quorum.voters=2@a:1", "server.properties: controller.quorum.voters=2@a:1: this broker is its own and only voter; expected its node.id 1"},
		{"controller.quorum.voters=a:1", "server.properties: controller.quorum.voters=a:1: expected id@host:port, found \"a:1\""},
		{"controller.quorum.bootstrap.servers=a:1,b:1", "server.properties: controller.quorum.bootstrap.servers=a:1,b:1: this broker is its own and only controller; name only its own address"},
		{"authorizer.class.name=org.X", "server.properties: authorizer.class.name=org.X: access control is not available, and without it everybody may do everything; remove the key to accept that"},
		{"remote.log.storage.system.enable=true", "server.properties: remote.log.storage.system.enable=true: remote storage is not available; set false or remove the key"},
		{"config.providers=file", "server.properties: config.providers=file: Java configuration providers cannot be loaded; write the values into the file or into KAFKA_ environment variables"},
		{"listeners=SSL://:9093", "server.properties: listeners=SSL://:9093: listener SSL asks for SSL, and this broker speaks PLAINTEXT only; map the listener to PLAINTEXT or remove it"},
		{"listeners=INSIDE://:9092", "server.properties: listeners=INSIDE://:9092: listener INSIDE has no security protocol; add it to listener.security.protocol.map"},
		{"listeners=PLAINTEXT://:9092,PLAINTEXT://:9093", "server.properties: listeners=PLAINTEXT://:9092,PLAINTEXT://:9093: listener PLAINTEXT is named twice"},
		{"listeners=PLAINTEXT://a:9092,CONTROLLER://b:9092", "server.properties: listeners=PLAINTEXT://a:9092,CONTROLLER://b:9092: listeners PLAINTEXT and CONTROLLER have the same port 9092"},
		{"listeners=PLAINTEXT://:99999", "server.properties: listeners=PLAINTEXT://:99999: \":99999\": expected a port from 0 to 65535 after the last colon"},
		{"listeners=:9092", "server.properties: listeners=:9092: \":9092\": expected name://host:port"},
		{"listeners=CONTROLLER://:9093", "server.properties: listeners=CONTROLLER://:9093: expected a listener for clients beside those of controller.listener.names"},
		{"listeners=PLAINTEXT://0.0.0.0:9092", "server.properties: listeners=PLAINTEXT://0.0.0.0:9092: clients cannot connect to 0.0.0.0; set advertised.listeners to a name or address of this machine"},
		{"advertised.listeners=OTHER://h:1", "server.properties: advertised.listeners=OTHER://h:1: listener OTHER is not in listeners"},
		{"inter.broker.listener.name=X", "server.properties: inter.broker.listener.name=X: expected the name of one of the broker's listeners"},
		{"listener.security.protocol.map=PLAINTEXT:TLS", "server.properties: listener.security.protocol.map=PLAINTEXT:TLS: expected PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL for listener PLAINTEXT, found \"TLS\""},
		{"security.inter.broker.protocol=SSL", "server.properties: security.inter.broker.protocol=SSL: this broker speaks PLAINTEXT only; set PLAINTEXT or remove the key"},
		{"log.dirs=/a,/b/../a", "server.properties: log.dirs: /b/../a is named twice"},
		{"topic.a.partitions=0", "server.properties: topic.a.partitions=0: expected a number of partitions from 1 to 2147483647"},
		{"topic.a b.partitions=1", "server.properties: topic.a: unknown configuration; topics take topic.<name>.partitions and topic.<name>.id"},
		{"topic.a$.partitions=1", "server.properties: topic.a$.partitions: expected topic.<name>.partitions: Topic name is invalid: 'a$' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
		{"topic...partitions=1", "server.properties: topic...partitions: expected topic.<name>.partitions: Topic name is invalid: '.' is not allowed"},
		{"topic.partitions=1", "server.properties: topic.partitions: unknown configuration; topics take topic.<name>.partitions and topic.<name>.id"},
		{"topic.a.id=AAAAAAAAAAAAAAAAAAAAAg", "server.properties: topic.a.id: expected topic.a.partitions beside it"},
		{"topic.a.partitions=1\ntopic.a.id=zzz", "server.properties: topic.a.id=zzz: expected a topic id of 22 characters in url-safe base64"},
		{"topic.a.partitions=1\ntopic.a.id=AAAAAAAAAAAAAAAAAAAAAA", "server.properties: topic.a.id=AAAAAAAAAAAAAAAAAAAAAA: expected a topic id that is not reserved"},
		{"topic.a.b.partitions=1\ntopic.a_b.partitions=1", "server.properties: topic.a_b.partitions: the name collides with topic a.b, from which it differs only in dots and underscores"},
		{"max.connections.per.ip.overrides=a", "server.properties: max.connections.per.ip.overrides=a: expected address:count pairs separated by commas, found \"a\""},
		{"max.connections.per.ip=0", "server.properties: max.connections.per.ip=0: can be set to zero only if max.connections.per.ip.overrides property is set."},
		{"queued.max.request.bytes=1", "server.properties: queued.max.request.bytes=1: must be larger or equal to socket.request.max.bytes"},
		{"group.consumer.session.timeout.ms=1", "server.properties: group.consumer.session.timeout.ms=1: must be greater than or equal to group.consumer.min.session.timeout.ms"},
		{"cordoned.log.dirs=/x", "server.properties: cordoned.log.dirs: requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /x"},
		{"num.partitions=\\u00zz", "server.properties: not a properties file: properties: Line 1: invalid unicode literal"},
	} {
		_, err := load("server.properties", []byte(c.file), nil, nil, atHome)
		if text(err) != c.want {
			t.Errorf("%s\n got %q\nwant %q", c.file, text(err), c.want)
		}
	}
	for _, c := range []struct{ override, environ, want string }{
		{"num.partitions", "", `command line: override "num.partitions": expected key=value`},
		{"num.partitions=x", "", "command line: num.partitions=x: expected an integer >= 1 that fits 32 bits"},
		{"num.part=1", "", "command line: num.part: unknown configuration; the nearest known name is num.partitions"},
		{"", "KAFKA_LOG_SEGMENT_BYTES=1", "environment: KAFKA_LOG_SEGMENT_BYTES=1: expected an integer of bytes >= 1048576 that fits 32 bits"},
		{"", "KAFKA_LISTENER=x", "environment: KAFKA_LISTENER: unknown configuration; the nearest known name is listeners"},
		{"", "KAFKA_ZOOKEEPER_CONNECT=x", "environment: KAFKA_ZOOKEEPER_CONNECT: removed in Kafka 4.0 with ZooKeeper; delete it"},
		{"", "GREGOR_LOG_LEVELS=x", "environment: GREGOR_LOG_LEVELS: unknown configuration; the nearest known name is gregor.log.level"},
	} {
		var overrides, environ []string
		if c.override != "" {
			overrides = []string{c.override}
		} else {
			environ = []string{c.environ}
		}
		_, err := load("", nil, overrides, environ, atHome)
		if text(err) != c.want {
			t.Errorf("%s%s\n got %q\nwant %q", c.override, c.environ, text(err), c.want)
		}
	}
}

func TestAccepted(t *testing.T) {
	for _, file := range []string{
		"", "broker.id=7", "node.id=3\nbroker.id=03", "super.users=User:a", "confluent.license=x", "rsm.config.bucket=b", "cruise.control.metrics.topic=t",
		"listener.name.plaintext.scram-sha-256.sasl.jaas.config=secret", "sasl.enabled.mechanisms=PLAIN", "ssl.client.auth=none", "authorizer.class.name=",
		"log.cleanup.policy=", "listeners=PLAINTEXT://:0", "listeners=plaintext://[::1]:9092,controller://:9093", "replica.selector.class=x.Y",
		"listeners=PLAINTEXT://:9092,CONTROLLER://:9093\nlistener.security.protocol.map=CONTROLLER:SSL,PLAINTEXT:PLAINTEXT", "log.retention.hours=-1",
		"listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://[::1]:9092", "unstable.api.versions.enable=true", "log.initial.task.delay.ms=10",
	} {
		if _, err := load("server.properties", []byte(file), nil, nil, atHome); err != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
	c := fromText(t, "confluent.license=topsecret")
	if len(c.Warnings) != 1 || c.Warnings[0] != "server.properties: confluent.license: not a configuration of Kafka or Gregor, ignored" {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// Where the controller's listener is opened and what is told of it (KafkaConfig.effectiveAdvertisedControllerListeners).
func TestControllerListeners(t *testing.T) {
	for _, c := range []struct {
		file, open, advertised string
		warnings               int
	}{
		{"", "", "localhost:9093", 0},
		{"listeners=PLAINTEXT://:9092", "", "localhost:9093", 0},
		{"listeners=PLAINTEXT://:9092,CONTROLLER://:9095", ":9095", "gregor-host:9095", 0},
		{"listeners=PLAINTEXT://:9092,CONTROLLER://0.0.0.0:9095", "0.0.0.0:9095", "gregor-host:9095", 0},
		{"listeners=PLAINTEXT://:9092,CONTROLLER://localhost:0", "localhost:0", "localhost:0", 0},
		{"listeners=PLAINTEXT://:9092,CONTROLLER://:9095\nadvertised.listeners=PLAINTEXT://a:1,CONTROLLER://b:2", ":9095", "b:2", 0},
		{"listeners=PLAINTEXT://:9092,CONTROLLER://:9095\nlistener.security.protocol.map=CONTROLLER:SASL_SSL,PLAINTEXT:PLAINTEXT", "", "gregor-host:9095", 1},
	} {
		got := fromText(t, c.file)
		open := ""
		for _, l := range got.OpenControllerListeners {
			open += l.Addr()
		}
		if open != c.open || len(got.ControllerAdvertised) != 1 || got.ControllerAdvertised[0].Addr() != c.advertised || len(got.Warnings) != c.warnings {
			t.Errorf("%q: open %q advertised %+v warnings %q", c.file, open, got.ControllerAdvertised, got.Warnings)
		}
	}
	_, err := load("server.properties", []byte("listeners=PLAINTEXT://:9092,CONTROLLER://:9095\nadvertised.listeners=PLAINTEXT://a:1,CONTROLLER://0.0.0.0:2"), nil, nil, atHome)
	if err == nil || !strings.Contains(err.Error(), "clients cannot connect to 0.0.0.0") {
		t.Errorf("%v", err)
	}
}

func TestListeners(t *testing.T) {
	c := fromText(t, "listeners=INSIDE://:9092,CONTROLLER://10.0.0.1:9093,outside://[fe80::1]:9094\nlistener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT\n"+
		"inter.broker.listener.name=OUTSIDE\nmax.connections.per.ip.overrides=10.0.0.9:3,[::1]:4\n")
	if len(c.Listeners) != 2 || c.Listeners[1].Name != "OUTSIDE" || c.Listeners[1].Addr() != "[fe80::1]:9094" || c.ControllerListeners[0].Addr() != "10.0.0.1:9093" {
		t.Errorf("listeners %+v controller %+v", c.Listeners, c.ControllerListeners)
	}
	if c.Advertised[0].Addr() != "gregor-host:9092" || c.Advertised[1].Addr() != "[fe80::1]:9094" || c.InterBrokerListener != "OUTSIDE" {
		t.Errorf("advertised %+v between brokers %s", c.Advertised, c.InterBrokerListener)
	}
	if len(c.OpenControllerListeners) != 1 || len(c.ControllerAdvertised) != 1 || c.ControllerAdvertised[0].Addr() != "10.0.0.1:9093" {
		t.Errorf("open %+v advertised %+v", c.OpenControllerListeners, c.ControllerAdvertised)
	}
	if want := map[string]int32{"10.0.0.9": 3, "::1": 4}; !reflect.DeepEqual(c.Network.PerIPOverrides, want) {
		t.Errorf("overrides %v", c.Network.PerIPOverrides)
	}
	lost, err := load("server.properties", nil, nil, nil, func() (string, error) { return "", errors.New("no name") })
	if err != nil || lost.Advertised[0].Addr() != "localhost:9092" {
		t.Errorf("advertised %+v, %v", lost.Advertised, err)
	}
}

func TestTopicsOfTheFile(t *testing.T) {
	c := fromText(t, "topic.orders.v1.partitions=6\ntopic.orders.v1.id=AAECAwQFBgcICQoLDA0ODw==\ntopic.topic.id.partitions=2\ntopic.x.partitions.partitions=1\n")
	want := []TopicSpec{
		{Name: "orders.v1", Partitions: 6, ID: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, HasID: true},
		{Name: "topic.id", Partitions: 2}, {Name: "x.partitions", Partitions: 1},
	}
	if !reflect.DeepEqual(c.Topics, want) {
		t.Errorf("topics %+v", c.Topics)
	}
	if err := ValidateTopicName(strings.Repeat("a", 250)); err == nil {
		t.Error("a name of 250 characters passed")
	}
	if err := ValidateTopicName(strings.Repeat("a", 249)); err != nil {
		t.Error(err)
	}
}

func FuzzLoad(f *testing.F) {
	sample, err := os.ReadFile("../../cmd/gregor/server.properties")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add([]byte("listeners=A://[::1]:0,B://:1\\\n,C://x:2\r\nlistener.security.protocol.map=A:PLAINTEXT,B:SSL"))
	f.Add([]byte("topic..partitions=1\ntopic.a.id=\\u0041\nmax.connections.per.ip.overrides=a:b:1"))
	f.Add([]byte("log.cleaner.threads=0\nlog.roll.hours=9\nlog.cleaner.min.cleanable.ratio=NaN"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := load("f", data, nil, nil, atHome)
		if err != nil {
			if c != nil || err.Error() == "" {
				t.Fatalf("config %v beside error %q", c, err)
			}
			return
		}
		if len(c.Listeners) == 0 || len(c.Advertised) == 0 || len(c.LogDirs) == 0 || c.NodeID < 0 {
			t.Fatalf("accepted a configuration without the essentials: %+v", c)
		}
		for _, e := range c.BrokerEntries(nil, nil) {
			if e.Sensitive && e.Value != nil {
				t.Fatalf("%s shows a secret", e.Name)
			}
		}
		c.TopicEntries(nil, nil, nil)
		if tc := c.TopicConfig(nil, nil, nil); tc.SegmentBytes < 1<<20 || tc.FlushMs < 0 || tc.FlushMessages < 0 {
			t.Fatalf("topics get %+v", tc)
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	sample, err := os.ReadFile("../../cmd/gregor/server.properties")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := load("server.properties", sample, nil, os.Environ(), os.Hostname); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTopicConfig(b *testing.B) {
	c := fromText(b, "")
	overrides := map[string]string{"cleanup.policy": "compact", "retention.ms": "1000"}
	b.ReportAllocs()
	for b.Loop() {
		c.TopicConfig(overrides, nil, nil)
	}
}
