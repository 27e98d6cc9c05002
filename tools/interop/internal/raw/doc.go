// Package raw owns one plain connection to a broker: frames out, frames in, nothing hidden. The suites use it where a
// client library would retry, cache or hide what is to be measured. It never reconnects and starts no goroutine.
package raw
