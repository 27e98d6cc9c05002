package raw

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Transaction is what a transactional producer has to know to go on, or for another process to go on in its place: the
// bytes on the wire are those of a client that KIP-890's second part made (New) or of one from before.
type Transaction struct {
	ID    string // transactional id
	New   bool   // partitions are added by producing; the end of a transaction brings a new epoch
	PID   int64
	Epoch int16
	Next  map[string]int32 // next sequence by topic-partition
}

// refused is an error code where none was expected.
func refused(what string, code int16) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("%s: error code %d", what, code)
}

// Begin asks for a producer id for id, which ends whatever was open under it. It asks again while the coordinator is
// busy with that (CONCURRENT_TRANSACTIONS) or loading; retry paces it and ends it with an error.
func Begin(c *Conn, id string, isNew bool, timeoutMillis int32, retry func(error) error) (*Transaction, error) {
	for { // asked for its effect too: the first question makes the coordinator's topic
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.SetVersion(3)
		q.CoordinatorKey, q.CoordinatorType = id, 1
		resp, err := Ask[*kmsg.FindCoordinatorResponse](c, q)
		if err != nil {
			return nil, err
		}
		if resp.ErrorCode == 0 {
			break
		}
		if err := retry(refused("FindCoordinator of "+id, resp.ErrorCode)); err != nil {
			return nil, err
		}
	}
	for {
		q := kmsg.NewPtrInitProducerIDRequest()
		q.SetVersion(4)
		q.TransactionalID, q.TransactionTimeoutMillis, q.ProducerID, q.ProducerEpoch = &id, timeoutMillis, -1, -1
		resp, err := Ask[*kmsg.InitProducerIDResponse](c, q)
		if err != nil {
			return nil, err
		}
		if resp.ErrorCode == 0 {
			return &Transaction{ID: id, New: isNew, PID: resp.ProducerID, Epoch: resp.ProducerEpoch, Next: map[string]int32{}}, nil
		}
		if err := retry(refused("InitProducerId of "+id, resp.ErrorCode)); err != nil {
			return nil, err
		}
	}
}

// Produce appends one record to one partition within the transaction and returns its offset.
func (x *Transaction) Produce(c *Conn, topic string, partition int32, value []byte, retry func(error) error) (int64, error) {
	key := fmt.Sprintf("%s-%d", topic, partition)
	if _, added := x.Next[key]; !added && !x.New {
		if err := x.add(c, topic, partition, retry); err != nil {
			return 0, err
		}
	}
	batch := Batch(value)
	binary.BigEndian.PutUint16(batch[21:], 0x10)
	binary.BigEndian.PutUint64(batch[43:], uint64(x.PID))
	binary.BigEndian.PutUint16(batch[51:], uint16(x.Epoch))
	binary.BigEndian.PutUint32(batch[53:], uint32(x.Next[key]))
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], castagnoli))
	for {
		q := ProduceRequest(topic, partition, batch)
		q.TransactionID = &x.ID
		q.SetVersion(11)
		if x.New {
			q.SetVersion(12)
		}
		resp, err := Ask[*kmsg.ProduceResponse](c, q)
		if err != nil {
			return 0, err
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return 0, errors.New("an answer that is not about one partition")
		}
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode == 0 {
			x.Next[key]++
			return p.BaseOffset, nil
		}
		if err := retry(refused("Produce in "+x.ID, p.ErrorCode)); err != nil {
			return 0, err
		}
	}
}

func (x *Transaction) add(c *Conn, topic string, partition int32, retry func(error) error) error {
	for {
		q := kmsg.NewPtrAddPartitionsToTxnRequest()
		q.SetVersion(3)
		q.TransactionalID, q.ProducerID, q.ProducerEpoch = x.ID, x.PID, x.Epoch
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic, t.Partitions = topic, []int32{partition}
		q.Topics = append(q.Topics, t)
		resp, err := Ask[*kmsg.AddPartitionsToTxnResponse](c, q)
		if err != nil {
			return err
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return errors.New("an answer that is not about one partition")
		}
		code := resp.Topics[0].Partitions[0].ErrorCode
		if code == 0 {
			return nil
		}
		if err := retry(refused("AddPartitionsToTxn of "+x.ID, code)); err != nil {
			return err
		}
	}
}

// Offset commits one offset of a group, outside any generation, within the transaction.
func (x *Transaction) Offset(c *Conn, group, topic string, partition int32, offset int64, retry func(error) error) error {
	for {
		if !x.New {
			q := kmsg.NewPtrAddOffsetsToTxnRequest()
			q.SetVersion(3)
			q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Group = x.ID, x.PID, x.Epoch, group
			resp, err := Ask[*kmsg.AddOffsetsToTxnResponse](c, q)
			if err != nil {
				return err
			}
			if resp.ErrorCode != 0 {
				if err := retry(refused("AddOffsetsToTxn of "+x.ID, resp.ErrorCode)); err != nil {
					return err
				}
				continue
			}
		}
		q := kmsg.NewPtrTxnOffsetCommitRequest()
		q.SetVersion(4)
		if x.New {
			q.SetVersion(5)
		}
		q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Group, q.Generation = x.ID, x.PID, x.Epoch, group, -1
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic = topic
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = partition, offset
		t.Partitions = append(t.Partitions, p)
		q.Topics = append(q.Topics, t)
		resp, err := Ask[*kmsg.TxnOffsetCommitResponse](c, q)
		if err != nil {
			return err
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return errors.New("an answer that is not about one partition")
		}
		code := resp.Topics[0].Partitions[0].ErrorCode
		if code == 0 {
			return nil
		}
		if err := retry(refused("TxnOffsetCommit of "+x.ID, code)); err != nil {
			return err
		}
	}
}

// End commits or aborts; a new transaction may begin when it answers nil.
func (x *Transaction) End(c *Conn, commit bool, retry func(error) error) error {
	for {
		q := kmsg.NewPtrEndTxnRequest()
		q.SetVersion(4)
		if x.New {
			q.SetVersion(5)
		}
		q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Commit = x.ID, x.PID, x.Epoch, commit
		resp, err := Ask[*kmsg.EndTxnResponse](c, q)
		if err != nil {
			return err
		}
		if resp.ErrorCode == 0 {
			if x.New {
				x.PID, x.Epoch = resp.ProducerID, resp.ProducerEpoch
			}
			x.Next = map[string]int32{}
			return nil
		}
		if err := retry(refused("EndTxn of "+x.ID, resp.ErrorCode)); err != nil {
			return err
		}
	}
}
