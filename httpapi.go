// The REST API: keys.
//
// Start at handler, then put and get. What an answer's status promises is said
// at each; fail is the one place that turns an error into an answer.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/mux"
)

const (
	maxKeyBytes   = 1024
	maxValueBytes = 1 << 20
	maxListLimit  = 1000

	requestTimeout = 5 * time.Second
)

// api serves clients.
type api struct {
	store   *kvStore
	reads   *reads
	node    *raftNode
	metrics *metrics

	deadlines deadlines
	stopping  atomic.Bool   // new requests are refused
	ending    chan struct{} // closed when streams of events must end
}

// handler returns what serves the client port. Paths are taken as they are sent:
// a key may look like anything. So keys have nothing to route by, and go past the
// router, which would copy every request twice to note which route it took.
func (a *api) handler() http.Handler {
	r := mux.NewRouter().SkipClean(true).UseEncodedPath()
	a.registerNode(r.PathPrefix("/-").Subrouter())
	r.Path("/").HandlerFunc(a.timed(a.root))
	keys := a.timed(a.key)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if path := req.URL.EscapedPath(); path == "/" || strings.HasPrefix(path, "/-/") {
			r.ServeHTTP(w, req)
			return
		}
		keys(w, req)
	})
}

// apiError is an error with its answer. 4xx and 503 mean that nothing was done
// and nothing will be; 504 that nobody knows.
type apiError struct {
	status int
	reason string
}

func (e *apiError) Error() string { return e.reason }

func badRequest(format string, args ...any) error {
	return &apiError{status: http.StatusBadRequest, reason: fmt.Sprintf(format, args...)}
}

// fail answers with an error's status and one line.
func (a *api) fail(w http.ResponseWriter, err error) {
	answer := &apiError{status: http.StatusInternalServerError, reason: err.Error()}
	errors.As(err, &answer)
	if answer.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Del("ETag")
	http.Error(w, answer.reason, answer.status)
}

// timed gives a request its deadline, refuses it while the node shuts down, and
// measures it.
func (a *api) timed(serve func(context.Context, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if a.stopping.Load() {
			a.fail(w, &apiError{status: http.StatusServiceUnavailable, reason: "this node is shutting down"})
			return
		}
		start := time.Now()
		recorder := statusRecorder{ResponseWriter: w, status: http.StatusOK}
		serve(a.deadlines.from(start), &recorder, req)
		a.metrics.observeRequest(req.Method, recorder.status, time.Since(start))
	}
}

// deadlines gives requests their deadline. Those that come within a tenth of a
// second share one: a context and a timer for each would cost more than to look
// up the value.
type deadlines struct{ newest atomic.Pointer[deadline] }

type deadline struct {
	context.Context
	cancel context.CancelFunc // not called: its time comes
	until  time.Time          // it is for requests that come before
}

// from returns the deadline of a request that came at start.
func (d *deadlines) from(start time.Time) context.Context {
	if newest := d.newest.Load(); newest != nil && start.Before(newest.until) {
		return newest
	}
	made := &deadline{until: start.Add(100 * time.Millisecond)}
	made.Context, made.cancel = context.WithDeadline(context.Background(), start.Add(requestTimeout))
	d.newest.Store(made)
	return made
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// WriteString spares a copy of the value.
func (r *statusRecorder) WriteString(s string) (int, error) {
	return io.WriteString(r.ResponseWriter, s)
}

// Unwrap lets http.ResponseController through.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// key serves a path that is a key.
func (a *api) key(ctx context.Context, w http.ResponseWriter, req *http.Request) {
	key, err := keyOf(req)
	if err != nil {
		a.fail(w, err)
		return
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		a.get(ctx, w, req, key)
	case http.MethodPut:
		a.put(ctx, w, req, key)
	case http.MethodDelete:
		a.delete(ctx, w, req, key)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
		reason := "a key takes GET, HEAD, PUT and DELETE"
		if req.Method == http.MethodPost {
			reason += "; members are added by POST /-/members/{id} with the peer URL as the body, and removed by DELETE /-/members/{id}"
		}
		a.fail(w, &apiError{status: http.StatusMethodNotAllowed, reason: reason})
	}
}

// keyOf returns the key that a request's path names.
func keyOf(req *http.Request) (string, error) {
	key := strings.TrimPrefix(req.URL.Path, "/") // unescaped, once
	switch {
	case !strings.HasPrefix(req.URL.Path, "/") || key == "":
		return "", badRequest("the path must be / and a key")
	case len(key) > maxKeyBytes:
		return "", &apiError{status: http.StatusRequestURITooLong, reason: fmt.Sprintf("a key has at most %d bytes, this one %d", maxKeyBytes, len(key))}
	case !utf8.ValidString(key):
		return "", badRequest("a key is UTF-8")
	case strings.HasPrefix(key, "-/"):
		return "", badRequest("keys do not begin with -/")
	}
	for _, c := range []byte(key) {
		if c < 0x20 || c == 0x7f {
			return "", badRequest("a key has no control characters")
		}
	}
	return key, nil
}

// put writes one key. 204 means that the write is committed and that this node
// has applied it: whoever reads next, here or anywhere, sees it.
func (a *api) put(ctx context.Context, w http.ResponseWriter, req *http.Request, key string) {
	cond, revision, err := conditionOf(req)
	if err != nil {
		a.fail(w, err)
		return
	}
	buffer := values.Get().(*[]byte)
	defer values.Put(buffer)
	if *buffer, err = readValue(w, req, (*buffer)[:0]); err != nil {
		a.fail(w, err)
		return
	}
	rev, err := a.store.put(ctx, key, unchanging(*buffer), cond, revision) // keeps no part of it
	if err != nil {
		a.fail(w, err)
		return
	}
	w.Header()["Etag"] = []string{etag(rev)}
	w.WriteHeader(http.StatusNoContent)
}

// values are buffers for the bodies of writes.
var values = sync.Pool{New: func() any { return new([]byte) }}

// readValue reads a request's body, up to the largest value, and appends it to value.
func readValue(w http.ResponseWriter, req *http.Request, value []byte) ([]byte, error) {
	tooLarge := &apiError{status: http.StatusRequestEntityTooLarge, reason: fmt.Sprintf("a value has at most %d bytes", maxValueBytes)}
	if req.ContentLength > maxValueBytes {
		return value, tooLarge
	}
	var err error
	if n := int(req.ContentLength); n >= 0 {
		value = slices.Grow(value, n)[:n]
		_, err = io.ReadFull(req.Body, value)
	} else {
		body := bytes.NewBuffer(value)
		_, err = body.ReadFrom(http.MaxBytesReader(w, req.Body, maxValueBytes))
		value = body.Bytes()
	}
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return value, tooLarge
	case err != nil:
		return value, badRequest("read the value: %v", err)
	}
	return value, nil
}

// conditionOf reads what must be true of the key for a write to happen.
func conditionOf(req *http.Request) (condition, uint64, error) {
	match, noneMatch := req.Header["If-Match"], req.Header["If-None-Match"]
	switch {
	case len(match) == 0 && len(noneMatch) == 0:
		return always, 0, nil
	case len(match)+len(noneMatch) > 1:
		return 0, 0, badRequest("give one condition")
	case len(noneMatch) == 1:
		if noneMatch[0] != "*" || req.Method != http.MethodPut {
			return 0, 0, badRequest("a write takes If-None-Match: * on PUT, and nothing else")
		}
		return ifAbsent, 0, nil
	case match[0] == "*":
		return ifPresent, 0, nil
	}
	revision, err := parseETag(match[0])
	return ifRevised, revision, err
}

// etag writes a revision as an entity tag.
func etag(revision uint64) string {
	var b [22]byte
	return string(append(strconv.AppendUint(append(b[:0], '"'), revision, 10), '"'))
}

func parseETag(s string) (uint64, error) {
	digits, ok := strings.CutPrefix(s, `"`)
	digits, ok2 := strings.CutSuffix(digits, `"`)
	revision, err := strconv.ParseUint(digits, 10, 64)
	if !ok || !ok2 || err != nil || etag(revision) != s {
		return 0, badRequest(`a revision is one number in quotes, such as "7", not %s`, s)
	}
	return revision, nil
}

// get reads one key: the newest value, unless ?stale asks for what this node has.
func (a *api) get(ctx context.Context, w http.ResponseWriter, req *http.Request, key string) {
	known := req.Header["If-None-Match"]
	var knownRevision uint64
	if len(known) > 0 {
		var err error
		if len(known) > 1 {
			err = badRequest("give one condition")
		} else {
			knownRevision, err = parseETag(known[0])
		}
		if err != nil {
			a.fail(w, err)
			return
		}
	}
	if err := a.consult(ctx, w, req); err != nil {
		a.fail(w, err)
		return
	}
	it, ok := a.store.get(key)
	if !ok {
		a.fail(w, errNotFound)
		return
	}
	h := w.Header()
	h["Etag"] = []string{etag(it.revision)}
	if len(known) > 0 && knownRevision == it.revision {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Type"] = octetStream
	if req.Method == http.MethodHead || len(it.value) > 1<<10 { // short answers net/http measures itself, for less
		h["Content-Length"] = []string{strconv.Itoa(len(it.value))}
	}
	if req.Method == http.MethodHead {
		return
	}
	if _, err := io.WriteString(w, it.value); err != nil {
		return // the client has gone
	}
}

var octetStream = []string{"application/octet-stream"}

// consult sees to it that what this node has is as new as the request demands.
func (a *api) consult(ctx context.Context, w http.ResponseWriter, req *http.Request) error {
	query := req.URL.RawQuery
	if query == "stale" || query != "" && req.URL.Query().Has("stale") {
		w.Header()["Raft-Applied"] = []string{strconv.FormatUint(a.store.applied.Load(), 10)}
		return nil
	}
	return a.reads.wait(ctx)
}

// delete removes one key. 204 promises what it does for put; 404 means that the
// key was absent when the deletion's turn came.
func (a *api) delete(ctx context.Context, w http.ResponseWriter, req *http.Request, key string) {
	cond, revision, err := conditionOf(req)
	if err == nil {
		err = a.store.remove(ctx, key, cond, revision)
	}
	if err != nil {
		a.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// root lists keys, or for a browser, what there is to ask for.
func (a *api) root(ctx context.Context, w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		a.fail(w, &apiError{status: http.StatusMethodNotAllowed, reason: "/ takes GET; a key follows the /"})
		return
	}
	if req.URL.RawQuery == "" && strings.Contains(req.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if _, err := io.WriteString(w, endpointsPage); err != nil {
			return // the browser has gone
		}
		return
	}
	a.list(ctx, w, req)
}

// listedKey is a key in a listing.
type listedKey struct {
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
}

// list answers with a page of the keys that begin with a prefix, in order.
func (a *api) list(ctx context.Context, w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	limit := 100
	if query.Has("limit") {
		var err error
		if limit, err = strconv.Atoi(query.Get("limit")); err != nil || limit < 1 || limit > maxListLimit {
			a.fail(w, badRequest("limit is a number from 1 to %d", maxListLimit))
			return
		}
	}
	if err := a.consult(ctx, w, req); err != nil {
		a.fail(w, err)
		return
	}

	prefix, after := query.Get("prefix"), query.Get("after")
	page := struct {
		Keys []listedKey `json:"keys"`
		Next string      `json:"next,omitempty"`
	}{Keys: []listedKey{}}
	a.store.view().Ascend(max(prefix, after), func(key string, it item) bool {
		switch {
		case key == after && query.Has("after"):
			return true
		case !strings.HasPrefix(key, prefix):
			return false
		case len(page.Keys) == limit:
			page.Next = page.Keys[limit-1].Key
			return false
		}
		page.Keys = append(page.Keys, listedKey{Key: key, Revision: it.revision})
		return true
	})
	a.writeJSON(w, page)
}

// writeJSON answers with a line of JSON.
func (a *api) writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		a.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(append(body, '\n')); err != nil {
		return // the client has gone
	}
}

const endpointsPage = `<!doctype html>
<title>raftexample</title>
<h1>raftexample</h1>
<p>A replicated key-value store. Any path is a key:</p>
<pre>curl -L http://127.0.0.1:12380/my-key -XPUT -d foo
curl -L http://127.0.0.1:12380/my-key</pre>
<ul>
<li><a href="/?prefix=">/?prefix=</a> lists keys
<li><a href="/-/status">/-/status</a> this node; <a href="/-/cluster">/-/cluster</a> all of them
<li><a href="/-/members">/-/members</a> who belongs to the cluster
<li><a href="/-/leader">/-/leader</a> who leads
<li><a href="/-/healthy">/-/healthy</a> and <a href="/-/ready">/-/ready</a>
<li><a href="/-/metrics">/-/metrics</a> for Prometheus
<li><a href="/-/events">/-/events</a> what happens, as it happens
</ul>
`
