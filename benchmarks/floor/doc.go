//go:build linux

// Command floor is the least that a durable broker can be, and so the measure for one: it reads Kafka-framed Produce
// requests from sockets, takes the CRC-32C of each, writes them one behind the other to a single file, lets everyone
// who wrote while the last fdatasync ran share the next, and answers what a client accepts as the response.
//
// It knows no topics, no offsets and no other request. What a broker costs more than the floor is the broker's own.
//
//	floor -listen 127.0.0.1:9092 -dir DIRECTORY [-no-fsync]
package main
