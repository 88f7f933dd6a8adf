// Refusals: what each wrong request gets, a status that says what became of it and
// one line that says why. Timeouts are in deadline_test.go.

package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
)

// refusal is a wrong request and its answer.
type refusal struct {
	method, path, body string
	header             []string
	status             int
	contains           string // of the one line
	allow              string // for 405
}

func (r *refusal) check(t *testing.T, c *testCluster) {
	t.Helper()
	got := do(t, r.method, c.url(0, r.path), r.body, r.header...)
	if got.status != r.status {
		t.Errorf("%s %.60s %q: %d %q, want %d", r.method, r.path, r.header, got.status, got.body, r.status)
	}
	if got.header.Get("Allow") != r.allow {
		t.Errorf("%s %.60s: Allow is %q, want %q", r.method, r.path, got.header.Get("Allow"), r.allow)
	}
	if retry := got.header.Get("Retry-After"); (retry != "") != (got.status == http.StatusServiceUnavailable) {
		t.Errorf("%s %.60s: %d with Retry-After %q", r.method, r.path, got.status, retry)
	}
	if r.method == http.MethodHead {
		return
	}
	line, rest, ended := strings.Cut(got.body, "\n")
	if !ended || rest != "" || strings.ContainsFunc(line, unicode.IsControl) || !strings.Contains(line, r.contains) {
		t.Errorf("%s %.60s: %q, want one line with %q", r.method, r.path, got.body, r.contains)
	}
	if kind := got.header.Get("Content-Type"); kind != "text/plain; charset=utf-8" {
		t.Errorf("%s %.60s: a line of %s", r.method, r.path, kind)
	}
}

// Wrong methods, paths, headers, bodies and ids get the right status and one line;
// none of them changes anything.
func TestRefusals(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	for _, path := range []string{"/k", "/1"} {
		put(t, c.url(0, path), "before", 10*time.Second)
	}
	const (
		keyMethods = "GET, HEAD, PUT, DELETE"
		tag        = "If-None-Match"
		many       = `"1", "2"`
	)
	long := "/" + strings.Repeat("k", maxKeyBytes+1)
	for _, r := range []refusal{
		// Methods.
		{method: "POST", path: "/4", body: "http://127.0.0.1:1", status: 405, contains: `/-/members/4?learner" -XPOST`, allow: keyMethods},
		{method: "POST", path: "/k", status: 405, contains: "/-/members/ID", allow: keyMethods},
		{method: "PATCH", path: "/k", status: 405, contains: "GET, HEAD, PUT and DELETE", allow: keyMethods},
		{method: "OPTIONS", path: "/k", status: 405, contains: "GET", allow: keyMethods},
		{method: "NONSENSE", path: "/k", status: 405, contains: "GET", allow: keyMethods},
		{method: "PUT", path: "/", status: 405, contains: "a key follows", allow: "GET, HEAD"},
		{method: "DELETE", path: "/?prefix=k", status: 405, contains: "a key follows", allow: "GET, HEAD"},
		{method: "POST", path: "/-/status", status: 405, contains: "/-/status takes GET", allow: "GET, HEAD"},
		{method: "DELETE", path: "/-/cluster", status: 405, contains: "/-/cluster takes", allow: "GET, HEAD"},
		{method: "POST", path: "/-/members", status: 405, contains: "/-/members takes", allow: "GET, HEAD"},
		{method: "GET", path: "/-/members/1", status: 405, contains: "/-/members/1 takes", allow: "POST, PUT, DELETE"},
		{method: "HEAD", path: "/-/members/1", status: 405, allow: "POST, PUT, DELETE"},
		{method: "PATCH", path: "/-/members/a%0ab", status: 405, contains: "a%0ab takes", allow: "POST, PUT, DELETE"},
		{method: "POST", path: "/-/leader", body: "1", status: 405, contains: "/-/leader takes", allow: "GET, HEAD, PUT"},
		{method: "PUT", path: "/-/healthy", status: 405, contains: "/-/healthy takes", allow: "GET, HEAD"},
		{method: "PUT", path: "/-/ready", status: 405, contains: "/-/ready takes", allow: "GET, HEAD"},
		{method: "POST", path: "/-/metrics", status: 405, contains: "/-/metrics takes", allow: "GET, HEAD"},
		{method: "POST", path: "/-/events", status: 405, contains: "/-/events takes", allow: "GET"},
		{method: "HEAD", path: "/-/events", status: 405, allow: "GET"},

		// Paths.
		{method: "GET", path: "/-/", status: 404, contains: "there are status, cluster"},
		{method: "PUT", path: "/-/nothing", status: 404, contains: "no /-/nothing"},
		{method: "GET", path: "/-/no%0athing", status: 404, contains: "no /-/no%0athing"},
		{method: "GET", path: "/-//status", status: 404, contains: "/-//status"},
		{method: "GET", path: "/-/../k", status: 404, contains: "/-/../k"},
		{method: "PUT", path: "/%2d/k", status: 400, contains: "do not begin with -/"},
		{method: "GET", path: "/-%2fk", status: 400, contains: "do not begin with -/"},
		{method: "DELETE", path: "/%00", status: 400, contains: "control characters"},
		{method: "PUT", path: "/a%7f", status: 400, contains: "control characters"},
		{method: "PUT", path: "/a%c2%85", status: 400, contains: "control characters"},
		{method: "PUT", path: "/a%ff", status: 400, contains: "UTF-8"},
		{method: "GET", path: long, status: 414, contains: "at most 1024 bytes, this one 1025"},
		{method: "PUT", path: long, status: 414, contains: "at most 1024 bytes, this one 1025"},
		{method: "DELETE", path: "/" + strings.Repeat("%c3%a9", 513), status: 414, contains: "this one 1026"},
		{method: "HEAD", path: "/absent", status: 404},
		{method: "GET", path: "/absent", status: 404, contains: "no such key"},
		{method: "DELETE", path: "/absent", status: 404, contains: "no such key"},

		// Queries.
		{method: "GET", path: "/?limit=0", status: 400, contains: "1 to 1000"},
		{method: "GET", path: "/?limit=1001", status: 400, contains: "1 to 1000"},
		{method: "GET", path: "/?limit=", status: 400, contains: "1 to 1000"},
		{method: "GET", path: "/?limit=9999999999999999999999", status: 400, contains: "1 to 1000"},
		{method: "GET", path: "/?prefix=%zz", status: 400, contains: `"%zz"`},
		{method: "GET", path: "/?prefix=a;after=b", status: 400, contains: "semicolon"},
		{method: "GET", path: "/k?stale&%", status: 400, contains: `"%"`},

		{method: "GET", path: "/k?stale=perhaps", status: 400, contains: "stale is true or false"},

		// Conditions.
		{method: "PUT", path: "/k", header: []string{"If-Match", many}, status: 400, contains: "one number in quotes"},
		{method: "PUT", path: "/k", header: []string{"If-Match", `W/"1"`}, status: 400, contains: "one number in quotes"},
		{method: "PUT", path: "/k", header: []string{"If-Match", "1"}, status: 400, contains: "one number in quotes"},
		{method: "PUT", path: "/k", header: []string{"If-Match", `"01"`}, status: 400, contains: "one number in quotes"},
		{method: "PUT", path: "/k", header: []string{"If-Match", `""`}, status: 400, contains: "one number in quotes"},
		{method: "PUT", path: "/k", header: []string{"If-Match", ""}, status: 400, contains: "one number in quotes"},
		{method: "PUT", path: "/k", header: []string{"If-Match", `"99999999999999999999"`}, status: 400, contains: "one number in quotes"},
		{method: "PUT", path: "/k", header: []string{"If-Match", "*", tag, "*"}, status: 400, contains: "one condition"},
		{method: "PUT", path: "/k", header: []string{tag, `"1"`}, status: 400, contains: "If-None-Match: *"},
		{method: "DELETE", path: "/k", header: []string{"If-Match", many}, status: 400, contains: "one number in quotes"},
		{method: "DELETE", path: "/k", header: []string{"If-Match", `W/"1"`}, status: 400, contains: "one number in quotes"},
		{method: "DELETE", path: "/k", header: []string{tag, "*"}, status: 400, contains: "on PUT"},
		{method: "GET", path: "/k", header: []string{tag, many}, status: 400, contains: "one number in quotes"},
		{method: "GET", path: "/k", header: []string{tag, `W/"1"`}, status: 400, contains: "one number in quotes"},
		{method: "HEAD", path: "/k", header: []string{tag, "*"}, status: 400},
		{method: "PUT", path: "/k", header: []string{"If-Match", `"1"`}, status: 412, contains: "does not hold"},
		{method: "PUT", path: "/k", header: []string{tag, "*"}, status: 412, contains: "does not hold"},
		{method: "PUT", path: "/absent", header: []string{"If-Match", `"1"`}, status: 412, contains: "does not hold"},
		{method: "PUT", path: "/absent", header: []string{"If-Match", "*"}, status: 412, contains: "does not hold"},
		{method: "DELETE", path: "/k", header: []string{"If-Match", `"1"`}, status: 412, contains: "does not hold"},
		{method: "DELETE", path: "/absent", header: []string{"If-Match", "*"}, status: 412, contains: "does not hold"},

		// Values.
		{method: "PUT", path: "/k", body: strings.Repeat("x", maxValueBytes+1), status: 413, contains: "at most 1048576 bytes"},

		// Members.
		{method: "POST", path: "/-/members/x", status: 400, contains: `not "x"`},
		{method: "DELETE", path: "/-/members/0", status: 400, contains: `not "0"`},
		{method: "PUT", path: "/-/members/-1", status: 400, contains: `not "-1"`},
		{method: "POST", path: "/-/members/18446744073709551615", body: "http://127.0.0.1:1", status: 400, contains: "up to 9223372036854775807"},
		{method: "POST", path: "/-/members/18446744073709551616", status: 400, contains: "positive integer"},
		{method: "POST", path: "/-/members/2", status: 400, contains: "new member's peer URL"},
		{method: "POST", path: "/-/members/2", body: "nonsense", status: 400, contains: "http://HOST:PORT"},
		{method: "POST", path: "/-/members/2", body: "http://h\xff:1", status: 400, contains: "not a URL"},
		{method: "POST", path: "/-/members/2", body: "ftp://127.0.0.1:1", status: 400, contains: "http://HOST:PORT"},
		{method: "POST", path: "/-/members/2", body: "http://127.0.0.1", status: 400, contains: "http://HOST:PORT"},
		{method: "POST", path: "/-/members/2", body: "http://127.0.0.1:0", status: 400, contains: "1 to 65535"},
		{method: "POST", path: "/-/members/2", body: "http://127.0.0.1:65536", status: 400, contains: "1 to 65535"},
		{method: "POST", path: "/-/members/2", body: "http://127.0.0.1:1/path", status: 400, contains: "more than a host and a port"},
		{method: "POST", path: "/-/members/2", body: "http://127.0.0.1:1\nhttp://127.0.0.1:2", status: 400, contains: `1\nhttp`},
		{method: "POST", path: "/-/members/2", body: strings.Repeat("x", 5000), status: 413, contains: "at most 4096 bytes"},
		{method: "POST", path: "/-/members/2", body: "http://127.0.0.1:1", status: 409, contains: "no majority"},
		{method: "POST", path: "/-/members/2", body: "http://127.0.0.1:" + c.peers[0], status: 409, contains: "the URL of member 1"},
		{method: "POST", path: "/-/members/1", body: "http://127.0.0.1:1", status: 409, contains: "member 1 exists"},
		{method: "POST", path: "/-/members/1?learner", body: "http://127.0.0.1:1", status: 409, contains: "member 1 exists"},
		{method: "PUT", path: "/-/members/1", status: 400, contains: "new peer URL"},
		{method: "PUT", path: "/-/members/9", body: "http://127.0.0.1:1", status: 404, contains: "no member 9"},
		{method: "DELETE", path: "/-/members/9", status: 404, contains: "no member 9"},
		{method: "DELETE", path: "/-/members/1", status: 409, contains: "last voter"},
		{method: "PUT", path: "/-/leader", body: "x", status: 400, contains: "a member's id"},
		{method: "PUT", path: "/-/leader", status: 400, contains: "a member's id"},
		{method: "PUT", path: "/-/leader", body: "0", status: 400, contains: "a member's id"},
		{method: "PUT", path: "/-/leader", body: "7", status: 409, contains: "no member 7"},
	} {
		r.check(t, c)
	}
	if got := do(t, "GET", c.url(0, "/k"), ""); got.body != "before" {
		t.Errorf("a refused write did something: %q", got.body)
	}
	if got := do(t, "GET", c.url(0, "/?prefix="), ""); strings.Count(got.body, `"key"`) != 2 {
		t.Errorf("a refused write did something: %s", got.body)
	}
	if got := do(t, "GET", c.url(0, "/-/members"), ""); got.body != `[{"id":1,"url":"http://127.0.0.1:`+c.peers[0]+`","learner":false}]`+"\n" {
		t.Errorf("a refused change did something: %s", got.body)
	}

	// DELETE /1 means the key, and when there is none, perhaps the member.
	if got := do(t, "DELETE", c.url(0, "/1"), ""); got.status != 204 {
		t.Errorf("DELETE /1: %d %s", got.status, got.body)
	}
	(&refusal{method: "DELETE", path: "/1", status: 404, contains: `no such key; a member is`}).check(t, c)

	// Who takes the peers' port for the clients' hears so.
	for _, path := range []string{"/k", "/", "/-/status"} {
		got := do(t, "PUT", "http://127.0.0.1:"+c.peers[0]+path, "x")
		if got.status != 404 || !strings.Contains(got.body, "clients have another") || strings.Count(got.body, "\n") != 1 {
			t.Errorf("PUT %s on the port for peers: %d %q", path, got.status, got.body)
		}
	}
}

// Without a leader there is a reason, and a time to try again, wherever the cluster is
// needed.
func TestRefusalsWithoutALeader(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	c.leader(0)
	c.end(1)
	c.end(2)
	began := time.Now()
	// Not /-/ready, which is refused sooner: by a leader that nobody answers, too.
	waitFor(t, 20*time.Second, "nobody to lead", func() bool { return do(t, "GET", c.url(0, "/-/leader"), "").status == 503 })
	if took := time.Since(began); took > 2*electionTimeout+time.Second {
		t.Errorf("it knew a leader for %v, without a quorum", took)
	}
	for _, r := range []refusal{
		{method: "PUT", path: "/k", body: "x"},
		{method: "DELETE", path: "/k"},
		{method: "GET", path: "/k"},
		{method: "HEAD", path: "/k"},
		{method: "GET", path: "/?prefix="},
		{method: "GET", path: "/-/leader"},
		{method: "GET", path: "/-/ready"},
		{method: "PUT", path: "/-/leader", body: "2"},
		{method: "POST", path: "/-/members/4?learner", body: "http://127.0.0.1:1"},
		{method: "PUT", path: "/-/members/2", body: "http://127.0.0.1:1"},
		{method: "DELETE", path: "/-/members/2"},
	} {
		r.status, r.contains = 503, "no leader is known"
		r.check(t, c)
	}
}

// Pages of other sites, in a browser on this machine, can send a POST. They change nothing.
func TestOtherSitesChangeNothing(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	for name, value := range map[string]string{"Origin": "http://elsewhere.example", "Sec-Fetch-Site": "cross-site"} {
		req, err := http.NewRequest("POST", c.url(0, "/-/members/67?learner"), strings.NewReader("http://127.0.0.1:9"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(name, value)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 403 {
			t.Errorf("with %s: %s", name, resp.Status)
		}
	}
	if list := get(t, c.url(0, "/-/members")); strings.Contains(list, "67") {
		t.Errorf("members: %s", list)
	}
}
