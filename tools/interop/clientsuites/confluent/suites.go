// Package confluent names confluent-kafka-go, whose own test suite judges the broker through librdkafka. It is a module of
// its own because its tests want other versions than those of the other suites. It owns no code.
package confluent

import _ "github.com/confluentinc/confluent-kafka-go/v2/kafka"
