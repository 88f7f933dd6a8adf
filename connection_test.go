package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without a network: each connection is a net.Pipe, whose time is
// that of a synctest bubble.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, open := <-p; open {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects a client.
func (p pipes) dial() net.Conn {
	client, server := net.Pipe()
	p <- server
	return client
}

// oneByteReads counts the reads of one byte on a listener's connections.
type oneByteReads struct {
	net.Listener
	count *atomic.Int64
}

type oneByteReader struct {
	net.Conn
	count *atomic.Int64
}

func (l oneByteReads) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return oneByteReader{conn, l.count}, err
}

func (r oneByteReader) Read(b []byte) (int, error) {
	if len(b) == 1 {
		r.count.Add(1)
	}
	return r.Conn.Read(b)
}

// ask sends a request as it is and returns the status and body of the answer.
func ask(t *testing.T, conn net.Conn, answers *bufio.Reader, request string) (int, string) {
	t.Helper()
	go io.WriteString(conn, request)
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return answer.StatusCode, string(body)
}

// While a handler runs, nobody reads from its connection; what comes meanwhile is read
// afterwards, and headers may come in any pieces.
func TestNobodyListensForTheNextByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener, count := make(pipes), new(atomic.Int64)
		echo := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			fmt.Fprintf(w, "%s %s %d", req.Method, body, len(req.Header.Get("X")))
		})
		s := serve(newClientListener(oneByteReads{listener, count}, 100, slog.New(slog.DiscardHandler)), echo, sendTimeout, nil, slog.New(slog.DiscardHandler))
		conn := listener.dial()
		answers := bufio.NewReader(conn)
		for _, c := range []struct{ request, want string }{
			{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET  0"},
			{"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "PUT abc 0"},
			{"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "PUT ab 0"},
		} {
			if code, got := ask(t, conn, answers, c.request); code != 200 || got != c.want {
				t.Errorf("%q: %d %q", c.request, code, got)
			}
		}
		if n := count.Load(); n != 0 {
			t.Errorf("%d reads of one byte", n)
		}

		// Two requests at once, then one whose headers come a byte at a time: they fill the
		// server's buffer, which has room for one byte before it grows.
		request := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
		if _, got := ask(t, conn, answers, request+request); got != "GET  0" {
			t.Errorf("the first of two: %q", got)
		}
		if _, got := ask(t, conn, answers, ""); got != "GET  0" {
			t.Errorf("the second of two: %q", got)
		}
		request = "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n"
		before := count.Load()
		for _, c := range []byte(request) {
			if _, err := conn.Write([]byte{c}); err != nil {
				t.Fatal(err)
			}
		}
		if code, got := ask(t, conn, answers, ""); code != 200 || got != "GET  5000" {
			t.Errorf("headers in small pieces: %d %q", code, got)
		}
		if count.Load() == before {
			t.Error("the buffer never had room for one byte only: the test is none")
		}
		conn.Close()
		if err := s.shutdown(time.Second); err != nil {
			t.Error(err)
		}
	})
}

// A client has its time for its headers, and then for its next request.
func TestSlowClientIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := make(pipes)
		handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		s := serve(newClientListener(listener, 100, slog.New(slog.DiscardHandler)), handler, sendTimeout, nil, slog.New(slog.DiscardHandler))
		for _, c := range []struct {
			sends string
			given time.Duration
		}{
			{"", s.ReadHeaderTimeout},
			{"GET / HTTP/1.1\r\n", s.ReadHeaderTimeout},
			{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", s.IdleTimeout},
			{"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n", s.ReadHeaderTimeout},
		} {
			conn, start := listener.dial(), time.Now()
			go io.WriteString(conn, c.sends)
			if _, err := io.ReadAll(conn); err != nil {
				t.Errorf("%q: %v", c.sends, err)
			}
			if took := time.Since(start); took != c.given {
				t.Errorf("%q: given up after %v, want %v", c.sends, took, c.given)
			}
		}
		if err := s.shutdown(time.Second); err != nil {
			t.Error(err)
		}
	})
}

// A stream whose client has left ends with its next word, or on TCP the one after that.
func TestClientLeavesAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{node: &raftNode{events: newEventHub()}, ending: make(chan struct{})}
		listener := make(pipes)
		s := serve(newClientListener(listener, 100, slog.New(slog.DiscardHandler)), http.HandlerFunc(a.events), sendTimeout, nil, slog.New(slog.DiscardHandler))
		conn := listener.dial()
		go io.WriteString(conn, "GET /-/events HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		listeners := func() int {
			a.node.events.mu.Lock()
			defer a.node.events.mu.Unlock()
			return len(a.node.events.listeners)
		}
		time.Sleep(stillHere - 1)
		synctest.Wait()
		if n := listeners(); n != 1 {
			t.Errorf("%d listeners before the next word", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := listeners(); n != 0 {
			t.Errorf("%d listeners after the next word", n)
		}
		if err := s.shutdown(time.Second); err != nil {
			t.Error(err)
		}
	})
}

// Whatever is asked of deadlines, reads and writes end when they do on a plain
// connection.
func TestMovingDeadlines(t *testing.T) {
	const scripts, steps = 300, 8
	// run changes deadlines now and then and says when a read and a write, begun as often
	// as they end, came to their ends.
	run := func(seed uint64, wrap func(net.Conn) net.Conn) (ends []string) {
		synctest.Test(t, func(t *testing.T) {
			r, start := rand.New(rand.NewPCG(seed, 0)), time.Now()
			here, there := net.Pipe()
			conn := wrap(here)
			var reads, writes []string
			note := func(to *[]string, do func([]byte) (int, error)) {
				for {
					_, err := do(make([]byte, 2))
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						return // closed
					}
					*to = append(*to, fmt.Sprint(time.Since(start)))
					time.Sleep(10*time.Second + time.Microsecond) // never when a deadline changes
				}
			}
			go note(&reads, conn.Read)
			go note(&writes, conn.Write)
			for range steps {
				change := []func(time.Time) error{conn.SetReadDeadline, conn.SetWriteDeadline, conn.SetDeadline}[r.IntN(3)]
				until := time.Now().Add(time.Duration(r.IntN(60)-10)*time.Second + time.Millisecond)
				if r.IntN(4) == 0 {
					until = time.Time{}
				}
				if err := change(until); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Duration(1+r.IntN(30)) * time.Second)
			}
			synctest.Wait()
			conn.Close()
			there.Close()
			time.Sleep(time.Minute)
			ends = append(append(reads, "writes:"), writes...)
		})
		return ends
	}
	timeouts := 0
	for seed := range uint64(scripts) {
		plain := run(seed, func(c net.Conn) net.Conn { return c })
		moving := run(seed, func(c net.Conn) net.Conn { return newClientConn(c, func() {}) })
		if fmt.Sprint(plain) != fmt.Sprint(moving) {
			t.Fatalf("seed %d: deadlines pass at\n%v, want\n%v", seed, moving, plain)
		}
		timeouts += len(plain) - 1
	}
	if timeouts < scripts {
		t.Errorf("only %d deadlines passed", timeouts)
	}
}

// What has been written when an earlier deadline passes is not written again.
func TestWriteGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		conn := newClientConn(here, func() {})
		for _, until := range []time.Duration{time.Second, time.Hour} {
			if err := conn.SetWriteDeadline(time.Now().Add(until)); err != nil {
				t.Fatal(err)
			}
		}
		go func() {
			defer conn.Close()
			if n, err := conn.Write([]byte("abcd")); n != 4 || err != nil {
				t.Errorf("wrote %d of 4 bytes: %v", n, err)
			}
		}()
		got := make([]byte, 2)
		if _, err := io.ReadFull(there, got); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		rest, err := io.ReadAll(there)
		if err != nil || string(got)+string(rest) != "abcd" {
			t.Errorf("came as %q and %q: %v", got, rest, err)
		}
	})
}

// There is room for some clients: who comes then is accepted when another has gone. A
// server that stops does not wait for that.
func TestRoomForClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room, err := maxClients()
		if err != nil || room < 10 {
			t.Errorf("room for %d clients, %v", room, err)
		}
		listener := make(pipes)
		var log bytes.Buffer
		l := newClientListener(listener, 2, slog.New(slog.NewTextHandler(&log, nil)))
		accepted := make(chan net.Conn)
		ended := make(chan error)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					ended <- err
					return
				}
				accepted <- conn
			}
		}()
		go func() {
			for range 3 {
				listener.dial()
			}
		}()
		first := <-accepted
		<-accepted
		synctest.Wait()
		select {
		case <-accepted:
			t.Error("a third was accepted")
		default:
		}
		if err := errors.Join(first.Close(), first.Close()); err != nil { // twice, and counts once
			t.Error(err)
		}
		<-accepted
		synctest.Wait()
		if n := strings.Count(log.String(), "no room for more clients"); n != 1 {
			t.Errorf("said %d times: %s", n, log.String())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept ends with %v", err)
		}
	})
}
