// The unstable tail: what the log has and storage may not have yet.
//
//	diss. §10.2.1 (writing to the leader's disk in parallel)
//
// Start at unstable. It also holds a snapshot from the leader until storage
// has it.

package raft

import (
	"fmt"

	pb "example.com/raftexample/raft/raftpb"
)

// unstable is the end of the log, from offset on.
//
//	    in storage          handed out          not yet handed out
//	├────────────────┼─────────────────────┼───────────────────────┤
//	             offset              inProgress           offset+len(entries)
//
// What was handed out in a Ready may be in storage or not; it leaves the tail
// when the user says that it is. Storage may hold entries at and above offset
// that ours will replace.
//
// Entries that were handed out are never written to again: to replace some, the
// tail moves to another array.
type unstable struct {
	entries    []pb.Entry // entries[i].Index == offset+i
	offset     uint64
	inProgress uint64 // the first index not handed out

	snapshot           *pb.Snapshot // nil once storage has it
	snapshotInProgress bool         // it was handed out

	logger Logger
}

// minChunk is how many entries an array of the tail has room for. As entries
// leave in front and come behind, this many share one allocation.
const minChunk = 32

// firstIndex is the index after the snapshot, if there is one.
func (u *unstable) firstIndex() (uint64, bool) {
	if u.snapshot == nil {
		return 0, false
	}
	return u.snapshot.Metadata.Index + 1, true
}

// replaces reports whether the snapshot stands for entry i, which storage may still have.
func (u *unstable) replaces(i uint64) bool {
	return u.snapshot != nil && i <= u.snapshot.Metadata.Index
}

// term returns the term of entry i, if it is in the tail or is the snapshot's.
func (u *unstable) term(i uint64) (uint64, bool) {
	switch {
	case i >= u.offset && i < u.end():
		return u.entries[i-u.offset].Term, true
	case u.snapshot != nil && i == u.snapshot.Metadata.Index:
		return u.snapshot.Metadata.Term, true
	}
	return 0, false
}

// end is one past the last index.
func (u *unstable) end() uint64 { return u.offset + uint64(len(u.entries)) }

// slice returns the entries in [lo, hi), which must be in the tail. The result
// has no spare capacity that an append could write into.
func (u *unstable) slice(lo, hi uint64) []pb.Entry {
	if lo < u.offset || lo > hi || hi > u.end() {
		panic(fmt.Sprintf("raft: unstable entries [%d, %d) wanted, there are [%d, %d)", lo, hi, u.offset, u.end()))
	}
	return u.entries[lo-u.offset : hi-u.offset : hi-u.offset]
}

// nextEntries returns the entries that were not handed out yet.
func (u *unstable) nextEntries() []pb.Entry {
	if u.inProgress == u.end() {
		return nil
	}
	return u.slice(u.inProgress, u.end())
}

// nextSnapshot returns the snapshot if it was not handed out yet.
func (u *unstable) nextSnapshot() *pb.Snapshot {
	if u.snapshotInProgress {
		return nil
	}
	return u.snapshot
}

// awaitsSnapshot reports whether a snapshot is not in storage yet.
func (u *unstable) awaitsSnapshot() bool { return u.snapshot != nil }

// accept notes that all there is has been handed out.
func (u *unstable) accept() {
	u.inProgress = u.end()
	u.snapshotInProgress = u.snapshot != nil
}

// stable drops the entries up to id, which are in storage: unless they have
// been replaced since, when storage is owed the new ones.
func (u *unstable) stable(id entryID) {
	term, ok := u.term(id.index)
	if !ok || id.index < u.offset { // of an older tail, or the snapshot
		return
	}
	if term != id.term {
		u.logger.Infof("entry %v was stored, but is of term %d by now", id, term)
		return
	}
	u.entries = u.entries[id.index+1-u.offset:]
	u.offset = id.index + 1
	u.inProgress = max(u.inProgress, u.offset)
}

// snapshotStable drops the snapshot if it is the one at index.
func (u *unstable) snapshotStable(index uint64) {
	if u.snapshot != nil && u.snapshot.Metadata.Index == index {
		u.snapshot = nil
		u.snapshotInProgress = false
	}
}

// restore forgets everything for a snapshot.
func (u *unstable) restore(s pb.Snapshot) {
	u.entries = nil
	u.offset = s.Metadata.Index + 1
	u.inProgress = u.offset
	u.snapshot = &s
	u.snapshotInProgress = false
}

// extend puts entries at index first, replacing what is there and behind, and
// returns them where they now are.
func (u *unstable) extend(first uint64, entries []pb.Entry) []pb.Entry {
	switch {
	case first > u.end():
		panic(fmt.Sprintf("raft: entries from %d leave a gap after %d", first, u.end()-1))
	case first == u.end():
		// Nothing is replaced.
	case first <= u.offset:
		// All of the tail is replaced, and maybe some of what storage has.
		u.entries = nil
		u.offset = first
		u.inProgress = first
	default:
		u.entries = u.slice(u.offset, first) // without capacity: what follows is copied
		u.inProgress = min(u.inProgress, first)
	}

	kept := len(u.entries)
	u.reserve(len(entries))
	u.entries = append(u.entries, entries...)
	return u.entries[kept:]
}

// reserve makes room for n more entries.
func (u *unstable) reserve(n int) {
	need := len(u.entries) + n
	if need <= cap(u.entries) {
		return
	}
	grown := make([]pb.Entry, len(u.entries), max(minChunk, need+len(u.entries)))
	copy(grown, u.entries)
	u.entries = grown
}
