// Asynchronous storage writes: storage work as messages to the node's own
// threads. Skip this on a first reading.
//
//	diss. §10.2.1
//
// In the plain mode a user must store one Ready before it gets the next. Here
// Ready carries a MsgStorageAppend to LocalAppendThread and a MsgStorageApply to
// LocalApplyThread instead, and the next Ready may be taken at once. Each holds
// the messages to deliver when its work is done: that is how promises wait for
// the disk, and how this node learns that the disk caught up.
//
// One kind of promise is left to the user's care, as in etcd's library: a MsgVote
// stands among the messages to peers, and must not leave before the MsgStorageAppend
// beside it is done. It promises that the candidate campaigns once in its term, with
// the log that it names. After a crash that took both back it would campaign in the
// same term again, and could lead in it twice, with other entries at the same places,
// or win by the votes for a log that it does not have any more.
//
// Start at messagesWithStorage.

package raft

import pb "example.com/raftexample/raft/raftpb"

// messagesWithStorage lists the messages to peers, then those to our threads.
func (rn *RawNode) messagesWithStorage(rd *Ready) []pb.Message {
	r := rn.raft
	now := &r.outbox.now
	now.reserve(2)
	n := len(*now)
	all := (*now)[:n+2]
	if len(rd.Entries) > 0 || !IsEmptyHardState(rd.HardState) || !IsEmptySnap(rd.Snapshot) || len(r.outbox.held) > 0 {
		all[n] = r.storeRequest(rd)
		n++
	}
	if len(rd.CommittedEntries) > 0 {
		all[n] = r.applyRequest(rd.CommittedEntries)
		n++
	}
	return all.first(n)
}

// storeRequest asks the log writer to make a Ready durable and to deliver what
// waits for that: our promises, then the word to us that it is done.
func (r *raft) storeRequest(rd *Ready) pb.Message {
	m := pb.Message{Type: pb.MsgStorageAppend, To: LocalAppendThread, From: r.id, Entries: rd.Entries}
	if !IsEmptyHardState(rd.HardState) {
		m.Term, m.Vote, m.Commit = rd.Term, rd.Vote, rd.Commit
	}
	if !IsEmptySnap(rd.Snapshot) {
		snapshot := rd.Snapshot
		m.Snapshot = &snapshot
	}
	held := r.outbox.held // acceptReady gives this array away, spare room included
	if answer, ok := r.storedAnswer(rd); ok {
		held = append(held, answer)
	}
	m.Responses = held.first(len(held))
	return m
}

// storedUpTo is what storage holds once the work of a Ready is done.
//
// It is about our term: when the word of it comes back in a later one, the tail
// may have been overwritten and written back by then, and "entry 5 of term 2 is
// stored" would be about an entry 5 of term 2 that storage has lost again.
type storedUpTo struct {
	term     uint64
	last     entryID // of the log as it is now; zero if storage had all of it
	snapshot uint64  // the index of the one in the Ready, or 0
}

func (r *raft) whenStored(snapshot pb.Snapshot) storedUpTo {
	s := storedUpTo{term: r.Term, snapshot: snapshot.Metadata.Index}
	if len(r.log.unstable.entries) > 0 {
		s.last = r.log.last
	}
	if s.last == (entryID{}) && s.snapshot == 0 {
		return storedUpTo{}
	}
	return s
}

// stored hears that storage has come so far.
func (r *raft) stored(s storedUpTo) {
	if s.last.index != 0 && s.term == r.Term {
		r.log.unstable.stable(s.last)
	}
	if s.snapshot != 0 {
		r.log.unstable.snapshotStable(s.snapshot)
		r.appliedTo(s.snapshot, 0)
	}
}

// storedAnswer is the same word as a message, for the log writer to send back.
func (r *raft) storedAnswer(rd *Ready) (m pb.Message, ok bool) {
	s := r.whenStored(rd.Snapshot)
	if s == (storedUpTo{}) {
		return pb.Message{}, false
	}
	m = pb.Message{
		Type: pb.MsgStorageAppendResp, To: r.id, From: LocalAppendThread, Term: s.term,
		Index: s.last.index, LogTerm: s.last.term,
	}
	if s.snapshot != 0 {
		snapshot := rd.Snapshot
		m.Snapshot = &snapshot
	}
	return m, true
}

// applyRequest asks the state machine to apply entries. It is about no term:
// what is committed stays so.
func (r *raft) applyRequest(entries []pb.Entry) pb.Message {
	return pb.Message{
		Type: pb.MsgStorageApply, To: LocalApplyThread, From: r.id, Entries: entries,
		Responses: []pb.Message{r.appliedAnswer(entries)},
	}
}

// appliedAnswer is the word that the state machine has applied entries.
func (r *raft) appliedAnswer(entries []pb.Entry) pb.Message {
	return pb.Message{Type: pb.MsgStorageApplyResp, To: r.id, From: LocalApplyThread, Entries: entries}
}

// handleStored takes the log writer's word; its term may be an earlier one.
func (r *raft) handleStored(m *pb.Message) {
	s := storedUpTo{term: m.Term, last: entryID{term: m.LogTerm, index: m.Index}}
	if m.Snapshot != nil {
		s.snapshot = m.Snapshot.Metadata.Index
	}
	r.stored(s)
}

// entriesApplied hears that the state machine has applied entries.
func (r *raft) entriesApplied(entries []pb.Entry) {
	if len(entries) == 0 {
		return
	}
	r.appliedTo(entries[len(entries)-1].Index, encodedSize(entries))
	r.release(payloadSize(entries))
}
