package codec

import "strconv"

// Type names a compression codec by the value of the three low bits of a record batch's attributes.
type Type uint8

// The codecs of Kafka, with the numbers of org.apache.kafka.common.record.CompressionType.
const (
	None   Type = 0
	Gzip   Type = 1
	Snappy Type = 2
	LZ4    Type = 3
	Zstd   Type = 4
)

// Valid reports whether t is one of the five codecs of Kafka.
func (t Type) Valid() bool { return t <= Zstd }

// String gives the name that Kafka's compression.type configuration uses for t.
func (t Type) String() string {
	switch t {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return "codec " + strconv.Itoa(int(t))
}
