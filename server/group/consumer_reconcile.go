package group

import (
	"bytes"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/group/assign"
	"github.com/gregor-broker/gregor/server/group/record"
)

// reconciliation is what decides a member's next step towards its target assignment (CurrentAssignmentBuilder).
type reconciliation struct {
	epoch  int32 // of the target
	target assign.Assignment
	// resubscribed: the member has just changed its subscription, so what it does not subscribe to any more goes at once.
	resubscribed bool
	subscribed   func(topic assign.TopicID) bool
	taken        func(topic assign.TopicID, partition int32) bool // by another member
	reported     bool                                             // the member said what it owns
	owned        []kmsg.ConsumerGroupHeartbeatRequestTopic
}

// next is the member after the step: its epoch, state and partitions. ok is false for a member whose state nobody here knows and that has
// partitions: it must give up everything and join again.
func (r *reconciliation) next(x consumerMember) (_ consumerMember, ok bool) {
	switch x.state {
	case memberStable:
		if x.epoch == r.epoch {
			if r.resubscribed {
				return r.shrink(x), true
			}
			return x, true
		}
	case memberUnrevoked:
		// It moves on when none of what it must give up is among what it says it owns.
		if r.owns(x.revoking) {
			if r.resubscribed {
				return r.shrink(x), true
			}
			return x, true
		}
	case memberUnknown:
		if !r.reported || len(r.owned) > 0 {
			return x, false
		}
		return r.step(x, r.epoch), true
	}
	return r.step(x, x.epoch), true
}

// owns reports whether the member may still own some of the partitions.
func (r *reconciliation) owns(h holdings) bool {
	if !r.reported {
		return true
	}
	for i := range r.owned {
		for _, p := range r.owned[i].Partitions {
			if h.has(r.owned[i].TopicID, p) {
				return true
			}
		}
	}
	return false
}

// moveTo changes the epoch.
func (x *consumerMember) moveTo(epoch int32) { x.previous, x.epoch = x.epoch, epoch }

// shrink takes away what the member does not subscribe to any more, without a new target.
func (r *reconciliation) shrink(x consumerMember) consumerMember {
	kept, gone := x.assigned.split(func(topic assign.TopicID, _ int32) bool { return r.subscribed(topic) })
	if len(gone) == 0 {
		return x
	}
	revoking := x.revoking.plus(gone)
	if r.owns(revoking) {
		x.state, x.revoking = memberUnrevoked, revoking
	}
	x.moveTo(x.epoch)
	x.assigned = kept
	return x
}

// step moves towards the target: first the partitions that are not the member's any more must be given up, in the epoch given; then
// it enters the target's epoch with what others have given up, and waits there for the rest.
func (r *reconciliation) step(x consumerMember, epoch int32) consumerMember {
	kept, gone := x.assigned.split(func(topic assign.TopicID, p int32) bool { return r.target.Has(topic, p) && r.subscribed(topic) })
	if len(gone) > 0 && r.owns(gone) {
		x.state = memberUnrevoked
		x.moveTo(epoch)
		x.assigned, x.revoking = kept, gone
		return x
	}
	free, missing := r.available(kept)
	x.state = memberStable
	if missing {
		x.state = memberUnreleased
	}
	x.moveTo(r.epoch)
	x.assigned, x.revoking = merge(kept, free), nil
	return x
}

// available is what the target adds to the partitions kept and nobody else holds, and whether there is more that somebody holds.
func (r *reconciliation) available(kept holdings) (free holdings, missing bool) {
	for _, t := range r.target {
		if !r.subscribed(t.Topic) {
			continue
		}
		var add record.TopicPartitions
		for _, p := range t.Partitions {
			switch {
			case kept.has(t.Topic, p):
			case r.taken(t.Topic, p):
				missing = true
			default:
				add.Partitions = append(add.Partitions, p)
			}
		}
		if len(add.Partitions) > 0 {
			add.TopicID = t.Topic
			add.AssignmentEpochs = slices.Repeat([]int32{r.epoch}, len(add.Partitions))
			free = append(free, add)
		}
	}
	return free, missing
}

// merge is two holdings that have no partition in common.
func merge(a, b holdings) holdings {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	out := make(holdings, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch bytes.Compare(a[0].TopicID[:], b[0].TopicID[:]) {
		case -1:
			out, a = append(out, a[0]), a[1:]
		case 1:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, mergeTopic(a[0], b[0])), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func mergeTopic(a, b record.TopicPartitions) record.TopicPartitions {
	n := len(a.Partitions) + len(b.Partitions)
	out := record.TopicPartitions{TopicID: a.TopicID, Partitions: make([]int32, 0, n), AssignmentEpochs: make([]int32, 0, n)}
	i, j := 0, 0
	for i < len(a.Partitions) || j < len(b.Partitions) {
		if j == len(b.Partitions) || i < len(a.Partitions) && a.Partitions[i] < b.Partitions[j] {
			out.Partitions, out.AssignmentEpochs = append(out.Partitions, a.Partitions[i]), append(out.AssignmentEpochs, a.AssignmentEpochs[i])
			i++
			continue
		}
		out.Partitions, out.AssignmentEpochs = append(out.Partitions, b.Partitions[j]), append(out.AssignmentEpochs, b.AssignmentEpochs[j])
		j++
	}
	return out
}
