//go:build linux

package main

import (
	"flag"
	"net"
	"os"
	"path/filepath"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9092", "`address` to listen on")
	dir := flag.String("dir", ".", "`directory` of the one file")
	noFsync := flag.Bool("no-fsync", false, "answer after the write, without waiting for the disk")
	flag.Parse()
	die(run(*listen, *dir, !*noFsync))
}

// run serves until it cannot; its error is never nil.
func run(listen, dir string, durable bool) error {
	file, err := os.OpenFile(filepath.Join(dir, "floor.log"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	s, err := newServer(file, durable)
	if err != nil {
		return err
	}
	return s.serve(listener)
}
