// What a node tells of itself.

package raft

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// Every node knows its own state; only a leader keeps a record of the others.
func TestStatusOfLeaderAndFollower(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.elect(1)
	if err := g.nodes[1].Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	g.settle()

	leader := g.nodes[1].Status()
	want := BasicStatus{
		ID: 1, HardState: pb.HardState{Term: 1, Vote: 1, Commit: 2},
		SoftState: SoftState{Lead: 1, RaftState: StateLeader}, Applied: 2,
	}
	if leader.BasicStatus != want {
		t.Errorf("%+v, want %+v", leader.BasicStatus, want)
	}
	if got := slices.Sorted(maps.Keys(leader.Progress)); !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("records of %v", got)
	}
	for id, pr := range leader.Progress {
		if pr.Match != 2 || pr.State != tracker.StateReplicate || pr.Inflights == nil {
			t.Errorf("record of %d: %+v", id, pr)
		}
	}
	if got := leader.Config.String(); got != "voters=(1 2 3)" {
		t.Errorf("configuration %s", got)
	}

	follower := g.nodes[2].Status()
	want.ID, want.RaftState = 2, StateFollower
	if follower.BasicStatus != want {
		t.Errorf("%+v, want %+v", follower.BasicStatus, want)
	}
	if follower.Progress != nil {
		t.Errorf("a follower has records: %v", follower.Progress)
	}
	if got := g.nodes[2].BasicStatus(); got != want {
		t.Errorf("BasicStatus %+v", got)
	}
}

// A status shows who votes while a configuration is joint; that it is left automatically
// it never shows, as in the library that this one stands in for.
func TestStatusOfAJointConfiguration(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.ApplyConfChange(v2(pb.ConfChangeTransitionAuto, "v4 l3"))
	if got, want := n.Status().Config.String(), "voters=(1 2 4)&&(1 2 3) learners_next=(3)"; got != want || !n.raft.trk.AutoLeave {
		t.Errorf("%s, want %s", got, want)
	}
}

// A status is of one moment: nothing that is done with it reaches the node.
func TestStatusSharesNothing(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.elect(1)
	before := g.nodes[1].Status()
	s := g.nodes[1].Status()
	for id, pr := range s.Progress {
		pr.Match = 77
		pr.Inflights.Add(99, 1)
		s.Progress[id] = pr
		delete(s.Config.Voters[0], id)
	}
	if after := g.nodes[1].Status(); !reflect.DeepEqual(after, before) {
		t.Errorf("changing a status has changed the node: %+v, was %+v", after, before)
	}
	for id, pr := range g.nodes[1].raft.trk.Progress {
		if pr.Inflights.Count() > 0 {
			t.Errorf("changing a status has changed the window of %d", id)
		}
	}
}

// In JSON ids are hexadecimal, as in logs.
func TestStatusJSON(t *testing.T) {
	s := Status{
		BasicStatus: BasicStatus{
			ID: 0x1a, HardState: pb.HardState{Term: 2, Vote: 0x1a, Commit: 3},
			SoftState: SoftState{Lead: 0xff, RaftState: StateFollower}, Applied: 3, LeadTransferee: 0x10,
		},
	}
	const want = `{"id":"1a","term":2,"vote":"1a","commit":3,"lead":"ff","raftState":"StateFollower",` +
		`"applied":3,"progress":{},"leadtransferee":"10"}`
	if got := s.String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}

	s = Status{
		BasicStatus: BasicStatus{
			ID: 1, HardState: pb.HardState{Term: 2, Vote: 1, Commit: 3},
			SoftState: SoftState{Lead: 1, RaftState: StateLeader}, Applied: 3,
		},
		Progress: map[uint64]tracker.Progress{
			1:    {Match: 3, Next: 4, State: tracker.StateReplicate},
			0x1b: {Next: 1, State: tracker.StateProbe},
		},
	}
	const wantLeader = `{"id":"1","term":2,"vote":"1","commit":3,"lead":"1","raftState":"StateLeader","applied":3,` +
		`"progress":{"1":{"match":3,"next":4,"state":"StateReplicate"},"1b":{"match":0,"next":1,"state":"StateProbe"}},` +
		`"leadtransferee":"0"}`
	got, err := json.Marshal(s)
	if err != nil || string(got) != wantLeader {
		t.Errorf("%s, %v, want %s", got, err, wantLeader)
	}
	if s.String() != wantLeader {
		t.Errorf("as text: %s", s)
	}
}

// Every node can list the members, in the order of their ids; the list is a copy, and
// has no windows.
func TestWithProgress(t *testing.T) {
	s := NewMemoryStorage()
	s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{5, 1, 3}, Learners: []uint64{4, 2}}
	n := restart(t, s, nil)
	var got []string
	n.WithProgress(func(id uint64, typ ProgressType, pr tracker.Progress) {
		if pr.Inflights != nil || pr.Next != n.raft.trk.Progress[id].Next {
			t.Errorf("record of %d: %+v", id, pr)
		}
		pr.Match = 99
		got = append(got, fmt.Sprintf("%d:%d", id, typ))
	})
	want := fmt.Sprintf("[1:%d 2:%d 3:%d 4:%d 5:%[1]d]", ProgressTypePeer, ProgressTypeLearner, ProgressTypePeer, ProgressTypeLearner)
	if fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	if n.raft.trk.Progress[1].Match == 99 {
		t.Error("the visitor has changed the node")
	}
}

func TestNamesOfRoles(t *testing.T) {
	for role, want := range []string{"StateFollower", "StateCandidate", "StateLeader", "StatePreCandidate", "StateType(4)"} {
		got, err := json.Marshal(StateType(role))
		if StateType(role).String() != want || string(got) != `"`+want+`"` || err != nil {
			t.Errorf("%v, in JSON %s, %v; want %s", StateType(role), got, err, want)
		}
	}
	if StateFollower != 0 || StateCandidate != 1 || StateLeader != 2 || StatePreCandidate != 3 {
		t.Error("the constants have moved")
	}
}
