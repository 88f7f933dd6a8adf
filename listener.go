// Listeners that say clearly why they could not begin, and servers that stop.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// listen opens a TCP port. use says what for, and flag how to choose another.
func listen(addr, use, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(addr)
		return nil, fmt.Errorf("%s for %s is in use: choose another with %s, or find the process that has it with: lsof -i :%s", addr, use, flag, port)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w: choose an address of this machine with %s", use, err, flag)
	}
	return l, nil
}

// server is an http.Server on a listener.
type server struct {
	http.Server
	ended chan error // gets what Serve returned
}

// serve begins to answer requests, each of which must have come within limit, unless
// its handler gives it more time. TLS is used if there is a configuration.
func serve(l net.Listener, handler http.Handler, limit time.Duration, tlsConfig *tls.Config, logger *slog.Logger) *server {
	s := &server{ended: make(chan error, 1)}
	s.Handler = handler
	s.TLSConfig = tlsConfig
	s.ReadHeaderTimeout = 5 * time.Second
	s.ReadTimeout, s.WriteTimeout = limit, limit+2*requestTimeout // who was too slow hears it
	s.IdleTimeout = 2 * time.Minute
	s.MaxHeaderBytes = 16 << 10
	s.ErrorLog = log.New(debugWriter{logger}, "", 0) // what clients do wrong is theirs
	if tlsConfig != nil {
		l = tls.NewListener(l, tlsConfig)
	}
	go func() { s.ended <- s.Serve(l) }()
	return s
}

// shutdown lets requests under way be answered, for a while, and closes all
// connections.
func (s *server) shutdown(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := s.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	if served := <-s.ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// debugWriter logs each line at the debug level.
type debugWriter struct{ *slog.Logger }

func (w debugWriter) Write(b []byte) (int, error) {
	w.Debug(string(b))
	return len(b), nil
}
