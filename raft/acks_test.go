// Replication, the answering side: what answers change, and what they set off.
//
//	§5.3 · diss. §3.5

package raft

import (
	"strings"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
	"github.com/google/go-cmp/cmp"
)

// §5.3: a follower that refused is probed from where the logs may agree; a late
// refusal is ignored.
func TestBackingUp(t *testing.T) {
	n := nodeWith(t, 5, 0, 1, 1, 4, 4, 4)
	n.lead(t) // term 6, entry 6; the probe to 2 is after entry 5
	refuse := func(index, hint, term uint64) []pb.Message {
		return n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 6, Index: index, Reject: true, RejectHint: hint, LogTerm: term})
	}
	// The follower's last entry at or below 5 with a term up to 4 is 4, of term 2: of
	// ours, entries 3 to 5 are of term 4, so 2 is the first that can agree.
	if m := one(t, refuse(5, 4, 2)); m.Index != 2 || m.LogTerm != 1 {
		t.Errorf("probed with %v", DescribeMessage(m, nil))
	}
	if sent := refuse(5, 4, 2); len(sent) > 0 {
		t.Errorf("a late refusal caused %s", lines(sent))
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 6, Index: 6})
	pr := n.raft.trk.Progress[2]
	if pr.State != tracker.StateReplicate || pr.Match != 6 {
		t.Errorf("after agreeing: %v", pr)
	}
}

// §5.3: Match and Next only go where the answers say. The table has the record of peer
// 2 before an answer and after it.
func TestAnswersMoveTheRecord(t *testing.T) {
	for _, tt := range []struct {
		name        string
		state       tracker.StateType
		match, next uint64
		answer      pb.Message
		want        string
	}{
		{"a probe that agrees", tracker.StateProbe, 0, 3, acked(2, 2, 2), "StateReplicate match=2 next=8 inflight=1"},
		{"a probe that agrees where we were, after a loss", tracker.StateProbe, 4, 5, acked(2, 2, 4), "StateReplicate match=4 next=8 inflight=1"},
		{"a late answer to a probe", tracker.StateProbe, 4, 5, acked(2, 2, 3), "StateProbe match=4 next=5"},
		{"news while replicating", tracker.StateReplicate, 2, 8, acked(2, 2, 5), "StateReplicate match=5 next=8"},
		{"no news while replicating", tracker.StateReplicate, 2, 8, acked(2, 2, 2), "StateReplicate match=2 next=8"},
		{"a refusal while replicating", tracker.StateReplicate, 2, 8, refusal(2, 2, 6, 2, 4), "StateProbe match=2 next=3 paused"},
		{"a stale refusal while replicating", tracker.StateReplicate, 4, 8, refusal(2, 2, 4, 2, 3), "StateReplicate match=4 next=8"},
		{"a refused probe", tracker.StateProbe, 0, 6, refusal(2, 2, 5, 2, 3), "StateProbe match=0 next=4 paused"},
		{"a refused probe, by a log that does not reach back", tracker.StateProbe, 0, 6, refusal(2, 2, 5, 0, 3), "StateProbe match=0 next=4 paused"},
		{"a refusal of another probe", tracker.StateProbe, 0, 6, refusal(2, 2, 4, 2, 3), "StateProbe match=0 next=6"},
		{"during a snapshot: it is far enough", tracker.StateSnapshot, 0, 21, acked(2, 2, 4), "StateReplicate match=4 next=8 inflight=1"},
		{"during a snapshot: a refusal", tracker.StateSnapshot, 0, 21, refusal(2, 2, 5, 2, 3), "StateSnapshot match=0 next=21 paused pendingSnap=20"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := nodeWith(t, 1, 0, 1)
			n.lead(t)
			for range 5 {
				n.propose(t, 2, "x") // up to entry 7
			}
			pr := n.raft.trk.Progress[2]
			pr.ResetState(tt.state)
			pr.Match, pr.Next = tt.match, tt.next
			if tt.state == tracker.StateSnapshot {
				pr.PendingSnapshot = 20
			}
			n.step(t, tt.answer)
			if got := pr.String(); got != tt.want || !pr.RecentActive {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// During a snapshot, what a peer acknowledges ends it once our log goes on from there,
// whatever snapshot was meant: not before, as what follows could not be sent.
func TestSnapshotUnderWayEndsWhereOurLogBegins(t *testing.T) {
	for index, want := range map[uint64]tracker.StateType{4: tracker.StateSnapshot, 5: tracker.StateSnapshot, 6: tracker.StateReplicate, 7: tracker.StateReplicate} {
		n := nodeWith(t, 1, 6, 1, 1, 1, 1, 1, 1)
		n.lead(t) // entry 7
		if err := n.storage.Compact(6); err != nil {
			t.Fatal(err)
		}
		n.raft.trk.Progress[2].BecomeSnapshot(20)
		n.step(t, acked(2, 2, index))
		if pr := n.raft.trk.Progress[2]; pr.State != want || pr.Match != index {
			t.Errorf("acknowledged %d: %v", index, pr)
		}
	}
}

// A commit index is told at once: to everybody when it moves, and to a peer whose
// answer shows that it can use it.
func TestCommitIsToldAtOnce(t *testing.T) {
	n := leaderOf(t, nil)
	n.step(t, acked(3, 2, 2)) // both replicate now
	n.propose(t, 2, "x")
	want := "1->2 MsgApp Term:2 Log:2/3 Commit:3\n1->3 MsgApp Term:2 Log:2/3 Commit:3\n"
	if got := lines(n.step(t, acked(2, 2, 3))); got != want {
		t.Errorf("when it moves: %s, want %s", got, want)
	}
	if sent := n.step(t, acked(3, 2, 3)); len(sent) > 0 {
		t.Errorf("told twice: %s", lines(sent))
	}

	// Node 3 lags. It is told with what it lacks, and again if it can use more by then.
	n.raft.trk.Progress[3].MsgAppFlowPaused = true
	n.propose(t, 2, "y")
	n.step(t, acked(2, 2, 4))
	n.raft.trk.Progress[3].MsgAppFlowPaused = false
	n.raft.trk.Progress[3].SentCommit(2)
	if got, want := lines(n.step(t, beat(3, 2, ""))), "1->3 MsgApp Term:2 Log:2/3 Commit:4 Entries:[2/4 EntryNormal \"y\"]\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	n.raft.trk.Progress[3].SentCommit(3)
	if got, want := lines(n.step(t, acked(3, 2, 4))), "1->3 MsgApp Term:2 Log:2/4 Commit:4\n"; got != want {
		t.Errorf("it can commit 4 and was told 3: %s, want %s", got, want)
	}
}

// Which commit index counts as told: that of the last append or heartbeat, a snapshot's
// own index, and nothing that may have got lost when Next falls back.
func TestWhatCountsAsTold(t *testing.T) {
	n := leaderOf(t, nil)
	n.propose(t, 2, "x") // 3
	n.propose(t, 2, "y") // 4
	n.step(t, acked(3, 2, 3))
	pr := n.raft.trk.Progress[2]
	if pr.CanBumpCommit(3) || !pr.CanBumpCommit(4) {
		t.Error("after an append that told 3")
	}
	n.Tick()
	n.drain(t) // its heartbeat may only say what it is known to hold: 2
	if pr.CanBumpCommit(2) || !pr.CanBumpCommit(3) {
		t.Error("after a heartbeat that told 2")
	}
	n.step(t, refusal(2, 2, 4, 2, 2))
	n.step(t, acked(2, 2, 4))
	if pr.CanBumpCommit(4) {
		t.Error("after an append that told 4")
	}
	if r := n.raft; r.trk.Progress[2] != pr {
		t.Error("the record is another one")
	}
	n.raft.reset(n.raft.Term)
	pr = n.raft.trk.Progress[2]
	if pr.SentEntries(1, 0); !pr.CanBumpCommit(1) {
		t.Error("a new role begins with something told")
	}
}

// An answer to a heartbeat shows that a peer is back: it is sent what it lacks, or
// while we probe, an empty append that asks where it is. One that is complete needs
// nothing.
func TestHeartbeatAnswered(t *testing.T) {
	n := leaderOf(t, nil)
	if sent := n.step(t, beat(2, 2, "")); len(sent) > 0 {
		t.Errorf("to a peer that has all: %s", lines(sent))
	}
	n.raft.trk.Progress[3].RecentActive = false
	sent := n.step(t, beat(3, 2, ""))
	if want := "1->3 MsgApp Term:2 Log:1/1 Commit:2 Entries:[2/2 EntryNormal \"\"]\n"; lines(sent) != want || !n.raft.trk.Progress[3].RecentActive {
		t.Errorf("to one that lags: %s, want %s", lines(sent), want)
	}
	n.ReportUnreachable(2)
	sent = n.step(t, beat(2, 2, ""))
	if want := "1->2 MsgApp Term:2 Log:2/2 Commit:2\n"; lines(sent) != want {
		t.Errorf("to one that is probed: %s, want %s", lines(sent), want)
	}
}

// diss. §10.2.2: messages that get lost end sending ahead; nothing else follows from it,
// and nobody knows of others than members.
func TestUnreachable(t *testing.T) {
	n := leaderOf(t, nil)
	n.propose(t, 2, "x")
	for _, id := range []uint64{2, 3, 9} {
		n.ReportUnreachable(id)
	}
	for id, want := range map[uint64]string{2: "StateProbe match=2 next=3", 3: "StateProbe match=0 next=2 paused inactive"} {
		if got := n.raft.trk.Progress[id].String(); got != want {
			t.Errorf("record of %d: %s, want %s", id, got, want)
		}
	}
	if sent := n.drain(t); len(sent) > 0 {
		t.Errorf("%s", lines(sent))
	}
	n.raft.trk.Progress[3].BecomeSnapshot(9)
	n.ReportUnreachable(3)
	if pr := n.raft.trk.Progress[3]; pr.State != tracker.StateSnapshot {
		t.Errorf("%v", pr)
	}
	follower := nodeWith(t, 1, 0, 1)
	follower.ReportUnreachable(2) // it keeps no records
	if follower.HasReady() {
		t.Error("a follower does something about it")
	}
}

// What one answer sets off comes in this order: the reads that waited for the first
// commit, the news of the commit to all, more entries for the peer that answered, and
// last, the word to the target of a transfer.
func TestOrderOfWhatAnAnswerSetsOff(t *testing.T) {
	c := testConfig(1, nil)
	c.MaxSizePerMsg = 0
	n := nodeOf(t, 1, c, 1, 1, 1)
	n.lead(t)
	n.ReadIndex([]byte("r"))
	n.propose(t, 2, "x")
	n.propose(t, 2, "y")
	n.step(t, acked(3, 2, 1))
	want := `1->2 MsgHeartbeat Term:2 Log:0/0
1->3 MsgHeartbeat Term:2 Log:0/0 Commit:1
1->2 MsgApp Term:2 Log:2/2 Commit:2 Entries:[2/3 EntryNormal "x"]
1->3 MsgApp Term:2 Log:2/4 Commit:2
1->2 MsgApp Term:2 Log:2/3 Commit:2 Entries:[2/4 EntryNormal "y"]
`
	want = strings.Replace(want, "1->2 MsgHeartbeat Term:2 Log:0/0\n", "1->2 MsgHeartbeat Term:2 Log:0/0 Commit:2\n", 1)
	if diff := cmp.Diff(want, lines(n.step(t, acked(2, 2, 2)))); diff != "" {
		t.Error(diff)
	}

	n = leaderOf(t, nil)
	n.propose(t, 2, "x")
	n.TransferLeader(2)
	n.drain(t)
	want = `1->2 MsgApp Term:2 Log:2/3 Commit:3
1->2 MsgTimeoutNow Term:2 Log:0/0
`
	if diff := cmp.Diff(want, lines(n.step(t, acked(2, 2, 3)))); diff != "" {
		t.Error(diff)
	}
}
