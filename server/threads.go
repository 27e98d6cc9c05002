package server

import (
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/server/config"
)

// threadCounts may be changed by a factor of two at a time (DynamicThreadPool, SocketServer).
var threadCounts = [...]string{
	"background.threads", "num.io.threads", "num.network.threads", "num.recovery.threads.per.data.dir", "num.replica.fetchers",
}

// checkThreads refuses jumps of thread counts from now to next. This broker has no such threads; it refuses what Kafka refuses.
func checkThreads(now, next *config.Config) error {
	for _, name := range threadCounts {
		was, will := now.Int(name), next.Int(name)
		var rule string
		switch {
		case was == will:
			continue
		case will <= 0:
			rule = "value should be at least 1"
		case will < was/2:
			rule = fmt.Sprintf("value should be at least half the current value %d", was)
		case will > was*2:
			rule = fmt.Sprintf("value should not be greater than double the current value %d", was)
		default:
			continue
		}
		return invalidDynamic(fmt.Sprintf("Dynamic thread count update validation failed for %s=%d, %s", name, will, rule))
	}
	return nil
}

// checkListeners refuses limits that would let nobody in, where next has other ones than now (ListenerConnectionQuota).
func checkListeners(now, next *config.Config) error {
	for i, l := range next.Listeners {
		was := now.Listeners[i]
		if l.MaxConnections != was.MaxConnections && l.MaxConnections <= 0 {
			return invalidDynamic(fmt.Sprintf("Invalid max.connections %d", l.MaxConnections))
		}
		if l.MaxConnectionCreationRate != was.MaxConnectionCreationRate && l.MaxConnectionCreationRate <= 0 {
			return invalidDynamic(fmt.Sprintf("Invalid max.connection.creation.rate %d", l.MaxConnectionCreationRate))
		}
	}
	return nil
}

// invalidDynamic is what Kafka makes of the objection of one of its parts.
func invalidDynamic(objection string) error {
	return errors.New("Invalid value org.apache.kafka.common.config.ConfigException: " + objection + " for configuration Invalid dynamic configuration")
}
