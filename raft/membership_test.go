// Changes of membership: one at a time, and what follows from each.
//
//	§6 · diss. §4.1, §4.2.2 (a leader that is removed)

package raft

import (
	"errors"
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
	"github.com/google/go-cmp/cmp"
)

// §6, diss. §4.1: one change of membership at a time; one that comes too early is
// an empty entry in its place.
func TestOneChangeAtATime(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.lead(t)
	change := func(id uint64) pb.EntryType {
		if err := n.ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: id}); err != nil {
			t.Fatal(err)
		}
		n.drain(t)
		return n.storage.ents[len(n.storage.ents)-1].Type
	}
	if got := change(4); got != pb.EntryNormal {
		t.Error("a new leader may have a change in its log that is not applied, and took another")
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: n.raft.log.lastIndex()})
	if got := change(4); got != pb.EntryConfChange {
		t.Errorf("with nothing pending: %v", got)
	}
	if got := change(5); got != pb.EntryNormal {
		t.Errorf("with a change pending: %v", got)
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: n.raft.log.lastIndex()})
	if got := change(5); got != pb.EntryConfChange {
		t.Errorf("with the change applied: %v", got)
	}
}

// A new leader that has applied all that its log held need not wait for its own first
// entry: a change has no effect before that is committed, too.
func TestNewLeaderWithNothingPending(t *testing.T) {
	n := nodeWith(t, 1, 1, 1)
	n.lead(t) // entry 2 is not committed
	if err := n.ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4}); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	if got := n.entryAt(3).Type; got != pb.EntryConfChange {
		t.Errorf("it became %v", got)
	}
}

// A leader that is removed steps down if it was told to, or else stays and counts
// itself no more (§6).
func TestRemovedLeader(t *testing.T) {
	for _, stepDown := range []bool{true, false} {
		g := newGroup(t, 3, func(c *Config) { c.StepDownOnRemoval = stepDown })
		g.elect(1)
		if err := g.nodes[1].ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1}); err != nil {
			t.Fatal(err)
		}
		g.settle()
		want := StateLeader
		if stepDown {
			want = StateFollower
		}
		if role := g.nodes[1].raft.role; role != want {
			t.Errorf("step down %t: %v", stepDown, role)
		}
		if err := g.nodes[1].Propose([]byte("x")); !errors.Is(err, ErrProposalDropped) {
			t.Errorf("step down %t: a proposal: %v", stepDown, err)
		}
	}
}

func v2(transition pb.ConfChangeTransition, text string) pb.ConfChangeV2 {
	changes, err := pb.ConfChangesFromString(text)
	if err != nil {
		panic(err)
	}
	return pb.ConfChangeV2{Transition: transition, Changes: changes}
}

// A change takes effect when it is applied: being appended, or committed, changes
// nothing. The user hears the outcome, sorted.
func TestChangeTakesEffectWhenApplied(t *testing.T) {
	n := leaderOf(t, nil)
	if err := n.ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4}); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	n.do(t, rd)
	mustStep(t, n, acked(2, 2, 3))
	if rd = n.Ready(); len(rd.CommittedEntries) != 1 || rd.CommittedEntries[0].Type != pb.EntryConfChange {
		t.Fatalf("%s", DescribeReady(rd, nil))
	}
	if got := n.raft.trk.ConfState().Voters; len(got) != 3 {
		t.Errorf("committed and not applied, the voters are %v", got)
	}
	cs := n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4})
	if diff := cmp.Diff(&pb.ConfState{Voters: []uint64{1, 2, 3, 4}}, cs); diff != "" {
		t.Error(diff)
	}
	if n.raft.log.applied == 3 {
		t.Error("applied before Advance")
	}
}

// What ApplyConfChange makes of each change; one that was rejected, and one that says
// what is so already, change nothing. One that cannot be made is a bug and panics.
func TestApplyConfChange(t *testing.T) {
	auto, implicit, explicit := pb.ConfChangeTransitionAuto, pb.ConfChangeTransitionJointImplicit, pb.ConfChangeTransitionJointExplicit
	joint := v2(explicit, "v4 r3")
	for _, tt := range []struct {
		name    string
		changes []pb.ConfChangeI
		want    string // "" for a panic
	}{
		{"a voter", []pb.ConfChangeI{pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4}}, "voters=(1 2 3 4)"},
		{"a pointer to a change", []pb.ConfChangeI{&pb.ConfChange{Type: pb.ConfChangeAddLearnerNode, NodeID: 4}}, "voters=(1 2 3) learners=(4)"},
		{"removed", []pb.ConfChangeI{v2(auto, "r2")}, "voters=(1 3)"},
		{"rejected by the user", []pb.ConfChangeI{pb.ConfChange{Type: pb.ConfChangeRemoveNode}}, "voters=(1 2 3)"},
		{"updated", []pb.ConfChangeI{pb.ConfChange{Type: pb.ConfChangeUpdateNode, NodeID: 2}}, "voters=(1 2 3)"},
		{"a voter again", []pb.ConfChangeI{v2(auto, "v2")}, "voters=(1 2 3)"},
		{"an unknown one removed", []pb.ConfChangeI{v2(auto, "r9")}, "voters=(1 2 3)"},
		{"a learner promoted", []pb.ConfChangeI{v2(auto, "l4"), v2(auto, "v4")}, "voters=(1 2 3 4)"},
		{"a voter demoted", []pb.ConfChangeI{v2(auto, "l3")}, "voters=(1 2) learners=(3)"},
		{"two at once", []pb.ConfChangeI{v2(auto, "v4 r3")}, "voters=(1 2 4)&&(1 2 3) autoleave"},
		{"one, jointly", []pb.ConfChangeI{v2(implicit, "v4")}, "voters=(1 2 3 4)&&(1 2 3) autoleave"},
		{"to be left by the user", []pb.ConfChangeI{joint}, "voters=(1 2 4)&&(1 2 3)"},
		{"left by a zero change", []pb.ConfChangeI{joint, pb.ConfChangeV2{}}, "voters=(1 2 4)"},
		{"left by a zero change with a context", []pb.ConfChangeI{joint, pb.ConfChangeV2{Context: []byte("c")}}, "voters=(1 2 4)"},
		{"demoted jointly: a voter until it is left", []pb.ConfChangeI{v2(explicit, "l3")}, "voters=(1 2)&&(1 2 3) learners_next=(3)"},
		{"and a learner then", []pb.ConfChangeI{v2(explicit, "l3"), pb.ConfChangeV2{}}, "voters=(1 2) learners=(3)"},
		{"leaving what is not joint", []pb.ConfChangeI{pb.ConfChangeV2{}}, ""},
		{"joint twice", []pb.ConfChangeI{joint, joint}, ""},
		{"a simple change while joint", []pb.ConfChangeI{joint, v2(auto, "v5")}, ""},
		{"all voters removed", []pb.ConfChangeI{v2(explicit, "r1 r2 r3")}, ""},
		{"nothing at all", []pb.ConfChangeI{nil}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := nodeWith(t, 1, 0, 1)
			apply := func() {
				for _, c := range tt.changes {
					cs := n.ApplyConfChange(c)
					if err := cs.Equivalent(n.raft.trk.ConfState()); err != nil {
						t.Errorf("the answer is not what is in force: %v", err)
					}
				}
			}
			if tt.want == "" {
				mustPanic(t, tt.name, apply)
				return
			}
			apply()
			if got := n.raft.trk.Config.String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// diss. §4.1, §4.3: what a leader refuses: a second change, in a proposal of its own or
// in the same; in a joint configuration anything but leaving it, and leaving when there
// is none. A refused change is an empty entry in its place. Validation can be turned off.
func TestRefusedChanges(t *testing.T) {
	add, leave := v2(pb.ConfChangeTransitionAuto, "v9"), pb.ConfChangeV2{}
	for _, tt := range []struct {
		name    string
		joint   bool
		propose []pb.ConfChangeI
		types   []pb.EntryType
	}{
		{"one", false, []pb.ConfChangeI{add}, []pb.EntryType{pb.EntryConfChangeV2}},
		{"two at once", false, []pb.ConfChangeI{add, add}, []pb.EntryType{pb.EntryConfChangeV2, pb.EntryNormal}},
		{"leaving what is not joint", false, []pb.ConfChangeI{leave}, []pb.EntryType{pb.EntryNormal}},
		{"a refused one takes no place", false, []pb.ConfChangeI{leave, add}, []pb.EntryType{pb.EntryNormal, pb.EntryConfChangeV2}},
		{"while joint", true, []pb.ConfChangeI{add}, []pb.EntryType{pb.EntryNormal}},
		{"leaving while joint", true, []pb.ConfChangeI{leave}, []pb.EntryType{pb.EntryConfChangeV2}},
	} {
		for _, disabled := range []bool{false, true} {
			n := leaderOf(t, func(c *Config) { c.DisableConfChangeValidation = disabled })
			if tt.joint {
				n.ApplyConfChange(v2(pb.ConfChangeTransitionJointExplicit, "v4"))
			}
			m := pb.Message{Type: pb.MsgProp, From: 1}
			for _, c := range tt.propose {
				kind, data := marshalled(t, c)
				m.Entries = append(m.Entries, pb.Entry{Type: kind, Data: data})
			}
			proposed := slices.Clone(m.Entries)
			n.step(t, m)
			if diff := cmp.Diff(proposed, m.Entries); diff != "" {
				t.Errorf("%s: the proposer's entries were written to: %s", tt.name, diff)
			}
			for i, want := range tt.types {
				if disabled {
					want = m.Entries[i].Type
				}
				e := n.entryAt(3 + uint64(i))
				if e.Type != want || want == pb.EntryNormal && e.Data != nil {
					t.Errorf("%s, validation off %t: entry %d is %v", tt.name, disabled, i, e)
				}
			}
		}
	}
}

// A change that cannot be read could not be applied either: no validation lets it in, and a
// leader does not stop over what a peer forwards.
func TestUnreadableChangeIsRefused(t *testing.T) {
	for _, disabled := range []bool{false, true} {
		for _, kind := range []pb.EntryType{pb.EntryConfChange, pb.EntryConfChangeV2} {
			n := leaderOf(t, func(c *Config) { c.DisableConfChangeValidation = disabled })
			n.step(t, pb.Message{Type: pb.MsgProp, From: 2, To: 1, Entries: []pb.Entry{{Type: kind, Data: []byte("no change")}}})
			if e := n.entryAt(3); e.Type != pb.EntryNormal || e.Data != nil {
				t.Errorf("%v, validation off %t: appended as %v", kind, disabled, e)
			}
		}
	}
}

// diss. §4.1: a change takes effect when it is applied, so a leader that has committed one
// and not applied it yet takes no other.
func TestCommittedChangeIsStillPending(t *testing.T) {
	n := leaderOf(t, nil)
	propose := func(change string) {
		if err := n.ProposeConfChange(v2(pb.ConfChangeTransitionAuto, change)); err != nil {
			t.Fatal(err)
		}
	}
	propose("v4")
	n.drain(t)
	mustStep(t, n, acked(2, 2, 3))
	propose("v5")
	if l := n.raft.log; l.committed != 3 || l.applied != 2 {
		t.Fatalf("committed %d, applied %d", l.committed, l.applied)
	}
	n.drain(t)
	propose("v6")
	n.drain(t)
	if first, second, third := n.entryAt(3), n.entryAt(4), n.entryAt(5); first.Type != pb.EntryConfChangeV2 ||
		second.Type != pb.EntryNormal || third.Type != pb.EntryConfChangeV2 {
		t.Errorf("%v, %v once it is committed, %v once it is applied", first.Type, second.Type, third.Type)
	}
}

// A change is pending until it is applied itself: what comes before it in the same
// proposal does not count.
func TestChangeBehindOtherEntries(t *testing.T) {
	n := leaderOf(t, nil)
	kind, data := marshalled(t, v2(pb.ConfChangeTransitionAuto, "v9"))
	change := pb.Entry{Type: kind, Data: data}
	n.step(t, pb.Message{Type: pb.MsgProp, From: 1, Entries: []pb.Entry{{}, {}, change}}) // 3 to 5
	n.step(t, acked(2, 2, 4))
	n.step(t, pb.Message{Type: pb.MsgProp, From: 1, Entries: []pb.Entry{change}})
	if first, second := n.entryAt(5).Type, n.entryAt(6).Type; first != kind || second != pb.EntryNormal {
		t.Errorf("entries of type %v and %v", first, second)
	}
}

// §6: a leader leaves a joint configuration by itself, if that was asked for, as soon as
// it has applied the entry that entered it. No limit keeps it from that.
func TestAutoLeave(t *testing.T) {
	g := newGroup(t, 3, func(c *Config) { c.MaxUncommittedEntriesSize = 1 })
	g.elect(1)
	n := g.nodes[1]
	g.drop = func(m pb.Message) bool { return true }
	if err := n.ProposeConfChange(v2(pb.ConfChangeTransitionAuto, "l2 l3")); err != nil {
		t.Fatal(err)
	}
	if err := n.Propose(nil); err != nil {
		t.Fatal(err)
	}
	g.settle()
	if last := n.raft.log.lastIndex(); last != 3 {
		t.Errorf("the log ends at %d before the change is committed", last)
	}
	g.drop = nil
	n.Tick()
	g.settle()
	if leave := n.entryAt(4); leave.Type != pb.EntryConfChangeV2 || leave.Data != nil {
		t.Errorf("left by %v", leave)
	}
	for id, m := range g.nodes {
		if got := m.raft.trk.Config.String(); got != "voters=(1) learners=(2 3)" {
			t.Errorf("node %d: %s", id, got)
		}
	}
}

// Leaving is proposed once, whatever is applied before it is.
func TestAutoLeaveIsProposedOnce(t *testing.T) {
	n := leaderOf(t, nil)
	if err := n.ProposeConfChange(v2(pb.ConfChangeTransitionJointImplicit, "l3")); err != nil {
		t.Fatal(err)
	}
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	for index := uint64(3); index <= 4; index++ {
		n.step(t, acked(2, 2, index))
		if last := n.raft.log.lastIndex(); last != 5 || n.raft.log.applied != index {
			t.Errorf("with entry %d applied the log ends at %d, want 5", n.raft.log.applied, last)
		}
	}
}

// §6: a leader that is elected while the configuration is joint leaves it, too.
func TestNewLeaderLeavesJointConfiguration(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.elect(1)
	g.drop = func(m pb.Message) bool { // leaving gets lost
		return slices.ContainsFunc(m.Entries, func(e pb.Entry) bool { return e.Type == pb.EntryConfChangeV2 && e.Data == nil })
	}
	if err := g.nodes[1].ProposeConfChange(v2(pb.ConfChangeTransitionJointImplicit, "l1")); err != nil {
		t.Fatal(err)
	}
	g.settle()
	for id, m := range g.nodes {
		if got := m.raft.trk.Config.String(); got != "voters=(2 3)&&(1 2 3) learners_next=(1) autoleave" {
			t.Fatalf("node %d: %s", id, got)
		}
	}
	g.drop = nil
	g.elect(2) // with the vote of 3
	for id, m := range g.nodes {
		if got := m.raft.trk.Config.String(); got != "voters=(2 3) learners=(1)" {
			t.Errorf("node %d: %s", id, got)
		}
	}
}

// Leaving waits for a transfer of leadership to end, and is tried again with whatever is
// applied next.
func TestAutoLeaveIsTriedAgain(t *testing.T) {
	n := leaderOf(t, nil)
	if err := n.ProposeConfChange(v2(pb.ConfChangeTransitionJointImplicit, "v4")); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.TransferLeader(3)
	n.step(t, acked(2, 2, 3))
	if cfg := n.raft.trk.Config; !cfg.AutoLeave || n.raft.log.lastIndex() != 3 {
		t.Fatalf("%v, the log ends at %d", cfg, n.raft.log.lastIndex())
	}
	for range 10 {
		n.Tick()
	}
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, acked(2, 2, 4))
	n.step(t, acked(3, 2, 4))
	if last := n.raft.log.lastIndex(); last != 5 || n.entryAt(5).Type != pb.EntryConfChangeV2 {
		t.Errorf("the log ends at %d", last)
	}
}

// §6: quorums are others once a change is applied. What is committed by that alone is
// told to all; otherwise whoever lacks entries gets them, the new member at once.
func TestConsequencesOfAChange(t *testing.T) {
	n := leaderOf(t, nil)
	n.step(t, acked(3, 2, 2))
	n.propose(t, 2, "x") // entry 3, on this node alone
	n.raft.trk.Progress[2].MsgAppFlowPaused = true
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddLearnerNode, NodeID: 4})
	want := "1->4 MsgApp Term:2 Log:2/2 Commit:2 Entries:[2/3 EntryNormal \"x\"]\n"
	if got := lines(n.drain(t)); got != want {
		t.Errorf("a new member: %s, want %s", got, want)
	}

	n = leaderOf(t, nil)
	n.step(t, acked(3, 2, 2))
	n.propose(t, 2, "x")
	n.ApplyConfChange(v2(pb.ConfChangeTransitionJointExplicit, "r2 r3"))
	if n.raft.log.committed != 2 {
		t.Error("committed by one half")
	}
	n.step(t, acked(2, 2, 3))
	if n.raft.log.committed != 3 {
		t.Errorf("committed %d", n.raft.log.committed)
	}
	n.propose(t, 2, "y")
	n.ApplyConfChange(pb.ConfChangeV2{})
	if n.raft.log.committed != 4 {
		t.Errorf("committed %d once one voter is left", n.raft.log.committed)
	}

	n = leaderOf(t, nil)
	n.step(t, acked(3, 2, 2))
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4})
	n.propose(t, 2, "x")
	n.step(t, acked(2, 2, 3)) // two of four
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 4})
	if got, want := lines(n.drain(t)), "1->2 MsgApp Term:2 Log:2/3 Commit:3\n1->3 MsgApp Term:2 Log:2/3 Commit:3\n"; got != want {
		t.Errorf("what is committed by that alone: %s, want %s", got, want)
	}
}

// diss. §4.2.1: a learner is promoted because it has caught up: what is known of it stays
// known, and so it does when it is demoted.
func TestRecordSurvivesPromotion(t *testing.T) {
	n := leaderOf(t, nil)
	for _, change := range []pb.ConfChangeType{pb.ConfChangeAddLearnerNode, pb.ConfChangeAddNode} {
		n.ApplyConfChange(pb.ConfChange{Type: change, NodeID: 2})
		n.ApplyConfChange(v2(pb.ConfChangeTransitionJointExplicit, "l3"))
		n.ApplyConfChange(pb.ConfChangeV2{})
		n.ApplyConfChange(v2(pb.ConfChangeTransitionAuto, "v3"))
		if pr := n.raft.trk.Progress[2]; pr.Match != 2 || pr.State != tracker.StateReplicate || pr.IsLearner != (change == pb.ConfChangeAddLearnerNode) {
			t.Errorf("after %v: %v", change, pr)
		}
		if pr := n.raft.trk.Progress[3]; pr.IsLearner || !pr.MsgAppFlowPaused {
			t.Errorf("its probe was forgotten: %v", pr)
		}
	}
}

// diss. §4.2.2: a leader that is removed or demoted leads on without counting itself,
// until what removes it is committed by the others; or becomes a follower at once, in
// the same term, if it was told to.
func TestLeaderThatIsNoVoter(t *testing.T) {
	for name, change := range map[string]pb.ConfChange{
		"removed": {Type: pb.ConfChangeRemoveNode, NodeID: 1},
		"demoted": {Type: pb.ConfChangeAddLearnerNode, NodeID: 1},
	} {
		n := leaderOf(t, func(c *Config) { c.StepDownOnRemoval = true })
		n.ApplyConfChange(change)
		if r := n.raft; r.role != StateFollower || r.Term != 2 || r.lead != None {
			t.Errorf("%s: %v of %d in term %d", name, r.role, r.lead, r.Term)
		}

		n = leaderOf(t, nil)
		n.propose(t, 2, "x") // entry 3
		n.ApplyConfChange(change)
		n.step(t, acked(2, 2, 3))
		if r := n.raft; r.role != StateLeader || r.log.committed != 2 {
			t.Errorf("%s: %v, committed %d by one of two voters", name, r.role, r.log.committed)
		}
		n.Tick()
		if sent := n.drain(t); len(sent) < 2 {
			t.Errorf("%s: it sends no heartbeats: %s", name, lines(sent))
		}
		n.step(t, beat(3, 2, ""))
		n.step(t, acked(3, 2, 3))
		if c := n.raft.log.committed; c != 3 {
			t.Errorf("%s: committed %d by both voters", name, c)
		}
	}
}

// A leader that is a voter no more may hold entries that a quorum of the others has
// already. Any answer commits them, also one about less.
func TestRemovedLeaderCommitsWhatTheOthersHave(t *testing.T) {
	n := leaderOf(t, nil)
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4})
	n.drain(t)
	if err := n.Propose([]byte("x")); err != nil { // entry 3
		t.Fatal(err)
	}
	n.Ready() // our own copy is on its way to the disk
	mustStep(t, n, acked(2, 2, 3))
	mustStep(t, n, acked(3, 2, 3))
	if c := n.raft.log.committed; c != 2 {
		t.Fatalf("committed %d by two of four", c)
	}
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1})
	mustStep(t, n, acked(4, 2, 2))
	if c := n.raft.log.committed; c != 3 {
		t.Errorf("committed %d, and two of three have entry 3", c)
	}
}

// §6: a leader that only the old half has is a voter still, and steps down when the joint
// configuration is left: as a learner, if it becomes one, or as nobody.
func TestLeaderOfTheOldHalfStepsDownOnLeaving(t *testing.T) {
	for _, change := range []string{"r1", "l1"} {
		n := leaderOf(t, func(c *Config) { c.StepDownOnRemoval = true })
		n.ApplyConfChange(v2(pb.ConfChangeTransitionJointExplicit, change))
		if n.raft.role != StateLeader {
			t.Errorf("%s: %v while its voters are needed", change, n.raft.role)
		}
		n.propose(t, 2, "x")
		n.step(t, acked(2, 2, 3))
		if c := n.raft.log.committed; c != 2 {
			t.Errorf("%s: committed %d by one of the two new voters and itself", change, c)
		}
		n.ApplyConfChange(pb.ConfChangeV2{})
		if n.raft.role != StateFollower || n.raft.Term != 2 {
			t.Errorf("%s: %v in term %d after leaving", change, n.raft.role, n.raft.Term)
		}
	}
}

// §6: who is removed is not told. It may campaign until it has applied its removal, and
// not afterwards.
func TestRemovedFollower(t *testing.T) {
	n := leaderOf(t, nil)
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 3})
	n.drain(t)
	n.Tick()
	if sent := n.propose(t, 3, "x"); len(sent) > 0 {
		t.Errorf("the leader still sends it %s", lines(sent))
	}

	kind, data := marshalled(t, pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1})
	n = nodeWith(t, 1, 0, 1)
	n.step(t, pb.Message{
		Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: 1, LogTerm: 1,
		Entries: []pb.Entry{{Term: 1, Index: 2, Type: kind, Data: data}},
	})
	if err := n.Campaign(); err != nil || n.raft.role != StateCandidate {
		t.Errorf("its removal not committed, it is %v, %v", n.raft.role, err)
	}

	n = nodeWith(t, 1, 0, 1)
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1})
	for range 100 {
		n.Tick()
	}
	if err := n.Campaign(); err != nil || n.raft.role != StateFollower || n.raft.Term != 1 {
		t.Errorf("%v in term %d, %v", n.raft.role, n.raft.Term, err)
	}
}
