// State: everything a node knows, grouped as in the paper's Figure 2.
//
//	Figure 2, "State" · diss. Figure 3.1
//
// Start at raft; role.go moves it from one role to the next.

package raft

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"example.com/raftexample/raft/confchange"
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// raft is the state machine of one node: no clock, no goroutine, no I/O. Step
// and tick are its only inputs; the outbox, the log's unstable tail and
// readStates are its only outputs, and RawNode gathers them into a Ready.
type raft struct {
	id uint64

	// Persistent state (Figure 2): in the hard state of the next Ready, to be
	// stored before any message that depends on it may leave.
	Term uint64 // currentTerm: the latest term seen
	Vote uint64 // votedFor: who has our vote in Term, or None

	// The log, with commitIndex and lastApplied.
	log *raftLog

	// Volatile state on all servers.
	role StateType
	lead uint64 // the leader of Term, None while unknown

	// Volatile state on leaders and candidates: nextIndex and matchIndex are in
	// trk.Progress, the votes received in trk.Votes. trk also holds the
	// configuration, which all roles need.
	trk   tracker.ProgressTracker
	peers []peer // the members in trk.Progress, in ascending order of their ids
	self  *tracker.Progress

	// What only a leader has; role.go replaces it whole.
	leaderState

	// Clocks, in ticks. See clock.go.
	electionElapsed    int
	heartbeatElapsed   int
	electionTimeout    int
	heartbeatTimeout   int
	randomizedElection int // this time's timeout, drawn anew with every role
	rand               Rand

	// What leaves this node. See outbox.go and read.go.
	outbox     outbox
	readStates []ReadState

	options
	logger Logger
}

// options are the parts of Config that never change and that more than one
// file asks for.
type options struct {
	maxMsgSize                  uint64
	maxUncommittedSize          uint64
	maxInflight                 int
	maxInflightBytes            uint64
	checkQuorum                 bool
	preVote                     bool
	readOnlyOption              ReadOnlyOption
	disableProposalForwarding   bool
	disableConfChangeValidation bool
	stepDownOnRemoval           bool

	gathers bool // appends wait for sendGathered: see gather.go
}

// leaderState is what only a leader has. Every change of role starts from an
// empty one, so nothing of an earlier leadership can be read by mistake.
type leaderState struct {
	// leadTransferee is who leadership is being handed to. See transfer.go.
	leadTransferee uint64

	// pendingConfIndex is the last entry that may hold a change of membership
	// which is not applied yet; while it is above applied, no other is accepted.
	pendingConfIndex uint64

	// uncommittedSize is the payload accepted in this leadership and not yet
	// applied, in bytes. See propose.go.
	uncommittedSize uint64

	// reads wait for a quorum to confirm that we still lead. See read.go.
	reads readQueue

	// gathered is what a Node's leader has yet to send. See gather.go.
	gathered gathered
}

// peer is a member of the group with the leader's record of it.
type peer struct {
	id uint64
	pr *tracker.Progress
}

// SoftState is what need not be stored: who leads, and which role we have.
type SoftState struct {
	Lead      uint64    // the leader's id, or None
	RaftState StateType // this node's role
}

// newRaft starts a node from what its Storage holds: as a follower of nobody,
// in the stored term. It panics on a configuration or a storage that is wrong.
func newRaft(c *Config) *raft {
	if err := c.validate(); err != nil {
		panic(err.Error())
	}
	hs, cs, err := c.Storage.InitialState()
	if err != nil {
		panic(fmt.Errorf("raft: read the initial state: %w", err))
	}

	r := &raft{
		id:               c.ID,
		log:              newLog(c.Storage, c.MaxCommittedSizePerReady, c.Logger),
		trk:              tracker.MakeProgressTracker(c.MaxInflightMsgs, c.MaxInflightBytes),
		electionTimeout:  c.ElectionTick,
		heartbeatTimeout: c.HeartbeatTick,
		rand:             c.Rand,
		logger:           c.Logger,
		options: options{
			maxMsgSize:                  c.MaxSizePerMsg,
			maxUncommittedSize:          c.MaxUncommittedEntriesSize,
			maxInflight:                 c.MaxInflightMsgs,
			maxInflightBytes:            c.MaxInflightBytes,
			checkQuorum:                 c.CheckQuorum,
			preVote:                     c.PreVote,
			readOnlyOption:              c.ReadOnlyOption,
			disableProposalForwarding:   c.DisableProposalForwarding,
			disableConfChangeValidation: c.DisableConfChangeValidation,
			stepDownOnRemoval:           c.StepDownOnRemoval,
		},
	}
	if r.rand == nil {
		r.rand = globalRand{}
	}

	cfg, progress, err := confchange.Restore(confchange.Changer{Tracker: r.trk, LastIndex: r.log.lastIndex()}, cs)
	if err != nil {
		panic(fmt.Errorf("raft: restore the configuration %v: %w", cs, err))
	}
	r.mustMatch(cs, r.switchToConfig(cfg, progress))

	if !IsEmptyHardState(hs) {
		r.loadHardState(hs)
	}
	if c.Applied > 0 {
		r.log.appliedTo(c.Applied, 0)
	}
	r.becomeFollower(r.Term, None)
	r.logger.Infof("node %x starts in term %d with peers %v, commit %d, applied %d, last entry %v",
		r.id, r.Term, r.trk.VoterNodes(), r.log.committed, r.log.applied, r.log.last)
	return r
}

// loadHardState takes over what was stored before a restart.
func (r *raft) loadHardState(hs pb.HardState) {
	if hs.Commit < r.log.committed || hs.Commit > r.log.lastIndex() {
		panic(fmt.Sprintf("raft: node %x stored commit %d, which is not in [%d, %d]",
			r.id, hs.Commit, r.log.committed, r.log.lastIndex()))
	}
	r.log.committed = hs.Commit
	r.Term = hs.Term
	r.Vote = hs.Vote
}

func (r *raft) hardState() pb.HardState {
	return pb.HardState{Term: r.Term, Vote: r.Vote, Commit: r.log.committed}
}

func (r *raft) softState() SoftState { return SoftState{Lead: r.lead, RaftState: r.role} }

// indexPeers rebuilds what is derived from trk.Progress, so that broadcasts
// need neither sort nor look anything up.
func (r *raft) indexPeers() {
	r.peers = make([]peer, 0, len(r.trk.Progress))
	for id, pr := range r.trk.Progress {
		r.peers = append(r.peers, peer{id: id, pr: pr})
	}
	slices.SortFunc(r.peers, func(a, b peer) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	r.self = r.trk.Progress[r.id]
}

// globalRand is the default of Config.Rand.
type globalRand struct{}

func (globalRand) IntN(n int) int { return rand.IntN(n) }

// IsEmptyHardState reports whether nothing is in st.
func IsEmptyHardState(st pb.HardState) bool { return st == pb.HardState{} }

// IsEmptySnap reports whether sp is no snapshot: whether its index is 0.
func IsEmptySnap(sp pb.Snapshot) bool { return sp.Metadata.Index == 0 }
