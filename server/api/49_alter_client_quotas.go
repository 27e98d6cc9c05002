package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// AlterClientQuotas, versions 0 and 1 (KIP-546).
//
//	1 flexible

func (h *handlers) alterClientQuotas(_ *wire.Request, q *kmsg.AlterClientQuotasRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	list := make([]controller.QuotaAlteration, 0, len(q.Entries))
	for _, e := range q.Entries {
		a := controller.QuotaAlteration{}
		for _, part := range e.Entity {
			a.Entity = append(a.Entity, meta.QuotaEntity{Type: part.Type, Name: part.Name})
		}
		for _, o := range e.Ops {
			a.Ops = append(a.Ops, controller.QuotaOp{Key: o.Key, Value: o.Value, Remove: o.Remove})
		}
		list = append(list, a)
	}
	results, err := h.Controller.AlterClientQuotas(list, q.ValidateOnly)
	if err != nil {
		for _, a := range list {
			results = append(results, controller.QuotaResult{Entity: a.Entity, Err: &controller.Error{Code: code(err), Message: *message(err)}})
		}
	}
	for _, r := range results {
		out := kmsg.NewAlterClientQuotasResponseEntry()
		for _, part := range r.Entity {
			x := kmsg.NewAlterClientQuotasResponseEntryEntity()
			x.Type, x.Name = part.Type, part.Name
			out.Entity = append(out.Entity, x)
		}
		if r.Err != nil {
			out.ErrorCode, out.ErrorMessage = r.Err.Code, text(r.Err)
		}
		resp.Entries = append(resp.Entries, out)
	}
	return resp
}
