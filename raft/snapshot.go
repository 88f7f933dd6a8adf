// Snapshots: how a peer gets what the log no longer holds.
//
//	§7, Figure 13 · diss. ch. 5
//
// Start at maybeSendSnapshot for the leader, handleSnapshot for the follower.

package raft

import (
	"errors"
	"fmt"
	"slices"

	"example.com/raftexample/raft/confchange"
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// SnapshotStatus is how sending a snapshot went, for ReportSnapshot.
type SnapshotStatus int

// The outcomes of sending a snapshot.
const (
	SnapshotFinish  SnapshotStatus = 1 // the peer has it
	SnapshotFailure SnapshotStatus = 2 // it has not, or nobody knows
)

// maybeSendSnapshot sends p the newest snapshot, if it is there to take it. No
// entries follow until it has arrived.
func (r *raft) maybeSendSnapshot(p peer) bool {
	if !p.pr.RecentActive {
		return false
	}
	snapshot, err := r.log.snapshot()
	if errors.Is(err, ErrSnapshotTemporarilyUnavailable) {
		return false
	}
	if err != nil {
		panic(fmt.Errorf("raft: node %x needs a snapshot for %x: %w", r.id, p.id, err))
	}
	if IsEmptySnap(snapshot) {
		panic(fmt.Sprintf("raft: node %x needs a snapshot for %x, and storage gave an empty one", r.id, p.id))
	}

	r.logger.Infof("node %x sends %x the snapshot at %d, as its log starts at %d and entry %d is needed",
		r.id, p.id, snapshot.Metadata.Index, r.log.firstIndex(), p.pr.Next)
	p.pr.BecomeSnapshot(snapshot.Metadata.Index)
	r.send(pb.Message{To: p.id, Type: pb.MsgSnap, Snapshot: &snapshot})
	return true
}

// handleSnapshotStatus hears from the user whether a snapshot arrived. Either
// way we probe next, but not before the peer is heard of.
func (r *raft) handleSnapshotStatus(p peer, m *pb.Message) {
	if p.pr.State != tracker.StateSnapshot {
		return
	}
	if m.Reject {
		p.pr.PendingSnapshot = 0 // probe after what it is known to have
	}
	p.pr.BecomeProbe()
	p.pr.MsgAppFlowPaused = true
	r.logger.Infof("node %x: snapshot for %x ended, failed=%t; %v", r.id, p.id, m.Reject, p.pr)
}

// handleSnapshot answers MsgSnap, with how far our log now is certain. As with
// an append, the answer waits for the disk.
func (r *raft) handleSnapshot(m *pb.Message) {
	var snapshot pb.Snapshot
	if m.Snapshot != nil {
		snapshot = *m.Snapshot
	}
	var certain uint64
	if r.restore(snapshot) {
		certain = r.log.lastIndex()
	} else {
		certain = r.log.committed
	}
	r.send(pb.Message{To: m.From, Type: pb.MsgAppResp, Index: certain})
}

// restore replaces our log and configuration by a snapshot's, and reports
// whether it did: not if that would bring nothing, or is not meant for us.
func (r *raft) restore(s pb.Snapshot) bool {
	id := entryID{term: s.Metadata.Term, index: s.Metadata.Index}
	cs := s.Metadata.ConfState
	switch {
	case id.index <= r.log.committed:
		return false
	case !slices.Contains(cs.Voters, r.id) && !slices.Contains(cs.Learners, r.id) && !slices.Contains(cs.VotersOutgoing, r.id):
		r.logger.Warningf("node %x ignored a snapshot at %v that it is no member in: %v", r.id, id, cs)
		return false
	case r.log.matches(id):
		// Figure 13, step 6: our log has all of it. Keep the log, and learn that it is
		// committed so far.
		r.log.commitTo(id.index)
		return false
	case r.hasConfChange(r.log.applied+1, r.log.applying+1):
		// Our user has been given a change of membership and is about to apply it: to
		// the configuration before, not to the snapshot's, which has it already and maybe
		// its reverse. The leader will try again.
		r.logger.Infof("node %x ignored a snapshot at %v while a change of membership is being applied", r.id, id)
		return false
	}

	empty := tracker.MakeProgressTracker(r.maxInflight, r.maxInflightBytes)
	cfg, progress, err := confchange.Restore(confchange.Changer{Tracker: empty, LastIndex: id.index}, cs)
	if err == nil {
		restored := tracker.ProgressTracker{Config: cfg}
		err = cs.Equivalent(restored.ConfState())
	}
	if err != nil {
		r.logger.Errorf("node %x ignored a snapshot at %v with a configuration that cannot be: %v", r.id, id, err)
		return false
	}
	r.log.restore(s)
	r.switchToConfig(cfg, progress)
	r.logger.Infof("node %x takes the snapshot at %v with configuration %v", r.id, id, r.trk.Config)
	return true
}
