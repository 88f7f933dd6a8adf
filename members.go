// Changing the membership: /-/members and /-/leader.
//
//	§6 · diss. ch. 4, §3.10 (transfer)
//
// The leader makes changes, one at a time; other nodes pass a request on to it,
// once. Start at registerMembers; memberchange.go has the leader's part.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// hopsHeader marks a request that another node has passed on.
const hopsHeader = "Raft-Hops"

// registerMembers adds the routes for members and leadership.
func (a *api) registerMembers(r *mux.Router) {
	r.Path("/members").HandlerFunc(a.only(func(w http.ResponseWriter, _ *http.Request) {
		a.writeJSON(w, a.node.members.list())
	}, http.MethodGet, http.MethodHead))
	r.Path("/members/{id}").HandlerFunc(a.only(a.timed(a.member), http.MethodPost, http.MethodPut, http.MethodDelete))
	change := a.timed(a.moveLeader)
	r.Path("/leader").HandlerFunc(a.only(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPut {
			change(w, req)
			return
		}
		a.leader(w, req)
	}, http.MethodGet, http.MethodHead, http.MethodPut))
}

// isMember reports whether a key is the id of a member. Who comes from etcd's
// raftexample may mean that.
func (a *api) isMember(key string) bool {
	id, err := strconv.ParseUint(key, 10, 64)
	if err != nil {
		return false
	}
	_, known := a.node.members.get(id)
	return known
}

// memberCommands says how members are changed, to who may have meant the key to be
// the id of one.
func memberCommands(req *http.Request, key string) string {
	id, err := strconv.ParseUint(key, 10, 64)
	if err != nil {
		key = "ID"
	} else {
		key = strconv.FormatUint(id, 10)
	}
	member := "http://" + req.Host + "/-/members/" + key
	return fmt.Sprintf("a member is added with: curl -L %q -XPOST -d PEER-URL, and removed with: curl -L %q -XDELETE", member+"?learner", member)
}

// member changes one member. 204 means that the change is committed and in force
// on the leader and here.
func (a *api) member(_ context.Context, w http.ResponseWriter, req *http.Request) {
	id, err := strconv.ParseUint(mux.Vars(req)["id"], 10, 64)
	if err != nil || !validID(id) {
		a.fail(w, badRequest("a member's id is a positive integer up to %d, not %q", uint64(maxID), mux.Vars(req)["id"]))
		return
	}
	body, err := readSmall(w, req, 4096)
	if err != nil {
		a.fail(w, err)
		return
	}
	cc := raftpb.ConfChange{NodeID: id}
	switch req.Method {
	case http.MethodDelete:
		cc.Type = raftpb.ConfChangeRemoveNode
	case http.MethodPut:
		cc.Type = raftpb.ConfChangeUpdateNode
	case http.MethodPost:
		cc.Type = raftpb.ConfChangeAddNode
		if req.URL.Query().Has("learner") {
			cc.Type = raftpb.ConfChangeAddLearnerNode
		}
	}
	if text := strings.TrimSpace(string(body)); text != "" && cc.Type != raftpb.ConfChangeRemoveNode {
		url, err := parsePeerURL(text)
		if err != nil {
			a.fail(w, badRequest("%v", err))
			return
		}
		cc.Context = []byte(url)
	}
	a.led(w, req, body, func(ctx context.Context) error { return a.node.changeMember(ctx, cc) }, func() bool {
		m, known := a.node.members.get(id)
		switch cc.Type {
		case raftpb.ConfChangeRemoveNode:
			return !known
		case raftpb.ConfChangeUpdateNode:
			return known && m.URL == string(cc.Context)
		default:
			return known && m.Learner == (cc.Type == raftpb.ConfChangeAddLearnerNode)
		}
	})
}

// moveLeader hands leadership over. 204 means that the new leader is known.
func (a *api) moveLeader(_ context.Context, w http.ResponseWriter, req *http.Request) {
	body, err := readSmall(w, req, 64)
	if err != nil {
		a.fail(w, err)
		return
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(body)), 10, 64)
	if err != nil || id == 0 {
		a.fail(w, badRequest("the body is a member's id, a positive integer"))
		return
	}
	a.led(w, req, body, func(ctx context.Context) error { return a.node.transfer(ctx, id) }, func() bool { return a.node.Leader() == id })
}

// led does something if this node leads, or passes the request on to the leader and
// waits until this node has seen the outcome, too.
func (a *api) led(w http.ResponseWriter, req *http.Request, body []byte, do func(context.Context) error, seen func() bool) {
	ctx := a.deadlines.from(time.Now()) // what a slow sender took is not the cluster's
	lead := a.node.Leader()
	switch {
	case lead == raft.None:
		a.fail(w, errNoLeader)
		return
	case lead != a.node.cfg.id && req.Header.Get(hopsHeader) != "":
		a.fail(w, errLeaderChanging)
		return
	case lead != a.node.cfg.id:
		a.passOn(ctx, w, req, lead, body, seen)
		return
	}
	if err := do(ctx); err != nil {
		a.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// passOn sends a request to the leader's peer port, which takes these as well,
// and its answer back.
func (a *api) passOn(ctx context.Context, w http.ResponseWriter, req *http.Request, lead uint64, body []byte, seen func() bool) {
	leader, ok := a.node.members.get(lead)
	if !ok {
		a.fail(w, &apiError{status: http.StatusServiceUnavailable, reason: fmt.Sprintf("the address of the leader, %d, is not known here", lead)})
		return
	}
	out, err := http.NewRequestWithContext(ctx, req.Method, leader.URL+req.URL.RequestURI(), strings.NewReader(string(body)))
	if err != nil {
		a.fail(w, err)
		return
	}
	out.Header.Set(hopsHeader, "1")
	a.node.transport.Sign(out, lead)
	resp, err := a.node.peerClient.Do(out)
	if err != nil {
		a.fail(w, &apiError{status: http.StatusGatewayTimeout, reason: fmt.Sprintf("the leader did not answer: %v", err)})
		return
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	err = errors.Join(err, resp.Body.Close())
	switch {
	case err != nil:
		a.fail(w, &apiError{status: http.StatusGatewayTimeout, reason: err.Error()})
	case resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusGone: // what it says to peers
		a.fail(w, &apiError{status: http.StatusServiceUnavailable, reason: "refused by the leader: " + strings.TrimSpace(string(answer))})
	case resp.StatusCode != http.StatusNoContent:
		a.fail(w, &apiError{status: resp.StatusCode, reason: strings.TrimSpace(string(answer))})
	case !waitUntil(ctx, seen):
		a.fail(w, &apiError{status: http.StatusGatewayTimeout, reason: "the leader has made the change; this node has not seen it yet"})
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func conflict(format string, args ...any) error {
	return &apiError{status: http.StatusConflict, reason: fmt.Sprintf(format, args...)}
}
