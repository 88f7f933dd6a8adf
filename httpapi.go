// The REST API: keys.
//
// Start at handler, then put and get. What an answer's status promises is said
// at each; fail is the one place that turns an error into an answer.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gorilla/mux"
)

const (
	maxKeyBytes   = 1024
	maxValueBytes = 1 << 20
	maxListLimit  = 1000

	requestTimeout = 5 * time.Second  // for the cluster
	sendTimeout    = 30 * time.Second // for the client to send what it asks
)

// api serves clients.
type api struct {
	store   *kvStore
	reads   *reads
	node    *raftNode
	metrics *metrics

	deadlines deadlines
	incoming  atomic.Int64  // bytes set aside for values that are being read
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
	strangers := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if path := req.URL.EscapedPath(); path == "/" || strings.HasPrefix(path, "/-/") {
			// Browsers send a POST for any page, without asking. They ask first for what keys take.
			if err := strangers.Check(req); err != nil {
				a.fail(w, &apiError{status: http.StatusForbidden, reason: err.Error()})
				return
			}
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
type deadlines struct {
	within context.Context // its end is that of all of them
	newest atomic.Pointer[deadline]
}

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
	made.Context, made.cancel = context.WithDeadline(d.within, start.Add(requestTimeout))
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
		a.put(w, req, key)
	case http.MethodDelete:
		a.delete(ctx, w, req, key)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
		reason := "a key takes GET, HEAD, PUT and DELETE"
		if req.Method == http.MethodPost {
			reason += "; " + memberCommands(req, key)
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
	for _, c := range key {
		if c < 0x20 || c >= 0x7f && unicode.IsControl(c) {
			return "", badRequest("a key has no control characters")
		}
	}
	return key, nil
}

// put writes one key. 204 means that the write is committed and that this node
// has applied it: whoever reads next, here or anywhere, sees it.
func (a *api) put(w http.ResponseWriter, req *http.Request, key string) {
	cond, revision, err := conditionOf(req)
	if err != nil {
		a.fail(w, err)
		return
	}
	buffer := values.Get().(*[]byte)
	defer giveBack(buffer)
	if *buffer, err = a.readValue(w, req, (*buffer)[:0]); err != nil {
		a.fail(w, err)
		return
	}
	ctx := a.deadlines.from(time.Now())                                    // what a slow sender took is not the cluster's
	rev, err := a.store.put(ctx, key, unchanging(*buffer), cond, revision) // keeps no part of it
	if err != nil {
		a.fail(w, err)
		return
	}
	w.Header()["Etag"] = []string{etag(rev)}
	w.WriteHeader(http.StatusNoContent)
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
	it, err := a.store.get(key)
	if err != nil {
		a.fail(w, err)
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
	stale := query == "stale"
	if !stale && query != "" {
		asked, err := url.ParseQuery(query)
		if err != nil {
			return badRequest("the query cannot be read: %v", err)
		}
		if stale = asked.Has("stale"); asked.Get("stale") != "" {
			if stale, err = strconv.ParseBool(asked.Get("stale")); err != nil {
				return badRequest("stale is true or false")
			}
		}
	}
	if !stale {
		return a.reads.wait(ctx)
	}
	w.Header()["Raft-Applied"] = []string{strconv.FormatUint(a.store.applied.Load(), 10)}
	return nil
}

// delete removes one key. 204 promises what it does for put; 404 means that the
// key was absent when the deletion's turn came.
func (a *api) delete(ctx context.Context, w http.ResponseWriter, req *http.Request, key string) {
	cond, revision, err := conditionOf(req)
	if err == nil {
		err = a.store.remove(ctx, key, cond, revision)
	}
	if errors.Is(err, errNotFound) && a.isMember(key) {
		err = &apiError{status: http.StatusNotFound, reason: errNotFound.reason + "; " + memberCommands(req, key)}
	}
	if err != nil {
		a.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
