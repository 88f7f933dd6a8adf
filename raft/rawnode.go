// RawNode: the state machine as an API, without goroutines.
//
// Every method is a plain call into raft; who calls from several goroutines
// wants Node instead. ready.go has the other half: Ready, HasReady.

package raft

import (
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// RawNode is one node of a group. Its methods must not be called concurrently.
type RawNode struct {
	raft  *raft
	async bool // Config.AsyncStorageWrites

	// What the last accepted Ready said, to tell what is new.
	prevSoftState SoftState
	prevHardState pb.HardState

	advance advance     // what the last accepted Ready left to do
	one     [1]pb.Entry // room for a proposal or a read on its way through Step
}

// NewRawNode starts a node from what config.Storage holds. With an empty
// storage it has no configuration yet: Bootstrap gives it one, or the leader of
// a group that has added it. It panics if config or the storage is wrong.
func NewRawNode(config *Config) (*RawNode, error) {
	r := newRaft(config)
	return &RawNode{
		raft:          r,
		async:         config.AsyncStorageWrites,
		prevSoftState: r.softState(),
		prevHardState: r.hardState(),
	}, nil
}

// Tick lets one tick of time pass (Config.ElectionTick, Config.HeartbeatTick).
func (rn *RawNode) Tick() { rn.raft.tick() }

// TickQuiesced lets a tick pass without acting on it: for a group that its user
// has put to sleep, all members at once. The node campaigns the sooner once it
// ticks again.
func (rn *RawNode) TickQuiesced() { rn.raft.electionElapsed++ }

// Campaign makes the node a candidate, if it may be one.
func (rn *RawNode) Campaign() error { return rn.raft.Step(pb.Message{Type: pb.MsgHup}) }

// Propose asks that data be appended to the log. It gives ErrProposalDropped if
// that certainly does not happen; otherwise it may, and the user has to watch
// what is committed.
func (rn *RawNode) Propose(data []byte) error {
	return rn.raft.Step(pb.Message{Type: pb.MsgProp, From: rn.raft.id, Entries: rn.entry(data)})
}

// entry returns an entry for a message that only Step will see: whoever keeps or
// forwards it makes a copy.
func (rn *RawNode) entry(data []byte) []pb.Entry {
	rn.one[0] = pb.Entry{Data: data}
	return rn.one[:]
}

// ProposeConfChange asks for a change of membership. Only one can be under way
// at a time (diss. §4.1): one that comes too early is appended as an empty entry
// instead, and without an error.
func (rn *RawNode) ProposeConfChange(cc pb.ConfChangeI) error {
	m, err := confChangeProposal(cc)
	if err != nil {
		return err
	}
	return rn.raft.Step(m)
}

func confChangeProposal(cc pb.ConfChangeI) (pb.Message, error) {
	t, data, err := pb.MarshalConfChange(cc)
	if err != nil {
		return pb.Message{}, err
	}
	return pb.Message{Type: pb.MsgProp, Entries: []pb.Entry{{Type: t, Data: data}}}, nil
}

// ApplyConfChange makes a committed change of membership take effect, and
// returns the configuration that results, which belongs into the next snapshot.
// It must be called for each such entry, when it is applied. A user that rejects
// a change need not call it; a ConfChange of node 0 changes nothing.
func (rn *RawNode) ApplyConfChange(cc pb.ConfChangeI) *pb.ConfState {
	cs := rn.raft.applyConfChange(cc.AsV2())
	return &cs
}

// Step takes a message from a peer, or from one of the node's own threads. It
// gives ErrStepLocalMsg for what no peer may say, ErrStepPeerNotFound for an
// answer of one that is no member.
func (rn *RawNode) Step(m pb.Message) error {
	if err := rn.raft.admits(&m); err != nil {
		return err
	}
	return rn.raft.Step(m)
}

// admits says what is wrong with a message from outside, if anything.
func (r *raft) admits(m *pb.Message) error {
	switch {
	case IsLocalMsgTarget(m.From):
		return nil
	case IsLocalMsg(m.Type):
		return ErrStepLocalMsg
	case IsResponseMsg(m.Type) && r.trk.Progress[m.From] == nil:
		return ErrStepPeerNotFound
	}
	return nil
}

// Ready returns what there is to do, and counts it as taken. It panics if the
// last one still waits for Advance.
func (rn *RawNode) Ready() Ready {
	rd := rn.readyWithoutAccept()
	rn.acceptReady(&rd)
	return rd
}

// Status returns the node's state, and on the leader its record of each member.
func (rn *RawNode) Status() Status { return getStatus(rn.raft) }

// BasicStatus returns the part of Status that costs no allocation.
func (rn *RawNode) BasicStatus() BasicStatus { return getBasicStatus(rn.raft) }

// ProgressType says what a member is.
type ProgressType byte

// The kinds of members.
const (
	ProgressTypePeer    ProgressType = iota // a voter
	ProgressTypeLearner                     // a learner
)

// WithProgress calls visitor with the record of each member, in ascending order
// of ids. The record is a copy, without the window of messages under way.
func (rn *RawNode) WithProgress(visitor func(id uint64, typ ProgressType, pr tracker.Progress)) {
	for _, p := range rn.raft.peers {
		typ := ProgressTypePeer
		if p.pr.IsLearner {
			typ = ProgressTypeLearner
		}
		pr := *p.pr
		pr.Inflights = nil
		visitor(p.id, typ, pr)
	}
}

// ReportUnreachable says that the last message to id was not delivered.
func (rn *RawNode) ReportUnreachable(id uint64) {
	rn.raft.stepOrLog(pb.Message{Type: pb.MsgUnreachable, From: id})
}

// ReportSnapshot says how sending a snapshot to id went. Until then the leader
// sends it nothing else, unless it acknowledges the snapshot.
func (rn *RawNode) ReportSnapshot(id uint64, status SnapshotStatus) {
	rn.raft.stepOrLog(pb.Message{Type: pb.MsgSnapStatus, From: id, Reject: status == SnapshotFailure})
}

// TransferLeader asks the leader to make transferee the leader. There is no
// answer: watch who leads (diss. §3.10).
func (rn *RawNode) TransferLeader(transferee uint64) {
	rn.raft.stepOrLog(pb.Message{Type: pb.MsgTransferLeader, From: transferee})
}

// ForgetLeader makes a follower forget its leader, so that it may vote at once.
func (rn *RawNode) ForgetLeader() error {
	return rn.raft.Step(pb.Message{Type: pb.MsgForgetLeader})
}

// ReadIndex asks for an index that a read must wait for; the answer comes as a
// ReadState with the same context, or not at all, as when the leader changes:
// then ask again, with another context (diss. §6.4).
func (rn *RawNode) ReadIndex(rctx []byte) {
	rn.raft.stepOrLog(pb.Message{Type: pb.MsgReadIndex, Entries: rn.entry(rctx)})
}
