//go:build linux

package main

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	minVersion = 3
	maxVersion = 13
)

// buildAnswers encodes one successful response per version of Produce, length prefix included; the correlation id
// behind it is left zero.
func buildAnswers() (answers [maxVersion + 1][]byte) {
	for version := int16(minVersion); version <= maxVersion; version++ {
		response := kmsg.NewPtrProduceResponse()
		response.Version = version
		topic := kmsg.NewProduceResponseTopic()
		topic.Partitions = append(topic.Partitions, kmsg.NewProduceResponseTopicPartition())
		response.Topics = append(response.Topics, topic)
		answer := make([]byte, 8)
		if response.IsFlexible() {
			answer = append(answer, 0) // response header 1: no tagged fields
		}
		answer = response.AppendTo(answer)
		binary.BigEndian.PutUint32(answer, uint32(len(answer)-4))
		answers[version] = answer
	}
	return answers
}
