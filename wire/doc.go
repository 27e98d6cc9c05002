// Package wire is the Kafka protocol below the APIs: the table of APIs, requests and their headers, replies as promises kept in
// connection order, and payloads that leave a connection with one vectored write.
//
// It owns the shapes that connections (server/conn) and API handlers (server/api) share. It never touches sockets beyond
// writing a Payload to one, never starts a goroutine, and knows no API's body: bodies live in wire/produce, wire/fetch and
// with the handlers.
package wire
