// Step: the one door for messages.
//
//	§5.1 (the term rule: Figure 2, "Rules for Servers") · diss. §3.3, §4.2.3
//
// Start at Step; then the file of the role that handles the message.

package raft

import (
	"errors"

	pb "example.com/raftexample/raft/raftpb"
)

var (
	// ErrProposalDropped means that a proposal was not and will not be appended
	// by this node: there is no leader, it is full, or it is stepping aside.
	ErrProposalDropped = errors.New("raft proposal dropped")

	// ErrStepLocalMsg is the answer to a message that may not come from a peer.
	ErrStepLocalMsg = errors.New("raft: cannot step raft local message")

	// ErrStepPeerNotFound is the answer to a response of an unknown node.
	ErrStepPeerNotFound = errors.New("raft: cannot step as peer not found")
)

// Step takes one message. First the term decides whether the message or we are
// out of date; what is left is about our term, and goes to our role.
func (r *raft) Step(m pb.Message) error {
	switch {
	case m.Term == 0:
		// From this node or its user, or forwarded: no term to compare.
	case m.Term > r.Term:
		if r.ignoresCandidate(&m) {
			return nil
		}
		r.adoptTerm(&m)
	case m.Term < r.Term:
		r.answerStale(&m)
		return nil
	}

	switch m.Type {
	case pb.MsgHup:
		r.campaignOnTimeout()
	case pb.MsgVote, pb.MsgPreVote:
		r.handleVote(m)
	case pb.MsgStorageAppendResp:
		r.handleStored(&m)
	case pb.MsgStorageApplyResp:
		r.entriesApplied(m.Entries)
	default:
		return r.stepRole(m)
	}
	return nil
}

// stepRole hands a message of our term to our role.
func (r *raft) stepRole(m pb.Message) error {
	switch r.role {
	case StateLeader:
		return r.stepLeader(m)
	case StateFollower:
		return r.stepFollower(m)
	default:
		return r.stepCandidate(m)
	}
}

// adoptTerm follows a message into its higher term (Figure 2: "convert to
// follower"). Pre-votes are about terms that nobody has entered yet.
func (r *raft) adoptTerm(m *pb.Message) {
	switch m.Type {
	case pb.MsgPreVote:
		return
	case pb.MsgPreVoteResp:
		if !m.Reject { // a grant carries the term we asked about, which is above ours
			return
		}
	}

	r.logger.Infof("node %x in term %d got %v of term %d from %x", r.id, r.Term, m.Type, m.Term, m.From)
	switch m.Type {
	case pb.MsgApp, pb.MsgHeartbeat, pb.MsgSnap: // only the leader of a term sends these
		r.becomeFollower(m.Term, m.From)
	default:
		r.becomeFollower(m.Term, None)
	}
}

// answerStale deals with a message of an earlier term. Figure 2 answers every
// one of them with our term; it is enough where the sender could be stuck
// without, and a peer that was deposed hears of us anyway.
func (r *raft) answerStale(m *pb.Message) {
	switch m.Type {
	case pb.MsgApp, pb.MsgHeartbeat:
		// With check-quorum and pre-vote, a node in a higher term than the leader's
		// cannot depose it by campaigning: its requests are ignored. It would never
		// catch up if the leader did not learn of that term by this answer.
		if r.checkQuorum || r.preVote {
			r.send(pb.Message{To: m.From, Type: pb.MsgAppResp})
		}
	case pb.MsgPreVote:
		// The candidate polls with an old term: let it have ours, or two nodes that
		// both only poll could wait for each other for ever.
		r.logger.Infof("node %x in term %d refused a pre-vote of term %d to %x", r.id, r.Term, m.Term, m.From)
		r.send(pb.Message{To: m.From, Term: r.Term, Type: pb.MsgPreVoteResp, Reject: true})
	case pb.MsgStorageAppendResp:
		r.handleStored(m) // a snapshot stays stored; what entries are, the term decides
	default:
		r.logger.Debugf("node %x in term %d ignored %v of term %d from %x", r.id, r.Term, m.Type, m.Term, m.From)
	}
}

// stepOrLog steps a message of our own, whose fate nobody waits to hear.
func (r *raft) stepOrLog(m pb.Message) {
	if err := r.Step(m); err != nil {
		r.logger.Debugf("node %x: %v: %v", r.id, m.Type, err)
	}
}

// IsLocalMsg reports whether messages of this type may only come from the node
// itself or from its user, never over the network.
func IsLocalMsg(t pb.MessageType) bool {
	switch t {
	case pb.MsgHup, pb.MsgBeat, pb.MsgUnreachable, pb.MsgSnapStatus, pb.MsgCheckQuorum,
		pb.MsgStorageAppend, pb.MsgStorageAppendResp, pb.MsgStorageApply, pb.MsgStorageApplyResp:
		return true
	}
	return false
}

// IsResponseMsg reports whether messages of this type answer another one.
func IsResponseMsg(t pb.MessageType) bool {
	switch t {
	case pb.MsgAppResp, pb.MsgVoteResp, pb.MsgHeartbeatResp, pb.MsgUnreachable, pb.MsgReadIndexResp,
		pb.MsgPreVoteResp, pb.MsgStorageAppendResp, pb.MsgStorageApplyResp:
		return true
	}
	return false
}

// IsLocalMsgTarget reports whether id is one of the node's own threads.
func IsLocalMsgTarget(id uint64) bool { return id == LocalAppendThread || id == LocalApplyThread }
