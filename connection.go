// Connections of clients: what net/http asks of one with each request, for less.
//
// Its server changes a connection's deadlines eight times a request, and then has a
// goroutine wait for the next byte while the handler runs, to hear of a client that
// leaves. Both cost more than to decode the request: without them a PUT takes an
// eighth less CPU. So a deadline that only moves on is not passed on, and nobody
// listens for the next byte before the answer is written, unless requests come without
// waiting for answers. So no handler may rely on hearing that its client has left: a
// stream finds out when it writes, mostly the second time.

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// clientListener accepts connections of clients, as many at a time as there is room for.
// Who comes then waits to be accepted.
type clientListener struct {
	net.Listener
	logger *slog.Logger
	open   chan struct{} // holds a token for each connection
	full   bool          // there was no room for the last one
	ended  chan struct{}
	end    func() // closes ended
}

func newClientListener(l net.Listener, limit int, logger *slog.Logger) *clientListener {
	ended := make(chan struct{})
	return &clientListener{
		Listener: l, logger: logger, open: make(chan struct{}, limit),
		ended: ended, end: sync.OnceFunc(func() { close(ended) }),
	}
}

// maxClients is three quarters of the files that this process may have open. The log,
// the snapshots and the peers need the rest: without, the node could not go on.
func maxClients() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("ask how many files may be open: %w", err)
	}
	return int(min(limit.Cur, 1<<20) / 4 * 3), nil
}

func (l *clientListener) Accept() (net.Conn, error) {
	select {
	case l.open <- struct{}{}:
		l.full = false
	default:
		if !l.full {
			l.logger.Warn("there is no room for more clients", "connections", cap(l.open))
		}
		l.full = true
		select {
		case l.open <- struct{}{}:
		case <-l.ended:
			return nil, net.ErrClosed
		}
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return newClientConn(conn, sync.OnceFunc(func() { <-l.open })), nil
}

func (l *clientListener) Close() error {
	l.end()
	return l.Listener.Close()
}

// clientConn is a connection of a client.
type clientConn struct {
	net.Conn
	closed           func()
	reading, writing movingDeadline
	declined         bool // the last read was for one byte, and was declined
}

func newClientConn(conn net.Conn, closed func()) *clientConn {
	c := &clientConn{Conn: conn, closed: closed}
	c.reading.set, c.writing.set = conn.SetReadDeadline, conn.SetWriteDeadline
	return c
}

func (c *clientConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// Read reads, but for one byte only who asks a second time: net/http takes it that
// nothing came, and does not.
func (c *clientConn) Read(b []byte) (int, error) {
	if c.declined = len(b) == 1 && !c.declined; c.declined {
		return 0, nil
	}
	for {
		n, err := c.Conn.Read(b)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || c.reading.passed() {
			return n, err
		}
	}
}

func (c *clientConn) Write(b []byte) (int, error) {
	written := 0
	for {
		n, err := c.Conn.Write(b[written:])
		written += n
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || c.writing.passed() {
			return written, err
		}
	}
}

func (c *clientConn) SetReadDeadline(t time.Time) error  { return c.reading.change(t) }
func (c *clientConn) SetWriteDeadline(t time.Time) error { return c.writing.change(t) }

func (c *clientConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// CloseWrite is how a server makes sure that its last answer is read.
func (c *clientConn) CloseWrite() error {
	if conn, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return conn.CloseWrite()
	}
	return nil
}

// movingDeadline is a deadline that is moved on far more often than it passes. The
// connection has an earlier one, and only when that passes it gets the one asked for.
type movingDeadline struct {
	set func(time.Time) error // the connection's

	mu    sync.Mutex
	asked time.Time // zero for none
	has   time.Time // what the connection has: never later than asked
}

// change asks for another deadline.
func (d *movingDeadline) change(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = t
	if !d.has.IsZero() && (t.IsZero() || !t.Before(d.has)) || t.Equal(d.has) {
		return nil
	}
	d.has = t
	return d.set(t)
}

// passed reports whether the deadline has passed, when the connection's has. If not,
// the connection has the right one now, and may try again.
func (d *movingDeadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.asked.IsZero() && !time.Now().Before(d.asked) {
		return true
	}
	d.has = d.asked
	return d.set(d.has) != nil
}
