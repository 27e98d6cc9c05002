package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire"
)

// UnregisterBroker, version 0 (KIP-631).

func (h *handlers) unregisterBroker(_ *wire.Request, q *kmsg.UnregisterBrokerRequest) kmsg.Response {
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	empty := ""
	resp.ErrorMessage = &empty
	if err := h.Controller.UnregisterBroker(q.BrokerID); err != nil {
		resp.ErrorCode, resp.ErrorMessage = code(err), message(err)
	}
	return resp
}
