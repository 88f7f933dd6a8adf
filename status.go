// Status: what a node says of itself, to people and to its peers.

package main

import (
	"context"
	"encoding/json"

	"example.com/raftexample/raft"
)

// nodeStatus is what /-/status answers.
type nodeStatus struct {
	Cluster       hexID          `json:"cluster"`
	ID            uint64         `json:"id"`
	Role          string         `json:"role"`
	Term          uint64         `json:"term"`
	Leader        uint64         `json:"leader"` // 0 if none is known
	Vote          uint64         `json:"vote"`   // 0 if none was given in this term
	Commit        uint64         `json:"commit"`
	Applied       uint64         `json:"applied"`
	FirstIndex    uint64         `json:"firstIndex"`
	LastIndex     uint64         `json:"lastIndex"`
	LastTerm      uint64         `json:"lastTerm"` // of the entry at LastIndex
	SnapshotIndex uint64         `json:"snapshotIndex"`
	Members       []memberStatus `json:"members"`
}

// memberStatus is a member, and on the leader, what it knows of it.
type memberStatus struct {
	member
	Match *uint64 `json:"match,omitempty"`
	Next  *uint64 `json:"next,omitempty"`
	State string  `json:"state,omitempty"`
}

// peerStatus is what GET /raft/status answers on the peer port.
type peerStatus struct {
	nodeStatus
	Incarnation  hexID            `json:"incarnation"`
	Incarnations map[uint64]hexID `json:"incarnations"` // of all the members this one has met
	Removed      []uint64         `json:"removed"`
}

var roleNames = map[raft.StateType]string{
	raft.StateFollower: "follower", raft.StatePreCandidate: "pre-candidate",
	raft.StateCandidate: "candidate", raft.StateLeader: "leader",
}

// status describes this node.
func (n *raftNode) status() nodeStatus {
	rs := n.node.Status()
	first, errFirst := n.storage.FirstIndex()
	last, errLast := n.storage.LastIndex()
	snapshot, errSnap := n.storage.Snapshot()
	if errFirst != nil || errLast != nil || errSnap != nil {
		panic("MemoryStorage gave an error")
	}
	lastTerm, err := n.storage.Term(last)
	if err != nil {
		lastTerm = 0 // that entry has gone meanwhile
	}
	st := nodeStatus{
		Cluster: n.dir.Cluster, ID: n.cfg.id, Role: roleNames[rs.RaftState],
		Term: rs.Term, Leader: rs.Lead, Vote: rs.Vote, Commit: rs.Commit, Applied: n.store.applied.Load(),
		FirstIndex: first, LastIndex: last, LastTerm: lastTerm, SnapshotIndex: snapshot.Metadata.Index,
		Members: []memberStatus{},
	}
	for _, m := range n.members.list() {
		ms := memberStatus{member: m}
		if pr, ok := rs.Progress[m.ID]; ok {
			ms.Match, ms.Next, ms.State = &pr.Match, &pr.Next, pr.State.String()
		}
		if m.ID == n.cfg.id && m.Learner {
			st.Role = "learner"
		}
		st.Members = append(st.Members, ms)
	}
	return st
}

// Status implements rafthttp.Raft.
func (n *raftNode) Status() any {
	return peerStatus{
		nodeStatus: n.status(), Incarnation: n.dir.Incarnation,
		Incarnations: n.dir.incarnations(), Removed: n.members.removedIDs(),
	}
}

// statusOf asks a member for its status.
func (n *raftNode) statusOf(ctx context.Context, m member) (json.RawMessage, error) {
	if m.ID == n.cfg.id {
		return json.Marshal(n.Status())
	}
	return n.transport.FetchStatus(ctx, m.URL)
}
