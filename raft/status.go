// Status: what a node tells of itself.

package raft

import (
	"encoding/json"
	"fmt"
	"strconv"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// Status is a node's state at one moment. It shares nothing with the node.
type Status struct {
	BasicStatus
	Config   tracker.Config              // the configuration in force
	Progress map[uint64]tracker.Progress // on the leader, its record of each member; else nil
}

// BasicStatus is what costs nothing to tell.
type BasicStatus struct {
	ID uint64

	pb.HardState
	SoftState

	Applied        uint64 // the last index the state machine has for certain
	LeadTransferee uint64 // who leadership is being handed to, or None
}

func getBasicStatus(r *raft) BasicStatus {
	return BasicStatus{
		ID:             r.id,
		HardState:      r.hardState(),
		SoftState:      r.softState(),
		Applied:        r.log.applied,
		LeadTransferee: r.leadTransferee,
	}
}

func getStatus(r *raft) Status {
	s := Status{BasicStatus: getBasicStatus(r), Config: r.trk.Config.Clone()}
	if r.role == StateLeader {
		s.Progress = make(map[uint64]tracker.Progress, len(r.peers))
		for _, p := range r.peers {
			pr := *p.pr
			pr.Inflights = p.pr.Inflights.Clone()
			s.Progress[p.id] = pr
		}
	}
	return s
}

// MarshalJSON writes the status as a line of JSON, with ids in hexadecimal.
func (s Status) MarshalJSON() ([]byte, error) {
	type progress struct {
		Match uint64 `json:"match"`
		Next  uint64 `json:"next"`
		State string `json:"state"`
	}
	hex := func(id uint64) string { return strconv.FormatUint(id, 16) }
	members := make(map[string]progress, len(s.Progress))
	for id, pr := range s.Progress {
		members[hex(id)] = progress{Match: pr.Match, Next: pr.Next, State: pr.State.String()}
	}
	return json.Marshal(struct {
		ID             string              `json:"id"`
		Term           uint64              `json:"term"`
		Vote           string              `json:"vote"`
		Commit         uint64              `json:"commit"`
		Lead           string              `json:"lead"`
		RaftState      StateType           `json:"raftState"`
		Applied        uint64              `json:"applied"`
		Progress       map[string]progress `json:"progress"`
		LeadTransferee string              `json:"leadtransferee"`
	}{
		hex(s.ID), s.Term, hex(s.Vote), s.Commit, hex(s.Lead), s.RaftState, s.Applied, members, hex(s.LeadTransferee),
	})
}

// String returns the status as JSON.
func (s Status) String() string {
	b, err := s.MarshalJSON()
	if err != nil {
		return fmt.Sprintf("status of node %x: %v", s.ID, err)
	}
	return string(b)
}
