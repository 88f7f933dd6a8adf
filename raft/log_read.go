// Reading the log, across storage and the unstable tail.
//
//	§5.3
//
// Start at slice. What storage has dropped is ErrCompacted, what does not exist
// is ErrUnavailable; any other error of the storage is the end of this node.

package raft

import (
	"errors"
	"fmt"

	pb "example.com/raftexample/raft/raftpb"
)

// firstIndex is the first index that can be read.
func (l *raftLog) firstIndex() uint64 {
	if first, ok := l.unstable.firstIndex(); ok {
		return first
	}
	first, err := l.storage.FirstIndex()
	if err != nil {
		panic(fmt.Errorf("raft: read the first index: %w", err))
	}
	return first
}

// term returns the term of entry i, or ErrCompacted or ErrUnavailable. That of
// the entry before the first is known, too.
func (l *raftLog) term(i uint64) (uint64, error) {
	if i == l.last.index {
		return l.last.term, nil
	}
	if i > l.last.index {
		return 0, ErrUnavailable
	}
	if term, ok := l.unstable.term(i); ok {
		return term, nil
	}
	if i+1 < l.firstIndex() { // a storage need not know what to say of it
		return 0, ErrCompacted
	}
	term, err := l.storage.Term(i)
	if err != nil && !errors.Is(err, ErrCompacted) && !errors.Is(err, ErrUnavailable) {
		panic(fmt.Errorf("raft: read the term of entry %d: %w", i, err))
	}
	return term, err
}

// snapshot returns the newest snapshot, wherever it is.
func (l *raftLog) snapshot() (pb.Snapshot, error) {
	if l.unstable.snapshot != nil {
		return *l.unstable.snapshot, nil
	}
	return l.storage.Snapshot()
}

// entries returns the entries from first on, cut to maxSize encoded bytes but at
// least one if there is one.
func (l *raftLog) entries(first, maxSize uint64) ([]pb.Entry, error) {
	if first > l.last.index {
		return nil, nil
	}
	return l.slice(first, l.last.index+1, maxSize)
}

// slice returns the entries in [lo, hi), cut to maxSize encoded bytes but at
// least one. The result must not be written to; it may be appended to.
func (l *raftLog) slice(lo, hi, maxSize uint64) ([]pb.Entry, error) {
	if lo > hi || hi > l.last.index+1 {
		panic(fmt.Sprintf("raft: entries [%d, %d) wanted, the last index is %d", lo, hi, l.last.index))
	}
	if lo == hi {
		return nil, nil
	}
	if lo >= l.unstable.offset {
		entries := limitSize(l.unstable.slice(lo, hi), maxSize)
		return entries[:len(entries):len(entries)], nil
	}
	if l.unstable.replaces(lo) { // what storage has dropped it says itself
		return nil, ErrCompacted
	}

	cut := min(hi, l.unstable.offset)
	stored, err := l.storage.Entries(lo, cut, maxSize)
	switch {
	case errors.Is(err, ErrCompacted):
		return nil, err
	case err != nil:
		panic(fmt.Errorf("raft: read entries [%d, %d): %w", lo, cut, err))
	case len(stored) == 0: // whoever reads page by page would never come to an end
		panic(fmt.Sprintf("raft: read entries [%d, %d): storage gave none, and no error", lo, cut))
	}
	if cut == hi || uint64(len(stored)) < cut-lo { // all, or storage has cut it to size
		return stored, nil
	}

	size := encodedSize(stored)
	if size >= maxSize {
		return stored, nil
	}
	tail := limitSize(l.unstable.slice(cut, hi), maxSize-size)
	if size+encodedSize(tail) > maxSize { // only the first entry of tail can be too much
		return stored, nil
	}
	joined := make([]pb.Entry, 0, len(stored)+len(tail))
	return append(append(joined, stored...), tail...), nil
}

// scan calls visit with the entries in [lo, hi), a page at a time, until it
// returns false. It gives ErrCompacted if storage has dropped some of them.
func (l *raftLog) scan(lo, hi uint64, visit func([]pb.Entry) bool) error {
	for lo < hi {
		entries, err := l.slice(lo, hi, l.maxApplyingSize)
		if err != nil {
			return err
		}
		if !visit(entries) {
			return nil
		}
		lo += uint64(len(entries))
	}
	return nil
}

// lastAtOrBelow returns the last entry at or below at.index whose term is not
// above at.term: as terms never fall, no later entry of ours can be in a log
// that has at.term at at.index. The term is 0 if it is not known any more.
func (l *raftLog) lastAtOrBelow(at entryID) entryID {
	for at.index > 0 {
		term, err := l.term(at.index)
		if err != nil {
			return entryID{index: at.index}
		}
		if term <= at.term {
			return entryID{term: term, index: at.index}
		}
		at.index--
	}
	return entryID{}
}

// maxAppliable is the last index that may be handed out for applying: what is
// committed, and with AsyncStorageWrites, known to be on our own disk as well.
func (l *raftLog) maxAppliable(allowUnstable bool) uint64 {
	if allowUnstable {
		return l.committed
	}
	return min(l.committed, l.unstable.offset-1)
}

// hasNextCommitted reports whether nextCommitted would return anything.
func (l *raftLog) hasNextCommitted(allowUnstable bool) bool {
	return !l.applyingPaused &&
		!l.unstable.awaitsSnapshot() && // it has to be applied before what follows it
		l.applying < l.maxAppliable(allowUnstable)
}

// nextCommitted returns the next entries to apply, as many as the limit allows.
func (l *raftLog) nextCommitted(allowUnstable bool) []pb.Entry {
	if !l.hasNextCommitted(allowUnstable) {
		return nil
	}
	lo, hi := l.applying+1, l.maxAppliable(allowUnstable)+1
	entries, err := l.slice(lo, hi, l.maxApplyingSize-l.applyingSize)
	if err != nil {
		panic(fmt.Errorf("raft: read committed entries [%d, %d): %w", lo, hi, err))
	}
	return entries
}
