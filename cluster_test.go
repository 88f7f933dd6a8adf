// Three nodes in one process, over real HTTP; and the API's promises on them.

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/raftexample/raft/vfs"
)

// testCluster is a number of nodes in this process.
type testCluster struct {
	t     testing.TB
	dir   string
	peers []string // ports, by node
	ports []string
	list  string          // for --cluster
	on    map[int]machine // for nodes that do not run on the real one
	flags []string        // of all nodes
	stop  []func() error
	ended map[int]chan error // gets what a node ended with
	logs  lockedBuffer
}

func newTestCluster(t testing.TB, n int) *testCluster {
	t.Helper()
	return newTestClusterOn(t, n, nil)
}

func newTestClusterOn(t testing.TB, n int, on map[int]machine) *testCluster {
	t.Helper()
	return newTestClusterWith(t, n, on, "http")
}

// newTestClusterWith starts nodes whose peer URLs have a scheme, with more flags.
func newTestClusterWith(t testing.TB, n int, on map[int]machine, scheme string, flags ...string) *testCluster {
	t.Helper()
	ports := freePorts(t, 2*n)
	c := &testCluster{t: t, dir: t.TempDir(), peers: ports[:n:n], ports: ports[n:], on: on, flags: flags, stop: make([]func() error, n)}
	var urls []string
	for _, p := range c.peers {
		urls = append(urls, scheme+"://127.0.0.1:"+p)
	}
	c.list = strings.Join(urls, ",")
	for i := range n {
		c.start(i)
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for i := range c.stop {
			wg.Go(func() { c.end(i) })
		}
		wg.Wait()
		if t.Failed() {
			t.Logf("the nodes said:\n%s", c.logs.String())
		}
	})
	return c
}

func (c *testCluster) args(i int, more ...string) []string {
	return slices.Concat([]string{
		"--id", strconv.Itoa(i + 1), "--cluster", c.list, "--port", c.ports[i],
		"--data-dir", filepath.Join(c.dir, fmt.Sprintf("n%d", i+1)),
	}, c.flags, more)
}

// start starts node i+1.
func (c *testCluster) start(i int, more ...string) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	if c.ended == nil {
		c.ended = map[int]chan error{}
	}
	c.ended[i] = ended
	on := c.on[i]
	if on.fs == nil {
		on.fs = vfs.OS
	}
	args := c.args(i, more...)
	go func() { ended <- run(ctx, args, on, io.Discard, &c.logs) }()
	c.stop[i] = func() error {
		cancel()
		return <-ended
	}
}

// end stops node i+1.
func (c *testCluster) end(i int) {
	if c.stop[i] == nil {
		return
	}
	start := time.Now()
	if err := c.stop[i](); err != nil {
		c.t.Errorf("node %d ended with %v", i+1, err)
	}
	if took := time.Since(start); took > 2*time.Second {
		c.t.Errorf("node %d took %v to end", i+1, took)
	}
	c.stop[i] = nil
}

func (c *testCluster) url(i int, path string) string {
	return "http://127.0.0.1:" + c.ports[i] + path
}

// leader waits for a leader and returns its position.
func (c *testCluster) leader(ask int) int {
	c.t.Helper()
	lead := 0
	waitFor(c.t, 20*time.Second, "a leader", func() bool {
		resp, err := http.Get(c.url(ask, "/-/leader"))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		lead, _ = strconv.Atoi(strings.TrimSpace(string(body)))
		return err == nil && resp.StatusCode == 200
	})
	return lead - 1
}

// fataler is a test, of package testing or of rapid.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// answer is what a request got.
type answer struct {
	status int
	body   string
	header http.Header
}

func do(t fataler, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // no redirects, no cleaning
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(b), resp.Header}
}

// A write is on every node; the cluster goes on without its leader; who was away
// catches up, from a snapshot if need be.
func TestClusterGoesOnWithoutItsLeader(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	lead := c.leader(0)
	put(t, c.url((lead+1)%3, "/a"), "1", 10*time.Second)
	for i := range 3 {
		if got := get(t, c.url(i, "/a")); got != "1" {
			t.Errorf("node %d has %q", i+1, got)
		}
	}

	c.end(lead)
	other := (lead + 1) % 3
	for i := range 60 { // more than --snapshot-entries below
		put(t, c.url(other, fmt.Sprintf("/k%d", i)), strconv.Itoa(i), 10*time.Second)
	}
	c.start(lead, "--snapshot-entries", "20")
	if got := get(t, c.url(lead, "/k59")); got != "59" {
		t.Errorf("the node that was away has %q", got)
	}
	put(t, c.url(lead, "/a"), "2", 10*time.Second)
	if got := get(t, c.url(other, "/a")); got != "2" {
		t.Errorf("after its return: %q", got)
	}
}

// A leader that shuts down hands over first: writes go on at once, not after an
// election timeout.
func TestShutdownHandsOver(t *testing.T) {
	c := newTestCluster(t, 3)
	for range 3 {
		lead := c.leader(0)
		put(t, c.url(lead, "/a"), "x", 10*time.Second)
		start := time.Now()
		c.end(lead)
		put(t, c.url((lead+1)%3, "/a"), "y", 10*time.Second)
		if took := time.Since(start); took > electionTimeout {
			t.Errorf("no write for %v after node %d was told to end", took, lead+1)
		}
		c.start(lead)
		put(t, c.url(lead, "/a"), "z", 10*time.Second)
	}
}

// Snapshots are taken, the log before them goes, and a restart begins from one;
// a node that needs what is gone gets a snapshot.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	for i := range 3 {
		c.end(i)
	}
	for i := range 3 {
		c.start(i, "--snapshot-entries", "50")
	}
	lead := c.leader(0)
	away := (lead + 1) % 3
	c.end(away)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 400 {
				put(t, c.url(lead, fmt.Sprintf("/k%d", (w*400+i)%100)), fmt.Sprintf("%d %d", w, i), 10*time.Second)
			}
		})
	}
	wg.Wait()
	var st nodeStatus
	waitFor(t, 10*time.Second, "the log to be cut behind a snapshot", func() bool {
		if err := json.Unmarshal([]byte(do(t, "GET", c.url(lead, "/-/status"), "").body), &st); err != nil {
			t.Fatal(err)
		}
		return st.SnapshotIndex > 6000 && st.FirstIndex > 100
	})
	want := do(t, "GET", c.url(lead, "/?prefix=k&limit=1000"), "").body
	c.start(away, "--snapshot-entries", "50")
	waitFor(t, 20*time.Second, "the node that was away to be ready", func() bool {
		return tryGetStatus(c.url(away, "/-/ready")) == 200
	})
	if diff := cmp.Diff(want, do(t, "GET", c.url(away, "/?prefix=k&limit=1000"), "").body); diff != "" {
		t.Error(diff)
	}
	c.end(lead)
	c.start(lead, "--snapshot-entries", "50")
	waitFor(t, 20*time.Second, "the restarted node to be ready", func() bool {
		return tryGetStatus(c.url(lead, "/-/ready")) == 200
	})
	if diff := cmp.Diff(want, do(t, "GET", c.url(lead, "/?prefix=k&limit=1000"), "").body); diff != "" {
		t.Error(diff)
	}
}

func tryGetStatus(url string) int {
	resp, err := http.Get(url)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// Every node takes writes and answers reads with the newest value, from many
// clients at once.
func TestReadsSeeWrites(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	c.leader(0)
	var wg sync.WaitGroup
	for w := range 12 {
		wg.Go(func() {
			for i := range 30 {
				key, value := fmt.Sprintf("/w%d", w), strconv.Itoa(i)
				put(t, c.url((w+i)%3, key), value, 10*time.Second)
				if got := get(t, c.url((w+i+1)%3, key)); got != value {
					t.Errorf("%s is %q after %q was written", key, got, value)
				}
			}
		})
	}
	wg.Wait()
}

// One node, for the API.
func oneNode(t testing.TB) *testCluster {
	c := newTestCluster(t, 1)
	c.leader(0)
	return c
}

// A key is the path as it is sent.
func TestKeys(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	for _, tt := range []struct {
		path string
		key  string // as it is listed; "" if it is refused
		code int
	}{
		{"/a/b", "a/b", 204},
		{"/a%2Fc", "a/c", 204},
		{"//x", "/x", 204},
		{"/a/../d", "a/../d", 204},
		{"/%25", "%", 204},
		{"/with%20blank", "with blank", 204},
		{"/with+plus", "with+plus", 204},
		{"/%C3%A9", "é", 204},
		{"/q?query", "q", 204},
		{"/trailing/", "trailing/", 204},
		{"/" + strings.Repeat("k", 1024), strings.Repeat("k", 1024), 204},
		{"/" + strings.Repeat("k", 1025), "", 414},
		{"/%00", "", 400},
		{"/%0a", "", 400},
		{"/%ff", "", 400},
		{"/%2D/status", "", 400},
		{"/-%2Fstatus", "", 400},
	} {
		if got := do(t, "PUT", c.url(0, tt.path), "v"+tt.path); got.status != tt.code {
			t.Errorf("PUT %.40s: %d %s, want %d", tt.path, got.status, got.body, tt.code)
			continue
		}
		if tt.code != 204 {
			continue
		}
		if got := do(t, "GET", c.url(0, tt.path), ""); got.body != "v"+tt.path {
			t.Errorf("GET %.40s: %d %q", tt.path, got.status, got.body)
		}
		var page struct{ Keys []listedKey }
		list := do(t, "GET", c.url(0, "/?prefix="+strings.ReplaceAll(urlEscape(tt.key), "+", "%20")), "").body
		if err := json.Unmarshal([]byte(list), &page); err != nil || len(page.Keys) == 0 || page.Keys[0].Key != tt.key {
			t.Errorf("%.40s is listed as %.80s (%v)", tt.path, list, err)
		}
	}
}

// What curl writes under a path it reads under the same one, whether it follows
// redirects or not: there are none, which would turn its PUT into one with no body.
func TestKeysByCurl(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	curl := func(args ...string) string {
		out, err := exec.Command("curl", append([]string{"-sS", "-g", "-m", "10", "-w", " %{http_code} %{num_redirects}"}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("curl %q: %v %s", args, err, out)
		}
		return string(out)
	}
	n := 0
	for _, path := range []string{"a/b", "a%2Fb", "//x", "x//y", "a/../b", "./c", "%2e%2e/d", "d/", "%25", "%2541", "%3F", "a b", "é", "+", "a?b", "a#b", strings.Repeat("k", 1024)} {
		path = strings.ReplaceAll(path, " ", "%20")
		for _, flags := range [][]string{{"--path-as-is"}, {"--path-as-is", "-L"}, {"-L"}, nil} {
			n++
			value, target := fmt.Sprintf("value %d", n), c.url(0, "/"+path)
			if got := curl(append(flags, "-XPUT", "-d", value, target)...); got != " 204 0" {
				t.Errorf("curl %v PUT /%.40s: %q", flags, path, got)
			}
			if got := curl(append(flags, target)...); got != value+" 200 0" {
				t.Errorf("curl %v GET /%.40s: %q, want %q", flags, path, got, value)
			}
		}
	}
	for path, status := range map[string]string{"%00": "400", "%0a": "400", "%ff": "400", "%2d/x": "400", "%zz": "400", strings.Repeat("k", 4096): "414"} {
		for _, flags := range [][]string{{"--path-as-is"}, {"-L"}} {
			if got := curl(append(flags, "-XPUT", "-d", "x", c.url(0, "/"+path))...); !strings.HasSuffix(got, " "+status+" 0") {
				t.Errorf("curl %v PUT /%.40s: %q, want %s", flags, path, got, status)
			}
		}
	}
	if page := curl(c.url(0, "/?prefix=a/")); !strings.Contains(page, `"a/../b"`) || !strings.Contains(page, `"a/b"`) {
		t.Errorf("keys: %s", page)
	}
}

func urlEscape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// Values are any bytes, up to a limit; an empty one is a value.
func TestValues(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	for name, value := range map[string]string{
		"empty": "", "binary": "\x00\xff\n\r\x80", "largest": strings.Repeat("x", maxValueBytes),
	} {
		if got := do(t, "PUT", c.url(0, "/v"), value); got.status != 204 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if got := do(t, "GET", c.url(0, "/v"), ""); got.status != 200 || got.body != value {
			t.Errorf("%s came back as %d, %d bytes", name, got.status, len(got.body))
		}
		if got := do(t, "HEAD", c.url(0, "/v"), ""); got.status != 200 || got.header.Get("Content-Length") != strconv.Itoa(len(value)) {
			t.Errorf("%s: HEAD says %d, %s", name, got.status, got.header.Get("Content-Length"))
		}
	}
	req, err := http.NewRequest("PUT", c.url(0, "/v"), io.MultiReader(strings.NewReader(strings.Repeat("x", maxValueBytes+1)))) // chunked
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := do(t, "PUT", c.url(0, "/v"), strings.Repeat("x", maxValueBytes+1)); got.status != 413 || resp.StatusCode != 413 {
		t.Errorf("too large: %d, chunked %d", got.status, resp.StatusCode)
	}
	if got := do(t, "GET", c.url(0, "/absent"), ""); got.status != 404 {
		t.Errorf("absent: %d", got.status)
	}
}

// Conditions are decided in log order, on the revision.
func TestConditions(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	u := c.url(0, "/c")
	steps := []struct {
		method, body string
		header       []string
		status       int
	}{
		{"PUT", "0", []string{"If-Match", "*"}, 412},
		{"PUT", "0", []string{"If-Match", `"1"`}, 412},
		{"DELETE", "", nil, 404},
		{"PUT", "1", []string{"If-None-Match", "*"}, 204},
		{"PUT", "2", []string{"If-None-Match", "*"}, 412},
		{"PUT", "2", []string{"If-Match", "REV"}, 204},
		{"PUT", "3", []string{"If-Match", "OLD"}, 412},
		{"PUT", "3", []string{"If-Match", "*"}, 204},
		{"GET", "", []string{"If-None-Match", "REV"}, 304},
		{"GET", "", []string{"If-None-Match", "OLD"}, 200},
		{"PUT", "4", []string{"If-Match", `W/"1"`}, 400},
		{"PUT", "4", []string{"If-Match", `"1", "2"`}, 400},
		{"PUT", "4", []string{"If-Match", `1`}, 400},
		{"PUT", "4", []string{"If-None-Match", `"1"`}, 400},
		{"DELETE", "", []string{"If-Match", "OLD"}, 412},
		{"DELETE", "", []string{"If-Match", "REV"}, 204},
		{"GET", "", nil, 404},
	}
	rev, old := "", ""
	for i, s := range steps {
		header := append([]string(nil), s.header...)
		if len(header) > 0 {
			header[1] = map[string]string{"REV": rev, "OLD": old}[header[1]]
			if header[1] == "" {
				header[1] = s.header[1]
			}
		}
		got := do(t, s.method, u, s.body, header...)
		if got.status != s.status {
			t.Errorf("step %d: %s %v: %d %s, want %d", i, s.method, header, got.status, got.body, s.status)
		}
		if s.method == "PUT" && got.status == 204 {
			old, rev = rev, got.header.Get("ETag")
		}
	}
}

// Of many clients that change a counter by its revision, each wins as often as it
// is told so.
func TestCompareAndSet(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	c.leader(0)
	put(t, c.url(0, "/n"), "0", 10*time.Second)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for range 10 {
				for {
					now := do(t, "GET", c.url(w%3, "/n"), "")
					if now.status != 200 {
						continue
					}
					n, err := strconv.Atoi(now.body)
					if err != nil {
						t.Errorf("the counter is %q", now.body)
						return
					}
					if do(t, "PUT", c.url((w+1)%3, "/n"), strconv.Itoa(n+1), "If-Match", now.header.Get("ETag")).status == 204 {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	if got := get(t, c.url(0, "/n")); got != "80" {
		t.Errorf("80 increments were answered, the counter is %s", got)
	}
}

// Pages of keys are in order, complete, and without overlap.
func TestList(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	var want []string
	for i := range 25 {
		key := fmt.Sprintf("p/%02d", i)
		want = append(want, key)
		put(t, c.url(0, "/"+key), "v", 10*time.Second)
	}
	put(t, c.url(0, "/other"), "v", 10*time.Second)
	var got []string
	after := ""
	for {
		var page struct {
			Keys []listedKey
			Next string
		}
		if err := json.Unmarshal([]byte(do(t, "GET", c.url(0, "/?prefix=p/&limit=10"+after), "").body), &page); err != nil {
			t.Fatal(err)
		}
		for _, k := range page.Keys {
			got = append(got, k.Key)
		}
		if page.Next == "" {
			break
		}
		after = "&after=" + page.Next
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, limit := range []string{"0", "1001", "x", "-1"} {
		if a := do(t, "GET", c.url(0, "/?limit="+limit), ""); a.status != 400 {
			t.Errorf("limit %s: %d", limit, a.status)
		}
	}
}

// Without a majority every request ends, and a write that was refused never
// happens.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	lead := c.leader(0)
	put(t, c.url(lead, "/a"), "before", 10*time.Second)
	c.end((lead + 1) % 3)
	c.end((lead + 2) % 3)
	refused := map[string]bool{}
	for i := range 4 {
		key := fmt.Sprintf("/lost%d", i)
		start := time.Now()
		got := do(t, "PUT", c.url(lead, key), "x")
		if took := time.Since(start); took > requestTimeout+time.Second {
			t.Errorf("took %v", took)
		}
		switch got.status {
		case 503:
			refused[key] = true
			if got.header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		case 504:
		default:
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	if got := do(t, "GET", c.url(lead, "/a"), ""); got.status != 503 {
		t.Errorf("a read without a quorum: %d %s", got.status, got.body)
	}
	if got := do(t, "GET", c.url(lead, "/a?stale"), ""); got.status != 200 || got.body != "before" || got.header.Get("Raft-Applied") == "" {
		t.Errorf("a stale read: %d %s", got.status, got.body)
	}
	if got := do(t, "GET", c.url(lead, "/-/ready"), ""); got.status != 503 {
		t.Errorf("ready without a leader: %d", got.status)
	}
	c.start((lead + 1) % 3)
	put(t, c.url(lead, "/after"), "x", 20*time.Second)
	for key := range refused {
		if got := do(t, "GET", c.url(lead, key), ""); got.status != 404 {
			t.Errorf("%s was answered 503 and is there: %d", key, got.status)
		}
	}
	if len(refused) == 0 {
		t.Error("nothing was refused")
	}
}

// A data directory that is not this member's, or is in use, is refused in a line.
func TestForeignDataDirs(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	c.leader(0)
	put(t, c.url(0, "/a"), "x", 10*time.Second)
	fails := func(what, want string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := run(ctx, args, machine{fs: vfs.OS}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
	ports := freePorts(t, 2)
	somethingElse := t.TempDir()
	if err := os.WriteFile(filepath.Join(somethingElse, "0000000000000000-0000000000000000.wal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fails("something else's", ".wal is in it; choose another", "--cluster", "http://127.0.0.1:"+ports[0], "--port", ports[1], "--data-dir", somethingElse)
	own := "1=http://127.0.0.1:" + ports[0] + ",2=http://127.0.0.1:" + c.peers[1] + ",3=http://127.0.0.1:" + c.peers[2]
	fails("in use", "in use by another process", "--id", "1", "--cluster", own, "--port", ports[1], "--data-dir", filepath.Join(c.dir, "n1"))
	fails("a port in use", "is in use: choose another", c.args(0, "--data-dir", t.TempDir())...)
	c.end(2)
	fails("another member's", "belongs to member 3", "--id", "1", "--cluster", own, "--port", ports[1], "--data-dir", filepath.Join(c.dir, "n3"))

	// A member whose directory is gone must not come back under its old id.
	fails("wiped", "its data was lost", c.args(2, "--data-dir", filepath.Join(c.dir, "empty"))...)
	fourth := []string{"--id", "4", "--cluster", c.list + ",http://127.0.0.1:" + ports[0], "--port", ports[1], "--data-dir", filepath.Join(c.dir, "n4")}
	joining := append(fourth, "--join")
	fails("not added", "has not added member 4: do that first, with curl", joining...)
	fails("nobody there", "no other member in --cluster answers", "--join", "--id", "4", "--cluster", "4=http://127.0.0.1:"+ports[0], "--port", ports[1], "--data-dir", filepath.Join(c.dir, "n4"))
	c.start(2)
	waitFor(t, 20*time.Second, "member 4 to be added", func() bool {
		return do(t, "POST", c.url(0, "/-/members/4?learner"), "http://127.0.0.1:"+ports[0]).status == 204
	})
	fails("--join forgotten", "start it with --join", fourth...)

	// One that has joined and was wiped is found out by the member that it had met,
	// though the others only know that it belongs to them.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, joining, machine{fs: vfs.OS}, io.Discard, &c.logs) }()
	waitFor(t, 20*time.Second, "member 4 to be ready", func() bool { return tryGetStatus("http://127.0.0.1:"+ports[1]+"/-/ready") == 200 })
	if got := get(t, "http://127.0.0.1:"+ports[1]+"/-/status"); !strings.Contains(got, `"role":"learner"`) {
		t.Errorf("a learner says %s", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("member 4 ended with %v", err)
	}
	fails("wiped after it had joined", "its data was lost", append(joining, "--data-dir", filepath.Join(c.dir, "empty4"))...)
}

// A cluster of one is made from a member's data when the others are lost.
func TestForceNewCluster(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	c.leader(0)
	put(t, c.url(1, "/a"), "kept", 10*time.Second)
	waitFor(t, 10*time.Second, "node 2 to have it", func() bool {
		return do(t, "GET", c.url(1, "/a?stale"), "").body == "kept"
	})
	for i := range 3 {
		c.end(i)
	}
	whose := func() (id identity) {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(c.dir, "n2", "member.json"))
		if err == nil {
			err = json.Unmarshal(content, &id)
		}
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	before := whose()
	list := c.list
	c.list = "2=http://127.0.0.1:" + c.peers[1]
	c.start(1, "--force-new-cluster")
	if got := get(t, c.url(1, "/a")); got != "kept" {
		t.Errorf("the new cluster has %q", got)
	}
	if now := whose(); now.Cluster == before.Cluster || now.Incarnation == before.Incarnation || len(now.Peers) > 0 {
		t.Errorf("the old ones could take it for one of theirs: %+v, then %+v", before, now)
	}
	put(t, c.url(1, "/a"), "more", 20*time.Second)
	c.end(1)
	c.start(1)
	if got := get(t, c.url(1, "/a")); got != "more" {
		t.Errorf("after a restart it has %q", got)
	}
	if strings.Contains(c.logs.String(), "wins over --cluster") {
		t.Error("it warns of flags that say what it has stored")
	}
	c.list = list
}

// Also a member that had been removed can be what a new cluster is made from: its log has
// its removal, which is not carried out again.
func TestForceNewClusterFromARemovedMember(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	put(t, c.url(2, "/a"), "kept", 20*time.Second)
	c.change(204, "DELETE", 0, 2, "", "")
	c.removed(2)
	c.list = "3=http://127.0.0.1:" + c.peers[2]
	c.start(2, "--force-new-cluster")
	for range 2 {
		if got := get(t, c.url(2, "/a")); got != "kept" {
			t.Errorf("the new cluster has %q", got)
		}
		if members := c.status(2).Members; len(members) != 1 || members[0].ID != 3 {
			t.Errorf("its members are %v", members)
		}
		c.end(2)
		c.start(2)
	}
	put(t, c.url(2, "/a"), "more", 20*time.Second)
}

// A member that was wiped while nobody could tell it so ends as soon as it meets one
// that knew it, with the recipe.
func TestWipedWhileTheOthersAreDown(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	put(t, c.url(0, "/a"), "x", 20*time.Second)
	waitFor(t, 20*time.Second, "node 3 to lead, so that all have met it", func() bool {
		return do(t, "PUT", c.url(0, "/-/leader"), "3").status == 204
	})
	put(t, c.url(2, "/a"), "x", 20*time.Second)
	for i := range 3 {
		c.end(i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	args := c.args(2, "--data-dir", filepath.Join(c.dir, "empty"))
	go func() { ended <- run(ctx, args, machine{fs: vfs.OS}, io.Discard, io.Discard) }()
	waitFor(t, 10*time.Second, "the wiped one to answer", func() bool {
		resp, err := http.Get(c.url(2, "/-/status"))
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil
	})
	c.start(0)
	c.start(1)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "add it under a new id") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the wiped one ended with %v", err)
	}
	if got := get(t, c.url(0, "/a")); got != "x" {
		t.Errorf("the others have %q", got)
	}
}
