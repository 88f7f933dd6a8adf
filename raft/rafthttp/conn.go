// Connections to peers: each write has a deadline, and the end of one is noticed.
//
// Start at newRoundTripper.

package rafthttp

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// Dial connects to a peer. Tests put a bad network in place of net.Dialer.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// newRoundTripper returns a plain HTTP/1.1 transport whose writes do not hang.
func newRoundTripper(tlsConfig *tls.Config, dial Dial, answer time.Duration) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: time.Second, KeepAlive: 5 * time.Second}).DialContext
	}
	withDeadlines := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &deadlineConn{Conn: conn}
		c.open, c.end = context.WithCancelCause(context.Background())
		return c, nil
	}
	return &http.Transport{
		DialContext:           withDeadlines,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   2 * time.Second,
		ResponseHeaderTimeout: answer,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
		WriteBufferSize:       64 << 10,
	}
}

// deadlineConn gives each write a deadline, and says when the connection has ended:
// net/http reads all the time, and so learns it first.
type deadlineConn struct {
	net.Conn
	open context.Context // ends with the connection, and says why
	end  context.CancelCauseFunc
}

func (c *deadlineConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.end(err)
	}
	return n, err
}

func (c *deadlineConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *deadlineConn) Close() error {
	c.end(net.ErrClosed)
	return c.Conn.Close()
}

// endWith ends a context when a connection of ours ends before it, for the same reason.
func endWith(ctx context.Context, conn net.Conn, cancel context.CancelCauseFunc) {
	if secured, is := conn.(*tls.Conn); is {
		conn = secured.NetConn()
	}
	if c, is := conn.(*deadlineConn); is {
		unwatch := context.AfterFunc(c.open, func() { cancel(context.Cause(c.open)) })
		context.AfterFunc(ctx, func() { unwatch() }) // the connection may be used for long
	}
}

// NewClient returns a client for other requests to peers than those of a Transport.
func NewClient(tlsConfig *tls.Config, dial Dial) *http.Client {
	return &http.Client{Transport: newRoundTripper(tlsConfig, dial, answerTimeout)}
}
