package suites

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"
)

const programLimit = 5 * time.Minute

// environment tells a child program where the broker is and whether coordination is tested.
func environment(s *rig.S, b *rig.Broker) []string {
	env := append(os.Environ(), "BROKER="+b.Addr, "NODE_PATH="+filepath.Join(s.Cache, "js", "node_modules"),
		"NODE_OPTIONS=--dns-result-order=ipv4first", // older ones go for ::1 alone where Kafka listens on 127.0.0.1
		"PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1")
	if s.Groups {
		env = append(env, "GROUPS_TOO=1")
	}
	return env
}

func pythonProgram(s *rig.S, b *rig.Broker, script string) {
	cmd := exec.Command(filepath.Join(s.Cache, "python", "bin", "python"), filepath.Join(s.Interop, "python", script))
	cmd.Env = environment(s, b)
	s.Program(cmd, programLimit)
}

// librdkafka is the C client through confluent-kafka-python.
func librdkafka(s *rig.S) {
	s.With(func(b *rig.Broker) { pythonProgram(s, b, "librdkafka.py") })
}

// python is kafka-python and aiokafka.
func python(s *rig.S) {
	s.With(func(b *rig.Broker) {
		pythonProgram(s, b, "kafka_python.py")
		pythonProgram(s, b, "aio_kafka.py")
	})
}

func kafkajs(s *rig.S) {
	s.With(func(b *rig.Broker) {
		cmd := exec.Command("node", filepath.Join(s.Interop, "js", "kafkajs.cjs"))
		cmd.Env = environment(s, b)
		s.Program(cmd, programLimit)
	})
}

// java is the reference client: producer, consumer and Admin of Kafka's own kafka-clients.
func java(s *rig.S) {
	s.With(func(b *rig.Broker) {
		// The program's context is Program's: it kills the process when its time is over.
		cmd := s.JavaCommand(context.Background(), "log4j2-tools.properties", "Clients")
		cmd.Env = environment(s, b)
		s.Program(cmd, programLimit)
	})
}
