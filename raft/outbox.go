// The outbox: which messages may leave now, and which wait for the disk.
//
//	Figure 2: "Updated on stable storage before responding to RPCs" · diss. §3.8, §10.2.1
//
// Start at send.

package raft

import (
	"fmt"

	pb "example.com/raftexample/raft/raftpb"
)

// outbox holds what was sent and not yet handed out.
type outbox struct {
	// now may leave at once. An append is in here even before the leader has
	// stored the entries itself: it promises nothing, and the leader does not count
	// itself before it has (diss. §10.2.1).
	now messageQueue

	// held are promises: votes and acknowledgements. They may be heard, by
	// ourselves as well, only when all that came before them is durable. If such a
	// message left first, a crash could make us break our word: vote again in the
	// same term, or lose an entry that was counted as ours.
	held messageQueue
}

// send puts a message into the outbox, in our name and term.
func (r *raft) send(m pb.Message) {
	if m.From == None {
		m.From = r.id
	}
	switch m.Type {
	case pb.MsgVote, pb.MsgVoteResp, pb.MsgPreVote, pb.MsgPreVoteResp:
		// The term of the election they are about, which the sender may not be in.
		if m.Term == 0 {
			panic(fmt.Sprintf("raft: %v without a term", m.Type))
		}
	case pb.MsgProp, pb.MsgReadIndex:
		m.Term = 0 // forwarded for whichever term the leader is in
	default:
		m.Term = r.Term
	}

	switch m.Type {
	case pb.MsgAppResp, pb.MsgVoteResp, pb.MsgPreVoteResp:
		r.outbox.held.add(&m)
	default:
		if m.To == r.id {
			panic(fmt.Sprintf("raft: node %x sends %v to itself", r.id, m.Type))
		}
		r.outbox.now.add(&m)
	}
}

// answersOthers reports whether any of the promises are to others than us.
func (o *outbox) answersOthers(us uint64) bool {
	for i := range o.held {
		if o.held[i].To != us {
			return true
		}
	}
	return false
}

// messageQueue gathers messages. Those taken out belong to whoever took them;
// what comes later goes behind them in the same array while there is room, so
// that most Readys need no allocation.
type messageQueue []pb.Message

// messageChunk is how many messages an array has room for: they and the allocator's word
// about them fill 3072 bytes, a size that it has, to the last 24.
const messageChunk = 19

func (q *messageQueue) add(m *pb.Message) {
	q.reserve(1)
	*q = append(*q, *m)
}

// reserve makes room for n more messages.
func (q *messageQueue) reserve(n int) {
	if len(*q)+n <= cap(*q) {
		return
	}
	grown := make(messageQueue, len(*q), max(messageChunk, 4*(len(*q)+n)))
	copy(grown, *q)
	*q = grown
}

// first returns the first n messages, which may reach beyond the last one that
// was added. An append to the result does not touch the queue.
func (q messageQueue) first(n int) []pb.Message {
	if n == 0 {
		return nil
	}
	return q[:n:n]
}

// drop forgets the first n messages, which now belong to someone else.
func (q *messageQueue) drop(n int) { *q = (*q)[n:n] }
