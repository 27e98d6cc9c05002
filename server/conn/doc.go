// Package conn is the network side of the broker: listeners, connections, frames and the order of replies.
//
// Each connection has one reader, which reads frames and runs the handlers of wire.Table, and, once a reply had to wait, one
// writer, which lets replies leave in the order of their requests. The package owns sockets, their deadlines, and all memory
// that requests take before a handler has copied anything: frames come from a bounded pool under one budget for the broker.
// A connection that a handler has muted is not read until its time has come; that is how clients beyond a quota are slowed down.
// It knows no API: what a request means is the handler's business. It never touches a log or a file.
package conn
