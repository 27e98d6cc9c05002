// Package rig owns what every suite stands on: a broker process (Gregor or Apache Kafka on the same
// server.properties), bounded tests that print one line each, and child programs that report tests of their own.
// It never speaks the Kafka protocol beyond asking whether a broker answers.
package rig
