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
	var outcomes []outcome
	changes := make([]controller.ConfigChange, 0, len(q.Resources))
	named := map[meta.ConfigResource]int{}
	for i := range q.Resources {
		named[resource(q.Resources[i].ResourceType, q.Resources[i].ResourceName)]++
	}
	for i := range q.Resources {
		r := &q.Resources[i]
		c := controller.ConfigChange{Resource: resource(r.ResourceType, r.ResourceName)}
		for j := range r.Configs {
			o := &r.Configs[j]
			c.Ops = append(c.Ops, controller.ConfigOp{Name: o.Name, Op: int8(o.Op), Value: o.Value})
		}
		if c.Resource.Type == meta.ResourceBrokerLogger && named[c.Resource] == 1 {
			o := outcome{resource: c.Resource}
			if err := h.alterLoggers(&c, q.ValidateOnly); err != nil {
				o = refusal(c.Resource, err)
			}
			outcomes = append(outcomes, o)
			continue
		}
		if refused := h.refuseResource(c.Resource); refused != nil {
			outcomes = append(outcomes, refusal(c.Resource, refused))
			continue
		}
		changes = append(changes, c)
	}
	results, err := h.Controller.IncrementalAlterConfigs(changes, q.ValidateOnly)
	if err != nil {
		for _, c := range changes {
			outcomes = append(outcomes, refusal(c.Resource, err))
		}
	}
	for _, o := range append(outcomes, controllerOutcomes(results)...) {
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = kmsg.ConfigResourceType(o.resource.Type), o.resource.Name
		out.ErrorCode, out.ErrorMessage = o.code, o.text
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// outcome is what became of one resource of either request.
type outcome struct {
	resource meta.ConfigResource
	code     int16
	text     *string
}

func refusal(r meta.ConfigResource, err error) outcome { return outcome{r, code(err), message(err)} }

// controllerOutcomes are the controller's answers; none with an error for the
// whole request.
func controllerOutcomes(results []controller.ConfigResult) []outcome {
	out := make([]outcome, 0, len(results))
	for _, r := range results {
		o := outcome{resource: r.Resource}
		if r.Err != nil {
			o.code, o.text = r.Err.Code, text(r.Err)
		}
		out = append(out, o)
	}
	return out
}

// refuseResource is what the broker looks at before the controller
// (ConfigAdminManager.preprocess): brokers are changed at that broker only. A
// controller changes any node that it knows.
func (h *handlers) refuseResource(r meta.ConfigResource) error {
	if r.Type == meta.ResourceBroker && r.Name != "" && !h.controller {
		return h.ownBroker(r.Name, brokerOnly)
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
	var outcomes []outcome
	changes := make([]controller.ConfigReplacement, 0, len(q.Resources))
	for i := range q.Resources {
		r := &q.Resources[i]
		c := controller.ConfigReplacement{Resource: resource(r.ResourceType, r.ResourceName)}
		for j := range r.Configs {
			c.Configs = append(c.Configs, controller.TopicConfig{Name: r.Configs[j].Name, Value: r.Configs[j].Value})
		}
		refused := h.refuseResource(c.Resource)
		if c.Resource.Type == meta.ResourceBrokerLogger {
			refused = &apiError{errInvalidRequest, "Unknown resource type 8"}
			if h.controller {
				refused = &apiError{errInvalidRequest, "Unexpected resource type BROKER_LOGGER."}
			}
		}
		if refused != nil {
			outcomes = append(outcomes, refusal(c.Resource, refused))
			continue
		}
		changes = append(changes, c)
	}
	results, err := h.Controller.AlterConfigs(changes, q.ValidateOnly)
	if err != nil {
		for _, c := range changes {
			outcomes = append(outcomes, refusal(c.Resource, err))
		}
	}
	for _, o := range append(outcomes, controllerOutcomes(results)...) {
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = kmsg.ConfigResourceType(o.resource.Type), o.resource.Name
		out.ErrorCode, out.ErrorMessage = o.code, o.text
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}
