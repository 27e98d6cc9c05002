package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// AddRaftVoter, versions 0 and 1 (KIP-853).
//
//	1 whether the answer waits until the change is committed (KIP-1186)
//
// The quorum of this broker has one voter and gets no other: what would have to be reached first is never ready.

const errRequestTimedOut, errInconsistentClusterID, errDuplicateVoter, errVoterNotFound int16 = 7, 104, 126, 127

func (h *handlers) addRaftVoter(_ *wire.Request, q *kmsg.AddRaftVoterRequest) kmsg.Response {
	resp := kmsg.NewPtrAddRaftVoterResponse()
	if err := h.checkNewVoter(q); err != nil {
		resp.ErrorCode, resp.ErrorMessage = code(err), message(err)
	}
	return resp
}

func (h *handlers) checkNewVoter(q *kmsg.AddRaftVoterRequest) error {
	if err := h.checkClusterID(q.ClusterID); err != nil {
		return err
	}
	if q.VoterID < 0 || q.VoterDirectoryID == [16]byte{} {
		return &apiError{errInvalidRequest, "Add voter request didn't include a valid voter"}
	}
	listener := ""
	if l := h.Config.ControllerListeners; len(l) > 0 {
		listener = l[0].Name
	}
	var endpoints []string
	reachable := false
	for _, l := range q.Listeners {
		reachable = reachable || strings.EqualFold(l.Name, listener)
		endpoints = append(endpoints, fmt.Sprintf("ListenerName(%s)=%s/<unresolved>:%d", strings.ToUpper(l.Name), l.Host, l.Port))
	}
	if !reachable {
		return &apiError{errInvalidRequest, fmt.Sprintf("Add voter request didn't include the endpoint (Endpoints(endpoints={%s})) for the default listener ListenerName(%s)",
			strings.Join(endpoints, ", "), listener)}
	}
	voters, level := h.Quorum.Voters()
	if level == 0 {
		return &apiError{errUnsupportedVersion, "Cluster doesn't support adding voter because the kraft.version feature is 0"}
	}
	if slices.ContainsFunc(voters, func(v meta.Voter) bool { return v.ID == q.VoterID }) {
		return &apiError{errDuplicateVoter, fmt.Sprintf("The voter id for %s is already part of the set of voters %s.", replicaKey(q.VoterID, q.VoterDirectoryID), voterKeys(voters))}
	}
	return &apiError{errRequestTimedOut, fmt.Sprintf("New voter %s is not ready to receive requests", replicaKey(q.VoterID, q.VoterDirectoryID))}
}

func (h *handlers) checkClusterID(id *string) error {
	if id != nil && *id != h.ClusterID {
		return &apiError{errInconsistentClusterID, fmt.Sprintf("The given id %q doesn't match the cluster id %q", *id, h.ClusterID)}
	}
	return nil
}

// replicaKey and voterKeys are what Kafka's ReplicaKey and a set of them print.
func replicaKey(id int32, directory meta.UUID) string {
	return fmt.Sprintf("ReplicaKey(id=%d, directoryId=%s)", id, directory)
}

func voterKeys(voters []meta.Voter) string {
	keys := make([]string, 0, len(voters))
	for _, v := range voters {
		keys = append(keys, replicaKey(v.ID, v.DirectoryID))
	}
	return "[" + strings.Join(keys, ", ") + "]"
}
