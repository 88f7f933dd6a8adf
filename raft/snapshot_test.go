// Snapshots: which are taken, and when they are sent.
//
//	§7, Figure 13

package raft

import (
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// §7, Figure 13: a snapshot replaces the log, unless the log holds all of it; one
// that is not meant for this node, or older than its commit index, is ignored.
func TestSnapshot(t *testing.T) {
	snap := func(term, index uint64, voters ...uint64) *pb.Snapshot {
		return &pb.Snapshot{Metadata: pb.SnapshotMetadata{Term: term, Index: index, ConfState: pb.ConfState{Voters: voters}}}
	}
	for _, tt := range []struct {
		name     string
		snapshot *pb.Snapshot
		answer   uint64
		taken    bool
	}{
		{"newer", snap(2, 9, 1, 2), 9, true},
		{"conflicting with our log", snap(2, 3, 1, 2), 3, true},
		{"in our log", snap(1, 3, 1, 2), 3, false},
		{"committed already", snap(1, 1, 1, 2), 1, false},
		{"older than what is committed, and another's", snap(2, 1, 1, 2), 1, false},
		{"not for us", snap(2, 9, 2, 3), 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := nodeWith(t, 2, 1, 1, 1, 1, 1)
			if err := n.Step(pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 2, Snapshot: tt.snapshot}); err != nil {
				t.Fatal(err)
			}
			rd := n.Ready()
			if taken := !IsEmptySnap(rd.Snapshot); taken != tt.taken {
				t.Errorf("taken %t, want %t", taken, tt.taken)
			}
			if m := one(t, rd.Messages); m.Type != pb.MsgAppResp || m.Index != tt.answer {
				t.Errorf("answered %v, want index %d", DescribeMessage(m, nil), tt.answer)
			}
			if tt.taken && n.raft.promotable() {
				t.Error("may campaign before the snapshot is stored")
			}
		})
	}
}

// §7, §6: a snapshot does not overtake a change of membership that the user was
// given to apply: it would be applied to a configuration that has it already.
func TestSnapshotWaitsForAChangeBeingApplied(t *testing.T) {
	n := nodeWith(t, 1, 0)
	data, err := (&pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	if err := n.Step(pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 1, Commit: 1, Entries: []pb.Entry{{Term: 1, Index: 1, Type: pb.EntryConfChange, Data: data}}}); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready() // adds node 4, which the snapshot below has removed again
	if len(rd.CommittedEntries) != 1 {
		t.Fatalf("%v", DescribeReady(rd, nil))
	}
	snapshot := pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 1, Snapshot: &pb.Snapshot{
		Metadata: pb.SnapshotMetadata{Term: 1, Index: 9, ConfState: pb.ConfState{Voters: []uint64{1, 2, 3}}},
	}}
	if err := n.Step(snapshot); err != nil {
		t.Fatal(err)
	}
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4})
	n.do(t, rd)
	if m := one(t, n.drain(t)); m.Index != 1 {
		t.Errorf("answered %s, want how far our log is certain", DescribeMessage(m, nil))
	}
	n.step(t, snapshot)
	if got := n.raft.trk.ConfState().Voters; !slices.Equal(got, []uint64{1, 2, 3}) || n.raft.log.applied != 9 {
		t.Errorf("voters %v, applied %d; want those of the snapshot", got, n.raft.log.applied)
	}
}

// lagging returns a leader whose log begins after entry 3, with a snapshot there: peer 3
// has answered that it has nothing, so it needs that.
func lagging(t testing.TB, storage func(*MemoryStorage) Storage) *member {
	t.Helper()
	s := stored(t, pb.HardState{Term: 1, Commit: 3}, 1, 1, 1, 1)
	if _, err := s.CreateSnapshot(3, nil, []byte("state")); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(3); err != nil {
		t.Fatal(err)
	}
	n := restart(t, s, func(c *Config) {
		c.Applied = 3
		if storage != nil {
			c.Storage = storage(s)
		}
	})
	n.lead(t) // entry 5
	return n
}

// lacksAll is peer 3's answer to the probe after entry 4: it has nothing.
var lacksAll = refusal(3, 2, 4, 0, 0)

// §7: "the leader must occasionally send snapshots to followers that lag behind": instead
// of entries that it does not have any more, and nothing else until it has arrived.
func TestLaggingPeerGetsASnapshot(t *testing.T) {
	n := lagging(t, nil)
	sent := n.step(t, lacksAll)
	m := one(t, sent)
	if m.Type != pb.MsgSnap || m.To != 3 || m.Snapshot.Metadata.Index != 3 || string(m.Snapshot.Data) != "state" || m.Term != 2 {
		t.Fatalf("%s", lines(sent))
	}
	m.Snapshot.Data = nil // a user may send them in its own way
	if s, err := n.storage.Snapshot(); err != nil || string(s.Data) != "state" {
		t.Errorf("the storage's own lost its data, too: %v, %v", s, err)
	}
	pr := n.raft.trk.Progress[3]
	if got, want := pr.String(), "StateSnapshot match=0 next=4 paused pendingSnap=3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if sent := n.propose(t, 3, "x"); len(sent) > 0 {
		t.Errorf("during the snapshot: %s", lines(sent))
	}
	if sent := n.step(t, beat(3, 2, "")); len(sent) > 0 {
		t.Errorf("after a heartbeat's answer: %s", lines(sent))
	}

	// Its answer to the snapshot is what usually ends that.
	sent = n.step(t, acked(3, 2, 3))
	if len(sent) != 1 || sent[0].Type != pb.MsgApp || sent[0].Index != 3 || len(sent[0].Entries) != 3 || pr.State != tracker.StateReplicate {
		t.Errorf("%v, %s", pr, lines(sent))
	}
}

// The entry before Next may be the one that the log starts after: its term is known, and
// no snapshot is needed.
func TestNoSnapshotAtTheEdge(t *testing.T) {
	n := lagging(t, nil)
	if m := one(t, n.step(t, refusal(3, 2, 4, 1, 3))); m.Type != pb.MsgApp || m.Index != 3 || m.LogTerm != 1 || len(m.Entries) != 2 {
		t.Errorf("%s", DescribeMessage(m, nil))
	}
}

// Entries may be compacted just as they are to be sent, the term before them still known:
// then a snapshot goes instead.
func TestEntriesCompactedMeanwhile(t *testing.T) {
	var broken *brokenStorage
	n := lagging(t, func(s *MemoryStorage) Storage {
		broken = &brokenStorage{MemoryStorage: s}
		return broken
	})
	broken.entries = ErrCompacted
	if m := one(t, n.step(t, refusal(3, 2, 4, 1, 3))); m.Type != pb.MsgSnap {
		t.Errorf("%s", DescribeMessage(m, nil))
	}
}

// A snapshot goes only to a peer that was heard of lately, and only when storage has
// one; until then nothing is sent, and it is tried again later.
func TestSnapshotIsNotSentYet(t *testing.T) {
	n := lagging(t, nil)
	n.step(t, lacksAll)
	pr := n.raft.trk.Progress[3]
	pr.BecomeProbe()
	pr.Next, pr.RecentActive = 1, false
	if sent := n.propose(t, 3, "x"); len(sent) > 0 || pr.State != tracker.StateProbe {
		t.Errorf("to a peer that is silent: %v, %s", pr, lines(sent))
	}
	if m := one(t, messagesTo(3, n.step(t, beat(3, 2, "")))); m.Type != pb.MsgSnap {
		t.Errorf("when it is heard of: %s", DescribeMessage(m, nil))
	}

	var broken *brokenStorage
	n = lagging(t, func(s *MemoryStorage) Storage {
		broken = &brokenStorage{MemoryStorage: s, snapshot: ErrSnapshotTemporarilyUnavailable}
		return broken
	})
	if sent := n.step(t, lacksAll); len(sent) > 0 || n.raft.trk.Progress[3].State != tracker.StateProbe {
		t.Errorf("while storage makes one: %v, %s", n.raft.trk.Progress[3], lines(sent))
	}
	if sent := n.step(t, acked(3, 2, 1)); len(sent) > 0 { // it has a little, and still needs one
		t.Errorf("while storage makes one: %s", lines(sent))
	}
	broken.snapshot = nil
	if m := one(t, messagesTo(3, n.step(t, beat(3, 2, "")))); m.Type != pb.MsgSnap {
		t.Errorf("when it is there: %s", DescribeMessage(m, nil))
	}
}

// A storage that has compacted its log and has no snapshot, or cannot read it, has lost
// what the log stands for.
func TestMissingSnapshotPanics(t *testing.T) {
	n := lagging(t, nil)
	n.storage.snapshot = pb.Snapshot{}
	mustPanic(t, "an empty snapshot", func() { n.Step(lacksAll) })
	n = lagging(t, func(s *MemoryStorage) Storage { return &brokenStorage{MemoryStorage: s, snapshot: ErrUnavailable} })
	mustPanic(t, "one that cannot be read", func() { n.Step(lacksAll) })
}

// What the user reports of a snapshot ends the wait for it: the next probe goes after the
// snapshot if it arrived, else after what the peer is known to hold; in both cases when it
// is heard of next. Without a snapshot under way a report means nothing.
func TestReportSnapshot(t *testing.T) {
	for status, want := range map[SnapshotStatus]string{
		SnapshotFinish:  "StateProbe match=0 next=4 paused",
		SnapshotFailure: "StateProbe match=0 next=1 paused",
	} {
		n := lagging(t, nil)
		n.ReportSnapshot(3, status)
		if got := n.raft.trk.Progress[3].String(); got != "StateProbe match=0 next=5 paused inactive" {
			t.Errorf("status %d, with none under way: %s", status, got)
		}
		n.step(t, lacksAll)
		n.ReportSnapshot(3, status)
		n.ReportSnapshot(9, status) // nobody
		if sent := n.drain(t); len(sent) > 0 {
			t.Errorf("status %d: sent at once %s", status, lines(sent))
		}
		if got := n.raft.trk.Progress[3].String(); got != want {
			t.Errorf("status %d: %s, want %s", status, got, want)
		}
		wantType := pb.MsgApp
		if status == SnapshotFailure {
			wantType = pb.MsgSnap
		}
		if m := one(t, n.step(t, beat(3, 2, ""))); m.Type != wantType {
			t.Errorf("status %d, when it is heard of: %s", status, DescribeMessage(m, nil))
		}
	}
}

// §7: a snapshot brings its configuration, whatever ours was; members may have other
// parts in it. It may come from any node of the term.
func TestSnapshotBringsItsConfiguration(t *testing.T) {
	for name, cs := range map[string]pb.ConfState{
		"a voter":             {Voters: []uint64{1, 5}},
		"a learner":           {Voters: []uint64{2, 3}, Learners: []uint64{1}},
		"on its way out":      {Voters: []uint64{2, 3}, VotersOutgoing: []uint64{1, 2, 3}},
		"to become a learner": {Voters: []uint64{2}, VotersOutgoing: []uint64{1, 2}, LearnersNext: []uint64{1}, AutoLeave: true},
	} {
		n := nodeWith(t, 2, 1, 1)
		s := pb.Snapshot{Metadata: pb.SnapshotMetadata{Index: 9, Term: 2, ConfState: cs}}
		if m := one(t, n.step(t, pb.Message{Type: pb.MsgSnap, From: 3, To: 1, Term: 2, Snapshot: &s})); m.Index != 9 || m.Reject {
			t.Errorf("%s: %s", name, DescribeMessage(m, nil))
		}
		if err := cs.Equivalent(n.raft.trk.ConfState()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The acknowledgement of a snapshot, like all, waits for the disk.
func TestSnapshotIsAcknowledgedWhenStored(t *testing.T) {
	n := asyncNode(t, 1, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 1, Snapshot: ptr(snapshotAt(1, 9, 1, 2, 3))})
	m := one(t, n.Ready().Messages)
	if m.To != LocalAppendThread || m.Snapshot == nil || len(m.Responses) != 2 || m.Responses[0].To != 2 || m.Responses[0].Index != 9 {
		t.Errorf("%s", DescribeMessage(m, nil))
	}
}

// No message of a peer may stop a node: a snapshot with a configuration that cannot be is
// ignored like one that is not for us.
func TestImpossibleConfigurationIsIgnored(t *testing.T) {
	for name, cs := range map[string]pb.ConfState{
		"nobody votes":                 {Learners: []uint64{1}},
		"a learner that votes":         {Voters: []uint64{1, 2}, Learners: []uint64{1}},
		"joint with nobody":            {VotersOutgoing: []uint64{1, 2}},
		"to become one, and is none":   {Voters: []uint64{1}, VotersOutgoing: []uint64{1}, LearnersNext: []uint64{3}},
		"to be left, and not joint":    {Voters: []uint64{1}, AutoLeave: true},
		"to become one, and not joint": {Voters: []uint64{1}, LearnersNext: []uint64{2}},
	} {
		n := nodeWith(t, 2, 1, 1, 1)
		s := pb.Snapshot{Metadata: pb.SnapshotMetadata{Index: 9, Term: 2, ConfState: cs}}
		m := one(t, n.step(t, pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 2, Snapshot: &s}))
		if m.Index != 1 || n.raft.log.lastIndex() != 2 || n.raft.trk.Config.String() != "voters=(1 2 3)" {
			t.Errorf("%s: %s, %v", name, DescribeMessage(m, nil), n.raft.trk.Config)
		}
	}
}
