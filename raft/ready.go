// Ready: "here is what you owe the world".
//
//	Figure 2 · diss. §3.8, §10.2.1
//
// Start at Ready. RawNode builds one (readyWithoutAccept), then notes that it
// was taken (acceptReady).

package raft

import (
	"slices"

	pb "example.com/raftexample/raft/raftpb"
)

// Ready is a batch of work for the user. In this order:
//
//  1. Store Snapshot, Entries and HardState: an entry replaces any that is
//     stored at its index and all behind it. If MustSync is true, or there is a
//     snapshot, see to it that no crash undoes that.
//  2. Send Messages. A leader's MsgApp may be sent before step 1 is done;
//     everything else promises what step 1 stores.
//  3. Apply Snapshot, then CommittedEntries; call ApplyConfChange for each that
//     changes the membership.
//  4. Call Advance.
//
// Everything in a Ready is shared with the library and must not be changed.
// With Config.AsyncStorageWrites, Messages alone count: see async.go.
type Ready struct {
	// SoftState is the role and the leader, if either has changed; else nil. It
	// need not be stored.
	*SoftState

	// HardState is what to store, if it has changed; else it is empty.
	pb.HardState

	// ReadStates answer calls to ReadIndex.
	ReadStates []ReadState

	// Entries are to be stored.
	Entries []pb.Entry

	// Snapshot is to be stored and applied, if it is not empty. It replaces the
	// whole log and the whole state machine.
	Snapshot pb.Snapshot

	// CommittedEntries are to be applied. The last of them may be among Entries.
	CommittedEntries []pb.Entry

	// Messages are to be sent. If one is a MsgSnap, call ReportSnapshot when it
	// was delivered or was not.
	Messages []pb.Message

	// MustSync says that Entries and HardState must be durable, not just written,
	// before Messages are sent.
	MustSync bool
}

// MustSync reports whether storing st and entsnum entries after prevst needs
// the disk to be flushed: what Figure 2 calls persistent state changed. A commit
// index may be lost; it is learnt again.
func MustSync(st, prevst pb.HardState, entsnum int) bool {
	return entsnum != 0 || st.Vote != prevst.Vote || st.Term != prevst.Term
}

// HasReady reports whether Ready would return anything. It changes nothing.
func (rn *RawNode) HasReady() bool {
	r := rn.raft
	return len(r.outbox.now) > 0 || len(r.outbox.held) > 0 ||
		r.log.unstable.inProgress < r.log.unstable.end() ||
		r.log.hasNextCommitted(!rn.async) ||
		len(r.readStates) > 0 ||
		r.hardState() != rn.prevHardState ||
		r.softState() != rn.prevSoftState ||
		r.log.unstable.nextSnapshot() != nil
}

// readyWithoutAccept gathers what there is to do. Unless acceptReady follows, it
// has no effect.
func (rn *RawNode) readyWithoutAccept() Ready {
	r := rn.raft
	rd := Ready{
		ReadStates:       r.readStates,
		Entries:          r.log.unstable.nextEntries(),
		CommittedEntries: r.log.nextCommitted(!rn.async),
	}
	if r.softState() != rn.prevSoftState {
		soft := r.softState()
		rd.SoftState = &soft
	}
	hard := r.hardState()
	if hard != rn.prevHardState {
		rd.HardState = hard
	}
	if snapshot := r.log.unstable.nextSnapshot(); snapshot != nil {
		rd.Snapshot = *snapshot
	}
	rd.MustSync = MustSync(hard, rn.prevHardState, len(rd.Entries))

	if rn.async {
		rd.Messages = rn.messagesWithStorage(&rd) // async.go
	} else {
		rd.Messages = rn.messagesWithHeld()
	}
	return rd
}

// messagesWithHeld lists the messages to peers: those that were free to leave,
// then the promises, which whoever follows the order of Ready sends after
// storing what they rest on.
func (rn *RawNode) messagesWithHeld() []pb.Message {
	out := &rn.raft.outbox
	out.now.reserve(len(out.held))
	n := len(out.now)
	all := out.now[:n+len(out.held)]
	for i := range out.held {
		if out.held[i].To != rn.raft.id {
			all[n] = out.held[i]
			n++
		}
	}
	return all.first(n)
}

// acceptReady notes that the user has taken rd.
func (rn *RawNode) acceptReady(rd *Ready) {
	r := rn.raft
	if rd.SoftState != nil {
		rn.prevSoftState = *rd.SoftState
	}
	if !IsEmptyHardState(rd.HardState) {
		rn.prevHardState = rd.HardState
	}
	r.readStates = nil

	if rn.async {
		r.outbox.held = nil // they went into the message to the log writer
	} else {
		rn.plan(rd)
	}
	r.outbox.now.drop(len(rd.Messages))

	r.log.unstable.accept()
	if n := len(rd.CommittedEntries); n > 0 {
		r.log.acceptApplying(rd.CommittedEntries[n-1].Index, encodedSize(rd.CommittedEntries), !rn.async)
	}
}

// advance is what Advance has to do for an accepted Ready.
type advance struct {
	promises messageQueue // those to ourselves; the others were handed out
	stored   storedUpTo
	applied  []pb.Entry
}

// plan notes what Advance shall do: hear our own promises, then that storage is
// up to date, then that the state machine is.
func (rn *RawNode) plan(rd *Ready) {
	r, a := rn.raft, &rn.advance
	if len(a.promises) > 0 || a.stored != (storedUpTo{}) || len(a.applied) > 0 {
		panic("two accepted Ready structs without call to Advance")
	}
	a.promises, r.outbox.held = r.outbox.held, a.promises // which is empty, and has room
	a.promises = slices.DeleteFunc(a.promises, func(m pb.Message) bool { return m.To != r.id })
	a.stored = r.whenStored(rd.Snapshot)
	a.applied = rd.CommittedEntries
}

// Advance says that everything in the last Ready is done. Which one is passed
// does not matter. It panics with Config.AsyncStorageWrites, which has messages
// for that.
func (rn *RawNode) Advance(_ Ready) {
	if rn.async {
		panic("Advance must not be called when using AsyncStorageWrites")
	}
	r, a := rn.raft, &rn.advance
	for i := range a.promises {
		r.stepOrLog(a.promises[i])
	}
	clear(a.promises)
	a.promises = a.promises[:0]

	stored, applied := a.stored, a.applied
	a.stored, a.applied = storedUpTo{}, nil
	r.stored(stored)
	r.entriesApplied(applied)
}
