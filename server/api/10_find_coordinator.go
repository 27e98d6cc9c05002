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
// This broker coordinates nothing yet and says so: COORDINATOR_NOT_AVAILABLE
// with no node, which clients report instead of hanging on a wrong address.

func (h *handlers) findCoordinator(req *wire.Request, q *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	if q.CoordinatorType < 0 || q.CoordinatorType > 2 || q.CoordinatorType == 2 && req.Version < 6 {
		return badCoordinator(resp, req.Version, q, errInvalidRequest, "unknown coordinator type")
	}
	for _, key := range q.CoordinatorKeys {
		if q.CoordinatorType == 2 && !sharePartition(key) {
			return badCoordinator(resp, req.Version, q, errInvalidRequest, "expected keys of the form group:topicId:partition")
		}
	}
	return badCoordinator(resp, req.Version, q, errCoordinatorNotAvailable, "this broker has no coordinator for groups or transactions")
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

func badCoordinator(resp *kmsg.FindCoordinatorResponse, version int16, q *kmsg.FindCoordinatorRequest, code int16, text string) kmsg.Response {
	if version < 4 {
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Port = code, &text, -1, -1
		return resp
	}
	for _, key := range q.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Port, c.ErrorCode, c.ErrorMessage = key, -1, -1, code, &text
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp
}
