// Package config owns the keys of server.properties, of topics and of brokers: their names, types, defaults, limits and
// documentation, where a value comes from, and what may change while the broker runs.
//
// Three layers give a broker its configuration. Load reads the static one: a server.properties file, KAFKA_ and GREGOR_
// environment variables above it, command-line overrides above those. The other two live in the cluster's metadata, are
// handed in as maps and win over the static layer: cluster-wide dynamic defaults, and above them the dynamic values of
// this broker. Topics inherit from the broker through server synonyms (retention.ms from log.retention.ms, then
// log.retention.minutes, then log.retention.hours) and put their own overrides on top.
//
// The definition tables carry what DescribeConfigs tells clients, in the words and numbers of Apache Kafka 4.3.1; error
// texts for values are Kafka's too, since clients show them. Tables are plain data without initialisation code, and
// are put in order on first use.
//
// The package never opens a socket, never touches a data directory, never reads the clock, and knows nothing of the
// other rooms. A Config is immutable: WithDynamic returns another one.
package config
