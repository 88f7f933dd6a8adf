// Changing the membership: /-/members and /-/leader.
//
//	§6 · diss. ch. 4, §3.10 (transfer)
//
// The leader makes changes, one at a time; other nodes pass a request on to it,
// once. Start at registerMembers, then changeMember.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/wal"
)

// maxLearnerLag is how far behind a learner may be that is made a voter.
const maxLearnerLag = 1000

// hopsHeader marks a request that another node has passed on.
const hopsHeader = "Raft-Hops"

// changeWaiters are those who wait for a change of the membership to be applied.
type changeWaiters struct {
	leading sync.Mutex // held by the change that this node leads
	mu      sync.Mutex
	waiting map[uint64]chan struct{} // by the change's id
}

func (c *changeWaiters) enter() (id uint64, applied chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = map[uint64]chan struct{}{}
	}
	id, applied = rand.Uint64(), make(chan struct{})
	c.waiting[id] = applied
	return id, applied
}

func (c *changeWaiters) leave(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// answer wakes those whose changes were applied.
func (c *changeWaiters) answer(ids []uint64) {
	if len(ids) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if applied := c.waiting[id]; applied != nil {
			close(applied)
			delete(c.waiting, id)
		}
	}
}

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

// member changes one member. 204 means that the change is committed and in force
// on the leader and here.
func (a *api) member(ctx context.Context, w http.ResponseWriter, req *http.Request) {
	id, err := strconv.ParseUint(mux.Vars(req)["id"], 10, 64)
	if err != nil || id == 0 {
		a.fail(w, badRequest("a member's id is a positive integer, not %q", mux.Vars(req)["id"]))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 4096))
	if err != nil {
		a.fail(w, badRequest("read the peer URL: %v", err))
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
	a.led(ctx, w, req, body, func(ctx context.Context) error { return a.node.changeMember(ctx, cc) }, func() bool {
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
func (a *api) moveLeader(ctx context.Context, w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 64))
	if err != nil {
		a.fail(w, badRequest("read the id: %v", err))
		return
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(body)), 10, 64)
	if err != nil || id == 0 {
		a.fail(w, badRequest("the body is a member's id, a positive integer"))
		return
	}
	a.led(ctx, w, req, body, func(ctx context.Context) error { return a.node.transfer(ctx, id) }, func() bool { return a.node.Leader() == id })
}

// led does something if this node leads, or passes the request on to the leader and
// waits until this node has seen the outcome, too.
func (a *api) led(ctx context.Context, w http.ResponseWriter, req *http.Request, body []byte, do func(context.Context) error, seen func() bool) {
	lead := a.node.Leader()
	switch {
	case lead == raft.None:
		a.fail(w, errNoLeader)
		return
	case lead != a.node.cfg.id && req.Header.Get(hopsHeader) != "":
		a.fail(w, &apiError{status: http.StatusServiceUnavailable, reason: "the leader is changing"})
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
	case resp.StatusCode != http.StatusNoContent:
		a.fail(w, &apiError{status: resp.StatusCode, reason: strings.TrimSpace(string(answer))})
	case !waitUntil(ctx, seen):
		a.fail(w, &apiError{status: http.StatusGatewayTimeout, reason: "the leader has made the change; this node has not seen it yet"})
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// waitUntil waits for something that happens seldom enough to look for it. It
// returns false if ctx ends first.
func waitUntil(ctx context.Context, is func() bool) bool {
	for ctx.Err() == nil {
		if is() {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

func conflict(format string, args ...any) error {
	return &apiError{status: http.StatusConflict, reason: fmt.Sprintf(format, args...)}
}

// changeMember proposes a change, as the leader, and waits until it is applied.
func (n *raftNode) changeMember(ctx context.Context, cc raftpb.ConfChange) error {
	if !n.changes.leading.TryLock() {
		return conflict("another change is under way")
	}
	defer n.changes.leading.Unlock()

	st := n.node.Status()
	switch {
	case st.RaftState != raft.StateLeader:
		return &apiError{status: http.StatusServiceUnavailable, reason: "the leader is changing"}
	case n.store.lastTerm() != st.Term:
		// A change of a former leader's may be among what is not applied yet, and Raft
		// would put an empty entry in place of ours.
		return &apiError{status: http.StatusServiceUnavailable, reason: "the leader has only begun"}
	case n.confIndex.Load() > n.confApplied.Load():
		return conflict("another change is under way")
	}
	if err := n.validateChange(&cc, st); err != nil {
		return err
	}

	id, applied := n.changes.enter()
	defer n.changes.leave(id)
	cc.ID = id
	if err := n.node.ProposeConfChange(ctx, cc); err != nil {
		return &apiError{status: http.StatusGatewayTimeout, reason: fmt.Sprintf("the change may or may not happen: %v", err)}
	}
	select {
	case <-applied:
		return nil
	case <-n.done:
		if cc.Type == raftpb.ConfChangeRemoveNode && cc.NodeID == n.cfg.id {
			return nil
		}
	case <-ctx.Done():
	}
	return &apiError{status: http.StatusGatewayTimeout, reason: "the change was proposed, and not seen applied in time: it may or may not happen"}
}

// validateChange says what stands against a change, if anything.
func (n *raftNode) validateChange(cc *raftpb.ConfChange, st raft.Status) error {
	m, known := n.members.get(cc.NodeID)
	url := string(cc.Context)
	if url != "" {
		for _, other := range n.members.list() {
			if other.URL == url && other.ID != cc.NodeID {
				return conflict("%s is the URL of member %d", url, other.ID)
			}
		}
	}
	switch cc.Type {
	case raftpb.ConfChangeRemoveNode, raftpb.ConfChangeUpdateNode:
		if !known {
			return &apiError{status: http.StatusNotFound, reason: fmt.Sprintf("there is no member %d", cc.NodeID)}
		}
		if cc.Type == raftpb.ConfChangeUpdateNode {
			if url == "" {
				return badRequest("the body is the member's new peer URL")
			}
			return nil
		}
	default:
		switch promote := known && m.Learner && cc.Type == raftpb.ConfChangeAddNode; {
		case n.members.isRemoved(cc.NodeID):
			return conflict("member %d was removed before, and an id is never used again: take a new one", cc.NodeID)
		case known && !promote:
			return conflict("member %d exists", cc.NodeID)
		case promote:
			if pr := st.Progress[cc.NodeID]; pr.Match+maxLearnerLag < st.Commit {
				return conflict("learner %d is %d entries behind: wait until it has caught up", cc.NodeID, st.Commit-pr.Match)
			}
		case url == "":
			return badRequest("the body is the new member's peer URL")
		}
	}
	return keepsQuorum(cc, st, m)
}

// keepsQuorum refuses a change after which the voters that the leader has heard
// from would be no majority: nothing could be committed any more, not even the
// change back.
func keepsQuorum(cc *raftpb.ConfChange, st raft.Status, m member) error {
	voters := map[uint64]bool{} // and whether it was heard from
	for id := range st.Config.Voters[0] {
		voters[id] = id == st.ID || st.Progress[id].RecentActive
	}
	switch cc.Type {
	case raftpb.ConfChangeAddNode:
		voters[cc.NodeID] = m.Learner && st.Progress[cc.NodeID].RecentActive
	case raftpb.ConfChangeRemoveNode:
		delete(voters, cc.NodeID)
	}
	active := 0
	for _, heard := range voters {
		if heard {
			active++
		}
	}
	switch {
	case len(voters) == 0:
		return conflict("member %d is the last voter", cc.NodeID)
	case active <= len(voters)/2:
		return conflict("only %d of the %d voters there would be are heard from, which is no majority; "+
			"a new member is best added as a learner, started, and then promoted", active, len(voters))
	}
	return nil
}

// transfer hands leadership to a member and waits until it is known to lead.
func (n *raftNode) transfer(ctx context.Context, id uint64) error {
	m, known := n.members.get(id)
	switch {
	case !known:
		return conflict("there is no member %d", id)
	case m.Learner:
		return conflict("member %d is a learner, and cannot lead", id)
	}
	n.node.TransferLeadership(ctx, n.cfg.id, id)
	ctx, cancel := context.WithTimeout(ctx, 2*electionTimeout)
	defer cancel()
	if waitUntil(ctx, func() bool { return n.Leader() == id }) {
		return nil
	}
	return &apiError{status: http.StatusGatewayTimeout, reason: fmt.Sprintf("member %d did not become the leader in time", id)}
}

// rewriteForNewCluster appends to the log what makes this member the only one:
// the removal of all others, in a term of its own. Entries that were not known
// to be committed are kept: some may have been acknowledged.
func (n *raftNode) rewriteForNewCluster(rec *wal.Recovery) error {
	last := raftpb.Entry{Index: rec.Snapshot.Index, Term: rec.Snapshot.Term}
	if len(rec.Entries) > 0 {
		last = rec.Entries[len(rec.Entries)-1]
	}
	others, err := n.membersIn(rec)
	if err != nil {
		return err
	}
	term := max(rec.HardState.Term, last.Term) + 1
	var added []raftpb.Entry
	change := func(cc raftpb.ConfChange) error {
		data, err := cc.Marshal()
		last.Index++
		added = append(added, raftpb.Entry{Term: term, Index: last.Index, Type: raftpb.EntryConfChange, Data: data})
		return err
	}
	errs := []error{change(raftpb.ConfChange{Type: raftpb.ConfChangeAddNode, NodeID: n.cfg.id, Context: []byte(n.cfg.ownURL())})}
	for _, id := range others {
		if id != n.cfg.id {
			errs = append(errs, change(raftpb.ConfChange{Type: raftpb.ConfChangeRemoveNode, NodeID: id}))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	rec.HardState = raftpb.HardState{Term: term, Vote: n.cfg.id, Commit: last.Index}
	rec.Entries = append(rec.Entries, added...)
	if err := n.wal.Save(rec.HardState, added, raftpb.SnapshotMetadata{}, true); err != nil {
		return err
	}
	n.logger.Warn("this member is a cluster of its own now: what the others had acknowledged and this one had not received is lost",
		"node", n.cfg.id, "cluster", n.dir.Cluster, "removed", len(added)-1, "last", last.Index)
	return nil
}

// membersIn returns the ids of the members that a recovered log ends with.
func (n *raftNode) membersIn(rec *wal.Recovery) ([]uint64, error) {
	ids := map[uint64]bool{}
	cs := rec.Snapshot.ConfState
	for _, id := range append(append([]uint64(nil), cs.Voters...), cs.Learners...) {
		ids[id] = true
	}
	for i := range rec.Entries {
		if rec.Entries[i].Type != raftpb.EntryConfChange {
			continue
		}
		var cc raftpb.ConfChange
		if err := cc.Unmarshal(rec.Entries[i].Data); err != nil {
			return nil, err
		}
		if cc.Type == raftpb.ConfChangeRemoveNode {
			delete(ids, cc.NodeID)
		} else {
			ids[cc.NodeID] = true
		}
	}
	list := make([]uint64, 0, len(ids))
	for id := range ids {
		list = append(list, id)
	}
	return list, nil
}
