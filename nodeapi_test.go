// The node's own endpoints: what they tell is so.

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// getJSON reads what an endpoint answers, its numbers as they are written.
func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	a := do(t, "GET", url, "")
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("GET %s: %d, %s", url, a.status, a.header.Get("Content-Type"))
	}
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
}

// keysOf are the names in a JSON object.
func keysOf(object map[string]any) []string { return slices.Sorted(maps.Keys(object)) }

// All members are told the same by all, and each its own role; the leader adds how far
// it knows each to be. A learner is one; who is gone is marked.
func TestStatusAndCluster(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	put(t, c.url(0, "/k"), "x", 20*time.Second)
	lead := c.leader(0)
	waitFor(t, 20*time.Second, "a learner to be added", func() bool {
		return do(t, "POST", c.url(lead, "/-/members/9?learner"), "http://127.0.0.1:9").status == 204
	})
	put(t, c.url(lead, "/k"), "y", 20*time.Second)
	waitFor(t, 20*time.Second, "all to have met and to know what is committed, and the leader to have heard so", func() bool {
		var first, st nodeStatus
		getJSON(t, c.url(0, "/-/status"), &first)
		for i := range 3 {
			getJSON(t, c.url(i, "/-/status"), &st)
			if st.Commit != first.Commit || st.Applied != st.Commit || len(st.Members) != 4 {
				return false
			}
			for _, m := range st.Members {
				if m.ID != 9 && m.Match != nil && *m.Match < st.Commit {
					return false
				}
			}
		}
		return true
	})

	var members []member
	getJSON(t, c.url(0, "/-/members"), &members)
	want := []member{{ID: 9, URL: "http://127.0.0.1:9", Learner: true}}
	for i := range 3 {
		want = slices.Insert(want, i, member{ID: uint64(i + 1), URL: "http://127.0.0.1:" + c.peers[i]})
	}
	if diff := cmp.Diff(want, members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}

	clusters := map[string]bool{}
	for i := range 3 {
		var raw map[string]any
		getJSON(t, c.url(i, "/-/status"), &raw)
		names := []string{"applied", "cluster", "commit", "firstIndex", "id", "lastIndex", "lastTerm", "leader", "members", "role", "snapshotIndex", "term", "vote"}
		if diff := cmp.Diff(names, keysOf(raw)); diff != "" {
			t.Errorf("node %d: status (-want +got):\n%s", i+1, diff)
		}
		var st nodeStatus
		getJSON(t, c.url(i, "/-/status"), &st)
		clusters[st.Cluster.String()] = true
		role := "follower"
		if i == lead {
			role = "leader"
		}
		if st.ID != uint64(i+1) || st.Role != role || st.Leader != uint64(lead+1) || st.Term < 2 || st.Commit < 6 ||
			st.FirstIndex < 1 || st.LastIndex < st.Commit || st.LastTerm != st.Term || st.SnapshotIndex > st.Applied {
			t.Errorf("node %d: %+v", i+1, st)
		}
		for k, m := range st.Members {
			if m.member != want[k] {
				t.Errorf("node %d knows %+v, want %+v", i+1, m.member, want[k])
			}
			switch {
			case i != lead && (m.Match != nil || m.Next != nil || m.State != ""):
				t.Errorf("node %d, a follower, says of %d: %+v", i+1, m.ID, m)
			case i != lead:
			case m.Match == nil || m.Next == nil || m.State == "":
				t.Errorf("the leader does not say how far %d is: %+v", m.ID, m)
			case m.ID == 9 && (*m.Match != 0 || m.State != "StateProbe"):
				t.Errorf("the leader says of a learner that never was there: match %d, %s", *m.Match, m.State)
			case m.ID != 9 && (*m.Match != st.LastIndex || *m.Next != st.LastIndex+1 || m.State != "StateReplicate"):
				t.Errorf("the leader, whose log ends at %d, says of %d: match %d, next %d, %s", st.LastIndex, m.ID, *m.Match, *m.Next, m.State)
			}
		}
	}
	if len(clusters) != 1 || clusters["0000000000000000"] {
		t.Errorf("clusters: %v", clusters)
	}

	// Everybody's status from one node, with a learner that is not there and, after a
	// while, a follower that has gone.
	gone := (lead + 1) % 3
	c.end(gone)
	var all []clusterMember
	getJSON(t, c.url(lead, "/-/cluster"), &all)
	for k, m := range all {
		if m.ID != want[k].ID || m.URL != want[k].URL {
			t.Errorf("/-/cluster has %d at %s, want %+v", m.ID, m.URL, want[k])
		}
		if m.ID == 9 || m.ID == uint64(gone+1) {
			if m.Status != nil || !strings.HasPrefix(m.Error, "unreachable: ") {
				t.Errorf("member %d, which is not there: %s %q", m.ID, m.Status, m.Error)
			}
			continue
		}
		var st nodeStatus
		if err := json.Unmarshal(m.Status, &st); err != nil || st.ID != m.ID || m.Error != "" || st.Leader != uint64(lead+1) {
			t.Errorf("member %d: %s %v %q", m.ID, m.Status, err, m.Error)
		}
	}
	c.end((lead + 2) % 3)
	waitFor(t, 10*time.Second, "the last one to stand for election in vain", func() bool {
		var st nodeStatus
		getJSON(t, c.url(lead, "/-/status"), &st)
		return st.Role == "pre-candidate" && st.Leader == 0
	})
}

// Leadership goes where it is told to, whichever node is told; to a learner or to
// nobody it does not go, and of one that does not answer it is said in time.
func TestMoveLeader(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	put(t, c.url(0, "/k"), "x", 20*time.Second)
	move := func(ask, to, want int) {
		t.Helper()
		var got answer
		began := time.Now()
		waitFor(t, 20*time.Second, "an answer other than that the leader is changing", func() bool {
			began = time.Now()
			got = do(t, "PUT", c.url(ask, "/-/leader"), strconv.Itoa(to))
			return got.status != 503 || want == 503
		})
		if got.status != want || time.Since(began) > requestTimeout+time.Second {
			t.Errorf("node %d was told to make %d the leader: %d %s after %v", ask+1, to, got.status, got.body, time.Since(began))
		}
		if told := do(t, "GET", c.url(ask, "/-/leader"), ""); want == 204 && told.body != fmt.Sprintln(to) {
			t.Errorf("then node %d says that %s leads", ask+1, told.body)
		}
	}
	for _, ask := range []int{0, 1, 2} { // the leader, or not
		for _, to := range []int{3, 1, 2, 2} {
			move(ask, to, 204)
		}
	}
	waitFor(t, 20*time.Second, "a learner to be added", func() bool {
		return do(t, "POST", c.url(0, "/-/members/9?learner"), "http://127.0.0.1:9").status == 204
	})
	for _, ask := range []int{0, 1} {
		move(ask, 9, 409)
		move(ask, 7, 409)
	}
	move(0, 1, 204)

	// What another node has passed on is not passed on again.
	passedOn := passOnTo(t, c, 1, uint64(c.status(0).Cluster), "PUT", "/-/leader", "2")
	if passedOn.status != 503 || !strings.Contains(passedOn.body, "changing") || passedOn.header.Get("Retry-After") == "" {
		t.Errorf("a second hop: %v", passedOn)
	}
	c.end(2)
	for _, ask := range []int{0, 1} {
		// It is not there, as is soon noticed: to wait for it would only hold up the writes.
		waitFor(t, 20*time.Second, "a refusal", func() bool {
			return do(t, "PUT", c.url(ask, "/-/leader"), "3").status == 409
		})
		if a := do(t, "PUT", c.url(ask, "/k"), "y"); a.status != 204 {
			t.Errorf("then a write through node %d: %d %s", ask+1, a.status, a.body)
		}
	}
}

// A stale read says how far this node is, whatever it finds; others do not.
func TestStaleReadsSayHowFar(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	put(t, c.url(0, "/k"), "x", 20*time.Second)
	revision := do(t, "GET", c.url(0, "/k"), "").header.Get("ETag")
	for _, tt := range []struct {
		method, path string
		header       []string
		status       int
	}{
		{"GET", "/k?stale", nil, 200},
		{"HEAD", "/k?stale", nil, 200},
		{"GET", "/k?x=y&stale=", nil, 200},
		{"GET", "/k?stale", []string{"If-None-Match", revision}, 304},
		{"GET", "/absent?stale", nil, 404},
		{"GET", "/?prefix=k&stale", nil, 200},
	} {
		got := do(t, tt.method, c.url(0, tt.path), "", tt.header...)
		if applied := got.header.Get("Raft-Applied"); got.status != tt.status || `"`+applied+`"` != revision {
			t.Errorf("%s %s: %d, applied %s, want %d, %s", tt.method, tt.path, got.status, applied, tt.status, revision)
		}
		if got := do(t, tt.method, c.url(0, strings.Replace(tt.path, "stale", "", 1)), "", tt.header...); got.status != tt.status || got.header.Get("Raft-Applied") != "" {
			t.Errorf("%s %s, not stale: %d, applied %q", tt.method, tt.path, got.status, got.header.Get("Raft-Applied"))
		}
	}
}

// A browser at / gets a page whose links all lead somewhere, and which shows what this node
// says of itself and does; anybody else a list of keys.
func TestBrowsersGetTheEndpoints(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	page := do(t, "GET", c.url(0, "/"), "", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if page.status != 200 || page.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("a browser gets %d, %s", page.status, page.header.Get("Content-Type"))
	}
	links := strings.Split(page.body, `href="`)[1:]
	for _, link := range links {
		path, _, _ := strings.Cut(link, `"`)
		resp, err := http.Get(c.url(0, path))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close() // of events, too
		if resp.StatusCode != 200 {
			t.Errorf("the link to %s gives %d", path, resp.StatusCode)
		}
	}
	if len(links) < 9 {
		t.Errorf("only %d links", len(links))
	}
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	for _, field := range regexp.MustCompile(`(?:status|member)\.(\w+)`).FindAllStringSubmatch(page.body, -1) {
		if field[1] != "error" && field[1] != "status" && !strings.Contains(get(t, c.url(0, "/-/cluster")), `"`+field[1]+`":`) {
			t.Errorf("the page shows %s, which no member says of itself", field[0])
		}
	}
	source, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`of \[(.*)\]\)`).FindStringSubmatch(page.body)
	if kinds == nil || !strings.Contains(string(source), strings.ReplaceAll(kinds[1], `"`, "`")) {
		t.Errorf("the page listens for %v, which is not what the README lists", kinds)
	}
	if script := regexp.MustCompile(`(?s)<script>(.*)</script>`).FindStringSubmatch(page.body); script == nil {
		t.Error("nothing on the page is live")
	} else if node, err := exec.LookPath("node"); err == nil {
		check := exec.Command(node, "--check", "-")
		check.Stdin = strings.NewReader(script[1])
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("the script: %v\n%s", err, out)
		}
	}
	if err := do(t, "DELETE", c.url(0, "/k"), ""); err.status != 204 {
		t.Error(err)
	}
	if got := do(t, "GET", c.url(0, "/"), "", "Accept", "*/*"); got.body != `{"keys":[]}`+"\n" {
		t.Errorf("curl gets %q", got.body)
	}
}

// events reads a node's events, one after the other, as kind and data.
func events(t *testing.T, url string) func() (kind, data string, err error) {
	t.Helper()
	resp, err := http.Get(url + "/-/events")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("events come as %s", got)
	}
	lines := bufio.NewReader(resp.Body)
	for _, prefix := range []string{": ", "\n"} { // who watches sees at once that it works
		if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, prefix) {
			t.Errorf("events begin with %q (%v)", line, err)
		}
	}
	return func() (kind, data string, err error) {
		for _, part := range []struct {
			prefix string
			into   *string
		}{{"event: ", &kind}, {"data: ", &data}, {"", nil}} {
			line, err := lines.ReadString('\n')
			if err != nil {
				return "", "", err
			}
			text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), part.prefix)
			if !ok || part.into == nil && text != "" {
				return "", "", fmt.Errorf("an event has the line %q", line)
			}
			if part.into != nil {
				*part.into = text
			}
		}
		return kind, data, nil
	}
}

// Events tell of roles, elections, leaders, commits, members and snapshots, and end
// with the node.
func TestEvents(t *testing.T) {
	t.Parallel()
	c := newTestClusterWith(t, 3, nil, "http", "--snapshot-entries", "30")
	put(t, c.url(0, "/a"), "x", 20*time.Second)
	waitFor(t, 20*time.Second, "node 1 to lead", func() bool { return do(t, "PUT", c.url(0, "/-/leader"), "1").status == 204 })
	var before nodeStatus
	getJSON(t, c.url(1, "/-/status"), &before)

	// Node 2 becomes the leader, members change, and enough is written for a snapshot.
	next := events(t, c.url(1, ""))
	waitFor(t, 20*time.Second, "node 2 to lead", func() bool { return do(t, "PUT", c.url(0, "/-/leader"), "2").status == 204 })
	waitFor(t, 20*time.Second, "a learner to be added", func() bool {
		return do(t, "POST", c.url(0, "/-/members/9?learner"), "http://127.0.0.1:9").status == 204
	})
	for i := range 40 {
		put(t, c.url(1, "/a"), strconv.Itoa(i), 20*time.Second)
	}
	seen := map[string][]string{}
	var term, commit uint64 // the term in which node 2 became the leader, and the last commit that was told
	for len(seen["snapshot"]) == 0 || commit < before.Commit+40 {
		kind, data, err := next()
		if err != nil {
			t.Fatalf("after %v: %v", seen, err)
		}
		var now struct {
			Role         string
			Term, Commit uint64
		}
		if kind == "role" || kind == "commit" {
			if err := json.Unmarshal([]byte(data), &now); err != nil {
				t.Errorf("%s %s: %v", kind, data, err)
			}
		}
		switch {
		case kind == "role" && now.Role == "leader" && term == 0:
			term = now.Term
		case kind == "commit" && now.Commit <= commit:
			t.Errorf("commit %s after %d", data, commit)
		case kind == "commit":
			commit = now.Commit
		}
		seen[kind] = append(seen[kind], data)
	}
	for kind, want := range map[string][]string{
		"election": {fmt.Sprintf(`{"candidate":2,"term":%d}`, term)},
		"role":     {fmt.Sprintf(`{"node":2,"role":"candidate","term":%d}`, term), fmt.Sprintf(`{"node":2,"role":"leader","term":%d}`, term)},
		"leader":   {fmt.Sprintf(`{"leader":0,"term":%d}`, term), fmt.Sprintf(`{"leader":2,"term":%d}`, term)},
	} {
		got := slices.DeleteFunc(seen[kind], func(data string) bool { // a busy machine may have elections of its own
			return !strings.HasSuffix(data, fmt.Sprintf(`"term":%d}`, term))
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
	if len(seen["membership"]) != 1 || !strings.Contains(seen["membership"][0], `{"id":9,"url":"http://127.0.0.1:9","learner":true}`) {
		t.Errorf("membership: %v", seen["membership"])
	}
	if !strings.HasPrefix(seen["snapshot"][0], `{"bytes":`) {
		t.Errorf("snapshot: %v", seen["snapshot"])
	}

	c.end(1)
	for {
		if _, _, err := next(); err != nil {
			if err != io.EOF {
				t.Errorf("the stream ended with %v", err)
			}
			break
		}
	}
}

// Metrics are as Prometheus wants them, are those that the README names, and say what
// has happened.
func TestMetrics(t *testing.T) {
	t.Parallel()
	c := newTestClusterWith(t, 3, nil, "http", "--snapshot-entries", "30")
	put(t, c.url(0, "/a"), "x", 20*time.Second)
	waitFor(t, 20*time.Second, "node 2 to lead", func() bool { return do(t, "PUT", c.url(0, "/-/leader"), "2").status == 204 })
	for i := range 40 {
		put(t, c.url(1, "/a"), strconv.Itoa(i), 20*time.Second)
	}
	do(t, "GET", c.url(1, "/a"), "")
	do(t, "GET", c.url(1, "/absent"), "")

	// values are the metrics of a node, by name with labels.
	values := func(i int) map[string]float64 {
		body := do(t, "GET", c.url(i, "/-/metrics"), "").body
		problems, err := promlint.New(strings.NewReader(body)).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
		all := map[string]float64{}
		for line := range strings.Lines(body) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
			number, err := strconv.ParseFloat(value, 64)
			if name = strings.TrimPrefix(name, "raftexample_"); ok && err == nil {
				all[name] = number
			}
		}
		return all
	}
	waitFor(t, 10*time.Second, "a snapshot, and all to have everything", func() bool {
		now := values(1)
		return now[`snapshots_total{kind="taken"}`] > 0 && now[`peer_lag_entries{peer="1"}`]+now[`peer_lag_entries{peer="3"}`] == 0
	})
	var st nodeStatus
	getJSON(t, c.url(1, "/-/status"), &st)
	leader, follower := values(1), values(0)
	for name, want := range map[string]float64{
		"term": float64(st.Term), "leader_id": 2, "is_leader": 1,
		"commit_index": float64(st.Commit), "applied_index": float64(st.Applied), "last_index": float64(st.LastIndex),
		`peer_lag_entries{peer="1"}`: 0, `peer_lag_entries{peer="2"}`: 0, `peer_lag_entries{peer="3"}`: 0,
		`proposals_total{outcome="applied"}`: 40, `proposals_total{outcome="unknown"}`: 0,
		`http_request_seconds_count{code="404",method="GET"}`: 1,
		"proposal_commit_seconds_count":                       40,
		`snapshots_total{kind="sent"}`:                        0,
		`snapshots_total{kind="received"}`:                    0,
		`snapshots_total{kind="failed"}`:                      0,
	} {
		if got, ok := leader[name]; !ok || got != want {
			t.Errorf("the leader's %s is %v (%t), want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{
		`http_request_seconds_count{code="204",method="PUT"}`, "wal_fsync_seconds_count", "wal_fsync_seconds_sum", "apply_seconds_count", "elections_total", "leader_changes_total",
		`messages_sent_total{type="MsgApp"}`, `messages_received_total{type="MsgAppResp"}`,
		`messages_sent_total{type="MsgHeartbeat"}`, `messages_received_total{type="MsgHeartbeatResp"}`,
	} {
		if leader[name] <= 0 {
			t.Errorf("the leader's %s is %v", name, leader[name])
		}
	}
	if lag, there := follower[`peer_lag_entries{peer="2"}`]; there || follower["is_leader"] != 0 || follower["leader_id"] != 2 {
		t.Errorf("a follower says: lag %v %t, leads %v, leader %v", lag, there, follower["is_leader"], follower["leader_id"])
	}
	if got := follower[`messages_received_total{type="MsgApp"}`]; got <= 0 {
		t.Errorf("a follower received %v MsgApp", got)
	}

	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range leader {
		name, _, _ = strings.Cut(name, "{")
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, part)
		}
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("the README does not name %s", name)
		}
	}

	// A peer that is gone lags.
	c.end(2)
	for i := range 20 {
		put(t, c.url(1, "/a"), strconv.Itoa(i), 20*time.Second)
	}
	if lag := values(1)[`peer_lag_entries{peer="3"}`]; lag < 15 {
		t.Errorf("a peer that is gone lags %v entries", lag)
	}
}

// Who listens too slowly is cut off, and holds up neither the node nor the others.
func TestSlowListenerIsCutOff(t *testing.T) {
	hub := newEventHub()
	slow, leaveSlow := hub.listen()
	quick, leaveQuick := hub.listen()
	defer leaveQuick()
	for i := range 2 * eventBacklog {
		hub.publish("commit", i)
		if got := string(<-quick); got != fmt.Sprintf("event: commit\ndata: %d\n\n", i) {
			t.Fatalf("event %d is %q", i, got)
		}
	}
	for i := 0; ; i++ {
		select {
		case _, more := <-slow:
			if more != (i < eventBacklog) {
				t.Fatalf("the slow one is there after %d events: %t", i, more)
			}
			if more {
				continue
			}
		default:
			t.Fatalf("the slow one waits for more after %d events", i)
		}
		break
	}
	leaveSlow()
}

// impatientWriter is a client's connection, which notes until when it must take an event.
type impatientWriter struct {
	http.ResponseWriter
	until time.Time
	wrote chan time.Duration // how much time there was
}

func (w *impatientWriter) SetWriteDeadline(until time.Time) error {
	w.until = until
	return nil
}

func (w *impatientWriter) Write(b []byte) (int, error) {
	w.wrote <- time.Until(w.until)
	return len(b), nil
}

func (w *impatientWriter) Flush() {}

// A stream of events has no end, but each event has its time to be taken.
func TestEachEventHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{node: &raftNode{events: newEventHub()}, ending: make(chan struct{})}
		w := &impatientWriter{ResponseWriter: httptest.NewRecorder(), wrote: make(chan time.Duration, 10)}
		go a.events(w, httptest.NewRequest("GET", "/-/events", nil))
		for i := range 8 {
			if left := <-w.wrote; left != sendTimeout { // where nothing happens, the next word comes after stillHere
				t.Errorf("the client has %v, want %v", left, sendTimeout)
			}
			if i%2 == 0 {
				a.node.events.publish("commit", 1)
			}
		}
		close(a.ending)
	})
}

// Ready is who has applied what a read would have to see: a node that knows of nothing to
// catch up with is not ready before the leader has told it so.
func TestReadyIsWhatAReadWouldFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := &raftNode{store: newKVStore(nil, 1, 1, nil)}
		n.lead.Store(2)
		cluster := &countingReader{questions: make(chan []byte, 100)}
		a := &api{node: n, reads: newReads(cluster, n.store, 1, 1)}
		go a.reads.run(ctx)
		ready := func() (got *httptest.ResponseRecorder) {
			got = httptest.NewRecorder()
			a.ready(got, httptest.NewRequest("GET", "/-/ready", nil))
			return got
		}
		if got := ready(); got.Code != 503 || !strings.Contains(got.Body.String(), "does not say how far") {
			t.Errorf("without a word from the leader: %d %s", got.Code, got.Body)
		}
		go func() { // the leader says: up to entry 1
			for {
				select {
				case question := <-cluster.questions:
					a.reads.deliver([]raft.ReadState{{Index: 1, RequestCtx: question}})
				case <-ctx.Done():
					return
				}
			}
		}()
		if got := ready(); got.Code != 503 {
			t.Errorf("behind what the leader says: %d %s", got.Code, got.Body)
		}
		if err := n.store.apply([]raftpb.Entry{{Term: 1, Index: 1}}); err != nil {
			t.Fatal(err)
		}
		if got := ready(); got.Code != 200 {
			t.Errorf("with all of it: %d %s", got.Code, got.Body)
		}
	})
}
