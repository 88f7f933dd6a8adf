// The loop: the one goroutine that owns a Node's RawNode.
//
// Start at run. Calls wait in channels until it takes them one by one, so the
// state machine below needs no lock.

package raft

import (
	pb "example.com/raftexample/raft/raftpb"
)

// maxBatchEntries and maxBatchBytes bound what goes into one message of
// proposals. They keep the loop from neglecting the rest, no more.
const (
	maxBatchEntries = 1024
	maxBatchBytes   = 1 << 20
)

func (n *node) run() {
	defer close(n.done)
	r := n.rn.raft
	var (
		rd       Ready
		readyc   chan Ready     // nil while there is nothing to hand out
		advancec chan struct{}  // nil unless a Ready waits for Advance
		propc    chan *proposal // nil while proposals have to wait for a leader
		lead     uint64
	)
	for {
		if advancec == nil && n.rn.HasReady() {
			rd = n.rn.readyWithoutAccept() // until taken it may still grow
			readyc = n.readyc
		}
		if lead != r.lead {
			lead = r.lead
			propc = nil
			if lead != None {
				propc = n.propc
			}
		}

		select {
		case p := <-propc:
			n.propose(p)
		case m := <-n.recvc:
			n.receive(m)
		case cc := <-n.confc:
			wasMember := r.self != nil
			cs := r.applyConfChange(cc)
			if wasMember && r.self == nil {
				propc = nil // until the leader changes: it would all be dropped
			}
			n.confstatec <- cs
		case <-n.tickc:
			n.rn.Tick()
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
	if IsResponseMsg(m.Type) && !IsLocalMsgTarget(m.From) && r.trk.Progress[m.From] == nil {
		return
	}
	if err := r.Step(m); err != nil {
		r.logger.Debugf("node %x: %v from %x: %v", r.id, m.Type, m.From, err)
	}
}

// propose takes a proposal and all that wait behind it, as one message: what
// came while the loop was busy costs the group one append, not one each.
func (n *node) propose(first *proposal) {
	n.batch = append(n.batch[:0], first)
	n.entries = append(n.entries[:0], first.entries...)
	size := payloadSize(first.entries)
gather:
	for len(n.entries) < maxBatchEntries && size < maxBatchBytes {
		select {
		case p := <-n.propc:
			n.batch = append(n.batch, p)
			n.entries = append(n.entries, p.entries...)
			size += payloadSize(p.entries)
		default:
			break gather
		}
	}

	r := n.rn.raft
	together := len(n.batch) == 1 || size <= r.maxUncommittedSize
	if together {
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
