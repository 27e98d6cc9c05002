package config

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/magiconair/properties"
)

// setting is one value of the static layer, and how the person who wrote it would find it again.
type setting struct {
	value string
	where string // the file's name, "environment" or "command line"
	as    string // the name as written there
}

// static is the layer of server.properties and what was put over it.
type static map[string]setting

// errorf makes the one-sentence error of a setting: where it is, its name, and what is wrong.
func (s static) errorf(name, format string, args ...any) error {
	at := s[name]
	if at.where == "" {
		return fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...))
	}
	return fmt.Errorf("%s: %s: %s", at.where, at.as, fmt.Sprintf(format, args...))
}

// valueErrorf is errorf with the value shown.
func (s static) valueErrorf(name, format string, args ...any) error {
	at := s[name]
	return fmt.Errorf("%s: %s=%s: %s", at.where, at.as, at.value, fmt.Sprintf(format, args...))
}

func (s static) has(name string) bool { _, ok := s[name]; return ok }

// names lists the keys in order, so that of several mistakes always the same one is reported.
func (s static) names() []string {
	out := make([]string, 0, len(s))
	for name := range s {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// file reads a properties file into s. Like java.util.Properties it takes bytes as ISO-8859-1 and leaves ${} alone.
func (s static) file(name string, data []byte) error {
	// The reader of the library sees two line ends in CR LF, which would cut a continued line short.
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	loader := properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}
	p, err := loader.LoadBytes(data)
	if err != nil {
		return fmt.Errorf("%s: not a properties file: %w", name, err)
	}
	for key, value := range p.Map() {
		s[key] = setting{value: value, where: name, as: key}
	}
	return nil
}

// notConfiguration are variables with the prefix that speak to scripts around the broker (KafkaDockerWrapper).
var notConfiguration = [...]string{
	"KAFKA_VERSION", "KAFKA_HEAP_OPTS", "KAFKA_LOG4J_OPTS", "KAFKA_OPTS", "KAFKA_JMX_OPTS", "KAFKA_JMX_PORT",
	"KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_GC_LOG_OPTS", "KAFKA_LOG4J_ROOT_LOGLEVEL", "KAFKA_LOG4J_LOGGERS",
	"KAFKA_TOOLS_LOG4J_LOGLEVEL", "KAFKA_JMX_HOSTNAME", "KAFKA_HOME", "KAFKA_DEBUG",
}

// environment adds KAFKA_ and GREGOR_ variables, given as "NAME=value". Variables that name no configuration are left
// out, since schedulers set such names on their own (KAFKA_SERVICE_HOST); a name that is nearly right is a mistake.
func (s static) environment(environ []string) (warnings []string, err error) {
	environ = slices.Clone(environ)
	slices.Sort(environ)
	for _, entry := range environ {
		variable, value, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		name := ""
		switch {
		case slices.Contains(notConfiguration[:], variable) || strings.HasPrefix(variable, "KAFKA_LOG4J_"):
			continue
		case strings.HasPrefix(variable, "KAFKA_"):
			name = variableName(variable[len("KAFKA_"):])
		case strings.HasPrefix(variable, "GREGOR_"):
			name = variableName(variable)
		default:
			continue
		}
		verdict, hint := classify(name)
		if verdict == keyTopic && !strings.HasSuffix(name, partitionsSuffix) && !strings.HasSuffix(name, idSuffix) {
			verdict = keyPlugin // somebody else's KAFKA_TOPIC_...
		}
		switch verdict {
		case keyKnown, keyTopic:
		case keyRemoved:
			if strings.HasPrefix(value, "tcp://") {
				continue // KAFKA_PORT of a Kubernetes service called kafka
			}
			return nil, fmt.Errorf("environment: %s: %s", variable, hint)
		case keyMistake:
			if nearby(name) {
				return nil, fmt.Errorf("environment: %s: %s", variable, hint)
			}
			fallthrough
		default:
			if verdict == keyPlugin && (strings.HasPrefix(name, listenerPrefix) || pluginPrefix(name)) {
				break
			}
			warnings = append(warnings, fmt.Sprintf("environment: %s names no configuration and is ignored", variable))
			continue
		}
		s[name] = setting{value: value, where: "environment", as: variable}
	}
	return warnings, nil
}

// variableName turns the rest of a variable's name into a configuration's: _ is a dot, __ an underscore, ___ a dash.
func variableName(v string) string {
	name := strings.ReplaceAll(strings.ToLower(v), "_", ".")
	return strings.ReplaceAll(strings.ReplaceAll(name, "...", "-"), "..", "_")
}

// overrides adds "key=value" arguments of the command line.
func (s static) overrides(list []string) error {
	for _, entry := range list {
		name, value, ok := strings.Cut(entry, "=")
		name = javaTrim(name)
		if !ok || name == "" {
			return fmt.Errorf("command line: override %q: expected key=value", entry)
		}
		s[name] = setting{value: value, where: "command line", as: name}
	}
	return nil
}

// builtin is the static layer of a broker that was given no file: one node, in both roles, data in the working directory.
var builtin = [...][2]string{
	{"process.roles", "broker,controller"},
	{"node.id", "1"},
	{"listeners", "PLAINTEXT://:9092,CONTROLLER://localhost:9093"},
	{"controller.listener.names", "CONTROLLER"},
	{"log.dirs", "./data"},
	{"offsets.topic.replication.factor", "1"},
	{"transaction.state.log.replication.factor", "1"},
	{"transaction.state.log.min.isr", "1"},
	{"share.coordinator.state.topic.replication.factor", "1"},
	{"share.coordinator.state.topic.min.isr", "1"},
}

// fill adds what was left out. Without a file everything a shipped server.properties would say; with one only what
// Kafka requires and a single node does not need to be asked: its roles, its number, its controller's listener.
func (s static) fill(haveFile bool) {
	for _, kv := range builtin {
		name := kv[0]
		if s.has(name) || !haveFile && name == "log.dirs" && s.has("log.dir") || name == "node.id" && s.has("broker.id") {
			continue
		}
		if haveFile && name != "process.roles" && name != "node.id" && name != "controller.listener.names" {
			continue
		}
		s[name] = setting{value: kv[1], where: "built-in defaults", as: name}
	}
	// Each of the two names of the node's number stands for the other (KafkaConfig.populateSynonyms).
	if id, ok := s["node.id"]; ok && !s.has("broker.id") {
		s["broker.id"] = id
	} else if id, ok := s["broker.id"]; ok && !s.has("node.id") {
		s["node.id"] = id
	}
}

// Load reads the static configuration of a broker: the properties file at path, over it the KAFKA_ and GREGOR_ variables
// of environ ("NAME=value", as os.Environ returns them), over those the overrides ("key=value"). An empty path is a
// broker without a file, which works with built-in defaults: PLAINTEXT on port 9092, data in ./data.
//
// A listener without a host is advertised under the machine's name when there is a file, as in Kafka but without asking
// DNS for the canonical form, and as localhost when there is none, which works where somebody tries the broker out.
//
// Errors are one sentence that names the place, the key, its value and what is expected. Unknown keys are errors, since
// nearly all are typing mistakes; keys that Kafka 4 removed and keys that ask for something Gregor cannot do are refused
// by name.
func Load(path string, overrides, environ []string) (*Config, error) {
	var data []byte
	if path != "" {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("%s: cannot read the configuration: %w", path, err)
		}
	}
	return load(path, data, overrides, environ, os.Hostname)
}

func load(path string, data []byte, overrides, environ []string, hostname func() (string, error)) (*Config, error) {
	s := make(static, 64)
	if path != "" {
		if err := s.file(path, data); err != nil {
			return nil, err
		}
	}
	warnings, err := s.environment(environ)
	if err != nil {
		return nil, err
	}
	if err := s.overrides(overrides); err != nil {
		return nil, err
	}
	s.fill(path != "")
	c := &Config{File: path, static: s, Warnings: warnings, localOnly: path == "", hostname: hostname}
	if err := c.checkNames(); err != nil {
		return nil, err
	}
	if err := c.refuse(); err != nil {
		return nil, err
	}
	if err := c.build(); err != nil {
		return nil, err
	}
	return c, nil
}
