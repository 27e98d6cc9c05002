package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire"
)

// DescribeAcls, CreateAcls and DeleteAcls, versions 1 to 3: answered as Kafka
// does without an authorizer, SECURITY_DISABLED, which tools show as "no
// authorizer is configured" and consoles take as "no ACL page".

const errSecurityDisabled int16 = 54

var noAuthorizer = "No Authorizer is configured."

func (h *handlers) describeACLs(*wire.Request, *kmsg.DescribeACLsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeACLsResponse()
	text := "No Authorizer is configured on the broker"
	resp.ErrorCode, resp.ErrorMessage = errSecurityDisabled, &text
	return resp
}

func (h *handlers) createACLs(_ *wire.Request, q *kmsg.CreateACLsRequest) kmsg.Response {
	resp := kmsg.NewPtrCreateACLsResponse()
	for range q.Creations {
		out := kmsg.NewCreateACLsResponseResult()
		out.ErrorCode, out.ErrorMessage = errSecurityDisabled, &noAuthorizer
		resp.Results = append(resp.Results, out)
	}
	return resp
}

func (h *handlers) deleteACLs(_ *wire.Request, q *kmsg.DeleteACLsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteACLsResponse()
	for range q.Filters {
		out := kmsg.NewDeleteACLsResponseResult()
		out.ErrorCode, out.ErrorMessage = errSecurityDisabled, &noAuthorizer
		resp.Results = append(resp.Results, out)
	}
	return resp
}
