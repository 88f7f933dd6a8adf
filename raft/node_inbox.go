// The inbox: proposals on their way to a Node's loop.
//
// They wait in a list and not in a channel, so that the loop gets all of them at
// once, and only the first has to wake it.

package raft

import (
	"slices"
	"sync"

	pb "example.com/raftexample/raft/raftpb"
)

// proposal is entries on their way to the loop, and the answer's way back.
type proposal struct {
	entries []pb.Entry
	context []byte      // of the message it came in
	one     [1]pb.Entry // room for the usual case
	result  chan error  // with room for one answer; nobody need be waiting
}

// inbox holds proposals until the loop takes them.
type inbox struct {
	filled chan struct{} // holds a token while something waits, and perhaps once after

	mu      sync.Mutex
	waiting []*proposal
}

func (in *inbox) signal() {
	select {
	case in.filled <- struct{}{}:
	default: // the loop has yet to take the last one
	}
}

// put adds a proposal.
func (in *inbox) put(p *proposal) {
	in.mu.Lock()
	in.waiting = append(in.waiting, p)
	first := len(in.waiting) == 1
	in.mu.Unlock()
	if first {
		in.signal()
	}
}

// withdraw takes a proposal back, unless the loop has it.
func (in *inbox) withdraw(p *proposal) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if i := slices.Index(in.waiting, p); i >= 0 {
		in.waiting = slices.Delete(in.waiting, i, i+1)
	}
}

// take moves what waits to batch, up to limits that keep one message from
// growing without bounds.
func (in *inbox) take(batch []*proposal) []*proposal {
	in.mu.Lock()
	defer in.mu.Unlock()
	n, entries, size := 0, 0, uint64(0)
	for n < len(in.waiting) && entries < maxBatchEntries && size < maxBatchBytes {
		entries += len(in.waiting[n].entries)
		size += payloadSize(in.waiting[n].entries)
		n++
	}
	batch = append(batch, in.waiting[:n]...)
	in.waiting = slices.Delete(in.waiting, 0, n)
	if len(in.waiting) > 0 {
		in.signal()
	}
	return batch
}
