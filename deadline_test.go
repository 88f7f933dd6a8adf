// Deadlines: every request ends in time, whatever the cluster does meanwhile, and with
// an answer that keeps its promise.
//
// Start at TestEveryRequestEnds.

package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// timedRequest is a request, the answers it may get, and how long it may take.
type timedRequest struct {
	method, path, body string
	limit              time.Duration
	answers            []int
}

// timedRequests are one of each kind. The last ones ask nobody else, or do not wait.
func timedRequests() []timedRequest {
	const needsCluster, atOnce = requestTimeout + 500*time.Millisecond, time.Second
	return []timedRequest{
		{"PUT", "/k", "x", needsCluster, []int{204, 503, 504}},
		{"DELETE", "/absent", "", needsCluster, []int{404, 503, 504}},
		{"GET", "/k", "", needsCluster, []int{200, 503}},
		{"HEAD", "/k", "", needsCluster, []int{200, 503}},
		{"GET", "/?prefix=k", "", needsCluster, []int{200, 503}},
		{"PUT", "/-/leader", "2", needsCluster, []int{204, 503, 504}},
		{"PUT", "/-/leader", "3", needsCluster, []int{204, 503, 504}},
		{"POST", "/-/members/9?learner", "http://127.0.0.1:9", needsCluster, []int{204, 409, 503, 504}},
		{"DELETE", "/-/members/9", "", needsCluster, []int{204, 404, 409, 503, 504}},
		{"GET", "/-/cluster", "", 2 * time.Second, []int{200}},
		{"GET", "/k?stale", "", atOnce, []int{200}},
		{"GET", "/?prefix=k&stale", "", atOnce, []int{200}},
		{"GET", "/-/status", "", atOnce, []int{200}},
		{"GET", "/-/members", "", atOnce, []int{200}},
		{"GET", "/-/leader", "", atOnce, []int{200, 503}},
		{"GET", "/-/healthy", "", atOnce, []int{200}},
		{"GET", "/-/ready", "", atOnce, []int{200, 503}},
		{"GET", "/-/metrics", "", atOnce, []int{200}},
	}
}

// askAll sends one of each request to a node, all at once, and waits for the answers.
func askAll(t *testing.T, when, url string) {
	t.Helper()
	var wg sync.WaitGroup
	for _, r := range timedRequests() {
		wg.Go(func() {
			client := &http.Client{Timeout: r.limit + 5*time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			req, err := http.NewRequest(r.method, url+r.path, strings.NewReader(r.body))
			if err != nil {
				t.Error(err)
				return
			}
			began := time.Now()
			resp, err := client.Do(req)
			if err != nil {
				t.Errorf("%s: %s %s got no answer: %v", when, r.method, r.path, err)
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if took := time.Since(began); err != nil || took > r.limit {
				t.Errorf("%s: %s %s: %d after %v (%v)", when, r.method, r.path, resp.StatusCode, took, err)
			}
			if !slices.Contains(r.answers, resp.StatusCode) {
				t.Errorf("%s: %s %s: %d %.200s, want one of %v", when, r.method, r.path, resp.StatusCode, body, r.answers)
			}
		})
	}
	wg.Wait()
}

// Every request ends within its deadline: while the leader stands still, when the
// quorum has just been lost, when it has been gone for a while, and when the node is
// told to stop in the middle of it all. A node that stops does so within a second.
func TestEveryRequestEnds(t *testing.T) {
	t.Parallel()
	c := newProcessCluster(t)
	put(t, c.url(0)+"/k", "x", 20*time.Second)
	ready := func() {
		for i := range 3 {
			waitFor(t, 20*time.Second, "all to be ready", func() bool { return tryGetStatus(c.url(i)+"/-/ready") == 200 })
		}
	}
	ready()
	paused := c.leader(0)
	c.procs[paused].signal(syscall.SIGSTOP)
	askAll(t, "the leader stands still", c.url((paused+1)%3))
	c.procs[paused].signal(syscall.SIGCONT)
	ready()

	lead := c.leader(0)
	for i := range 3 {
		if i != lead {
			c.procs[i].signal(syscall.SIGSTOP)
		}
	}
	askAll(t, "the leader has just lost its quorum", c.url(lead))
	askAll(t, "the quorum is gone", c.url(lead))
	for i := range 3 {
		c.procs[i].signal(syscall.SIGCONT)
	}
	ready()

	lead = c.leader(0)
	for i := range 3 {
		if i != lead {
			c.procs[i].signal(syscall.SIGSTOP)
		}
	}
	var wg sync.WaitGroup
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		for i := range 20 {
			wg.Go(func() {
				status, body := c.ask(method, lead, fmt.Sprintf("/stop%d", i), "x")
				if status != 503 && status != 504 || method == "GET" && status == 504 {
					t.Errorf("%s while the node stops: %d %s", method, status, body)
				}
			})
		}
	}
	time.Sleep(100 * time.Millisecond) // they wait for a quorum now
	began := time.Now()
	c.procs[lead].signal(syscall.SIGTERM)
	if err := c.procs[lead].ended(5 * time.Second); err != nil {
		t.Errorf("the node ended with %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the node took %v to end", took)
	}
	wg.Wait()
}

// Who stops in the middle of a value is told so when its time is over.
func TestUnfinishedValue(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &api{metrics: newMetrics(func() nodeStatus { return nodeStatus{} }), deadlines: deadlines{within: t.Context()}}
	clients := serve(listener, a.handler(), 200*time.Millisecond, nil, slog.New(slog.DiscardHandler))
	if limit := clients.ReadHeaderTimeout; limit == 0 || limit > 5*time.Second {
		t.Errorf("a client has %v for its headers", limit)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"Content-Length: 1000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"} {
		code, text := status(t, raw(t, port, "PUT /k HTTP/1.1\r\nHost: x\r\n"+body))
		if code != 408 || strings.Count(text, "\n") != 1 {
			t.Errorf("%q: %d %s", body, code, text)
		}
	}
	if err := clients.shutdown(time.Second); err != nil {
		t.Error(err)
	}
}

// A node that shuts down refuses what still comes on open connections, for the others to
// serve, and is not ready; it ends what it has begun.
func TestShuttingDownIsSaid(t *testing.T) {
	t.Parallel()
	n := loneNode(t)
	a := &api{store: n.store, reads: n.reads, node: n, metrics: n.metrics, deadlines: deadlines{within: t.Context()}, ending: make(chan struct{})}
	handler := a.handler()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peers, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	clients := serve(listener, handler, sendTimeout, nil, n.logger)
	others := serve(peers, a.peerHandler(), sendTimeout, nil, n.logger)
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w
	}
	if got := ask("PUT", "/k", "x"); got.Code != 204 {
		t.Fatalf("before: %d %s", got.Code, got.Body)
	}
	if err := shutdown(a, func() {}, clients, others, true); err != nil {
		t.Error(err)
	}
	for _, r := range [][2]string{
		{"PUT", "/k"},
		{"GET", "/k"},
		{"GET", "/k?stale"},
		{"DELETE", "/k"},
		{"GET", "/?prefix="},
		{"POST", "/-/members/9?learner"},
		{"PUT", "/-/leader"},
		{"GET", "/-/ready"},
	} {
		got := ask(r[0], r[1], "1")
		if got.Code != 503 || got.Body.String() != "this node is shutting down\n" || got.Header().Get("Retry-After") == "" {
			t.Errorf("%s %s: %d %s", r[0], r[1], got.Code, got.Body)
		}
	}
}

// Who sends a value slowly and steadily has it written, though it takes longer than
// the cluster would have. Who stops in the middle hears that it was too slow: see
// TestSlowSenders.
func TestSlowValue(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	pipe, w := io.Pipe()
	go func() {
		for range 7 {
			if _, err := io.WriteString(w, "x"); err != nil {
				return
			}
			time.Sleep(requestTimeout / 6)
		}
		w.Close()
	}()
	req, err := http.NewRequest("PUT", c.url(0, "/slow"), pipe)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 204 {
		t.Errorf("a slow sender got %d", resp.StatusCode)
	}
	if got := get(t, c.url(0, "/slow")); got != "xxxxxxx" {
		t.Errorf("what a slow sender sent is %q", got)
	}
}
