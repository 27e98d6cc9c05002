package conn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"
)

// Listen opens a TCP listener at address, host:port. Without a host it listens on the wildcard of both IPv4 and IPv6, as one
// dual-stack socket where the system has both; port 0 picks a free one.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listener address %q: expected host:port: %w", address, err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(strings.Trim(host, "[]"), port))
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	return l, nil
}

// Serve accepts connections from l, whose listener name is name, until Shutdown or Close, and then returns nil. It closes l.
// It may be called for several listeners at once.
func (s *Server) Serve(l net.Listener, name string) error {
	if !s.addListener(l) {
		_ = l.Close()
		return nil
	}
	defer s.removeListener(l)
	s.log.Debug("listener open", "listener", name, "address", l.Addr().String())
	backoff := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.stopped() {
				return nil
			}
			if !temporary(err) {
				return fmt.Errorf("listener %s: accept: %w", name, err)
			}
			// Out of descriptors or of memory: connections will close, so wait, but say it only once.
			if backoff == 0 {
				s.log.Error("cannot accept connections, will retry", "listener", name, "error", err)
			}
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			s.pause(backoff)
			continue
		}
		backoff = 0
		s.admit(nc, name)
	}
}

// temporary reports whether an accept error says something about a connection or about resources, not about the listener.
func temporary(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPERM,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// pause waits for d or until the server stops.
func (s *Server) pause(d time.Duration) {
	over := make(chan struct{})
	stop := s.opts.Clock.AfterFunc(d, func() { close(over) })
	select {
	case <-over:
	case <-s.stopping:
		stop()
	}
}
