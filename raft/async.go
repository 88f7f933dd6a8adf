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
	if answer, ok := r.storedAnswer(rd.Snapshot); ok {
		held = append(held, answer)
	}
	m.Responses = held.first(len(held))
	return m
}

// storedAnswer is the word that storage holds our log as it is now, if it did
// not before. It carries our term: when it comes back in a later one, the tail
// may have been overwritten and written back by then, and "entry 5 of term 2 is
// stored" would be about an entry 5 of term 2 that storage has lost again.
func (r *raft) storedAnswer(snapshot pb.Snapshot) (m pb.Message, ok bool) {
	unstable := len(r.log.unstable.entries) > 0
	if !unstable && IsEmptySnap(snapshot) {
		return pb.Message{}, false
	}
	m = pb.Message{Type: pb.MsgStorageAppendResp, To: r.id, From: LocalAppendThread, Term: r.Term}
	if unstable {
		m.Index, m.LogTerm = r.log.last.index, r.log.last.term
	}
	if !IsEmptySnap(snapshot) {
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

// handleStored hears that the log is in storage up to an entry, and maybe a
// snapshot.
func (r *raft) handleStored(m *pb.Message) {
	if m.Index != 0 {
		r.log.unstable.stable(entryID{term: m.LogTerm, index: m.Index})
	}
	if m.Snapshot != nil {
		r.snapshotStored(m.Snapshot)
	}
}

// handleApplied hears that the state machine has applied entries.
func (r *raft) handleApplied(m *pb.Message) {
	if len(m.Entries) == 0 {
		return
	}
	r.appliedTo(m.Entries[len(m.Entries)-1].Index, encodedSize(m.Entries))
	r.release(payloadSize(m.Entries))
}
