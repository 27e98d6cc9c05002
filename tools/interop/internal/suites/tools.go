package suites

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"
)

const toolLimit = 90 * time.Second

// tools are Kafka's console tools, run by class.
func tools(s *rig.S) {
	s.With(func(b *rig.Broker) {
		toolsTopics(s, b)
		toolsData(s, b)
		toolsCluster(s, b)
	})
}

// tool runs one and expects all of want in what it prints.
func tool(t *rig.T, b *rig.Broker, class string, args []string, want ...string) string {
	out, err := t.Tool(t.Context(), class, append([]string{"--bootstrap-server", b.Addr}, args...)...)
	t.Must(err, class)
	contains(t, class, out, want...)
	return out
}

func contains(t *rig.T, what, out string, want ...string) {
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Fatalf("%s: no %q in\n%s", what, w, rig.Tail(out, 25))
		}
	}
}

func words(format string, args ...any) []string { return strings.Fields(fmt.Sprintf(format, args...)) }

const (
	topicCommand  = "org.apache.kafka.tools.TopicCommand"
	configCommand = "kafka.admin.ConfigCommand"
	offsetShell   = "org.apache.kafka.tools.GetOffsetShell"
)

func toolsTopics(s *rig.S, b *rig.Broker) {
	s.Test("topics", 2*toolLimit, func(t *rig.T) {
		topic := rig.Name("tools-topic")
		tool(t, b, topicCommand, words("--create --topic %s --partitions 2 --replication-factor 1 --config retention.ms=55555", topic), "Created topic "+topic)
		tool(t, b, topicCommand, words("--create --if-not-exists --topic %s", topic))
		tool(t, b, topicCommand, words("--list"), topic)
		tool(t, b, topicCommand, words("--describe --topic %s", topic),
			"TopicId: ", "PartitionCount: 2", "ReplicationFactor: 1", "retention.ms=55555", "Leader: 1", "Replicas: 1", "Isr: 1")
		tool(t, b, topicCommand, words("--alter --topic %s --partitions 4", topic))
		tool(t, b, topicCommand, words("--describe --topic %s", topic), "PartitionCount: 4", "Partition: 3")
		tool(t, b, topicCommand, words("--delete --topic %s", topic))
		if out := tool(t, b, topicCommand, words("--list")); strings.Contains(out, topic) {
			t.Fatalf("%s is still listed:\n%s", topic, out)
		}
	})
	s.Test("topics/refusals", toolLimit, func(t *rig.T) {
		out, err := t.Tool(t.Context(), topicCommand, words("--bootstrap-server %s --create --topic %s --replication-factor 3", b.Addr, rig.Name("tools"))...)
		if err == nil {
			t.Fatalf("a factor of 3 was taken:\n%s", out)
		}
		contains(t, "replication factor", out, "InvalidReplicationFactorException")
	})
	s.Test("configs/topic", 2*toolLimit, func(t *rig.T) {
		topic := rig.Name("tools-configs")
		createTopic(t, b, topic, 1, nil)
		tool(t, b, configCommand, words("--alter --entity-type topics --entity-name %s --add-config retention.ms=4444,cleanup.policy=[delete,compact]", topic), "Completed updating config for topic "+topic)
		tool(t, b, configCommand, words("--describe --entity-type topics --entity-name %s", topic), "retention.ms=4444 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=4444", "cleanup.policy=delete,compact")
		tool(t, b, configCommand, words("--alter --entity-type topics --entity-name %s --delete-config retention.ms", topic))
		out := tool(t, b, configCommand, words("--describe --entity-type topics --entity-name %s", topic), "cleanup.policy=")
		if strings.Contains(out, "retention.ms=") {
			t.Fatalf("retention.ms is still set:\n%s", out)
		}
		tool(t, b, configCommand, words("--describe --all --entity-type topics --entity-name %s", topic), "retention.ms=604800000", "max.message.bytes=1048588", "DEFAULT_CONFIG:")
	})
	s.Test("configs/broker", toolLimit, func(t *rig.T) {
		tool(t, b, configCommand, words("--describe --all --entity-type brokers --entity-name 1"), "log.dirs="+b.Data, "STATIC_BROKER_CONFIG:log.dirs=", "node.id=1")
	})
}

func toolsData(s *rig.S, b *rig.Broker) {
	s.Test("console-producer-and-consumer", 2*toolLimit, func(t *rig.T) {
		topic := rig.Name("tools-console")
		createTopic(t, b, topic, 1, nil)
		out, err := t.ToolInput(t.Context(), "k1:one\nk2:two\nk3:three\n", "org.apache.kafka.tools.ConsoleProducer",
			words("--bootstrap-server %s --topic %s --reader-property parse.key=true --reader-property key.separator=:", b.Addr, topic)...)
		t.Must(err, "console producer")
		if strings.Contains(out, "ERROR") {
			t.Fatalf("console producer:\n%s", out)
		}
		consume := words("--topic %s --partition 0 --timeout-ms 15000 --formatter-property print.key=true --formatter-property print.offset=true", topic)
		tool(t, b, "org.apache.kafka.tools.consumer.ConsoleConsumer", append(consume, words("--offset earliest --max-messages 3")...),
			"Offset:0\tk1\tone", "Offset:1\tk2\ttwo", "Offset:2\tk3\tthree", "Processed a total of 3 messages")
		tool(t, b, "org.apache.kafka.tools.consumer.ConsoleConsumer", append(consume, words("--offset 1 --max-messages 1")...), "Offset:1\tk2\ttwo", "Processed a total of 1 messages")
	})
	if s.Groups {
		s.Test("console-consumer-in-a-group", toolLimit, func(t *rig.T) {
			topic := rig.Name("tools-group")
			createTopic(t, b, topic, 1, nil)
			franzAsync(t, b, topic, 10)
			tool(t, b, "org.apache.kafka.tools.consumer.ConsoleConsumer", words("--topic %s --from-beginning --max-messages 10 --timeout-ms 30000", topic), "Processed a total of 10 messages")
		})
	}
	s.Test("producer-performance", 2*toolLimit, func(t *rig.T) {
		topic := rig.Name("tools-perf")
		createTopic(t, b, topic, 1, nil)
		out, err := t.Tool(t.Context(), "org.apache.kafka.tools.ProducerPerformance",
			words("--topic %s --num-records 100000 --record-size 200 --throughput -1 --command-property bootstrap.servers=%s compression.type=lz4", topic, b.Addr)...)
		t.Must(err, "ProducerPerformance")
		contains(t, "ProducerPerformance", out, "100000 records sent")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		t.Note("%s", lines[len(lines)-1])
		tool(t, b, offsetShell, words("--topic %s", topic), topic+":0:100000")
	})
	s.Test("get-offsets", 2*toolLimit, func(t *rig.T) {
		topic := rig.Name("tools-offsets")
		start := time.Now().Add(-time.Hour).UnixMilli()
		produceStamped(t, b, topic, start, 1000, 10)
		tool(t, b, offsetShell, words("--topic %s", topic), topic+":0:10")
		tool(t, b, offsetShell, words("--topic %s --time earliest", topic), topic+":0:0")
		tool(t, b, offsetShell, words("--topic %s --time max-timestamp", topic), topic+":0:9")
		tool(t, b, offsetShell, words("--topic-partitions %s:0 --time %d", topic, start+4500), topic+":0:5")
	})
	s.Test("delete-records", toolLimit, func(t *rig.T) {
		topic := rig.Name("tools-trim")
		createTopic(t, b, topic, 1, nil)
		franzAsync(t, b, topic, 50)
		file := filepath.Join(t.Scratch, topic+".json")
		text := fmt.Sprintf(`{"version":1,"partitions":[{"topic":%q,"partition":0,"offset":20}]}`, topic)
		t.Must(os.WriteFile(file, []byte(text), 0o644), "offsets")
		tool(t, b, "org.apache.kafka.tools.DeleteRecordsCommand", []string{"--offset-json-file", file}, "low_watermark: 20")
	})
}

func toolsCluster(s *rig.S, b *rig.Broker) {
	s.Test("log-dirs", toolLimit, func(t *rig.T) {
		topic := rig.Name("tools-dirs")
		createTopic(t, b, topic, 2, nil)
		tool(t, b, "org.apache.kafka.tools.LogDirsCommand", words("--describe --topic-list %s", topic), `"logDir":"`+b.Data+`"`, `"partition":"`+topic+`-1"`, `"error":null`)
	})
	s.Test("cluster", toolLimit, func(t *rig.T) {
		out, err := t.Tool(t.Context(), "org.apache.kafka.tools.ClusterTool", "cluster-id", "--bootstrap-server", b.Addr)
		t.Must(err, "ClusterTool")
		contains(t, "ClusterTool", out, "Cluster ID: ")
		out, err = t.Tool(t.Context(), "org.apache.kafka.tools.ClusterTool", "list-endpoints", "--bootstrap-server", b.Addr)
		t.Must(err, "ClusterTool")
		contains(t, "ClusterTool", out, "localhost")
	})
	s.Test("broker-api-versions", toolLimit, func(t *rig.T) {
		out := tool(t, b, "org.apache.kafka.tools.BrokerApiVersionsCommand", nil, "(id: 1 rack: null", "Produce(0): 0 to 13 [usable: 13]", "Fetch(1): 4 to 18 [usable: 18]", "Metadata(3): 0 to 13 [usable: 13]")
		if strings.Contains(out, "ERROR") {
			t.Fatalf("%s", out)
		}
	})
}
