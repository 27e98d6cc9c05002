package api

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/wire"
)

// InitProducerId, versions 0 to 5.
//
//	2 flexible
//	3 the producer's present id and epoch (KIP-360)
//	4 PRODUCER_FENCED may be answered
//	5 TRANSACTION_ABORTABLE may be answered (KIP-890)
//
// Ids come from blocks of 1,000 that the metadata log hands out
// (ProducerIds records), so none is ever given twice, restarts included.
// Transactional ids need a coordinator, which this broker does not have yet.

// producerIDs hands out ids of the current block.
type producerIDs struct {
	mu        sync.Mutex
	next, end int64
}

func (h *handlers) nextProducerID() (int64, error) {
	b := &h.producerIDs
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == b.end {
		first, err := h.Controller.AllocateProducerIDs()
		if err != nil {
			return -1, err
		}
		b.next, b.end = first, first+controller.ProducerIDBlockSize
	}
	id := b.next
	b.next++
	return id, nil
}

func (h *handlers) initProducerID(_ *wire.Request, q *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if q.TransactionalID != nil {
		resp.ErrorCode = errCoordinatorNotAvailable
		if *q.TransactionalID == "" {
			resp.ErrorCode = errInvalidRequest
		}
		return resp
	}
	if (q.ProducerID == -1) != (q.ProducerEpoch == -1) {
		// Either both are known or none is.
		resp.ErrorCode = errInvalidRequest
		return resp
	}
	id, err := h.nextProducerID()
	if err != nil {
		resp.ErrorCode = code(err)
		h.Logger.Error("cannot allocate a producer id", "error", err)
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return resp
}
