// Command gregor runs the broker.
//
//	gregor [server.properties] [--override key=value]...
//
// Without a file it serves localhost:9092 with its data in ./data. The package
// owns flags, signals and the exit status; everything else is package server's.
package main
