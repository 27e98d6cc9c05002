package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire"
)

// DescribeCluster, versions 0 to 2.
//
//	1 endpoint type: brokers (1) or controllers (2) (KIP-919)
//	2 fenced brokers can be asked for (KIP-1073)

const errMismatchedEndpointType, errUnsupportedEndpointType int16 = 114, 115

func (h *handlers) describeCluster(req *wire.Request, q *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ClusterID, resp.ControllerID, resp.EndpointType = h.ClusterID, h.NodeID, 1
	resp.ClusterAuthorizedOperations = noOperations
	switch {
	case req.Version >= 1 && q.EndpointType == 2:
		text := "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
		resp.ErrorCode, resp.ErrorMessage, resp.ControllerID = errMismatchedEndpointType, &text, -1
		return resp
	case req.Version >= 1 && q.EndpointType != 1:
		text := fmt.Sprint("Unsupported endpoint type ", q.EndpointType)
		resp.ErrorCode, resp.ErrorMessage, resp.ControllerID = errUnsupportedEndpointType, &text, -1
		return resp
	}
	if q.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	if e, ok := h.endpoint(req.Conn.Listener); ok {
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = h.NodeID, e.Host, e.Port, h.Rack
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
