package config

// networkDefs holds the network, connection and request configurations of the broker (SocketServerConfigs, ServerConfigs).
var networkDefs = [...]Def{
	{
		Name: "advertised.listeners", Type: TypeList, NoDefault: true,
		check: check{rule: someWords},
		Doc:   "Addresses told to clients, as name://host:port; listeners when it is not set.",
	},
	{
		Name: "background.threads", Type: TypeInt, Default: "10", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads for background work.",
	},
	{
		Name: "connection.failed.authentication.delay.ms", Type: TypeInt, Default: "100",
		check: check{rule: atLeast},
		Doc:   "Milliseconds a connection that failed to authenticate is held before it is closed.",
	},
	{
		Name: "connections.max.idle.ms", Type: TypeLong, Default: "600000",
		Doc: "Milliseconds without a request after which a connection is closed.",
	},
	{
		Name: "connections.max.reauth.ms", Type: TypeLong, Default: "0",
		Doc: "Longest session in milliseconds after SASL authentication before the client must authenticate again; 0 is no limit.",
	},
	{
		Name: "delete.records.purgatory.purge.interval.requests", Type: TypeInt, Default: "1",
		Doc: "Finished DeleteRecords requests that may pile up in the waiting list before it is swept.",
	},
	{
		Name: "fetch.max.bytes", Type: TypeInt, Default: "57671680",
		check: check{rule: atLeast, min: 1024},
		Doc:   "Bytes one fetch response may carry, whatever the client asks for.",
	},
	{
		Name: "fetch.purgatory.purge.interval.requests", Type: TypeInt, Default: "1000",
		Doc: "Finished fetch requests that may pile up in the waiting list before it is swept.",
	},
	{
		Name: "inter.broker.listener.name", Type: TypeString, NoDefault: true,
		Doc: "Listener that brokers use among themselves; exclusive with security.inter.broker.protocol.",
	},
	{
		Name: "listener.security.protocol.map", Type: TypeString, Default: "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Update: PerBroker,
		Doc: "Security protocol of each listener name, as name:protocol pairs.",
	},
	{
		Name: "listeners", Type: TypeList, Default: "PLAINTEXT://:9092", Update: PerBroker,
		check: check{rule: someWords},
		Doc:   "Addresses to listen on, as name://host:port; an empty host is every interface.",
	},
	{
		Name: "max.connection.creation.rate", Type: TypeInt, Default: "2147483647", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "New connections per second the broker accepts.",
	},
	{
		Name: "max.connections", Type: TypeInt, Default: "2147483647", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Connections the broker holds at once.",
	},
	{
		Name: "max.connections.per.ip", Type: TypeInt, Default: "2147483647", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Connections the broker holds at once from one address.",
	},
	{
		Name: "max.connections.per.ip.overrides", Type: TypeString, Update: ClusterWide,
		Doc: "Exceptions to max.connections.per.ip, as address:count pairs.",
	},
	{
		Name: "max.incremental.fetch.session.cache.slots", Type: TypeInt, Default: "1000",
		check: check{rule: atLeast},
		Doc:   "Incremental fetch sessions the broker remembers (KIP-227).",
	},
	{
		Name: "num.io.threads", Type: TypeInt, Default: "8", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads that carry out requests.",
	},
	{
		Name: "num.network.threads", Type: TypeInt, Default: "3", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads per listener that read requests and write responses.",
	},
	{
		Name: "producer.purgatory.purge.interval.requests", Type: TypeInt, Default: "1000",
		Doc: "Finished produce requests that may pile up in the waiting list before it is swept.",
	},
	{
		Name: "queued.max.request.bytes", Type: TypeLong, Default: "-1",
		Doc: "Bytes of requests that may be in the broker at once before it stops reading from sockets; zero or less is no limit.",
	},
	{
		Name: "queued.max.requests", Type: TypeInt, Default: "500",
		check: check{rule: atLeast, min: 1},
		Doc:   "Requests that may wait for a thread before the broker stops reading from sockets.",
	},
	{
		Name: "request.timeout.ms", Type: TypeInt, Default: "30000",
		Doc: "Milliseconds the broker waits for an answer to a request of its own.",
	},
	{
		Name: "server.max.startup.time.ms", Type: TypeLong, Default: "9223372036854775807", Internal: true,
		check: check{rule: atLeast},
		Doc:   "Milliseconds the broker may take to start.",
	},
	{
		Name: "share.fetch.purgatory.purge.interval.requests", Type: TypeInt, Default: "1000",
		Doc: "Finished share-fetch requests that may pile up in the waiting list before it is swept.",
	},
	{
		Name: "socket.connection.setup.timeout.max.ms", Type: TypeLong, Default: "30000",
		Doc: "Upper limit in milliseconds of the growing time-out for opening a connection.",
	},
	{
		Name: "socket.connection.setup.timeout.ms", Type: TypeLong, Default: "10000",
		Doc: "Milliseconds the broker waits for a connection of its own to open.",
	},
	{
		Name: "socket.listen.backlog.size", Type: TypeInt, Default: "50",
		check: check{rule: atLeast, min: 1},
		Doc:   "Connections the operating system may hold before the broker accepts them.",
	},
	{
		Name: "socket.receive.buffer.bytes", Type: TypeInt, Default: "102400",
		Doc: "Size of the receive buffer of sockets in bytes; -1 leaves it to the operating system.",
	},
	{
		Name: "socket.request.max.bytes", Type: TypeInt, Default: "104857600",
		check: check{rule: atLeast, min: 1},
		Doc:   "Largest request in bytes; a longer one closes the connection.",
	},
	{
		Name: "socket.send.buffer.bytes", Type: TypeInt, Default: "102400",
		Doc: "Size of the send buffer of sockets in bytes; -1 leaves it to the operating system.",
	},
	{
		Name: "telemetry.max.bytes", Type: TypeInt, Default: "1048576",
		check: check{rule: atLeast, min: 1},
		Doc:   "Largest payload in bytes of a client's telemetry (KIP-714).",
	},
}
