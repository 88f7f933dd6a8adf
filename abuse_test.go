// Bad input from the network: slow, huge, idle and senseless clients, on both ports.
// Each gets one line and the right status, or is hung up on; the cluster does not
// notice.

package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw connects to a port of a node and says something.
func raw(t *testing.T, port, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// status reads the status of the next answer, or 0 if the node hung up.
func status(t *testing.T, conn net.Conn) (int, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, ""
	}
	return resp.StatusCode, string(body)
}

// undisturbed runs f, and checks that the leader and its term are the same after it,
// and that the cluster answers.
func undisturbed(t *testing.T, c *testCluster, f func()) {
	t.Helper()
	c.leader(0)
	statusOf := func() string {
		a := do(t, "GET", c.url(0, "/-/status"), "")
		term, _, _ := strings.Cut(a.body[strings.Index(a.body, `"term"`):], `"vote"`)
		return term // and leader, which stands between
	}
	before := statusOf()
	f()
	if after := statusOf(); after != before {
		t.Errorf("the cluster was disturbed: %s, then %s", before, after)
	}
	if a := do(t, "PUT", c.url(1, "/after"), "x"); a.status != 204 {
		t.Errorf("afterwards: %v", a)
	}
}

// What is no HTTP, on either port, is answered with 400 or not at all.
func TestGarbageOnThePorts(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	undisturbed(t, c, func() {
		noise := make([]byte, 4096)
		if _, err := io.ReadFull(rand.Reader, noise); err != nil {
			t.Fatal(err)
		}
		for _, port := range []string{c.ports[0], c.peers[0]} {
			for _, text := range []string{
				string(noise), "\r\n\r\n\r\n", "GET\r\n\r\n", "PUT /k HTTP/1.1\r\n\r\n", "PUT /k HTTP/9.9\r\nHost: x\r\n\r\n",
				"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
				"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
				"PUT /k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
				"PUT /%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
				"GET /k HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 64<<10) + "\r\n\r\n",
				"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // the beginning of TLS
			} {
				conn := raw(t, port, text)
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					continue // it has hung up already
				}
				if code, _ := status(t, conn); code != 0 && (code < 400 || code > 505) {
					t.Errorf("%.40q was answered with %d", text, code)
				}
			}
		}
		for _, text := range []string{
			"POST /raft HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
			"POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
			"POST /raft HTTP/1.1\r\nHost: x\r\nRaft-Cluster: 1\r\nRaft-From: 2\r\nRaft-To: 1\r\nRaft-Incarnation: 1\r\nContent-Length: 3\r\n\r\nabc",
		} {
			if code, body := status(t, raw(t, c.peers[0], text)); code != 400 && code != 403 || strings.Count(body, "\n") != 1 {
				t.Errorf("%.60q was answered with %d %q", text, code, body)
			}
		}
	})
}

// A sender who takes its time is hung up on: headers have 5 s, a request 30 s, and
// then it is told why. The value of one that stops in the middle is never written.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	if os.Getenv("RAFT_LONG") == "" {
		t.Skip("takes 30 s: set RAFT_LONG=1")
	}
	c := newTestCluster(t, 3)
	undisturbed(t, c, func() {
		var wg sync.WaitGroup
		hangsUp := func(text string, answer int, atLeast, atMost time.Duration) {
			conn := raw(t, c.ports[0], text)
			wg.Go(func() {
				if code, body := status(t, conn); code != answer || body == "" {
					t.Errorf("%.30q: %d %q, want %d", text, code, body, answer)
				}
			})
			wg.Go(func() {
				began := time.Now()
				for { // one byte a second
					if _, err := io.WriteString(conn, "x"); err != nil {
						break
					}
					if time.Sleep(time.Second); time.Since(began) > atMost {
						t.Errorf("%.30q: still there after %v", text, atMost)
						return
					}
				}
				if took := time.Since(began); took < atLeast {
					t.Errorf("%.30q: hung up after %v", text, took)
				}
			})
		}
		for range 20 {
			hangsUp("PUT /slow HTTP/1.1\r\nHost: x\r\nX-", 400, 3*time.Second, 10*time.Second)
			hangsUp("PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", 408, 3*time.Second, 35*time.Second)
		}
		wg.Wait()
		if a := do(t, "GET", c.url(0, "/slow"), ""); a.status != 404 {
			t.Errorf("a value that never came whole: %v", a)
		}
	})
}

// A body that is too large is refused before it is read, whether its length is
// announced or not, and costs no memory.
func TestHugeBodies(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	undisturbed(t, c, func() {
		began := time.Now()
		code, body := status(t, raw(t, c.ports[0], "PUT /huge HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n"))
		if code != 413 || strings.Count(body, "\n") != 1 || time.Since(began) > 5*time.Second {
			t.Errorf("announced: %d %q after %v", code, body, time.Since(began))
		}
		conn := raw(t, c.ports[0], "PUT /huge HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
		go func() {
			chunk := fmt.Sprintf("%x\r\n%s\r\n", 1<<16, strings.Repeat("x", 1<<16))
			for range 1 << 14 { // 1 GiB
				if _, err := io.WriteString(conn, chunk); err != nil {
					return // it has hung up, as it should
				}
			}
			t.Error("it has read a whole GiB")
		}()
		if code, _ := status(t, conn); code != 413 {
			t.Errorf("not announced: %d", code)
		}
		if a := do(t, "GET", c.url(0, "/huge"), ""); a.status != 404 {
			t.Errorf("a value that was refused: %v", a)
		}
		if a := do(t, "PUT", c.url(0, "/largest"), strings.Repeat("x", maxValueBytes)); a.status != 204 {
			t.Errorf("the largest value: %v", a)
		}
	})
}

// So much of values may be coming in at a time; then the next client is told to come
// again, and what was refused does not count any more.
func TestIncomingValuesAreBounded(t *testing.T) {
	for _, announced := range []int64{1000, -1} {
		a := &api{}
		read := func() (room int64, err error) {
			req := httptest.NewRequest("PUT", "/k", strings.NewReader(strings.Repeat("x", 1000)))
			req.ContentLength = announced
			value, err := a.readValue(httptest.NewRecorder(), req, nil)
			if err == nil && len(value) != 1000 {
				t.Errorf("read %d bytes", len(value))
			}
			return int64(cap(value)), err
		}
		room, err := read()
		if err != nil {
			t.Errorf("%d announced: %v", announced, err)
		}
		a.incoming.Add(maxIncoming - room)
		if _, err := read(); err != nil {
			t.Errorf("%d announced, just room for it: %v", announced, err)
		}
		a.incoming.Add(1)
		if _, err := read(); err != errBusy {
			t.Errorf("%d announced, one byte too many: %v", announced, err)
		}
		if now := a.incoming.Load(); now != maxIncoming-room+1 {
			t.Errorf("%d announced: then %d bytes count", announced, now)
		}
	}

	// A buffer that has grown large does not come to be held by a small value.
	large := make([]byte, 0, maxKept+1)
	giveBack(&large)
	if next := values.Get().(*[]byte); next == &large {
		t.Error("a large buffer is used again")
	}
}

// Thousands of idle connections cost little each and disturb nobody, whatever they have
// announced.
func TestIdleConnections(t *testing.T) { // not in parallel: it measures
	const connections = 2000
	c := newTestCluster(t, 3)
	undisturbed(t, c, func() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range connections {
			text := "GET /k?stale HTTP/1.1\r\nHost: x\r\n\r\n"
			if i%2 == 0 { // a large value, of which nothing comes
				text = "PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n"
			}
			raw(t, c.ports[0], text)
		}
		if a := do(t, "PUT", c.url(0, "/meanwhile"), "x"); a.status != 204 {
			t.Errorf("meanwhile: %v", a)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		each := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / connections
		t.Logf("%d bytes for each idle connection, of both ends", each)
		if each > 64<<10 {
			t.Errorf("an idle connection takes %d bytes", each)
		}
	})
}
