// Node: a RawNode behind channels, for any number of goroutines.
//
// Start at Node and StartNode. Here are the calls; node_loop.go is the one
// goroutine that answers them.

package raft

import (
	"context"
	"errors"
	"sync"

	pb "example.com/raftexample/raft/raftpb"
)

// ErrStopped is what calls give once the node has stopped.
var ErrStopped = errors.New("raft: stopped")

// Node is one member of a group, whose methods may be called from any
// goroutine.
//
// The user's part is a loop: call Tick at even intervals, pass what peers send
// to Step, and for each Ready from the channel do what Ready says, then call
// Advance.
type Node interface {
	// Tick lets one tick of time pass. It never blocks.
	Tick()

	// Campaign makes the node a candidate, if it may be one.
	Campaign(ctx context.Context) error

	// Propose asks that data be appended to the log. It blocks while no leader is
	// known. It gives ErrProposalDropped if the proposal was certainly not
	// appended; without an error it may have been, and the user has to watch what
	// is committed.
	Propose(ctx context.Context, data []byte) error

	// ProposeConfChange asks for a change of membership. It blocks while no leader
	// is known. One that comes while another is under way is appended as an empty
	// entry, without an error.
	ProposeConfChange(ctx context.Context, cc pb.ConfChangeI) error

	// Step takes a message from a peer. What no peer may say is ignored.
	Step(ctx context.Context, msg pb.Message) error

	// Ready gives what there is to do, when there is something and the last one
	// was advanced. It is not closed when the node stops.
	Ready() <-chan Ready

	// Advance says that everything in the last Ready is done. It is not to be
	// called with Config.AsyncStorageWrites.
	Advance()

	// ApplyConfChange makes a committed change of membership take effect, and
	// returns the resulting configuration; an empty one if the node has stopped.
	// It may be called before Advance.
	ApplyConfChange(cc pb.ConfChangeI) *pb.ConfState

	// TransferLeadership asks lead to hand over to transferee. There is no answer:
	// watch who leads.
	TransferLeadership(ctx context.Context, lead, transferee uint64)

	// ForgetLeader makes a follower forget its leader, so that it may vote at once.
	ForgetLeader(ctx context.Context) error

	// ReadIndex asks for an index that a read must wait for; the answer comes as a
	// ReadState with the same context, or not at all: then ask again, with another
	// context.
	ReadIndex(ctx context.Context, rctx []byte) error

	// Status returns the node's state; a zero one if it has stopped.
	Status() Status

	// ReportUnreachable says that the last message to id was not delivered.
	ReportUnreachable(id uint64)

	// ReportSnapshot says how sending a snapshot to id went.
	ReportSnapshot(id uint64, status SnapshotStatus)

	// Stop ends the node and waits for that. It may be called again.
	Stop()
}

// StartNode starts a member of a new group of peers, on an empty storage. It
// panics if config is wrong or peers is empty.
func StartNode(c *Config, peers []Peer) Node {
	if len(peers) == 0 {
		panic("no peers given; use RestartNode instead")
	}
	rn := mustRawNode(c)
	if err := rn.Bootstrap(peers); err != nil {
		c.Logger.Warningf("node %x was not bootstrapped: %v", c.ID, err)
	}
	return start(rn)
}

// RestartNode starts a member from what its storage holds, or from nothing if
// it joins a group that has added it. It panics if config is wrong.
func RestartNode(c *Config) Node { return start(mustRawNode(c)) }

func mustRawNode(c *Config) *RawNode {
	rn, err := NewRawNode(c)
	if err != nil {
		panic(err)
	}
	return rn
}

func start(rn *RawNode) *node {
	n := newNode(rn)
	go n.run()
	return n
}

// ticksAhead is how many ticks may wait for a busy loop before they get lost.
const ticksAhead = 128

// node implements Node. Each channel carries one kind of call to the loop.
type node struct {
	rn         *RawNode
	inbox      inbox
	recvc      chan pb.Message
	confc      chan pb.ConfChangeV2
	confstatec chan pb.ConfState
	readyc     chan Ready
	advancec   chan struct{}
	tickc      chan struct{}
	statusc    chan chan Status
	stopc      chan struct{}
	done       chan struct{} // closed when the loop has ended

	proposals sync.Pool // of *proposal

	// forwardLimit is how much may go to the leader in one message. It admits a message
	// whole or not at all: with an eighth of the quota, little that would fit is refused.
	forwardLimit uint64

	// The loop's own: proposals that go into one message, and what gathers for the
	// next Ready.
	batch        []*proposal
	entries      []pb.Entry
	forwards     []pb.Entry
	forwardBytes uint64 // encoded
	overdue      bool   // a tick has passed
}

func newNode(rn *RawNode) *node {
	r := rn.raft
	r.gathers = true
	return &node{
		forwardLimit: min(maxBatchBytes, r.maxMsgSize, r.maxUncommittedSize/8),
		rn:           rn,
		inbox:        inbox{filled: make(chan struct{}, 1)},
		recvc:        make(chan pb.Message),
		confc:        make(chan pb.ConfChangeV2),
		confstatec:   make(chan pb.ConfState),
		readyc:       make(chan Ready),
		advancec:     make(chan struct{}),
		tickc:        make(chan struct{}, ticksAhead),
		statusc:      make(chan chan Status),
		stopc:        make(chan struct{}),
		done:         make(chan struct{}),
		proposals:    sync.Pool{New: func() any { return &proposal{result: make(chan error, 1)} }},
	}
}

func (n *node) Propose(ctx context.Context, data []byte) error {
	p := n.proposals.Get().(*proposal)
	p.one[0] = pb.Entry{Data: data}
	p.entries = p.one[:]
	return n.handToLoop(ctx, p)
}

func (n *node) ProposeConfChange(ctx context.Context, cc pb.ConfChangeI) error {
	m, err := confChangeProposal(cc)
	if err != nil {
		return err
	}
	return n.Step(ctx, m)
}

func (n *node) Step(ctx context.Context, m pb.Message) error {
	switch {
	case IsLocalMsg(m.Type) && !IsLocalMsgTarget(m.From):
		return nil
	case m.Type == pb.MsgProp && len(m.Entries) == 0: // a leader would stop over it
		return nil
	case m.Type == pb.MsgProp:
		p := n.proposals.Get().(*proposal)
		p.entries, p.context = m.Entries, m.Context
		err := n.handToLoop(ctx, p)
		if errors.Is(err, ErrProposalDropped) {
			return nil
		}
		return err
	default:
		return n.step(ctx, m)
	}
}

// handToLoop waits until the loop has stepped a proposal, which it does only
// while a leader is known.
func (n *node) handToLoop(ctx context.Context, p *proposal) error {
	n.inbox.put(p)
	select {
	case err := <-p.result:
		p.one[0], p.entries, p.context = pb.Entry{}, nil, nil
		n.proposals.Put(p)
		return err
	case <-ctx.Done():
		n.inbox.withdraw(p) // too late if the loop has it: then nobody knows
		return ctx.Err()
	case <-n.done:
		n.inbox.withdraw(p) // a stopped node keeps nothing
		return ErrStopped
	}
}

// step waits until the loop takes any other message.
func (n *node) step(ctx context.Context, m pb.Message) error {
	select {
	case n.recvc <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-n.done:
		return ErrStopped
	}
}

func (n *node) Campaign(ctx context.Context) error {
	return n.step(ctx, pb.Message{Type: pb.MsgHup})
}

func (n *node) ForgetLeader(ctx context.Context) error {
	return n.step(ctx, pb.Message{Type: pb.MsgForgetLeader})
}

func (n *node) ReadIndex(ctx context.Context, rctx []byte) error {
	return n.step(ctx, pb.Message{Type: pb.MsgReadIndex, Entries: []pb.Entry{{Data: rctx}}})
}

func (n *node) TransferLeadership(ctx context.Context, lead, transferee uint64) {
	n.report(ctx, pb.Message{Type: pb.MsgTransferLeader, From: transferee, To: lead})
}

func (n *node) ReportUnreachable(id uint64) {
	n.report(context.Background(), pb.Message{Type: pb.MsgUnreachable, From: id})
}

func (n *node) ReportSnapshot(id uint64, status SnapshotStatus) {
	n.report(context.Background(), pb.Message{Type: pb.MsgSnapStatus, From: id, Reject: status == SnapshotFailure})
}

// report steps a message for a caller that has no error to return.
func (n *node) report(ctx context.Context, m pb.Message) {
	if err := n.step(ctx, m); err != nil {
		n.rn.raft.logger.Debugf("%v for %x was not taken: %v", m.Type, m.From, err)
	}
}

func (n *node) Tick() {
	select {
	case n.tickc <- struct{}{}:
	case <-n.done:
	default:
		n.rn.raft.logger.Warningf("node %x lost a tick: its loop is blocked", n.rn.raft.id)
	}
}

func (n *node) Ready() <-chan Ready { return n.readyc }

func (n *node) Advance() {
	select {
	case n.advancec <- struct{}{}:
	case <-n.done:
	}
}

func (n *node) ApplyConfChange(cc pb.ConfChangeI) *pb.ConfState {
	var cs pb.ConfState
	select {
	case n.confc <- cc.AsV2():
		select {
		case cs = <-n.confstatec:
		case <-n.done:
		}
	case <-n.done:
	}
	return &cs
}

func (n *node) Status() Status {
	answer := make(chan Status, 1)
	select {
	case n.statusc <- answer:
		return <-answer
	case <-n.done:
		return Status{}
	}
}

func (n *node) Stop() {
	select {
	case n.stopc <- struct{}{}:
		<-n.done
	case <-n.done:
	}
}
