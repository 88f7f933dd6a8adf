// Reads without a place in the log.
//
//	§8 · diss. §6.4

package raft

import (
	"fmt"
	"strings"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"github.com/google/go-cmp/cmp"
)

// §8, diss. §6.4: a read waits until the leader has committed in its term, then for
// a quorum to answer heartbeats that were sent for it.
func TestReadIndex(t *testing.T) {
	n := nodeWith(t, 1, 1, 1)
	n.lead(t)
	n.ReadIndex([]byte("early"))
	if sent := n.drain(t); len(sent) > 0 {
		t.Errorf("a read before the first commit of the term: %s", lines(sent))
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	if len(n.reads) > 0 {
		t.Error("answered without asking")
	}
	n.step(t, pb.Message{Type: pb.MsgHeartbeatResp, From: 2, To: 1, Term: 2, Context: []byte("early")})
	if diff := cmp.Diff([]ReadState{{Index: 2, RequestCtx: []byte("early")}}, n.reads); diff != "" {
		t.Error(diff)
	}
}

// A context that is used again is a new read: answers to heartbeats of its first
// use, late or doubled, do not confirm it.
func TestReadContextUsedAgain(t *testing.T) {
	n := nodeWith(t, 1, 1, 1)
	n.lead(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	old := pb.Message{Type: pb.MsgHeartbeatResp, From: 2, To: 1, Term: 2, Context: []byte("r")}

	n.ReadIndex([]byte("r"))
	n.drain(t)
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 3})
	n.ReadIndex([]byte("r"))
	sent := n.drain(t)
	n.step(t, old)
	if len(n.reads) > 0 {
		t.Fatalf("an answer to the first round confirmed %v", n.reads)
	}
	fresh := old
	for _, m := range sent {
		if m.Type == pb.MsgHeartbeat && m.To == 2 {
			fresh.Context = m.Context
		}
	}
	n.step(t, fresh)
	if diff := cmp.Diff([]ReadState{{Index: 3, RequestCtx: []byte("r")}}, n.reads); diff != "" {
		t.Error(diff)
	}

	// The same once it has been answered.
	n.reads = nil
	n.ReadIndex([]byte("r"))
	n.drain(t)
	n.step(t, old)
	n.step(t, fresh)
	if len(n.reads) > 0 {
		t.Errorf("answers to former rounds confirmed %v", n.reads)
	}
}

// diss. §6.4: a single voter postpones reads, too; a removed leader asks the voter
// that is left.
func TestReadOfASingleVoter(t *testing.T) {
	s := storageWith(1)
	rn, err := NewRawNode(testConfig(1, s))
	if err != nil {
		t.Fatal(err)
	}
	n := &member{RawNode: rn, storage: s}
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	if err := s.SetHardState(rd.HardState); err != nil {
		t.Fatal(err)
	}
	n.Advance(rd) // it leads now, and its first entry is not stored
	n.ReadIndex([]byte("r"))
	if len(n.raft.readStates) > 0 {
		t.Error("answered before the first commit of the term")
	}
	n.drain(t)
	if len(n.reads) != 1 || n.reads[0].Index != 1 {
		t.Errorf("reads %v, want one at 1", n.reads)
	}

	g := newGroup(t, 2, nil)
	g.elect(1)
	if err := g.nodes[1].ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1}); err != nil {
		t.Fatal(err)
	}
	g.settle()
	g.nodes[1].ReadIndex([]byte("r"))
	g.drop = func(pb.Message) bool { return true }
	g.settle()
	if len(g.nodes[1].reads) > 0 {
		t.Error("a removed leader answered alone")
	}
}

// diss. §6.4: a read that this node passed on when it followed another may come back to it
// when it leads: the old leader passes it on, too. It is our own user's.
func TestReadThatComesBack(t *testing.T) {
	n := leaderOf(t, nil)
	n.step(t, acked(3, 2, 2))
	n.step(t, pb.Message{Type: pb.MsgReadIndex, From: 1, To: 1, Entries: []pb.Entry{{Data: []byte("r")}}})
	n.step(t, beat(2, 2, "r"))
	if got := n.takeReads(); got != "r@2" {
		t.Errorf("reads %q, want r@2", got)
	}
}

// takeReads describes the reads that a node has answered to its user.
func (n *member) takeReads() string {
	var b strings.Builder
	for _, rs := range n.reads {
		fmt.Fprintf(&b, "%s@%d ", rs.RequestCtx, rs.Index)
	}
	n.reads = nil
	return strings.TrimSpace(b.String())
}

// diss. §6.4: a read's index is the commit index when it came. A quorum's answers to its
// heartbeats confirm it and, in order, all that came before it; regular heartbeats ask
// for the newest again.
func TestReadsAreConfirmedInOrder(t *testing.T) {
	n := leaderOf(t, nil)
	n.step(t, acked(3, 2, 2))
	n.ReadIndex([]byte("a"))
	want := "1->2 MsgHeartbeat Term:2 Log:0/0 Commit:2\n1->3 MsgHeartbeat Term:2 Log:0/0 Commit:2\n"
	sent := n.drain(t)
	if lines(sent) != want || string(sent[0].Context) != "a" || string(sent[1].Context) != "a" {
		t.Errorf("%s", lines(sent))
	}
	n.propose(t, 2, "x")
	n.step(t, acked(2, 2, 3))
	n.ReadIndex([]byte("b"))
	n.ReadIndex([]byte("c"))
	n.drain(t)
	n.Tick()
	for _, m := range n.drain(t) {
		if string(m.Context) != "c" {
			t.Errorf("a regular heartbeat carries %q", m.Context)
		}
	}
	n.step(t, beat(2, 2, ""))
	n.step(t, beat(2, 2, "z"))
	if got := n.takeReads(); got != "" {
		t.Errorf("confirmed by other answers: %s", got)
	}
	n.step(t, beat(2, 2, "b"))
	if got := n.takeReads(); got != "a@2 b@3" {
		t.Errorf("confirmed %q, want a and b", got)
	}
	n.step(t, beat(3, 2, "a")) // late
	n.step(t, beat(3, 2, "c"))
	if got := n.takeReads(); got != "c@3" {
		t.Errorf("confirmed %q, want c", got)
	}
	n.Tick()
	for _, m := range n.drain(t) {
		if m.Context != nil {
			t.Errorf("no read waits, and a heartbeat carries %q", m.Context)
		}
	}
}

// diss. §6.4: a majority has to answer, each voter once; in a joint configuration of both
// halves.
func TestReadNeedsAQuorum(t *testing.T) {
	g := newGroup(t, 5, nil)
	g.elect(1)
	n := g.nodes[1]
	g.drop = func(pb.Message) bool { return true }
	n.ReadIndex([]byte("r"))
	for range 3 {
		n.step(t, beat(2, 1, "r"))
	}
	if got := n.takeReads(); got != "" {
		t.Errorf("one of five answered three times: %s", got)
	}
	n.step(t, beat(3, 1, "r"))
	if got := n.takeReads(); got != "r@1" {
		t.Errorf("confirmed %q", got)
	}

	n.ApplyConfChange(v2(pb.ConfChangeTransitionJointExplicit, "r4 r5"))
	n.ReadIndex([]byte("joint"))
	n.step(t, beat(4, 1, "joint"))
	n.step(t, beat(5, 1, "joint")) // 1, 4 and 5 are a majority of the old half
	if got := n.takeReads(); got != "" {
		t.Errorf("confirmed by one half: %s", got)
	}
	n.step(t, beat(2, 1, "joint"))
	if got := n.takeReads(); got != "joint@1" {
		t.Errorf("confirmed %q", got)
	}
	n.ReadIndex([]byte("other"))
	n.step(t, beat(2, 1, "other")) // 1 and 2 are a majority of the new half
	if got := n.takeReads(); got != "" {
		t.Errorf("confirmed by the other half: %s", got)
	}
	n.step(t, beat(4, 1, "other"))
	if got := n.takeReads(); got != "other@1" {
		t.Errorf("confirmed %q", got)
	}
}

// diss. §6.4.1: with a lease the answer comes at once and nothing is sent; not before the
// first commit of the term, though.
func TestLeaseRead(t *testing.T) {
	c := testConfig(1, nil)
	c.CheckQuorum, c.ReadOnlyOption = true, ReadOnlyLeaseBased
	n := nodeOf(t, 1, c, 1, 1, 1)
	n.lead(t)
	n.ReadIndex([]byte("early"))
	n.ReadIndex([]byte("as early"))
	if sent := n.drain(t); len(sent) > 0 || len(n.reads) > 0 {
		t.Errorf("before the first commit: %s, %s", n.takeReads(), lines(sent))
	}
	n.step(t, acked(2, 2, 2))
	n.ReadIndex([]byte("late"))
	if sent := n.drain(t); len(sent) > 0 {
		t.Errorf("%s", lines(sent))
	}
	if got := n.takeReads(); got != "early@2 as early@2 late@2" {
		t.Errorf("answered %q", got)
	}
	n.propose(t, 2, "x")
	n.step(t, acked(2, 2, 3))
	if got := n.takeReads(); got != "" {
		t.Errorf("with the next commit it answered again: %q", got)
	}
}

// diss. §6.4: a follower, or a learner, asks its leader in its own name and hands the
// answer to its user; without a leader the read is lost, like a candidate's. Others' are
// passed on, and what is malformed is ignored.
func TestReadAtAFollower(t *testing.T) {
	for name, cs := range map[string]pb.ConfState{
		"follower": {Voters: []uint64{1, 2, 3}}, "learner": {Voters: []uint64{2, 3}, Learners: []uint64{1}},
	} {
		s := NewMemoryStorage()
		s.snapshot.Metadata.ConfState = cs
		n := restart(t, s, nil)
		n.ReadIndex([]byte("lost"))
		if n.HasReady() {
			t.Errorf("%s: a read without a leader left something", name)
		}
		n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
		n.ReadIndex([]byte("r"))
		if got, want := lines(n.drain(t)), "1->2 MsgReadIndex Term:0 Log:0/0 Entries:[0/0 EntryNormal \"r\"]\n"; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		passed := one(t, n.step(t, pb.Message{Type: pb.MsgReadIndex, From: 3, To: 1, Entries: []pb.Entry{{Data: []byte("other")}}}))
		if passed.From != 3 || passed.To != 2 {
			t.Errorf("%s: %s", name, DescribeMessage(passed, nil))
		}
		answer := pb.Message{Type: pb.MsgReadIndexResp, From: 2, To: 1, Term: 1, Index: 7, Entries: []pb.Entry{{Data: []byte("r")}}}
		n.step(t, answer)
		answer.Entries = nil
		n.step(t, answer)
		answer.Entries = []pb.Entry{{}, {}}
		n.step(t, answer)
		if got := n.takeReads(); got != "r@7" {
			t.Errorf("%s: answered %q", name, got)
		}
	}

	n := nodeWith(t, 1, 0, 1)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.ReadIndex([]byte("r"))
	if n.HasReady() {
		t.Error("a candidate's read left something")
	}
}

// A read without a context is answered like any; its heartbeats carry one of ours.
func TestReadWithoutAContext(t *testing.T) {
	n := leaderOf(t, nil)
	n.ReadIndex(nil)
	m := messagesTo(2, n.drain(t))[0]
	if len(m.Context) == 0 {
		t.Fatal("answers to its heartbeats cannot be told from others")
	}
	n.step(t, beat(2, 2, string(m.Context)))
	if len(n.reads) != 1 || n.reads[0].Index != 2 || n.reads[0].RequestCtx != nil {
		t.Errorf("answered %v", n.reads)
	}
}

// The leader answers a follower's read by message, when it has confirmed it.
func TestReadOfAFollower(t *testing.T) {
	n := leaderOf(t, nil)
	if sent := n.step(t, pb.Message{Type: pb.MsgReadIndex, From: 3, To: 1}); len(sent) > 0 {
		t.Errorf("a malformed read: %s", lines(sent))
	}
	n.step(t, pb.Message{Type: pb.MsgReadIndex, From: 3, To: 1, Entries: []pb.Entry{{Data: []byte("r")}}})
	want := "1->3 MsgReadIndexResp Term:2 Log:0/2 Entries:[0/0 EntryNormal \"r\"]\n"
	if got := lines(n.step(t, beat(2, 2, "r"))); got != want || len(n.reads) > 0 {
		t.Errorf("%s, want %s", got, want)
	}

	// Contexts of two nodes may be the same.
	n.step(t, pb.Message{Type: pb.MsgReadIndex, From: 3, To: 1, Entries: []pb.Entry{{Data: []byte("same")}}})
	asked := n.step(t, pb.Message{Type: pb.MsgReadIndex, From: 2, To: 1, Entries: []pb.Entry{{Data: []byte("same")}}})
	want = "1->3 MsgReadIndexResp Term:2 Log:0/2 Entries:[0/0 EntryNormal \"same\"]\n" +
		"1->2 MsgReadIndexResp Term:2 Log:0/2 Entries:[0/0 EntryNormal \"same\"]\n"
	if got := lines(n.step(t, beat(2, 2, string(asked[0].Context)))); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Reads under way, and those that wait for the first commit, end with the leadership: who
// leads again may not answer them.
func TestReadsEndWithLeadership(t *testing.T) {
	n := leaderOf(t, nil)
	n.ReadIndex([]byte("r"))
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 3, To: 1, Term: 3})
	n.lead(t)
	n.ReadIndex([]byte("postponed"))
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 3, To: 1, Term: 5})
	n.lead(t)
	n.step(t, acked(2, 6, n.raft.log.lastIndex()))
	n.step(t, beat(2, 6, "r"))
	n.step(t, beat(2, 6, "postponed"))
	if got := n.takeReads(); got != "" {
		t.Errorf("answered %q", got)
	}
}

// Heartbeats of a context that comes again carry a number behind it. Another context may
// look like that; what is answered for the one must not confirm the other.
func TestNumberedContextIsNobodyElses(t *testing.T) {
	contextsOf := func(n *member) string {
		for _, m := range n.drain(t) {
			if m.Type == pb.MsgHeartbeat && m.To == 2 {
				return string(m.Context)
			}
		}
		t.Fatal("no heartbeat")
		return ""
	}
	for _, context := range []string{"r", ""} {
		// What the third read's heartbeats would carry is seen here, and asked for there.
		n := leaderOf(t, nil)
		n.ReadIndex([]byte("x"))
		n.ReadIndex([]byte(context))
		n.drain(t)
		n.ReadIndex([]byte(context))
		numbered := contextsOf(n)

		n = leaderOf(t, nil)
		n.ReadIndex([]byte(numbered))
		first := contextsOf(n)
		n.step(t, beat(2, 2, first))
		if got := n.takeReads(); got != numbered+"@2" {
			t.Fatalf("answered %q", got)
		}
		n.ReadIndex([]byte(context))
		n.drain(t)
		n.ReadIndex([]byte(context))
		third := contextsOf(n)
		n.step(t, beat(2, 2, first)) // doubled by the network
		if got := n.takeReads(); got != "" {
			t.Errorf("an answer to heartbeats from before confirmed %q", got)
		}
		n.step(t, beat(2, 2, third))
		if got := n.takeReads(); got != context+"@2" {
			t.Errorf("its own answer confirmed %q", got)
		}
	}
}
