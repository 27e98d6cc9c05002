package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/wire"
)

// AlterUserScramCredentials, version 0 (KIP-554).

func (h *handlers) alterUserScramCredentials(_ *wire.Request, q *kmsg.AlterUserSCRAMCredentialsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	deletions := make([]controller.ScramDeletion, 0, len(q.Deletions))
	for _, d := range q.Deletions {
		deletions = append(deletions, controller.ScramDeletion{User: d.Name, Mechanism: d.Mechanism})
	}
	upsertions := make([]controller.ScramUpsertion, 0, len(q.Upsertions))
	for _, u := range q.Upsertions {
		// The bytes lie in the frame, and the salt is kept.
		upsertions = append(upsertions, controller.ScramUpsertion{User: u.Name, Mechanism: u.Mechanism, Iterations: u.Iterations,
			Salt: slices.Clone(u.Salt), SaltedPassword: u.SaltedPassword})
	}
	results, err := h.Controller.AlterScramCredentials(deletions, upsertions)
	if err != nil {
		failed := &controller.Error{Code: code(err), Message: *message(err)}
		for _, d := range deletions {
			results = append(results, controller.ScramResult{User: d.User, Err: failed})
		}
		for _, u := range upsertions {
			results = append(results, controller.ScramResult{User: u.User, Err: failed})
		}
	}
	for _, r := range results {
		out := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		out.User = r.User
		if r.Err != nil {
			out.ErrorCode, out.ErrorMessage = r.Err.Code, text(r.Err)
		}
		resp.Results = append(resp.Results, out)
	}
	return resp
}
