// Membership: who counts, and how that changes.
//
//	§6 · diss. ch. 4
//
// Start at applyConfChange. A change takes effect on a node when the node's
// user applies it, not when it is appended as in the paper; propose.go keeps
// changes far enough apart for that.

package raft

import (
	"fmt"

	"example.com/raftexample/raft/confchange"
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// applyConfChange makes a committed change, and returns the new configuration.
// A change that cannot be made was never valid, and is a bug: it panics.
func (r *raft) applyConfChange(change pb.ConfChangeV2) pb.ConfState {
	changer := confchange.Changer{Tracker: r.trk, LastIndex: r.log.lastIndex()}
	var (
		cfg      tracker.Config
		progress tracker.ProgressMap
		err      error
	)
	autoLeave, joint := change.EnterJoint()
	switch {
	case change.LeaveJoint():
		cfg, progress, err = changer.LeaveJoint()
	case joint:
		cfg, progress, err = changer.EnterJoint(autoLeave, change.Changes...)
	default:
		cfg, progress, err = changer.Simple(change.Changes...)
	}
	if err != nil {
		panic(fmt.Errorf("raft: node %x cannot apply %v: %w", r.id, change.Changes, err))
	}
	return r.switchToConfig(cfg, progress)
}

// switchToConfig takes a configuration into use and draws the consequences.
func (r *raft) switchToConfig(cfg tracker.Config, progress tracker.ProgressMap) pb.ConfState {
	if was := r.trk.Config.String(); was != cfg.String() {
		r.logger.Infof("node %x switches from configuration %v to %v", r.id, was, cfg)
	}
	r.trk.Config = cfg
	r.trk.Progress = progress
	r.indexPeers()

	cs := r.trk.ConfState()
	if r.role != StateLeader {
		return cs
	}
	if r.self == nil || r.self.IsLearner {
		// Our own removal is committed. Until the others know, going on serves them
		// (§6, second issue); the user may prefer a clean end.
		if r.stepDownOnRemoval {
			r.becomeFollower(r.Term, None)
		}
		return cs
	}

	// Quorums are others now: entries may be committed by that alone, and a new
	// member should not have to wait for the next heartbeat.
	if r.maybeCommit() {
		r.announceCommit()
	} else {
		for _, p := range r.peers {
			if p.id != r.id {
				r.maybeSendAppend(p, false)
			}
		}
	}
	if r.leadTransferee != None && !r.isVoter(r.leadTransferee) {
		r.abortTransfer()
	}
	return cs
}

// isVoter reports whether id votes in either half of the configuration.
func (r *raft) isVoter(id uint64) bool {
	_, incoming := r.trk.Voters[0][id]
	_, outgoing := r.trk.Voters[1][id]
	return incoming || outgoing
}

// appliedTo hears that the state machine has come to index, with size encoded
// bytes of entries applied. A leader whose joint configuration is thereby
// applied proposes to leave it, if that was asked for.
func (r *raft) appliedTo(index, size uint64) {
	r.log.appliedTo(max(index, r.log.applied), size)
	if r.role != StateLeader || !r.trk.AutoLeave || r.log.applied < r.pendingConfIndex {
		return
	}

	leave := pb.Message{Type: pb.MsgProp, Entries: []pb.Entry{{Type: pb.EntryConfChangeV2}}}
	if err := r.Step(leave); err != nil {
		r.logger.Debugf("node %x cannot leave the joint configuration yet: %v", r.id, err)
		return
	}
	r.logger.Infof("node %x leaves the joint configuration %v", r.id, r.trk.Config)
}

// hasConfChange reports whether any of the entries in [lo, hi) changes the
// membership, or may: the user can have compacted entries that it has applied and
// not acknowledged yet.
func (r *raft) hasConfChange(lo, hi uint64) bool {
	found := false
	err := r.log.scan(lo, hi, func(entries []pb.Entry) bool {
		for i := range entries {
			found = found || changesMembership(&entries[i])
		}
		return !found
	})
	return found || err != nil
}

// mustMatch asserts that a configuration came through restoring unchanged.
func (r *raft) mustMatch(want, got pb.ConfState) {
	if err := want.Equivalent(got); err != nil {
		panic(fmt.Errorf("raft: node %x: %w", r.id, err))
	}
}
