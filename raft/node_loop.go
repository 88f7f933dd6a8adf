// The loop: the one goroutine that owns a Node's RawNode.
//
// Start at run. Calls wait in channels until it takes them one by one, so the
// state machine below needs no lock.

package raft

import (
	"runtime"

	pb "example.com/raftexample/raft/raftpb"
)

// maxBatchEntries and maxBatchBytes bound what goes into one message of
// proposals. They keep the loop from neglecting the rest, no more; what is forwarded
// must also be small for a message, and for the leader to admit: see forwardLimit.
const (
	maxBatchEntries = 1024
	maxBatchBytes   = 1 << 20
)

func (n *node) run() {
	defer close(n.done)
	r := n.rn.raft
	var (
		rd       Ready
		readyc   chan Ready    // nil while there is nothing to hand out
		advancec chan struct{} // nil unless a Ready waits for Advance
		filled   chan struct{} // nil while proposals have to wait for a leader
		lead     uint64
	)
	for {
		if advancec == nil {
			n.sendGathered()
			if n.rn.HasReady() && !n.rn.onlyGathers() {
				rd = n.rn.readyWithoutAccept() // until taken it may still grow
				readyc = n.readyc
			}
		}
		if lead != r.lead {
			lead = r.lead
			filled = nil
			if lead != None {
				filled = n.inbox.filled
			}
		}

		select {
		case <-filled:
			n.propose()
		case m := <-n.recvc:
			n.receive(m)
		case cc := <-n.confc:
			wasMember := r.self != nil
			cs := r.applyConfChange(cc)
			if wasMember && r.self == nil {
				filled = nil // until the leader changes: it would all be dropped
			}
			n.confstatec <- cs
		case <-n.tickc:
			n.tick()
		case readyc <- rd:
			n.rn.acceptReady(&rd)
			readyc = nil
			if !n.rn.async {
				advancec = n.advancec
			}
			rd = Ready{}
		case <-advancec:
			n.rn.Advance(rd)
			advancec = nil
		case answer := <-n.statusc:
			answer <- getStatus(r)
		case <-n.stopc:
			return
		}
	}
}

// receive steps a message from outside. An answer of a node that is no member
// (any more) is nothing to trouble anyone with.
func (n *node) receive(m pb.Message) {
	r := n.rn.raft
	if m.Type != pb.MsgApp && m.Type != pb.MsgHeartbeat { // with those there still is a leader
		n.forwardsFirst()
	}
	if IsResponseMsg(m.Type) && !IsLocalMsgTarget(m.From) && r.trk.Progress[m.From] == nil {
		return
	}
	if err := r.Step(m); err != nil {
		r.logger.Debugf("node %x: %v from %x: %v", r.id, m.Type, m.From, err)
	}
}

func (n *node) tick() {
	n.forwardsFirst()
	n.rn.Tick()
	n.overdue = true
}

// sendGathered turns what has gathered since the last Ready into messages:
// appends on the leader, one message of proposals for it elsewhere.
func (n *node) sendGathered() {
	n.sendForwards()
	n.rn.raft.sendGathered(n.overdue)
	n.overdue = false
}

// forwardsProposals reports whether proposals go to a leader elsewhere.
func (n *node) forwardsProposals() bool {
	r := n.rn.raft
	return r.role == StateFollower && r.lead != None && !r.disableProposalForwarding
}

// forward gathers a proposal for the leader, as appends gather on the leader.
func (n *node) forward(p *proposal) {
	if p.context != nil { // a message with more to say than its entries
		n.sendForwards()
		r := n.rn.raft
		r.stepOrLog(pb.Message{Type: pb.MsgProp, From: r.id, Entries: p.entries, Context: p.context})
		return
	}
	size := encodedSize(p.entries)
	if len(n.forwards)+len(p.entries) > maxBatchEntries || n.forwardBytes+size > n.forwardLimit {
		n.sendForwards()
	}
	n.forwards = append(n.forwards, p.entries...)
	n.forwardBytes += size
}

// forwardsFirst sends what has gathered for the leader before something else is done:
// what comes after a proposal, such as a transfer of leadership, must not overtake it,
// and may leave us without a leader.
func (n *node) forwardsFirst() {
	if n.forwardsProposals() {
		n.sendForwards()
	}
}

// sendForwards makes one message of what has gathered for the leader.
func (n *node) sendForwards() {
	if len(n.forwards) == 0 {
		return
	}
	r := n.rn.raft
	r.stepOrLog(pb.Message{Type: pb.MsgProp, From: r.id, Entries: n.forwards})
	clear(n.forwards)
	n.forwards, n.forwardBytes = n.forwards[:0], 0
}

// propose takes all proposals that wait, as one message: what came while the
// loop was busy costs the group one append, not one each.
func (n *node) propose() {
	runtime.Gosched() // who is about to propose may come along
	n.batch = n.inbox.take(n.batch[:0])
	n.entries = n.entries[:0]
	if len(n.batch) == 0 { // they were withdrawn
		return
	}
	if n.forwardsProposals() {
		for _, p := range n.batch {
			n.forward(p)
		}
		n.answer(nil)
		return
	}
	for _, p := range n.batch {
		n.entries = append(n.entries, p.entries...)
	}
	r := n.rn.raft
	if len(n.batch) == 1 || payloadSize(n.entries) <= r.maxUncommittedSize {
		err := r.Step(pb.Message{Type: pb.MsgProp, From: r.id, Entries: n.entries})
		if err == nil || len(n.batch) == 1 {
			n.answer(err)
			return
		}
	}
	// Together they are too much. One by one, those that fit get in, as if they had
	// not met.
	for _, p := range n.batch {
		p.result <- r.Step(pb.Message{Type: pb.MsgProp, From: r.id, Entries: p.entries})
	}
	clear(n.batch)
}

// answer tells all proposers of the batch how it went.
func (n *node) answer(err error) {
	for i, p := range n.batch {
		p.result <- err
		n.batch[i] = nil
	}
	clear(n.entries)
}
