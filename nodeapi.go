// The REST API: the node itself, under /-/.

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// registerNode adds the routes under /-/.
func (a *api) registerNode(r *mux.Router) {
	get := func(path string, serve http.HandlerFunc) {
		r.Path(path).HandlerFunc(a.only(serve, http.MethodGet, http.MethodHead))
	}
	get("/status", func(w http.ResponseWriter, _ *http.Request) { a.writeJSON(w, a.node.status()) })
	get("/cluster", a.cluster)
	get("/healthy", a.healthy)
	get("/ready", a.ready)
	r.Path("/events").HandlerFunc(a.only(a.events, http.MethodGet))
	get("/metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP)
	a.registerMembers(r)
	r.PathPrefix("/").HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		a.fail(w, &apiError{status: http.StatusNotFound, reason: "there is no " + req.URL.EscapedPath() + ": there are status, cluster, members, leader, healthy, ready, metrics and events"})
	})
}

// only answers other methods than those given with 405.
func (a *api) only(serve http.HandlerFunc, methods ...string) http.HandlerFunc {
	allow := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, req *http.Request) {
		if slices.Contains(methods, req.Method) {
			serve(w, req)
			return
		}
		w.Header().Set("Allow", allow)
		a.fail(w, &apiError{status: http.StatusMethodNotAllowed, reason: req.URL.EscapedPath() + " takes " + allow})
	}
}

// leader answers with the leader's id.
func (a *api) leader(w http.ResponseWriter, _ *http.Request) {
	lead := a.node.Leader()
	if lead == 0 {
		a.fail(w, errNoLeader)
		return
	}
	fmt.Fprintln(w, strconv.FormatUint(lead, 10))
}

// healthy answers 200 while this process can do its work.
func (a *api) healthy(w http.ResponseWriter, _ *http.Request) {
	if reason := a.node.stuck(); reason != "" {
		a.fail(w, &apiError{status: http.StatusServiceUnavailable, reason: reason})
		return
	}
	fmt.Fprintln(w, "ok")
}

// ready answers 200 when requests make sense: a leader is known, and this node has
// caught up. As it cannot know by itself what it lacks, that is asked as for a read.
func (a *api) ready(w http.ResponseWriter, req *http.Request) {
	reason := a.node.stuck()
	switch {
	case a.stopping.Load():
		reason = "this node is shutting down"
	case reason != "":
	case a.node.Leader() == 0:
		reason = errNoLeader.reason
	default:
		ctx, cancel := context.WithTimeout(req.Context(), electionTimeout/2)
		defer cancel()
		if a.reads.wait(ctx) == nil {
			break
		}
		if reason = "the leader does not say how far this node has to catch up"; a.node.lag() > 0 {
			reason = fmt.Sprintf("this node has %d entries and more to catch up with", a.node.lag())
		}
	}
	if reason != "" {
		a.fail(w, &apiError{status: http.StatusServiceUnavailable, reason: reason})
		return
	}
	fmt.Fprintln(w, "ok")
}

// clusterMember is one line of /-/cluster.
type clusterMember struct {
	ID     uint64          `json:"id"`
	URL    string          `json:"url"`
	Status json.RawMessage `json:"status,omitempty"`
	Error  string          `json:"error,omitempty"` // why there is no status
}

// cluster answers with the status of every member, as they give it now.
func (a *api) cluster(w http.ResponseWriter, req *http.Request) {
	members := a.node.members.list()
	answer := make([]clusterMember, len(members))
	ctx, cancel := context.WithTimeout(req.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i, m := range members {
		answer[i] = clusterMember{ID: m.ID, URL: m.URL}
		wg.Go(func() {
			status, err := a.node.statusOf(ctx, m)
			if err != nil {
				answer[i].Error = "unreachable: " + err.Error()
				return
			}
			answer[i].Status = status
		})
	}
	wg.Wait()
	a.writeJSON(w, answer)
}

// stillHere is how often a stream of events says that it has not ended: that is also
// how the node hears that a client has.
const stillHere = 15 * time.Second

// events streams what happens, until the client or this node goes. A client that takes
// nothing any more is given up: else it would be there for ever.
func (a *api) events(w http.ResponseWriter, _ *http.Request) {
	control := http.NewResponseController(w)
	send := func(event []byte) error {
		if err := control.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
			return err
		}
		if _, err := w.Write(event); err != nil {
			return err
		}
		return control.Flush()
	}
	events, leave := a.node.events.listen()
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if err := send(fmt.Appendf(nil, ": what happens to node %d, as it happens\n\n", a.node.cfg.id)); err != nil {
		return // the client has gone
	}
	quiet := time.NewTicker(stillHere)
	defer quiet.Stop()
	for {
		select {
		case <-quiet.C:
			if err := send([]byte(": still here\n\n")); err != nil {
				return
			}
		case event, ok := <-events:
			if !ok {
				return // too slow
			}
			if err := send(event); err != nil {
				return
			}
		case <-a.ending:
			return
		}
	}
}
