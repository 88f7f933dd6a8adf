// Ready and Advance: what is owed when, and what counts as done.
//
//	Figure 2 · diss. §3.8
//
// Start at TestSingleVoterStepByStep, which has it all.

package raft

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "example.com/raftexample/raft/raftpb"
)

// do stores what a Ready has, applies nothing, and advances.
func (n *member) do(t testing.TB, rd Ready) {
	t.Helper()
	if err := n.storage.Append(rd.Entries); err != nil {
		t.Fatal(err)
	}
	n.Advance(rd)
}

func wantReady(t testing.TB, rd Ready, want string) {
	t.Helper()
	if diff := cmp.Diff(want, DescribeReady(rd, nil)); diff != "" {
		t.Error(diff)
	}
}

// §5.2, §5.3: even alone, a node leads only once its vote is durable, and commits only
// what is durable. Each step waits for the Advance of the one before.
func TestSingleVoterStepByStep(t *testing.T) {
	n := restart(t, storageWith(1), nil)
	if err := n.Campaign(); err != nil || n.raft.role != StateCandidate {
		t.Fatalf("%v, %v", n.raft.role, err)
	}
	rd := n.Ready()
	wantReady(t, rd, "Ready MustSync=true:\nLead:0 State:StateCandidate\nHardState Term:1 Vote:1 Commit:0\n")
	if n.raft.role != StateCandidate {
		t.Error("it leads before its vote is stored")
	}
	n.do(t, rd)
	rd = n.Ready()
	wantReady(t, rd, "Ready MustSync=true:\nLead:1 State:StateLeader\nEntries:\n1/1 EntryNormal \"\"\n")
	n.do(t, rd)
	rd = n.Ready()
	wantReady(t, rd, "Ready MustSync=false:\nHardState Term:1 Vote:1 Commit:1\nCommittedEntries:\n1/1 EntryNormal \"\"\n")
	n.do(t, rd)

	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	rd = n.Ready()
	wantReady(t, rd, "Ready MustSync=true:\nEntries:\n1/2 EntryNormal \"x\"\n")
	n.do(t, rd)
	rd = n.Ready()
	wantReady(t, rd, "Ready MustSync=false:\nHardState Term:1 Vote:1 Commit:2\nCommittedEntries:\n1/2 EntryNormal \"x\"\n")
	n.do(t, rd)
	if n.HasReady() {
		wantReady(t, n.Ready(), "<empty Ready>")
	}
}

// Figure 2, persistent state: an entry, a term or a vote must be synced before anybody
// hears of it. A commit index need not be: it is learnt again.
func TestMustSync(t *testing.T) {
	old := pb.HardState{Term: 2, Vote: 1, Commit: 5}
	for _, tt := range []struct {
		name    string
		state   pb.HardState
		entries int
		want    bool
	}{
		{"nothing new", old, 0, false},
		{"an entry", old, 1, true},
		{"a term", pb.HardState{Term: 3, Vote: 1, Commit: 5}, 0, true},
		{"a vote", pb.HardState{Term: 2, Vote: 3, Commit: 5}, 0, true},
		{"a commit index", pb.HardState{Term: 2, Vote: 1, Commit: 6}, 0, false},
	} {
		if got := MustSync(tt.state, old, tt.entries); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
	n := nodeWith(t, 1, 0, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 1, Snapshot: ptr(snapshotAt(1, 9, 1, 2, 3))})
	if rd := n.Ready(); rd.MustSync || IsEmptySnap(rd.Snapshot) {
		t.Errorf("a snapshot has its own rules for the disk: %s", DescribeReady(rd, nil))
	}
}

// A Ready says what has changed since the last one, and nothing twice; and there is one
// exactly if it would not be empty.
func TestReadySaysWhatIsNew(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*member)
		want string
	}{
		{"nothing", func(*member) {}, "<empty Ready>"},
		{
			"the leader is heard of", func(n *member) { mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1}) },
			"Ready MustSync=false:\nLead:2 State:StateFollower\nMessages:\n1->2 MsgHeartbeatResp Term:1 Log:0/0\n",
		},
		{
			"it is forgotten again before anybody looked", func(n *member) {
				mustStep(t, n, pb.Message{Type: pb.MsgReadIndexResp, From: 2, To: 1, Term: 2, Index: 7, Entries: []pb.Entry{{Data: []byte("r")}}})
				if err := n.ForgetLeader(); err != nil {
					t.Error(err)
				}
			},
			"Ready MustSync=true:\nHardState Term:2 Commit:0\nReadStates [{7 [114]}]\n",
		},
		{
			"a commit index and what it commits", func(n *member) {
				mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: 1})
			},
			"Ready MustSync=false:\nLead:2 State:StateFollower\nHardState Term:1 Commit:1\nCommittedEntries:\n1/1 EntryNormal \"\"\n" +
				"Messages:\n1->2 MsgHeartbeatResp Term:1 Log:0/0\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := nodeWith(t, 1, 0, 1)
			tt.do(n)
			for range 2 { // asking changes nothing
				if n.HasReady() != (tt.want != "<empty Ready>") {
					t.Errorf("HasReady is %t", n.HasReady())
				}
			}
			rd := n.Ready()
			wantReady(t, rd, tt.want)
			n.do(t, rd)
			if n.HasReady() {
				t.Errorf("and again: %s", DescribeReady(n.Ready(), nil))
			}
		})
	}
}

// A follower may learn of an entry and that it is committed at once: then it is to be
// stored and to be applied in the same Ready, in this order.
func TestEntriesToStoreMayBeCommitted(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: 1, LogTerm: 1, Commit: 2, Entries: entriesFrom(2, 1, 1)})
	rd := n.Ready()
	if diff := cmp.Diff(entriesFrom(2, 1, 1), rd.Entries); diff != "" {
		t.Errorf("to be stored: %s", diff)
	}
	if diff := cmp.Diff(entriesFrom(1, 1, 1), rd.CommittedEntries); diff != "" {
		t.Errorf("to be applied: %s", diff)
	}
}

// §7: a snapshot comes before the entries that follow it; those are applied only when
// it is stored, in a later Ready.
func TestSnapshotComesFirst(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 1, Snapshot: ptr(snapshotAt(1, 9, 1, 2, 3))})
	mustStep(t, n, pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: 9, LogTerm: 1, Commit: 10, Entries: entriesFrom(10, 1)})
	rd := n.Ready()
	if rd.Snapshot.Metadata.Index != 9 || len(rd.Entries) != 1 || rd.Entries[0].Index != 10 || len(rd.CommittedEntries) > 0 {
		t.Errorf("%s", DescribeReady(rd, nil))
	}
	if n.BasicStatus().Applied != 0 {
		t.Error("it counts as applied before Advance")
	}
	if err := n.storage.ApplySnapshot(rd.Snapshot); err != nil {
		t.Fatal(err)
	}
	n.do(t, rd)
	if applied := n.BasicStatus().Applied; applied != 9 {
		t.Errorf("applied %d after Advance, want 9", applied)
	}
	if rd = n.Ready(); len(rd.CommittedEntries) != 1 || rd.CommittedEntries[0].Index != 10 {
		t.Errorf("%s", DescribeReady(rd, nil))
	}
}

// The next Ready waits for Advance, if there is anything it has to do: our own promises,
// entries or a snapshot that were to be stored, entries that were to be applied. What
// Advance is given does not matter: the Ready that was taken counts.
func TestSecondReadyWithoutAdvance(t *testing.T) {
	const message = "two accepted Ready structs without call to Advance"
	for name, do := range map[string]func(*member){
		"a vote for itself": func(n *member) { n.Campaign() },
		"an entry to store": func(n *member) { mustStep(t, n, appended(1, 1, 1, 0)) },
		"an entry to apply": func(n *member) { mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: 1}) },
		"a snapshot to store": func(n *member) {
			mustStep(t, n, pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 1, Snapshot: ptr(snapshotAt(1, 9, 1))})
		},
	} {
		n := nodeWith(t, 1, 0, 1)
		do(n)
		n.Ready()
		if got := mustPanic(t, name, func() { n.Ready() }); got != message {
			t.Errorf("%s: %v", name, got)
		}
		n.Advance(Ready{})
		n.Ready() // a panic would end the test
	}

	// Answers to others and news of who leads leave nothing to be done.
	n := nodeWith(t, 1, 0, 1)
	for index := range uint64(2) {
		mustStep(t, n, pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: index, LogTerm: index})
		if rd := n.Ready(); len(rd.Messages) != 1 || rd.Messages[0].Index != index {
			t.Errorf("%s", DescribeReady(rd, nil))
		}
	}
}

// appended is an append of node 2 with one entry after prevIndex.
func appended(prevTerm, prevIndex, term, commit uint64) pb.Message {
	return pb.Message{
		Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: prevIndex, LogTerm: prevTerm, Commit: commit,
		Entries: entriesFrom(prevIndex+1, term),
	}
}

// What Advance does has an order: our own acknowledgement first, so that what the applied
// entries set off already knows what is committed. Here that is leaving a joint
// configuration.
func TestAdvanceHearsOurAcknowledgementFirst(t *testing.T) {
	s := NewMemoryStorage()
	s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{1}, Learners: []uint64{2}}
	n := restart(t, s, nil)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, acked(2, 1, 1))
	joint := v2(pb.ConfChangeTransitionJointImplicit, "l3")
	if err := n.ProposeConfChange(joint); err != nil {
		t.Fatal(err)
	}
	n.do(t, n.Ready()) // it is committed, and next to be applied
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	n.ApplyConfChange(joint)
	n.do(t, rd)
	want := `1->2 MsgApp Term:1 Log:1/3 Commit:3
1->2 MsgApp Term:1 Log:1/3 Commit:3 Entries:[1/4 EntryConfChangeV2]
`
	if diff := cmp.Diff(want, lines(messagesTo(2, n.Ready().Messages))); diff != "" {
		t.Error(diff)
	}
}

// Figure 2, "commitIndex > lastApplied: apply": what is handed out for applying is limited
// in encoded bytes, at least one entry at a time; the rest comes next.
func TestAppliedInPortions(t *testing.T) {
	entry := pb.Entry{Term: 1, Index: 1}
	size := uint64(entry.Size())
	for limit, want := range map[uint64][]int{0: {1, 1, 1, 1, 1}, 1: {1, 1, 1, 1, 1}, 2 * size: {2, 2, 1}, 3*size - 1: {2, 2, 1}, 5 * size: {5}} {
		n := restart(t, stored(t, pb.HardState{Term: 1, Commit: 5}, 1, 1, 1, 1, 1), func(c *Config) { c.MaxSizePerMsg, c.MaxCommittedSizePerReady = 0, limit })
		var got []int
		for n.HasReady() {
			rd := n.Ready()
			got = append(got, len(rd.CommittedEntries))
			n.do(t, rd)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d bytes: portions of %v entries, want %v", limit, got, want)
		}
	}
}

// Entries of a Ready stay what they are when the leader's replace them meanwhile.
func TestEntriesOfAReadyDoNotChange(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: 1, LogTerm: 1, Entries: entriesFrom(2, 1, 1, 1)})
	rd := n.Ready()
	mustStep(t, n, pb.Message{Type: pb.MsgApp, From: 3, To: 1, Term: 2, Index: 2, LogTerm: 1, Entries: entriesFrom(3, 2, 2, 2)})
	if diff := cmp.Diff(entriesFrom(2, 1, 1, 1), rd.Entries); diff != "" {
		t.Error(diff)
	}
	n.do(t, rd)
	if rd = n.Ready(); cmp.Diff(entriesFrom(3, 2, 2, 2), rd.Entries) != "" {
		t.Errorf("then: %s", DescribeReady(rd, nil))
	}
}

// What is empty is decided by what matters: all three parts of a hard state, the index
// of a snapshot.
func TestEmptiness(t *testing.T) {
	for _, hs := range []pb.HardState{{Term: 1}, {Vote: 1}, {Commit: 1}} {
		if IsEmptyHardState(hs) {
			t.Errorf("%v counts as empty", hs)
		}
	}
	if !IsEmptyHardState(pb.HardState{}) {
		t.Error("nothing does not count as empty")
	}
	if IsEmptySnap(snapshotAt(0, 1)) || !IsEmptySnap(pb.Snapshot{Data: []byte("x"), Metadata: pb.SnapshotMetadata{Term: 3}}) {
		t.Error("a snapshot is empty exactly if its index is 0")
	}
}

// A node does not send to itself. What it passes on to the leader leaves with the rest.
func TestMessagesGoToOthers(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.lead(t)
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	n.ReadIndex([]byte("r"))
	n.Tick()
	for _, m := range n.drain(t) {
		if m.To == 1 || m.To == None {
			t.Errorf("%s", DescribeMessage(m, nil))
		}
	}

	n = nodeWith(t, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 3, To: 1, Term: 1})
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	n.ReadIndex([]byte("r"))
	n.TransferLeader(2)
	want := `1->3 MsgProp Term:0 Log:0/0 Entries:[0/0 EntryNormal "x"]
1->3 MsgReadIndex Term:0 Log:0/0 Entries:[0/0 EntryNormal "r"]
2->3 MsgTransferLeader Term:1 Log:0/0
`
	if diff := cmp.Diff(want, lines(n.drain(t))); diff != "" {
		t.Error(diff)
	}
}

// Messages that promise nothing come first, in the order they were sent; then the
// promises, in theirs.
func TestPromisesComeLast(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	mustStep(t, n, appended(1, 1, 1, 0))
	mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	mustStep(t, n, appended(1, 2, 1, 0))
	n.ReadIndex([]byte("r"))
	want := `1->2 MsgHeartbeatResp Term:1 Log:0/0
1->2 MsgReadIndex Term:0 Log:0/0 Entries:[0/0 EntryNormal "r"]
1->2 MsgAppResp Term:1 Log:0/2
1->2 MsgAppResp Term:1 Log:0/3
`
	if diff := cmp.Diff(want, lines(n.Ready().Messages)); diff != "" {
		t.Error(diff)
	}
}

// The user may append to the messages of a Ready: the library's next ones come elsewhere.
func TestMessagesOfAReadyAreTheUsers(t *testing.T) {
	n := leaderOf(t, nil)
	n.step(t, acked(3, 2, 2))
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	n.ReadIndex([]byte("r")) // heartbeats, for the next Ready
	_ = append(rd.Messages, pb.Message{}, pb.Message{})
	n.Advance(rd)
	for _, m := range n.Ready().Messages {
		if m.Type != pb.MsgHeartbeat {
			t.Errorf("%s", DescribeMessage(m, nil))
		}
	}
}
