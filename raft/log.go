// The log: its cursors, and the changes that may be made to it.
//
//	§5.3, Figure 2 · diss. §3.5
//
// Start at raftLog; log_read.go reads across storage and the unstable tail.

package raft

import (
	"fmt"

	pb "example.com/raftexample/raft/raftpb"
)

// raftLog is one node's log.
//
//	   compacted            to be applied
//	···──────────┼──────────┼─────────┼───────────┼───────────────┤
//	        firstIndex   applied   applying   committed          last
//
// applied is what the state machine has for certain, applying what was handed
// out to it, committed what no crash of a minority can undo. Always
// applied <= applying <= committed <= last. Where storage ends and the unstable
// tail begins is a matter apart.
type raftLog struct {
	storage  Storage
	unstable unstable
	last     entryID // the last entry, in the tail or in storage

	committed uint64 // Figure 2: commitIndex
	applying  uint64
	applied   uint64 // Figure 2: lastApplied

	// Handing out for applying pauses while maxApplyingSize encoded bytes or more
	// are between applied and applying, and also when that limit cut short what
	// was handed out: more would not fit.
	maxApplyingSize uint64
	applyingSize    uint64
	applyingPaused  bool

	logger Logger
}

// newLog returns the log in storage, with nothing committed or applied beyond
// the base it starts after.
func newLog(storage Storage, maxApplyingSize uint64, logger Logger) *raftLog {
	first, err := storage.FirstIndex()
	if err != nil {
		panic(fmt.Errorf("raft: read the first index: %w", err))
	}
	last, err := storage.LastIndex()
	if err != nil {
		panic(fmt.Errorf("raft: read the last index: %w", err))
	}
	lastTerm, err := storage.Term(last)
	if err != nil {
		panic(fmt.Errorf("raft: read the term of entry %d: %w", last, err))
	}
	return &raftLog{
		storage:         storage,
		unstable:        unstable{offset: last + 1, inProgress: last + 1, logger: logger},
		last:            entryID{term: lastTerm, index: last},
		committed:       first - 1,
		applying:        first - 1,
		applied:         first - 1,
		maxApplyingSize: max(maxApplyingSize, 1), // no limit is so low that nothing moves
		logger:          logger,
	}
}

func (l *raftLog) lastIndex() uint64 { return l.last.index }

// appendNew adds a leader's new entries in its term; the entries given are not
// written to.
func (l *raftLog) appendNew(term uint64, entries []pb.Entry) {
	added := l.unstable.extend(l.last.index+1, entries)
	for i := range added {
		l.last.index++
		added[i].Term = term
		added[i].Index = l.last.index
	}
	l.last.term = term
}

// maybeAppend brings a follower's log into agreement with a leader's, and
// reports whether it could: whether the log holds the entry before the slice.
//
// "If an existing entry conflicts with a new one, delete it and all that follow"
// (Figure 2): and only then. A message that was overtaken holds less than we do
// and must not cost us the rest, which the leader may be counting on.
func (l *raftLog) maybeAppend(s logSlice) bool {
	if !l.matches(s.prev) {
		return false
	}
	first := l.firstConflict(&s)
	if first > s.lastIndex() {
		return true
	}
	if first <= l.committed {
		panic(fmt.Sprintf("raft: the leader's entry %d conflicts with one that is committed; committed is %d", first, l.committed))
	}
	fresh := s.entries[first-s.prev.index-1:]
	l.unstable.extend(first, fresh)
	l.last = idOf(&fresh[len(fresh)-1])
	return true
}

// firstConflict returns the first index of s at which the log has another entry
// or none. It is past the end of s if the log holds all of it.
func (l *raftLog) firstConflict(s *logSlice) uint64 {
	if s.prev.index == l.last.index {
		return s.prev.index + 1
	}
	for i := range s.entries {
		if id := idOf(&s.entries[i]); !l.matches(id) {
			if id.index <= l.last.index {
				l.logger.Infof("entry %v of the leader replaces ours and all behind it, up to %v", id, l.last)
			}
			return id.index
		}
	}
	return s.lastIndex() + 1
}

// matches reports whether the log holds this entry, and so by §5.3 all of the
// leader's log before it.
func (l *raftLog) matches(id entryID) bool {
	if id == l.last {
		return true
	}
	term, err := l.term(id.index)
	return err == nil && term == id.term
}

// isUpToDate reports whether a log that ends in last is at least as up-to-date
// as ours (§5.4.1): the later last term wins, then the longer log.
func (l *raftLog) isUpToDate(last entryID) bool {
	return last.term > l.last.term || last.term == l.last.term && last.index >= l.last.index
}

// commitTo moves the commit index forward to index. It panics when the log does
// not reach that far: what the leader says we acknowledged got lost.
func (l *raftLog) commitTo(index uint64) {
	if index <= l.committed {
		return
	}
	if index > l.last.index {
		panic(fmt.Sprintf("raft: commit index %d is beyond the last index %d: was the log corrupted, truncated or lost?",
			index, l.last.index))
	}
	l.committed = index
}

// acceptApplying notes that entries up to index, of size encoded bytes, have
// been handed out for applying.
func (l *raftLog) acceptApplying(index, size uint64, allowUnstable bool) {
	l.applying = index
	l.applyingSize += size
	l.applyingPaused = l.applyingSize >= l.maxApplyingSize || index < l.maxAppliable(allowUnstable)
	l.checkCursors()
}

// appliedTo notes that entries up to index, of size encoded bytes, have been
// applied.
func (l *raftLog) appliedTo(index, size uint64) {
	if index < l.applied || index > l.committed {
		panic(fmt.Sprintf("raft: applied %d is not in [%d, %d], from the last applied to committed", index, l.applied, l.committed))
	}
	l.applied = index
	l.applying = max(l.applying, index)
	l.applyingSize -= min(size, l.applyingSize)
	l.applyingPaused = l.applyingSize >= l.maxApplyingSize
	l.checkCursors()
}

// restore replaces the log by a snapshot.
func (l *raftLog) restore(s pb.Snapshot) {
	l.logger.Infof("log up to %v gives way to a snapshot at %d/%d", l.last, s.Metadata.Term, s.Metadata.Index)
	l.committed = s.Metadata.Index
	l.last = entryID{term: s.Metadata.Term, index: s.Metadata.Index}
	l.unstable.restore(s)
}

// checkCursors: applied <= applying <= committed <= last, always. See the
// drawing on raftLog.
func (l *raftLog) checkCursors() {
	if l.applied <= l.applying && l.applying <= l.committed && l.committed <= l.last.index {
		return
	}
	panic(fmt.Sprintf("raft: log cursors out of order: applied %d, applying %d, committed %d, last %d",
		l.applied, l.applying, l.committed, l.last.index))
}
