package api

import (
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// FindCoordinator, versions 0 to 6.
//
//	1 coordinator types: group (0), transaction (1)
//	3 flexible
//	4 many keys in one request (KIP-699)
//	5 TRANSACTION_ABORTABLE may be answered (KIP-890)
//	6 share groups (2), keys of the form group:topicId:partition (KIP-932)
//
// The topic that the coordinators of groups or transactions write to is made
// when somebody first asks for one, and the answer is given as soon as it is
// there. Kafka answers COORDINATOR_NOT_AVAILABLE first and is asked again; no
// client can tell this from a broker that had the topic all along.
//
// There are no share coordinators: COORDINATOR_NOT_AVAILABLE.

// Types of coordinators (FindCoordinatorRequest.CoordinatorType).
const (
	coordinatorGroup int8 = iota
	coordinatorTransaction
	coordinatorShare
)

func (h *handlers) findCoordinator(req *wire.Request, q *kmsg.FindCoordinatorRequest) kmsg.Response {
	keys := q.CoordinatorKeys
	if req.Version < 4 {
		keys = []string{q.CoordinatorKey}
	}
	resp := kmsg.NewPtrFindCoordinatorResponse()
	resp.Coordinators = make([]kmsg.FindCoordinatorResponseCoordinator, len(keys))
	for i, key := range keys {
		h.locate(req, q.CoordinatorType, key, &resp.Coordinators[i])
	}
	if req.Version < 4 {
		c := &resp.Coordinators[0]
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port = c.ErrorCode, c.ErrorMessage, c.NodeID, c.Host, c.Port
	}
	return resp
}

// locate answers one key.
func (h *handlers) locate(req *wire.Request, kind int8, key string, out *kmsg.FindCoordinatorResponseCoordinator) {
	out.Key, out.NodeID, out.Port = key, -1, -1
	refuse := func(code int16, text string) { out.ErrorCode, out.ErrorMessage = code, &text }
	var err error
	switch {
	case kind == coordinatorGroup:
		err = h.coordinates(h.Groups, topicOffsets, key)
	case kind == coordinatorTransaction:
		err = h.coordinates(h.Transactions, topicTransactions, key)
	case kind != coordinatorShare || req.Version < 6:
		refuse(errInvalidRequest, "unknown coordinator type")
		return
	case !sharePartition(key):
		refuse(errInvalidRequest, "expected a key of the form group:topicId:partition")
		return
	default:
		refuse(errCoordinatorNotAvailable, "this broker has no share coordinator")
		return
	}
	endpoint, ok := h.endpoint(req.Conn.Listener)
	switch {
	case err != nil:
		refuse(errCoordinatorNotAvailable, err.Error())
	case !ok:
		refuse(errCoordinatorNotAvailable, "this broker is not advertised on this listener")
	default:
		out.NodeID, out.Host, out.Port = h.NodeID, endpoint.Host, endpoint.Port
		out.ErrorMessage = &noError
		if req.Version >= 4 {
			out.ErrorMessage = new(string)
		}
	}
}

// noError is the name of NONE, which Kafka tells in versions 1 to 3.
var noError = "NONE"

// coordinator is a coord.Runtime of any Machine.
type coordinator interface {
	Partition(key string) (index int32, ok bool)
	Check(key string) error
}

// coordinates says whether this broker coordinates a key, making the topic if
// there is none yet.
func (h *handlers) coordinates(r coordinator, topic, key string) error {
	if _, ok := r.Partition(key); !ok {
		if err := h.CreateInternalTopic(topic); err != nil {
			h.Logger.Error("cannot create an internal topic; its coordinator is not available", "topic", topic, "error", err)
			return err
		}
	}
	return r.Check(key)
}

// sharePartition says whether a key names a partition of a share group.
func sharePartition(key string) bool {
	parts := strings.Split(key, ":")
	if len(parts) < 3 || strings.Join(parts[:len(parts)-2], ":") == "" {
		return false
	}
	_, idErr := meta.ParseUUID(parts[len(parts)-2])
	_, indexErr := strconv.ParseInt(parts[len(parts)-1], 10, 32)
	return idErr == nil && indexErr == nil
}
