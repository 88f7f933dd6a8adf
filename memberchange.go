// One change of the membership: what stands against it, and how it happens.
//
//	§6 · diss. ch. 4
//
// Only the leader makes changes, one at a time. Start at changeMember.

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// maxLearnerLag is how far behind a learner may be that is made a voter.
const maxLearnerLag = 1000

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

// changeMember proposes a change, as the leader, and waits until it is applied.
func (n *raftNode) changeMember(ctx context.Context, cc raftpb.ConfChange) error {
	if !n.changes.leading.TryLock() {
		return conflict("another change is under way")
	}
	defer n.changes.leading.Unlock()

	st := n.node.Status()
	term, err := n.storage.Term(st.Applied)
	switch {
	case st.RaftState != raft.StateLeader:
		return errLeaderChanging
	case err != nil || term != st.Term:
		// A change of a former leader's may be among what is not applied yet, and Raft
		// would put an empty entry in place of ours.
		return &apiError{status: http.StatusServiceUnavailable, reason: "the leader has only begun"}
	case n.confIndex.Load() > st.Applied:
		return conflict("another change is under way")
	}
	if err := n.validateChange(ctx, &cc, st); err != nil {
		return err
	}

	id, applied := n.changes.enter()
	defer n.changes.leave(id)
	cc.ID = id
	if err := n.node.ProposeConfChange(ctx, cc); errors.Is(err, raft.ErrProposalDropped) {
		return errDropped
	} else if err != nil {
		return &apiError{status: http.StatusGatewayTimeout, reason: fmt.Sprintf("the change may or may not happen: %v", err)}
	}
	select {
	case <-applied:
		return nil
	case <-n.done:
	case <-ctx.Done():
	}
	return &apiError{status: http.StatusGatewayTimeout, reason: "the change was proposed, and not seen applied in time: it may or may not happen"}
}

// validateChange says what stands against a change, if anything.
func (n *raftNode) validateChange(ctx context.Context, cc *raftpb.ConfChange, st raft.Status) error {
	m, known := n.members.get(cc.NodeID)
	url := string(cc.Context)
	if url != "" {
		for _, other := range n.members.list() {
			if other.URL == url && other.ID != cc.NodeID {
				return conflict("%s is the URL of member %d", url, other.ID)
			}
		}
		if size := len(n.members.save()) + len(url); size > maxSavedMembership/2 { // the rest is for removals
			return conflict("the list of members has %d bytes with this one, and snapshots have no room for more", size)
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
			if url == m.URL || m.Learner {
				return nil
			}
		}
	default:
		switch promote := known && m.Learner && cc.Type == raftpb.ConfChangeAddNode; {
		case n.members.isRemoved(cc.NodeID):
			return conflict("member %d was removed before, and an id is never used again: take a new one", cc.NodeID)
		case known && !promote:
			return conflict("member %d exists", cc.NodeID)
		case promote:
			switch pr := st.Progress[cc.NodeID]; {
			case pr.Match+maxLearnerLag < st.Commit:
				return conflict("learner %d is %d entries behind: wait until it has caught up", cc.NodeID, st.Commit-pr.Match)
			case pr.Match == 0:
				return conflict("learner %d was not heard from yet: start it, and wait until it has caught up", cc.NodeID)
			}
		case url == "":
			return badRequest("the body is the new member's peer URL")
		}
	}
	st = n.statusWhen(ctx, func(st raft.Status) bool {
		return st.RaftState != raft.StateLeader || keepsQuorum(cc, st, m) == nil
	})
	if st.RaftState != raft.StateLeader {
		return errLeaderChanging
	}
	return keepsQuorum(cc, st, m)
}

// errLeaderChanging is for what only a leader can do, on a node that has just
// ceased to be one.
var errLeaderChanging = &apiError{status: http.StatusServiceUnavailable, reason: "the leader is changing"}

// statusWhen returns Raft's status when it will do, or after three heartbeats as it
// then is. Once per election timeout a leader begins anew to note whom it hears
// from (diss. §6.2), and for a round trip its status shows nobody.
func (n *raftNode) statusWhen(ctx context.Context, willDo func(raft.Status) bool) (st raft.Status) {
	ctx, cancel := context.WithTimeout(ctx, 3*heartbeatTicks*tickInterval)
	defer cancel()
	waitUntil(ctx, func() bool {
		st = n.node.Status()
		return willDo(st)
	})
	return st
}

// keepsQuorum refuses a change after which the voters that the leader has heard
// from would be no majority: nothing could be committed any more, not even the
// change back.
func keepsQuorum(cc *raftpb.ConfChange, st raft.Status, m member) error {
	heardFrom := func(id uint64) bool {
		pr := st.Progress[id]
		return id == st.ID || pr.RecentActive && pr.Match > 0 // Raft takes new members for active at first
	}
	voters := map[uint64]bool{} // and whether it was heard from
	for id := range st.Config.Voters[0] {
		voters[id] = heardFrom(id)
	}
	advice := ""
	switch cc.Type {
	case raftpb.ConfChangeAddNode:
		voters[cc.NodeID] = m.Learner && heardFrom(cc.NodeID)
		advice = "; a new member is best added as a learner, started, and then promoted"
	case raftpb.ConfChangeRemoveNode:
		delete(voters, cc.NodeID)
	case raftpb.ConfChangeUpdateNode:
		voters[cc.NodeID] = len(voters) == 1 // nobody else need find it; else not until it is there, if it ever is
		advice = "; where they are so few, add a new member at that URL and remove this one"
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
		return conflict("only %d of the %d voters there would be are heard from, which is no majority%s", active, len(voters), advice)
	}
	return nil
}
