package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire"
)

// RemoveRaftVoter, version 0 (KIP-853). The only voter cannot be removed: Kafka calls it VOTER_NOT_FOUND too.

func (h *handlers) removeRaftVoter(_ *wire.Request, q *kmsg.RemoveRaftVoterRequest) kmsg.Response {
	resp := kmsg.NewPtrRemoveRaftVoterResponse()
	err := h.checkClusterID(q.ClusterID)
	if err == nil {
		err = h.noVoterToRemove(q)
	}
	resp.ErrorCode, resp.ErrorMessage = code(err), message(err)
	return resp
}

func (h *handlers) noVoterToRemove(q *kmsg.RemoveRaftVoterRequest) error {
	if q.VoterID < 0 || q.VoterDirectoryID == [16]byte{} {
		return &apiError{errInvalidRequest, "Remove voter request didn't include a valid voter"}
	}
	voters, level := h.Quorum.Voters()
	if level == 0 {
		return &apiError{errUnsupportedVersion, "Cluster doesn't support removing voter because the kraft.version feature is 0"}
	}
	return &apiError{errVoterNotFound, fmt.Sprintf("Cannot remove voter %s from the set of voters %s", replicaKey(q.VoterID, q.VoterDirectoryID), voterKeys(voters))}
}
