package api

import (
	"fmt"
	"log/slog"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/controller"
)

// The loggers of a broker as a config resource (KIP-412). This broker has one, whose level is that of every line it logs. A
// change lasts until the broker stops; gregor.log.level is where it starts.

const rootLogger = "root"

// logLevels are Kafka's names (LogLevelConfig) and what they are to slog, from the quietest.
var logLevels = []struct {
	name  string
	level slog.Level
}{
	{"FATAL", slog.LevelError + 4}, {"ERROR", slog.LevelError}, {"WARN", slog.LevelWarn},
	{"INFO", slog.LevelInfo}, {"DEBUG", slog.LevelDebug}, {"TRACE", slog.LevelDebug - 4},
}

const validLogLevels = "DEBUG, ERROR, FATAL, INFO, TRACE, WARN"

// levelName is the name of a level, or of the next louder one.
func levelName(level slog.Level) string {
	for _, l := range logLevels {
		if level >= l.level {
			return l.name
		}
	}
	return "TRACE"
}

func (h *handlers) loggerEntries() []config.Entry {
	value := levelName(h.LogLevel.Level())
	return []config.Entry{{Name: rootLogger, Value: &value, Source: config.SourceLogger}}
}

// alterLoggers does what RuntimeLoggerManager.applyChangesForResource does: all changes of the resource or none.
func (h *handlers) alterLoggers(c *controller.ConfigChange, validateOnly bool) error {
	if e := controller.CheckConfigOps(c.Ops); e != nil {
		return e
	}
	id, err := strconv.ParseInt(c.Resource.Name, 10, 32)
	switch {
	case err != nil:
		return &apiError{errInvalidRequest, "Node id must be an integer, but it is: " + c.Resource.Name}
	case int32(id) != h.NodeID:
		return &apiError{errInvalidRequest, fmt.Sprintf("Unexpected node id. Expected %d, but received %d", h.NodeID, id)}
	}
	level := h.LogLevel.Level()
	for _, op := range c.Ops {
		if level, err = loggerLevel(&op, level); err != nil {
			return err
		}
	}
	if !validateOnly && level != h.LogLevel.Level() {
		h.LogLevel.Set(level)
		h.Logger.Warn("the level of the log was changed", "level", levelName(level))
	}
	return nil
}

// loggerLevel is the level after one operation.
func loggerLevel(op *controller.ConfigOp, level slog.Level) (slog.Level, error) {
	known := op.Name == rootLogger
	switch {
	case op.Op == controller.OpAppend || op.Op == controller.OpSubtract:
		return level, &apiError{errInvalidRequest, kmsg.IncrementalAlterConfigOp(op.Op).String() + " operation is not allowed for the BROKER_LOGGER resource"}
	case !known:
		return level, &apiError{errInvalidConfig, "Logger " + op.Name + " does not exist!"}
	case op.Op == controller.OpDelete:
		return level, &apiError{errInvalidRequest, "Removing the log level of the root logger is not allowed"}
	}
	for _, l := range logLevels {
		if l.name == *op.Value {
			return l.level, nil
		}
	}
	return level, &apiError{errInvalidConfig, fmt.Sprintf("Cannot set the log level of %s to %s as it is not a supported log level. Valid log levels are %s", op.Name, *op.Value, validLogLevels)}
}
