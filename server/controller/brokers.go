package controller

import "github.com/gregor-broker/gregor/server/meta"

// UnregisterBroker forgets a broker that is gone for good. This node is refused: a broker that runs but is not registered would
// serve nothing until it starts again. An error is an *Error.
func (k *Controller) UnregisterBroker(id int32) error {
	return k.Change(func(im *meta.Image) ([]meta.Record, error) {
		b := im.Brokers[id]
		switch {
		case b == nil:
			return nil, errorf(CodeBrokerIDNotRegistered, "Broker ID %d is not currently registered", id)
		case id == k.c.NodeID:
			return nil, errorf(CodeInvalidRequest, "Broker %d is the only broker of this cluster and it is running; it cannot be unregistered.", id)
		}
		return []meta.Record{&meta.UnregisterBrokerRecord{BrokerID: id, BrokerEpoch: b.Epoch}}, nil
	})
}
