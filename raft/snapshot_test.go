// Snapshots: which are taken, and when they are sent.
//
//	§7, Figure 13

package raft

import (
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
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
	if err := n.storage.Append(rd.Entries); err != nil {
		t.Fatal(err)
	}
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4})
	n.Advance(rd)
	n.step(t, snapshot)
	if got := n.raft.trk.ConfState().Voters; !slices.Equal(got, []uint64{1, 2, 3}) || n.raft.log.applied != 9 {
		t.Errorf("voters %v, applied %d; want those of the snapshot", got, n.raft.log.applied)
	}
}
