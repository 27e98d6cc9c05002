package config

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The files of testdata named kafka-4.3.1-* hold what a running Apache Kafka 4.3.1 answered.

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

type kafkaDef struct {
	Name     string
	Type     Type
	Default  *string
	Internal bool
	Update   string
	Synonyms []Synonym
}

func TestDefinitionsAreKafkas(t *testing.T) {
	var want struct{ Broker, Topic []kafkaDef }
	readJSON(t, "kafka-4.3.1-configs.json", &want)
	if len(want.Broker) < 340 || len(want.Topic) < 33 {
		t.Fatalf("captured %d broker and %d topic configurations", len(want.Broker), len(want.Topic))
	}
	for _, part := range []struct {
		kind  string
		want  []kafkaDef
		have  []Def
		extra int
	}{{"topic", want.Topic, TopicDefs(), 0}, {"broker", want.Broker, BrokerDefs(), 3}} {
		if !slices.IsSortedFunc(part.have, func(a, b Def) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s definitions are not sorted", part.kind)
		}
		byName := map[string]Def{}
		for _, d := range part.have {
			if _, twice := byName[d.Name]; twice {
				t.Errorf("%s %s is defined twice", part.kind, d.Name)
			}
			byName[d.Name] = d
			if d.Doc == "" || !strings.HasSuffix(d.Doc, ".") {
				t.Errorf("%s %s: documentation %q is no sentence", part.kind, d.Name, d.Doc)
			}
			if !d.NoDefault && d.Type != TypeClass {
				if parsed, err := d.Parse(d.Default); err != nil && d.Default != "" || err == nil && parsed != d.Default {
					t.Errorf("%s %s: default %q parses to %q, %v", part.kind, d.Name, d.Default, parsed, err)
				}
			}
		}
		if len(part.have) != len(part.want)+part.extra {
			t.Errorf("%s: %d definitions, Kafka has %d", part.kind, len(part.have), len(part.want))
		}
		for _, w := range part.want {
			d, ok := byName[w.Name]
			if !ok {
				t.Errorf("%s %s is missing", part.kind, w.Name)
				continue
			}
			if d.Type != w.Type || d.Internal != w.Internal || d.NoDefault != (w.Default == nil) || w.Default != nil && d.Default != *w.Default {
				t.Errorf("%s %s: type %d default %q null %v internal %v, Kafka %+v", part.kind, w.Name, d.Type, d.Default, d.NoDefault, d.Internal, w)
			}
			if part.kind == "broker" && d.Update.String() != w.Update {
				t.Errorf("%s: %s, Kafka has %s", w.Name, d.Update, w.Update)
			}
			if !slices.Equal(d.Synonyms, w.Synonyms) {
				t.Errorf("%s: synonyms %v, Kafka has %v", w.Name, d.Synonyms, w.Synonyms)
			}
		}
	}
	for _, name := range []string{"leader.replication.throttled.rate", "follower.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second"} {
		if d := BrokerDef(name); d == nil || !d.DynamicOnly {
			t.Errorf("%s is not defined as dynamic only", name)
		}
	}
}

func TestValidationIsKafkas(t *testing.T) {
	var want struct {
		Topic, Broker, Cluster map[string]map[string][]string
		Sets                   []struct {
			Configs map[string]string
			Error   string
		}
	}
	readJSON(t, "kafka-4.3.1-validation.json", &want)
	c := fromText(t, "log.dirs=/var/lib/kafka/data\nlisteners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n")
	check := func(where, value, want string, err error) {
		t.Helper()
		want = strings.Replace(want, "{}", value, 1)
		if got := text(err); got != want {
			t.Errorf("%s=%q:\n got %q\nwant %q", where, value, got, want)
		}
	}
	n := 0
	for name, byError := range want.Topic {
		for message, values := range byError {
			for _, value := range values {
				n++
				check("topic "+name, value, message, c.ValidateTopicConfigs(map[string]string{name: value}, nil, nil))
				if !strings.HasPrefix(message, "Tiered") {
					check("topic "+name, value, message, ValidateTopic(name, value))
				}
			}
		}
	}
	for _, layer := range []struct {
		perBroker bool
		want      map[string]map[string][]string
	}{{true, want.Broker}, {false, want.Cluster}} {
		for name, byError := range layer.want {
			for message, values := range byError {
				for _, value := range values {
					n++
					if name == "my.plugin.key" || name == "gregor.log.level" {
						continue
					}
					check(fmt.Sprint("broker ", layer.perBroker, " ", name), value, message, c.ValidateDynamic(layer.perBroker, map[string]string{name: value}, nil))
				}
			}
		}
	}
	for _, set := range want.Sets {
		check(fmt.Sprint(set.Configs), "", set.Error, c.ValidateTopicConfigs(set.Configs, nil, nil))
	}
	if n < 3000 {
		t.Errorf("only %d answers compared", n)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

type kafkaEntry struct {
	Name                string
	Value               *string
	Source              int8
	Type                Type
	ReadOnly, Sensitive bool
	Synonyms            [][3]any
}

func show(e Entry) string {
	s := fmt.Sprintf("%s=%s source %d type %d readonly %v sensitive %v", e.Name, str(e.Value), e.Source, e.Type, e.ReadOnly, e.Sensitive)
	for _, x := range e.Synonyms {
		s += fmt.Sprintf(" [%s %s %d]", x.Name, str(x.Value), x.Source)
	}
	return s
}

func (e kafkaEntry) show() string {
	s := fmt.Sprintf("%s=%s source %d type %d readonly %v sensitive %v", e.Name, str(e.Value), e.Source, e.Type, e.ReadOnly, e.Sensitive)
	for _, x := range e.Synonyms {
		v := "null"
		if x[1] != nil {
			v = fmt.Sprintf("%q", x[1])
		}
		s += fmt.Sprintf(" [%s %s %v]", x[0], v, x[2])
	}
	return s
}

func str(s *string) string {
	if s == nil {
		return "null"
	}
	return fmt.Sprintf("%q", *s)
}

func TestDescriptionsAreKafkas(t *testing.T) {
	var files []struct {
		File  string
		Steps []struct {
			TopicSet, BrokerSet, ClusterSet map[string]string
			Topic, Broker, Cluster          []kafkaEntry
			BrokerCount                     int
		}
	}
	readJSON(t, "kafka-4.3.1-describe.json", &files)
	for i, f := range files {
		c := fromText(t, f.File)
		// Kafka sets this one itself when it formats a cluster with eligible leader replicas (KIP-966).
		cluster, broker, topic := map[string]string{"min.insync.replicas": "1"}, map[string]string{}, map[string]string{}
		for j, step := range f.Steps {
			for into, from := range map[*map[string]string]map[string]string{&cluster: step.ClusterSet, &broker: step.BrokerSet, &topic: step.TopicSet} {
				for k, v := range from {
					(*into)[k] = v
				}
			}
			gregor := 0
			have := map[string]Entry{}
			for _, e := range c.BrokerEntries(broker, cluster) {
				have[e.Name] = e
				if strings.HasPrefix(e.Name, "gregor.") {
					gregor++
				}
			}
			if len(have)-gregor != step.BrokerCount {
				t.Errorf("file %d step %d: %d broker entries, Kafka has %d", i, j, len(have)-gregor, step.BrokerCount)
			}
			compare := func(kind string, have map[string]Entry, want []kafkaEntry) {
				for _, w := range want {
					if got := show(have[w.Name]); got != w.show() {
						t.Errorf("file %d step %d %s:\n got %s\nwant %s", i, j, kind, got, w.show())
					}
				}
			}
			compare("broker", have, step.Broker)
			have = map[string]Entry{}
			for _, e := range c.TopicEntries(topic, broker, cluster) {
				have[e.Name] = e
			}
			compare("topic", have, step.Topic)
			if len(have) != 33 {
				t.Errorf("file %d step %d: %d topic entries", i, j, len(have))
			}
			have = map[string]Entry{}
			for _, e := range c.ClusterEntries(cluster) {
				have[e.Name] = e
			}
			compare("cluster", have, step.Cluster)
			if len(have) != len(step.Cluster) {
				t.Errorf("file %d step %d: %d cluster entries, Kafka has %d", i, j, len(have), len(step.Cluster))
			}
		}
	}
}

// fromText loads a file of the given content, on a machine called gregor-host.
func fromText(t testing.TB, data string) *Config {
	t.Helper()
	c, err := load("server.properties", []byte(data), nil, nil, func() (string, error) { return "gregor-host", nil })
	if err != nil {
		t.Fatal(err)
	}
	return c
}
