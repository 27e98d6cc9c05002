// Package clientsuites names the client libraries whose own test suites judge the broker, so that go.mod and go.sum pin
// them and everything their tests import. It owns no code: ../setup.sh compiles the tests, internal/suites runs them.
package clientsuites

import (
	_ "github.com/IBM/sarama"
	_ "github.com/Shopify/toxiproxy/v2"
	_ "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	_ "github.com/segmentio/kafka-go"
	_ "github.com/twmb/franz-go/pkg/kadm"
	_ "github.com/twmb/franz-go/pkg/kgo"
)
