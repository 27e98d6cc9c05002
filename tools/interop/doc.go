// Command interop judges a broker with the clients, tools and directories of the Kafka world: Gregor, or Apache Kafka
// itself so that the judgement can be judged. It owns the order of the suites and the flags; run.sh installs and
// starts it. It is a module of its own, so that no client library becomes a dependency of the broker, and it imports
// nothing of the broker: only what a stranger can see is tested.
package main
