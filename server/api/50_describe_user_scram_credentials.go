package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// DescribeUserScramCredentials, version 0 (KIP-554): mechanisms and iterations, never keys. No users stand for all.

const errResourceNotFound, errDuplicateResource int16 = 91, 92

func (h *handlers) describeUserScramCredentials(_ *wire.Request, q *kmsg.DescribeUserSCRAMCredentialsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	empty := ""
	resp.ErrorMessage = &empty
	im := h.Image()
	named := map[string]int{}
	var users []string
	add := func(user string) {
		if named[user]++; named[user] == 1 {
			users = append(users, user)
		}
	}
	if len(q.Users) == 0 {
		for _, c := range im.ScramCredentials() {
			add(c.Name)
		}
		for user := range named {
			named[user] = 1
		}
	}
	for _, u := range q.Users {
		add(u.Name)
	}
	for _, user := range users {
		out := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		out.User, out.ErrorMessage = user, &empty
		for _, mechanism := range []int8{meta.ScramSHA256, meta.ScramSHA512} {
			if c := im.ScramCredential(mechanism, user); c != nil {
				info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
				info.Mechanism, info.Iterations = mechanism, c.Iterations
				out.CredentialInfos = append(out.CredentialInfos, info)
			}
		}
		switch {
		case named[user] > 1:
			text := "Cannot describe SCRAM credentials for the same user twice in a single request: " + user
			out.ErrorCode, out.ErrorMessage, out.CredentialInfos = errDuplicateResource, &text, nil
		case out.CredentialInfos == nil:
			text := "Attempt to describe a user credential that does not exist: " + user
			out.ErrorCode, out.ErrorMessage = errResourceNotFound, &text
		}
		resp.Results = append(resp.Results, out)
	}
	return resp
}
