// Forwarding: what is proposed to a follower, on its way to the leader.
//
//	§8 ("rejects that request and supplies information about the leader"; passing it
//	on is the other choice, diss. §6.2)
//
// Start at forwardProposals. Raft would pass proposals on by itself, with its next
// Ready. But while one Ready is at the disk there is no next one, and what is
// proposed meanwhile would leave after the answer to the leader's append: just too
// late for the round that the answer lets begin. Sent before that answer, it is in:
// a fifth more writes with 64 clients over three nodes.

package main

import (
	"sync"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// maxForwardBytes is about how much goes into one message, so that heartbeats on
// the same stream need not wait for long.
const maxForwardBytes = 1 << 20

// outgoing holds proposals until they are sent.
type outgoing struct {
	filled chan struct{} // holds a token while something waits, and perhaps once after

	mu      sync.Mutex
	entries []raftpb.Entry
	bytes   int
}

// put adds a proposal, unless there are too many: the loop that takes them waits
// for the disk now and then, and the disk may hang.
func (o *outgoing) put(data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.entries) >= maxWaiting || o.bytes >= maxWaitingBytes {
		return raft.ErrProposalDropped
	}
	o.entries = append(o.entries, raftpb.Entry{Data: data})
	o.bytes += len(data)
	select {
	case o.filled <- struct{}{}:
	default:
	}
	return nil
}

func (o *outgoing) take() []raftpb.Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	entries := o.entries
	o.entries, o.bytes = nil, 0
	return entries
}

// forwardProposals sends the leader what waits.
func (n *raftNode) forwardProposals() {
	entries := n.outgoing.take()
	for len(entries) > 0 {
		count, size := 0, 0
		for count < len(entries) && size < maxForwardBytes {
			size += len(entries[count].Data)
			count++
		}
		n.forward(raftpb.Message{Type: raftpb.MsgProp, From: n.cfg.id, To: n.Leader(), Entries: entries[:count:count]})
		entries = entries[count:]
	}
}

// forward sends the leader a message of proposals. It may have changed meanwhile.
func (n *raftNode) forward(m raftpb.Message) {
	switch m.To {
	case raft.None:
		n.Dropped(m)
	case n.cfg.id:
		select {
		case n.forwarded <- m:
		default:
			n.Dropped(m)
		}
	default:
		if n.cfg.trace {
			n.traceMessage(m)
		}
		n.transport.Send([]raftpb.Message{m})
	}
}
