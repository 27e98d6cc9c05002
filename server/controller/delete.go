package controller

import (
	"maps"
	"slices"
	"strconv"

	"github.com/gregor-broker/gregor/server/meta"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// TopicRef names a topic by name or by id.
type TopicRef struct {
	Name *string // nil: by ID
	ID   meta.UUID
}

// DeletedTopic is the answer for one TopicRef; Name is nil and ID zero where unknown.
type DeletedTopic struct {
	Name *string
	ID   meta.UUID
	Err  *Error // nil: deleted
}

// DeleteTopics deletes topics and answers each, duplicates once, in the order of the request. An error, an *Error, is about the
// whole request: TOPIC_DELETION_DISABLED without delete.topic.enable.
func (k *Controller) DeleteTopics(refs []TopicRef) ([]DeletedTopic, error) {
	return k.DeleteTopicsWithin(nil, refs)
}

// DeleteTopicsWithin is DeleteTopics under a quota.
func (k *Controller) DeleteTopicsWithin(quota Quota, refs []TopicRef) ([]DeletedTopic, error) {
	if !k.c.DeleteTopicEnable {
		return nil, &Error{CodeTopicDeletionDisabled, messageDeletionDisabled}
	}
	var results []DeletedTopic
	err := k.Change(func(im *meta.Image) ([]meta.Record, error) {
		var records []meta.Record
		results, records = deleteTopics(im, quota, refs)
		return records, nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func deleteTopics(im *meta.Image, quota Quota, refs []TopicRef) (results []DeletedTopic, records []meta.Record) {
	names, ids, topics := map[string]int{}, map[meta.UUID]int{}, map[meta.UUID]int{}
	for _, ref := range refs {
		var topic *meta.Topic
		switch {
		case ref.Name == nil && !ref.ID.IsZero():
			if ids[ref.ID]++; ids[ref.ID] == 1 {
				topic = im.TopicByID(ref.ID)
			}
		case ref.Name != nil && ref.ID.IsZero():
			if names[*ref.Name]++; names[*ref.Name] == 1 {
				topic = im.Topic(*ref.Name)
			}
		}
		if topic != nil {
			topics[topic.ID]++
		}
	}
	answer := func(name *string, id meta.UUID, code int16, message string) {
		results = append(results, DeletedTopic{name, id, &Error{code, message}})
	}
	for _, ref := range refs {
		var topic *meta.Topic
		switch {
		case ref.Name == nil && ref.ID.IsZero():
			answer(nil, meta.UUID{}, CodeInvalidRequest, "Neither topic name nor id were specified.")
			continue
		case ref.Name != nil && !ref.ID.IsZero():
			answer(ref.Name, ref.ID, CodeInvalidRequest, "You may not specify both topic name and topic id.")
			continue
		case ref.Name == nil:
			switch n := ids[ref.ID]; {
			case n < 0:
				continue
			case n > 1:
				ids[ref.ID] = -1
				answer(nil, ref.ID, CodeInvalidRequest, "Duplicate topic id.")
				continue
			}
			if topic = im.TopicByID(ref.ID); topic == nil {
				answer(nil, ref.ID, CodeUnknownTopicID, messageUnknownTopicID)
				continue
			}
		default:
			switch n := names[*ref.Name]; {
			case n < 0:
				continue
			case n > 1:
				names[*ref.Name] = -1
				answer(ref.Name, meta.UUID{}, CodeInvalidRequest, "Duplicate topic name.")
				continue
			}
			if topic = im.Topic(*ref.Name); topic == nil {
				answer(ref.Name, meta.UUID{}, CodeUnknownTopicOrPartition, messageUnknownTopicOrPartition)
				continue
			}
		}
		if topics[topic.ID] > 1 {
			answer(&topic.Name, topic.ID, CodeInvalidRequest, "The provided topic name maps to an ID that was already supplied.")
			topics[topic.ID] = -1
			continue
		}
		if topics[topic.ID] < 0 {
			continue
		}
		if e := beyond(quota, len(topic.Partitions)); e != nil {
			results = append(results, DeletedTopic{&topic.Name, topic.ID, e})
			continue
		}
		results = append(results, DeletedTopic{Name: &topic.Name, ID: topic.ID})
		records = append(records, &meta.RemoveTopicRecord{TopicID: topic.ID})
	}
	return results, records
}
