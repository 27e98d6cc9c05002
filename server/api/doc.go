// Package api answers requests: one file per API key, named NN_name.go, with
// the versions and what each brought on top. The table of rows in table.go is
// the only list of what is served; ApiVersions prints it, so it cannot lie.
//
// A handler runs on the connection's reader. The ordered part (parsing,
// appending) is done there; what has to be waited for (a sync, bytes to read)
// becomes a Reply that the connection's writer encodes when it is ready.
//
// A request costs what it is worth: cold ones are walked by their shape before
// they are decoded (shape.go), because an array costs its sender four bytes and
// its reader a hundred for each element.
//
// # Where answers differ from Apache Kafka's
//
// tools/conformance compares the two. What is left, and why:
//
//	Produce
//	  one batch, nothing behind it            Kafka ignores a cut batch behind the first: bytes nobody will ever read
//	  attribute bits that clients may not set Kafka takes and clears or keeps them; no client sends them
//	  offset deltas that do not count up      Kafka stores them, and consumers see offsets twice or never
//	  producer id without epoch, ids below -1 Kafka stores them without meaning
//	  damaged compression, unknown codecs     INVALID_RECORD, where Kafka says UNKNOWN_SERVER_ERROR
//	  null records                            INVALID_RECORD, where Kafka never answers
//	  a partition named twice                 both are appended, where Kafka takes the last one
//	  log append time of a duplicate          -1 with CreateTime, where Kafka tells the batch's timestamp
//	  record errors for LogAppendTime         none: the batch is at fault, not its records
//	  log start offset next to an error       also where Kafka's checks come before the log's
//	Fetch
//	  whole batches                           Kafka cuts the last one at the byte limit, clients throw it away
//	  negative byte limits                    0, where Kafka says UNKNOWN_SERVER_ERROR
//	  isolation levels that do not exist      read_committed, where Kafka says UNKNOWN_SERVER_ERROR (ListOffsets too)
//	  a partition named twice                 answered twice
//	  topic deleted under a session           UNKNOWN_TOPIC_ID, where Kafka remembers the name and says
//	                                          UNKNOWN_TOPIC_OR_PARTITION or INCONSISTENT_TOPIC_ID
//	  client id __admin_client                may not write internal topics either: their one writer is the coordinator
//	FindCoordinator
//	  the first one of its kind               is answered as soon as the topic is there, where Kafka says
//	                                          COORDINATOR_NOT_AVAILABLE and is asked again
//	  a partition that cannot be read         COORDINATOR_NOT_AVAILABLE with the cause, where Kafka names the broker,
//	                                          which then says NOT_COORDINATOR for ever
//	  share coordinators                      there are none
//	DescribeGroups, ConsumerGroupDescribe, OffsetFetch, DeleteGroups
//	  a group named twice                     answered once
//	Metadata
//	  the zero id                             UNKNOWN_TOPIC_ID, where Kafka says UNKNOWN_SERVER_ERROR
//	DescribeTopicPartitions
//	  an empty name                           INVALID_TOPIC_EXCEPTION for it alone, where Kafka refuses the request
//	AddPartitionsToTxn
//	  no transactions at all                  no results, where Kafka never answers
//	CreateTopics, CreatePartitions
//	  configs in the answer                   as they are understood ("true"), where Kafka repeats what was sent ("TRUE")
//	  too many new partitions                 POLICY_VIOLATION, where Kafka's CreatePartitions says UNKNOWN_SERVER_ERROR
//	IncrementalAlterConfigs
//	  operations that do not exist            INVALID_REQUEST, where Kafka says UNKNOWN_SERVER_ERROR
//	  loggers                                 there is one, root; its level is that of every line
//	  client metrics, match                   regular expressions are those of RE2, where Kafka has Java's
//	  brokers, asked as the controller        checked as the broker does, where Kafka's controller stores what no broker
//	                                          will take
//	DescribeConfigs
//	  a resource named twice                  told once: a few bytes would ask for megabytes
//	  broker                                  has the keys that begin with gregor.
//	  loggers                                 root alone
//	AlterClientQuotas
//	  a value that is no number               INVALID_REQUEST, where Kafka stores NaN
//	  host names                              INVALID_REQUEST but for localhost, where Kafka asks its resolver
//	Fetch beyond a quota
//	  whole batches                           a response is cut to what the quota allows before it counts, where
//	                                          Kafka's last, cut batch may put it beyond again and again
//	UnregisterBroker
//	  this broker                             INVALID_REQUEST: it could not be used until it was started again
//	AddRaftVoter
//	  anybody                                 REQUEST_TIMED_OUT as for a node that is not there: one voter it is
//	The controller's listener
//	  what a quorum says to itself            not there: ApiVersions does not name it, and it ends the connection
//	  DescribeUserScramCredentials            answered, where Kafka names it in ApiVersions and then fails
//
// The package turns the errors of the rooms below into Kafka's codes and never
// touches a connection or a file.
package api
