package api

import (
	"log/slog"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/partition"
	"github.com/gregor-broker/gregor/server/quorum"
	"github.com/gregor-broker/gregor/server/quota"
	"github.com/gregor-broker/gregor/server/session"
	"github.com/gregor-broker/gregor/server/txn"
	"github.com/gregor-broker/gregor/wire"
)

// Deps are the rooms the handlers work with; the server fills them in.
type Deps struct {
	NodeID     int32
	ClusterID  string
	Config     *config.Config
	Image      func() *meta.Image
	Controller *controller.Controller
	Quorum     *quorum.Quorum
	Partitions *partition.Set
	// Groups are the group coordinators.
	Groups *coord.Runtime[*group.Machine]
	// CreateInternalTopic makes the topic of a kind of coordinators; when it
	// returns nil they are in service. It is no error that the topic is there.
	CreateInternalTopic func(name string) error
	// Transactions are the transaction coordinators, Markers where their markers go.
	Transactions *coord.Runtime[*txn.Machine]
	Markers      txn.Markers
	ProducerIDs  *controller.ProducerIDs
	Sessions     *session.Cache
	Quotas       *quota.Manager
	Store        *engine.Store
	Logger       *slog.Logger
	LogLevel     *slog.LevelVar // the level of Logger
	NowMs        func() int64
	// Endpoints are advertised.listeners by listener name, the controller's with them; Rack is broker.rack.
	Endpoints map[string]Endpoint
	Rack      *string
	// KRaftVersion is the finalized level of kraft.version, 0 for none.
	KRaftVersion func() int16
	LogDirs      []string
}

// Endpoint is where clients of a listener reach this broker.
type Endpoint struct {
	Host string
	Port int32
}

// handlers carries the dependencies; its methods are the handlers.
type handlers struct {
	Deps
	table *wire.Table
	// controller says that they answer as a controller, not as a broker.
	controller bool
}

// endpoint is the advertised address for a listener.
func (h *handlers) endpoint(listener string) (Endpoint, bool) {
	e, ok := h.Endpoints[listener]
	return e, ok
}

// apiError is an error that knows its Kafka code.
type apiError struct {
	code int16
	text string
}

// Error is the text for the client.
func (e *apiError) Error() string { return e.text }

// Topics of coordinators.
const (
	topicOffsets      = "__consumer_offsets"
	topicTransactions = "__transaction_state"
)

// isInternal recognizes the topics that only the broker writes
// (org.apache.kafka.common.internals.Topic).
func isInternal(name string) bool {
	switch name {
	case topicOffsets, topicTransactions, "__share_group_state":
		return true
	}
	return false
}

// validTopicName is Kafka's rule: 1 to 249 of [a-zA-Z0-9._-], not "." or "..".
func validTopicName(name string) bool {
	if name == "" || len(name) > 249 || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
