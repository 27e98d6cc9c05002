package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// IncrementalAlterConfigs, versions 0 and 1 (KIP-339).
//
//	1 flexible

func (h *handlers) incrementalAlterConfigs(_ *wire.Request, q *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	changes := make([]controller.ConfigChange, 0, len(q.Resources))
	for i := range q.Resources {
		r := &q.Resources[i]
		c := controller.ConfigChange{Resource: resource(r.ResourceType, r.ResourceName)}
		for j := range r.Configs {
			o := &r.Configs[j]
			c.Ops = append(c.Ops, controller.ConfigOp{Name: o.Name, Op: int8(o.Op), Value: o.Value})
		}
		if refused := h.refuseResource(c.Resource, len(c.Ops)); refused != nil {
			out := kmsg.NewIncrementalAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
			out.ErrorCode, out.ErrorMessage = code(refused), message(refused)
			resp.Resources = append(resp.Resources, out)
			continue
		}
		changes = append(changes, c)
	}
	results, err := h.Controller.IncrementalAlterConfigs(changes, q.ValidateOnly)
	if err != nil {
		for _, c := range changes {
			out := kmsg.NewIncrementalAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName = kmsg.ConfigResourceType(c.Resource.Type), c.Resource.Name
			out.ErrorCode, out.ErrorMessage = code(err), message(err)
			resp.Resources = append(resp.Resources, out)
		}
		return resp
	}
	for _, r := range results {
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = kmsg.ConfigResourceType(r.Resource.Type), r.Resource.Name
		if r.Err != nil {
			out.ErrorCode, out.ErrorMessage = r.Err.Code, text(r.Err)
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// refuseResource is what the broker looks at before the controller
// (ConfigAdminManager.preprocess): brokers and their loggers are changed at
// that broker only, and this one's loggers have no levels of their own.
func (h *handlers) refuseResource(r meta.ConfigResource, changes int) error {
	switch {
	case r.Type == meta.ResourceBroker && r.Name != "":
		return h.ownBroker(r.Name, brokerOnly)
	case r.Type == meta.ResourceBrokerLogger:
		if err := h.ownBroker(r.Name, brokerOnly); err != nil {
			return err
		}
		if changes > 0 {
			return &apiError{errInvalidConfig, "loggers of this broker have no levels of their own; gregor.log.level in server.properties is the level of all"}
		}
	}
	return nil
}

func resource(kind kmsg.ConfigResourceType, name string) meta.ConfigResource {
	return meta.ConfigResource{Type: int8(kind), Name: name}
}

// AlterConfigs, versions 0 to 2: the older request, which replaces all configs
// of a resource.
//
//	2 flexible

func (h *handlers) alterConfigs(_ *wire.Request, q *kmsg.AlterConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterConfigsResponse()
	changes := make([]controller.ConfigReplacement, 0, len(q.Resources))
	for i := range q.Resources {
		r := &q.Resources[i]
		c := controller.ConfigReplacement{Resource: resource(r.ResourceType, r.ResourceName)}
		for j := range r.Configs {
			c.Configs = append(c.Configs, controller.TopicConfig{Name: r.Configs[j].Name, Value: r.Configs[j].Value})
		}
		refused := h.refuseResource(c.Resource, len(c.Configs))
		if c.Resource.Type == meta.ResourceBrokerLogger {
			refused = &apiError{errInvalidRequest, "Unknown resource type 8"}
		}
		if refused != nil {
			out := kmsg.NewAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
			out.ErrorCode, out.ErrorMessage = code(refused), message(refused)
			resp.Resources = append(resp.Resources, out)
			continue
		}
		changes = append(changes, c)
	}
	results, err := h.Controller.AlterConfigs(changes, q.ValidateOnly)
	if err != nil {
		for _, c := range changes {
			out := kmsg.NewAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName = kmsg.ConfigResourceType(c.Resource.Type), c.Resource.Name
			out.ErrorCode, out.ErrorMessage = code(err), message(err)
			resp.Resources = append(resp.Resources, out)
		}
		return resp
	}
	for _, r := range results {
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = kmsg.ConfigResourceType(r.Resource.Type), r.Resource.Name
		if r.Err != nil {
			out.ErrorCode, out.ErrorMessage = r.Err.Code, text(r.Err)
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}
