// Command scenarios shows a Kafka broker at work: five small systems, built with a stock client, that print what they do
// and check their own outcome.
//
//	go run ./tools/scenarios                     all five against localhost:9092
//	go run ./tools/scenarios -brokers HOST:PORT ledger audit
//
// If no broker answers, a temporary one is built from this module and started on a free port; its data goes with it. The
// exit status is 0 when every scenario's checks held, 1 when one did not, 2 when there was nothing to run against.
//
//	saga       an order goes through three services, each a consumer group; a record nobody can read is skipped and reported
//	traces     a live stream of log lines, filtered to the errors of chosen requests
//	ledger     balances rebuilt by reading an audit log from offset zero
//	telemetry  sensors over six partitions, rolling averages and alarms
//	audit      what the broker says it is: versions, topics, leaders, codecs, errors
//
// The same five in JavaScript are in js/. They share topics and the envelope of every event (envelope.go), so each reads
// what the other wrote. A scenario begins at the present end of its topics where replay is not its point; runs do not
// disturb each other.
//
// The command is a client: it never looks at a broker's files.
package main
