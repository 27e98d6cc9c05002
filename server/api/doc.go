// Package api answers requests: one file per API key, named NN_name.go, with
// the versions and what each brought on top. The table of rows in table.go is
// the only list of what is served; ApiVersions prints it, so it cannot lie.
//
// A handler runs on the connection's reader. The ordered part (parsing,
// appending) is done there; what has to be waited for (a sync, bytes to read)
// becomes a Reply that the connection's writer encodes when it is ready.
//
// The package turns the errors of the rooms below into Kafka's codes and never
// touches a connection or a file.
package api
