// A bad network: links between nodes that can be cut, each way by itself, slowed and
// broken.
//
// Nodes in this process connect through it by themselves (badNetwork.dialer); before
// those in processes of their own stand proxies.

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// link is the way from one node to another.
type link struct{ from, to int }

// badNetwork connects nodes, counted from 0. What is sent on a
// link that is cut arrives when it is mended, unless the sender gives up first, as
// with real packets.
type badNetwork struct {
	mu    sync.Mutex
	nodes map[string]int // by peer port, once the ports are known
	cut   map[link]bool
	delay map[link]time.Duration
	conns map[*badConn]bool // the open ones
}

// anyone is a sender that nobody knows. What is cut for one is cut for it.
const anyone = -1

func newBadNetwork() *badNetwork {
	return &badNetwork{nodes: map[string]int{}, cut: map[link]bool{}, delay: map[link]time.Duration{}, conns: map[*badConn]bool{}}
}

func (bn *badNetwork) isCut(from, to int) bool {
	bn.mu.Lock()
	defer bn.mu.Unlock()
	if from != anyone && to != anyone {
		return bn.cut[link{from, to}]
	}
	for l, cut := range bn.cut {
		if cut && (from == anyone || l.from == from) && (to == anyone || l.to == to) {
			return true
		}
	}
	return false
}

func (bn *badNetwork) change(f func()) {
	bn.mu.Lock()
	defer bn.mu.Unlock()
	f()
}

// mend restores all links.
func (bn *badNetwork) mend() {
	bn.change(func() { bn.cut, bn.delay = map[link]bool{}, map[link]time.Duration{} })
}

// slow makes everything that goes to a node or comes from it late.
func (bn *badNetwork) slow(node, nodes int, delay time.Duration) {
	bn.change(func() {
		for other := range nodes {
			bn.delay[link{other, node}] = delay
			bn.delay[link{node, other}] = delay
		}
	})
}

// reset breaks a node's connections, in the middle of whatever they carry.
func (bn *badNetwork) reset(node int) {
	var broken []*badConn
	bn.change(func() {
		for c := range bn.conns {
			if c.from == node || c.to == node {
				broken = append(broken, c)
			}
		}
	})
	for _, c := range broken {
		c.Close() // which it may be already
	}
}

// connected are the links that connections are open on.
func (bn *badNetwork) connected() map[link]bool {
	links := map[link]bool{}
	bn.change(func() {
		for c := range bn.conns {
			links[link{c.from, c.to}] = true
		}
	})
	return links
}

// isolate cuts a node's links, in the directions given.
func (bn *badNetwork) isolate(node, nodes int, in, out bool) {
	bn.change(func() {
		for other := range nodes {
			if other != node {
				bn.cut[link{other, node}] = in
				bn.cut[link{node, other}] = out
			}
		}
	})
}

// dialer is how one node connects to others.
func (bn *badNetwork) dialer(from int) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		var to int
		known := func() (ok bool) {
			bn.mu.Lock()
			defer bn.mu.Unlock()
			to, ok = bn.nodes[port]
			return ok
		}
		if !waitUntil(ctx, known) {
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if !waitUntil(ctx, func() bool { return !bn.isCut(from, to) && !bn.isCut(to, from) }) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("no route")}
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		bad := &badConn{Conn: conn, network: bn, from: from, to: to}
		bn.change(func() { bn.conns[bad] = true })
		return bad, nil
	}
}

// badConn is a connection over a badNetwork.
type badConn struct {
	net.Conn
	network  *badNetwork
	from, to int
	deadline atomic.Pointer[time.Time] // for Write
	closed   atomic.Bool
}

func (c *badConn) SetWriteDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}

func (c *badConn) Close() error {
	c.closed.Store(true)
	c.network.change(func() { delete(c.network.conns, c) })
	return c.Conn.Close()
}

// await waits until nothing is in the way from one node to another.
func (c *badConn) await(from, to int, deadline *time.Time) error {
	for c.network.isCut(from, to) {
		switch {
		case c.closed.Load():
			return net.ErrClosed
		case deadline != nil && time.Now().After(*deadline):
			return os.ErrDeadlineExceeded
		}
		time.Sleep(2 * time.Millisecond)
	}
	c.network.mu.Lock()
	delay := c.network.delay[link{from, to}]
	c.network.mu.Unlock()
	time.Sleep(delay)
	return nil
}

func (c *badConn) Write(b []byte) (int, error) {
	if err := c.await(c.from, c.to, c.deadline.Load()); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *badConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		if cut := c.await(c.to, c.from, nil); cut != nil {
			return 0, cut
		}
	}
	return n, err
}

// proxy stands before the peer port of a node: who connects through it does so over
// a bad network.
type proxy struct {
	network  *badNetwork
	listener net.Listener
	target   string // host and port of the node
	conns    sync.WaitGroup
	ctx      context.Context
}

// newProxy starts a proxy before a peer port. It ends with the test.
func newProxy(t testing.TB, bn *badNetwork, port string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &proxy{network: bn, listener: l, target: "127.0.0.1:" + port, ctx: ctx}
	p.conns.Go(p.accept)
	t.Cleanup(func() {
		cancel()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		p.conns.Wait()
	})
	return p
}

func (p *proxy) url() string { return "http://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.conns.Go(func() { p.carry(conn) })
	}
}

// carry passes on what comes on a connection, until either side ends it. The first
// request says who speaks.
func (p *proxy) carry(in net.Conn) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { in.Close() })

	var head bytes.Buffer
	req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(in, &head)))
	if err != nil {
		return // it was not used
	}
	from := anyone
	if id, err := strconv.Atoi(req.Header.Get("Raft-From")); err == nil {
		from = id - 1
	}
	out, err := p.network.dialer(from)(ctx, "tcp", p.target)
	if err != nil {
		return // as if the packets got lost
	}
	context.AfterFunc(ctx, func() { out.Close() })
	back := make(chan struct{})
	go func() {
		defer close(back)
		defer cancel()
		_, _ = io.Copy(in, out) // either end may break off: that is what it is for
	}()
	_, _ = io.Copy(out, io.MultiReader(&head, in))
	cancel()
	<-back
}
