package api

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// ListConfigResources, versions 0 and 1.
//
//	0 client metrics only (KIP-1000)
//	1 resources of any kind (KIP-1142)
//
// Topics and nodes are there whether they have configs or not, groups and client metrics while they have some.

// listedKinds are the resources of version 1, in the order they are answered.
var listedKinds = []int8{meta.ResourceGroup, meta.ResourceClientMetrics, meta.ResourceBrokerLogger, meta.ResourceBroker, meta.ResourceTopic}

func (h *handlers) listConfigResources(req *wire.Request, q *kmsg.ListConfigResourcesRequest) kmsg.Response {
	resp := kmsg.NewPtrListConfigResourcesResponse()
	wanted := q.ResourceTypes
	switch {
	case req.Version == 0:
		wanted = []int8{meta.ResourceClientMetrics}
	case len(wanted) == 0:
		wanted = listedKinds
	}
	for _, kind := range wanted {
		if !slices.Contains(listedKinds, kind) {
			resp.ErrorCode = errUnsupportedVersion
			return resp
		}
	}
	im := h.Image()
	for _, kind := range listedKinds {
		if !slices.Contains(wanted, kind) {
			continue
		}
		add := func(name string) {
			c := kmsg.NewListConfigResourcesResponseConfigResource()
			c.Name, c.Type = name, kind
			resp.ConfigResources = append(resp.ConfigResources, c)
		}
		switch kind {
		case meta.ResourceGroup, meta.ResourceClientMetrics:
			for _, r := range im.ConfigResources() {
				if r.Type == kind {
					add(r.Name)
				}
			}
		case meta.ResourceBroker, meta.ResourceBrokerLogger:
			add(strconv.Itoa(int(h.NodeID)))
		case meta.ResourceTopic:
			for _, t := range im.Topics() {
				add(t.Name)
			}
		}
	}
	return resp
}
