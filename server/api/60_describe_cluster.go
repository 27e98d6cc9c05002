package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// DescribeCluster, versions 0 to 2.
//
//	1 endpoint type: brokers (1) or controllers (2) (KIP-919)
//	2 fenced brokers can be asked for (KIP-1073)

const errMismatchedEndpointType, errUnsupportedEndpointType int16 = 114, 115

// Endpoint types.
const (
	endpointBroker     int8 = 1
	endpointController int8 = 2
)

var endpointTypes = map[int8]string{endpointBroker: "BROKER", endpointController: "CONTROLLER"}

// controllersKnown is the level of metadata.version from which the metadata has the addresses of controllers (3.7-IV0).
const controllersKnown = 15

func (h *handlers) describeCluster(req *wire.Request, q *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.EndpointType, resp.ControllerID, resp.ClusterAuthorizedOperations = endpointBroker, -1, noOperations // as told with an error
	own, wanted := endpointBroker, q.EndpointType
	if h.controller {
		own = endpointController
	}
	if req.Version < 1 {
		wanted = endpointBroker
	}
	refuse := func(code int16, text string) kmsg.Response {
		resp.ErrorCode, resp.ErrorMessage = code, &text
		return resp
	}
	switch {
	case h.controller && h.Image().Features[meta.MetadataVersionFeature] < controllersKnown:
		return refuse(errUnsupportedVersion, "Direct-to-controller communication is not supported with the current MetadataVersion.")
	case endpointTypes[wanted] == "":
		return refuse(errUnsupportedEndpointType, fmt.Sprint("Unsupported endpoint type ", wanted))
	case wanted != own:
		mismatch := errMismatchedEndpointType
		if req.Version < 1 {
			mismatch = errInvalidRequest
		}
		return refuse(mismatch, fmt.Sprintf("The request was sent to an endpoint of type %s, but we wanted an endpoint of type %s", endpointTypes[own], endpointTypes[wanted]))
	}
	resp.ClusterID, resp.ControllerID, resp.EndpointType = h.ClusterID, h.NodeID, own
	if q.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	if e, ok := h.endpoint(req.Conn.Listener); ok {
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID, b.Host, b.Port = h.NodeID, e.Host, e.Port
		if !h.controller {
			b.Rack = h.Rack
		}
		resp.Brokers = append(resp.Brokers, b)
	}
	return resp
}

// nodeEndpoints names this broker for KIP-951 answers on a listener.
func (h *handlers) nodeEndpoints(listener string) []wire.NodeEndpoint {
	e, ok := h.endpoint(listener)
	if !ok {
		return nil
	}
	return []wire.NodeEndpoint{{ID: h.NodeID, Host: e.Host, Port: e.Port, Rack: h.Rack}}
}
