// Reads: how to answer from the leader's state without writing to the log.
//
//	§8 · diss. §6.4 (read index), §6.4.1 (leases)
//
// Start at readIndex. A read is a context, bytes that the user chose. The
// leader notes its commit index, makes sure that it still leads, and then says:
// whoever has applied that much may answer.

package raft

import (
	"bytes"
	"encoding/binary"
	"slices"

	pb "example.com/raftexample/raft/raftpb"
)

// ReadState answers a ReadIndex: the read may be served from a state machine
// that has applied Index.
type ReadState struct {
	Index      uint64
	RequestCtx []byte // as it was given to ReadIndex
}

// readIndex takes a read, from our user or from a follower.
func (r *raft) readIndex(m pb.Message) {
	if len(m.Entries) == 0 {
		r.logger.Warningf("node %x dropped a malformed read from %x", r.id, m.From)
		return
	}
	if !r.committedInTerm() {
		// Our commit index may be behind what our predecessors answered for, and that
		// holds for a single voter too: it may have lost a commit index with the power.
		r.reads.postponed = append(r.reads.postponed, readOf(&m))
		return
	}
	r.startRead(readOf(&m))
}

// resumeReads takes up the reads that came before the first commit of the term,
// which it has now.
func (r *raft) resumeReads() {
	postponed := r.reads.postponed
	r.reads.postponed = nil
	for i := range postponed {
		r.startRead(postponed[i])
	}
}

// startRead notes the commit index for a read and sees to it that we still lead.
func (r *raft) startRead(rd read) {
	// A single voter need not ask itself. It may be another node, though: a leader
	// that was removed leads on until someone ends that.
	alone := r.trk.IsSingleton() && r.isVoter(r.id)
	if alone || r.readOnlyOption == ReadOnlyLeaseBased {
		r.answerRead(rd, r.log.committed)
		return
	}
	round := r.reads.add(rd, r.log.committed, len(r.peers))
	round.confirm(r.id)
	r.broadcastHeartbeat() // which carries the newest round's context: this one's
}

// confirmReads counts a heartbeat's answer. Once a quorum has answered a round,
// we led when it began, so that read and all that began before it may be served.
func (r *raft) confirmReads(from uint64, context []byte) {
	if len(context) == 0 || len(r.reads.rounds) == 0 {
		return
	}
	i := r.reads.find(context)
	if i < 0 {
		return // confirmed already
	}
	round := &r.reads.rounds[i]
	round.confirm(from)
	if !r.isQuorum(round.acks) {
		return
	}
	for j := range r.reads.rounds[:i+1] {
		r.answerRead(r.reads.rounds[j].read, r.reads.rounds[j].index)
	}
	r.reads.rounds = slices.Delete(r.reads.rounds, 0, i+1)
}

// isQuorum reports whether ids hold a majority of each half of the configuration.
func (r *raft) isQuorum(ids []uint64) bool {
	for _, voters := range r.trk.Voters {
		n := 0
		for _, id := range ids {
			if _, ok := voters[id]; ok {
				n++
			}
		}
		if len(voters) > 0 && n <= len(voters)/2 {
			return false
		}
	}
	return true
}

// answerRead tells whoever asked. Our own user gets it in the next Ready.
func (r *raft) answerRead(rd read, index uint64) {
	if rd.from == None || rd.from == r.id {
		r.readStates = append(r.readStates, ReadState{Index: index, RequestCtx: rd.context})
		return
	}
	r.send(pb.Message{To: rd.from, Type: pb.MsgReadIndexResp, Index: index, Entries: []pb.Entry{{Data: rd.context}}})
}

// handleReadIndexResp takes the leader's answer to a read that we passed on.
func (r *raft) handleReadIndexResp(m *pb.Message) {
	if len(m.Entries) != 1 {
		r.logger.Warningf("node %x dropped a malformed answer to a read from %x", r.id, m.From)
		return
	}
	r.readStates = append(r.readStates, ReadState{Index: m.Index, RequestCtx: m.Entries[0].Data})
}

// readQueue holds the reads of one leadership that wait.
type readQueue struct {
	postponed []read      // until an entry of our term is committed
	rounds    []readRound // until a quorum answers, oldest first

	// Which contexts heartbeats have carried, as a set of their hashes, and how
	// many. See add.
	carried *[contextBits / 64]uint64
	number  uint64
}

// contextBits is how many hashes readQueue tells apart; 4 KiB worth.
const contextBits = 1 << 15

// read is a request: who wants to read, and by what context they know it.
type read struct {
	from    uint64
	context []byte
}

func readOf(m *pb.Message) read { return read{from: m.From, context: m.Entries[0].Data} }

// readRound is one read, with the round of heartbeats that confirms it.
type readRound struct {
	read
	index   uint64   // our commit index when it came
	carries []byte   // the context of its heartbeats
	acks    []uint64 // who answered one of those
}

// confirm counts an answer, once for each id.
func (round *readRound) confirm(id uint64) {
	if !slices.Contains(round.acks, id) {
		round.acks = append(round.acks, id)
	}
}

// add queues a read. Its heartbeats carry its context, and answers to them are
// told apart by that alone. So a context that heartbeats have carried before
// gets a number appended: an answer to one of those, late or duplicated, knows
// nothing of us now, and would let a stale read pass. What was carried
// before is remembered as a set of hashes; a collision costs just a needless number.
// And so that no number can meet a user's own bytes, what looks numbered is numbered, too.
func (q *readQueue) add(rd read, index uint64, members int) *readRound {
	// The same read again: the later one stands for both, since the user could not
	// tell an old answer from a new one.
	q.rounds = slices.DeleteFunc(q.rounds, func(old readRound) bool {
		return old.from == rd.from && bytes.Equal(old.context, rd.context)
	})

	q.number++
	carries := rd.context
	if len(carries) == 0 || looksNumbered(carries) || q.markCarried(carries) {
		carries = slices.Concat(carries, []byte(numberMark), binary.BigEndian.AppendUint64(nil, q.number))
	}
	q.rounds = append(q.rounds, readRound{read: rd, index: index, carries: carries, acks: make([]uint64, 0, members)})
	return &q.rounds[len(q.rounds)-1]
}

// numberMark stands before the eight bytes of a context's number.
const numberMark = "\x00again\x00#"

func looksNumbered(context []byte) bool {
	at := len(context) - 8 - len(numberMark)
	return at >= 0 && string(context[at:len(context)-8]) == numberMark
}

// markCarried adds a context to the set, and reports whether it was there.
func (q *readQueue) markCarried(context []byte) bool {
	if q.carried == nil {
		q.carried = new([contextBits / 64]uint64)
	}
	hash := uint64(14695981039346656037) // FNV-1a
	for _, b := range context {
		hash = (hash ^ uint64(b)) * 1099511628211
	}
	hash %= contextBits
	word, bit := &q.carried[hash/64], uint64(1)<<(hash%64)
	was := *word&bit != 0
	*word |= bit
	return was
}

// find returns the position of the round with this context, or -1.
func (q *readQueue) find(context []byte) int {
	return slices.IndexFunc(q.rounds, func(round readRound) bool { return bytes.Equal(round.carries, context) })
}

// newestContext is what heartbeats carry: an answer to it confirms all
// reads that wait.
func (q *readQueue) newestContext() []byte {
	if len(q.rounds) == 0 {
		return nil
	}
	return q.rounds[len(q.rounds)-1].carries
}
