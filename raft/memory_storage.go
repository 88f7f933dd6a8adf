// MemoryStorage: a Storage in memory, to be fed with what was written to disk.
//
// Start at MemoryStorage, then Append, which holds the one subtle rule: slices
// that were handed out are never written to.

package raft

import (
	"fmt"
	"sync"

	pb "example.com/raftexample/raft/raftpb"
)

// MemoryStorage keeps the log behind the unstable tail in memory. Programs put
// into it what they have also written to disk, and refill it when they restart.
// Its methods may be called from several goroutines.
type MemoryStorage struct {
	// Mutex guards all but the hard state, which InitialState reads unlocked when
	// the node starts.
	sync.Mutex

	hardState pb.HardState
	snapshot  pb.Snapshot

	// base is what the log starts after: the entry before ents[0], which was
	// compacted away but for its term and index.
	base entryID
	ents []pb.Entry // ents[i].Index == base.index+1+i
}

var _ Storage = (*MemoryStorage)(nil)

// NewMemoryStorage returns an empty storage, whose log starts at index 1.
func NewMemoryStorage() *MemoryStorage { return &MemoryStorage{} }

// InitialState implements Storage. The configuration is the snapshot's.
func (ms *MemoryStorage) InitialState() (pb.HardState, pb.ConfState, error) {
	return ms.hardState, ms.snapshot.Metadata.ConfState, nil
}

// SetHardState stores the hard state.
func (ms *MemoryStorage) SetHardState(st pb.HardState) error {
	ms.Lock()
	defer ms.Unlock()
	ms.hardState = st
	return nil
}

// Entries implements Storage. It panics when hi is beyond the last index + 1.
func (ms *MemoryStorage) Entries(lo, hi, maxSize uint64) ([]pb.Entry, error) {
	ms.Lock()
	defer ms.Unlock()
	if lo <= ms.base.index {
		return nil, ErrCompacted
	}
	if hi > ms.lastIndex()+1 {
		panic(fmt.Sprintf("raft: entries up to %d wanted, the last index is %d", hi-1, ms.lastIndex()))
	}
	if len(ms.ents) == 0 {
		return nil, ErrUnavailable
	}
	first := ms.base.index + 1
	ents := limitSize(ms.ents[lo-first:hi-first], maxSize)
	return ents[:len(ents):len(ents)], nil // an append by the caller must not reach our array
}

// Term implements Storage.
func (ms *MemoryStorage) Term(i uint64) (uint64, error) {
	ms.Lock()
	defer ms.Unlock()
	switch {
	case i < ms.base.index:
		return 0, ErrCompacted
	case i == ms.base.index:
		return ms.base.term, nil
	case i > ms.lastIndex():
		return 0, ErrUnavailable
	}
	return ms.ents[i-ms.base.index-1].Term, nil
}

// LastIndex implements Storage.
func (ms *MemoryStorage) LastIndex() (uint64, error) {
	ms.Lock()
	defer ms.Unlock()
	return ms.lastIndex(), nil
}

func (ms *MemoryStorage) lastIndex() uint64 { return ms.base.index + uint64(len(ms.ents)) }

// FirstIndex implements Storage.
func (ms *MemoryStorage) FirstIndex() (uint64, error) {
	ms.Lock()
	defer ms.Unlock()
	return ms.base.index + 1, nil
}

// Snapshot implements Storage.
func (ms *MemoryStorage) Snapshot() (pb.Snapshot, error) {
	ms.Lock()
	defer ms.Unlock()
	return ms.snapshot, nil
}

// ApplySnapshot replaces everything by a snapshot received from a leader, or
// read at the start. It gives ErrSnapOutOfDate unless snap is newer than the
// snapshot that is here.
func (ms *MemoryStorage) ApplySnapshot(snap pb.Snapshot) error {
	ms.Lock()
	defer ms.Unlock()
	if snap.Metadata.Index <= ms.snapshot.Metadata.Index {
		return ErrSnapOutOfDate
	}
	ms.snapshot = snap
	ms.base = entryID{term: snap.Metadata.Term, index: snap.Metadata.Index}
	ms.ents = nil
	return nil
}

// CreateSnapshot records that the state machine as of entry i is data, and
// returns the snapshot. A nil cs keeps the configuration of the last one. The
// log stays; Compact shortens it. It gives ErrSnapOutOfDate unless i is above
// the last snapshot, and panics when the log does not hold i.
func (ms *MemoryStorage) CreateSnapshot(i uint64, cs *pb.ConfState, data []byte) (pb.Snapshot, error) {
	ms.Lock()
	defer ms.Unlock()
	if i <= ms.snapshot.Metadata.Index {
		return pb.Snapshot{}, ErrSnapOutOfDate
	}
	if i < ms.base.index || i > ms.lastIndex() {
		panic(fmt.Sprintf("raft: snapshot at %d wanted, the log is [%d, %d]", i, ms.base.index, ms.lastIndex()))
	}
	term := ms.base.term // a snapshot of the very base, when it was compacted already
	if i > ms.base.index {
		term = ms.ents[i-ms.base.index-1].Term
	}
	ms.snapshot.Metadata.Index = i
	ms.snapshot.Metadata.Term = term
	if cs != nil {
		ms.snapshot.Metadata.ConfState = *cs
	}
	ms.snapshot.Data = data
	return ms.snapshot, nil
}

// Compact drops the entries up to and including i. It gives ErrCompacted when
// they are gone already, and panics when i is beyond the last index.
func (ms *MemoryStorage) Compact(i uint64) error {
	ms.Lock()
	defer ms.Unlock()
	if i <= ms.base.index {
		return ErrCompacted
	}
	if i > ms.lastIndex() {
		panic(fmt.Sprintf("raft: compaction to %d wanted, the last index is %d", i, ms.lastIndex()))
	}
	dropped := i - ms.base.index
	ms.base = entryID{term: ms.ents[dropped-1].Term, index: i}
	// A copy, so that the dropped entries can be freed and slices handed out live on.
	ms.ents = append([]pb.Entry(nil), ms.ents[dropped:]...)
	return nil
}

// Append stores entries: the first replaces whatever is at its index and all
// that follows. What was compacted already is left out. It panics when there
// would be a gap after the last index.
func (ms *MemoryStorage) Append(entries []pb.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	ms.Lock()
	defer ms.Unlock()

	first := ms.base.index + 1
	if entries[len(entries)-1].Index < first {
		return nil
	}
	if entries[0].Index < first {
		entries = entries[first-entries[0].Index:]
	}

	kept := entries[0].Index - first
	switch n := uint64(len(ms.ents)); {
	case kept == n:
		ms.ents = append(ms.ents, entries...)
	case kept < n:
		// The entries behind kept may have been handed out, so the array must not be
		// written to there: the capped slice makes append copy.
		ms.ents = append(ms.ents[:kept:kept], entries...)
	default:
		panic(fmt.Sprintf("raft: entries from %d leave a gap, the last index is %d", entries[0].Index, ms.lastIndex()))
	}
	return nil
}
