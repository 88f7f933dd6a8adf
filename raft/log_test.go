// The log: reading it across storage and tail, and what may happen to it.
//
//	§5.3, §5.4.1
//
// append_test.go has what a follower does to it, commit_test.go the commit rule.

package raft

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "example.com/raftexample/raft/raftpb"
)

// logOf returns a log with entries in storage behind base, and others in its tail.
func logOf(t testing.TB, base entryID, stored, tail []uint64) *raftLog {
	t.Helper()
	l := newLog(storedFrom(t, base, stored...), noLimit, silent)
	l.maybeAppend(logSlice{prev: l.last, entries: entriesFrom(l.lastIndex()+1, tail...)})
	return l
}

// An entry is found wherever it is; the term of the one that the log starts after is
// known, too.
func TestTermOfAnEntry(t *testing.T) {
	l := logOf(t, entryID{term: 2, index: 3}, []uint64{4, 4}, []uint64{5, 6})
	for _, tt := range []struct {
		index, term uint64
		err         error
	}{{0, 0, ErrCompacted}, {2, 0, ErrCompacted}, {3, 2, nil}, {4, 4, nil}, {5, 4, nil}, {6, 5, nil}, {7, 6, nil}, {8, 0, ErrUnavailable}} {
		if term, err := l.term(tt.index); term != tt.term || !errors.Is(err, tt.err) {
			t.Errorf("entry %d: term %d, %v", tt.index, term, err)
		}
	}
}

// What is read for a message is one sequence, whatever part of it is in storage, and
// its size in encoded bytes is limited as a whole; one entry is always read.
func TestReadingAcrossStorageAndTail(t *testing.T) {
	l := logOf(t, entryID{term: 2, index: 3}, []uint64{4, 4}, []uint64{4, 4})
	size := uint64((&pb.Entry{Term: 4, Index: 4}).Size())
	for _, tt := range []struct {
		name        string
		from, limit uint64
		count       int
	}{
		{"all", 4, noLimit, 4},
		{"from the tail", 6, noLimit, 2},
		{"from the tail, limited", 6, 1, 1},
		{"ends in storage", 4, 2*size - 1, 1},
		{"ends where storage does", 4, 2 * size, 2},
		{"one byte short of the tail", 4, 3*size - 1, 2},
		{"one of the tail", 4, 3 * size, 3},
		{"one from storage, one from the tail", 5, 2 * size, 2},
		{"no limit is too low for one", 5, 0, 1},
		{"behind the end", 8, noLimit, 0},
	} {
		entries, err := l.entries(tt.from, tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		var terms []uint64
		for range tt.count {
			terms = append(terms, 4)
		}
		if diff := cmp.Diff(entriesFrom(tt.from, terms...), entries); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	if _, err := l.entries(3, noLimit); !errors.Is(err, ErrCompacted) {
		t.Errorf("what was compacted: %v", err)
	}
}

// brokenStorage fails in the methods for which it has an error.
type brokenStorage struct {
	*MemoryStorage
	state, first, last, entries, term, snapshot error
}

func (s *brokenStorage) InitialState() (pb.HardState, pb.ConfState, error) {
	hs, cs, err := s.MemoryStorage.InitialState()
	return hs, cs, errors.Join(s.state, err)
}

func (s *brokenStorage) FirstIndex() (uint64, error) {
	index, err := s.MemoryStorage.FirstIndex()
	return index, errors.Join(s.first, err)
}

func (s *brokenStorage) LastIndex() (uint64, error) {
	index, err := s.MemoryStorage.LastIndex()
	return index, errors.Join(s.last, err)
}

func (s *brokenStorage) Entries(lo, hi, maxSize uint64) ([]pb.Entry, error) {
	if s.entries != nil {
		return nil, s.entries
	}
	return s.MemoryStorage.Entries(lo, hi, maxSize)
}

func (s *brokenStorage) Term(i uint64) (uint64, error) {
	if s.term != nil {
		return 0, s.term
	}
	return s.MemoryStorage.Term(i)
}

func (s *brokenStorage) Snapshot() (pb.Snapshot, error) {
	if s.snapshot != nil {
		return pb.Snapshot{}, s.snapshot
	}
	return s.MemoryStorage.Snapshot()
}

// A storage may have compacted what is asked for, in the meantime. Any other failure to
// read is a failed disk: the node stops before it says anything wrong.
func TestStorageThatFailsPanics(t *testing.T) {
	s := &brokenStorage{MemoryStorage: storedFrom(t, entryID{}, 1, 1, 1)}
	l := newLog(s, noLimit, silent)
	broken := errors.New("disk on fire")

	s.entries, s.term = ErrCompacted, ErrCompacted
	if _, err := l.entries(1, noLimit); !errors.Is(err, ErrCompacted) {
		t.Errorf("compacted entries: %v", err)
	}
	if _, err := l.term(2); !errors.Is(err, ErrCompacted) {
		t.Errorf("a compacted term: %v", err)
	}
	s.entries, s.term = ErrUnavailable, broken
	mustPanic(t, "entries that are not there, though the storage said so", func() { l.entries(1, noLimit) })
	mustPanic(t, "a term that cannot be read", func() { l.term(2) })
	s.entries = broken
	for what, read := range map[string]func(){
		"entries that cannot be read": func() { l.entries(1, noLimit) },
		"a term that cannot be read":  func() { l.term(2) },
		"a first index that cannot be read": func() {
			s.first = broken
			l.firstIndex()
		},
	} {
		if err, is := mustPanic(t, what, read).(error); !is || !errors.Is(err, broken) {
			t.Errorf("%s: the panic does not say what the storage did", what)
		}
		s.first = nil
	}
}

// A storage is not asked for the term of an entry that it need not know.
func TestTermOfACompactedEntry(t *testing.T) {
	s := &brokenStorage{MemoryStorage: storedFrom(t, entryID{term: 2, index: 3}, 4, 4)}
	l := newLog(s, noLimit, silent)
	s.term = errors.New("no such entry")
	if _, err := l.term(2); !errors.Is(err, ErrCompacted) {
		t.Errorf("%v", err)
	}
}

// Entries that are to be applied must be there: who compacts them before has lost them.
func TestAppliedEntriesMustBeThere(t *testing.T) {
	s := &brokenStorage{MemoryStorage: storedFrom(t, entryID{}, 1, 1, 1)}
	l := newLog(s, noLimit, silent)
	l.commitTo(2)
	s.entries = ErrCompacted
	mustPanic(t, "compacted, and not applied", func() { l.nextCommitted(true) })
}

// emptyStorage has entries by its indexes, and gives none.
type emptyStorage struct{ *MemoryStorage }

func (emptyStorage) Entries(_, _, _ uint64) ([]pb.Entry, error) { return nil, nil }

// However low the limit, a storage gives one entry. Without any, and without an error,
// the log could not be read to its end.
func TestStorageThatGivesNothingPanics(t *testing.T) {
	l := newLog(emptyStorage{storedFrom(t, entryID{}, 1, 1)}, noLimit, silent)
	mustPanic(t, "no entries", func() {
		if err := l.scan(1, 3, func([]pb.Entry) bool { return false }); err != nil {
			t.Error(err)
		}
	})
}

// §5.3: the commit index only rises, and never beyond the log: what a leader says we
// have acknowledged must be there.
func TestCommitIndexOnlyRises(t *testing.T) {
	l := logOf(t, entryID{}, []uint64{1, 1}, []uint64{1})
	for _, tt := range []struct{ to, want uint64 }{{2, 2}, {1, 2}, {0, 2}, {3, 3}} {
		if l.commitTo(tt.to); l.committed != tt.want {
			t.Errorf("committed %d after %d was told, want %d", l.committed, tt.to, tt.want)
		}
	}
	mustPanic(t, "beyond the log", func() { l.commitTo(4) })
}

// Figure 2: lastApplied only rises, and not beyond commitIndex.
func TestAppliedStaysBehindCommitted(t *testing.T) {
	l := logOf(t, entryID{}, []uint64{1, 1, 1}, nil)
	l.commitTo(2)
	l.appliedTo(1, 0)
	mustPanic(t, "beyond what is committed", func() { l.appliedTo(3, 0) })
	l.appliedTo(2, 0)
	mustPanic(t, "backwards", func() { l.appliedTo(1, 0) })

	for name, l := range map[string]*raftLog{
		"applied beyond applying":   {applied: 3, applying: 2, committed: 4, last: entryID{index: 5}},
		"applying beyond committed": {applied: 1, applying: 5, committed: 4, last: entryID{index: 5}},
		"committed beyond the last": {applied: 1, applying: 2, committed: 6, last: entryID{index: 5}},
	} {
		mustPanic(t, name, l.checkCursors)
	}
}

// §5.4.1: "If the logs have last entries with different terms, then the log with the
// later term is more up-to-date. If the logs end with the same term, then whichever log
// is longer is more up-to-date." It may end in storage, in the tail or with a snapshot.
func TestUpToDate(t *testing.T) {
	compacted := logOf(t, entryID{term: 3, index: 3}, nil, nil)
	for where, l := range map[string]*raftLog{
		"storage":    logOf(t, entryID{}, []uint64{1, 2, 3}, nil),
		"the tail":   logOf(t, entryID{}, []uint64{1}, []uint64{2, 3}),
		"a snapshot": compacted,
	} {
		for _, tt := range []struct {
			other entryID
			want  bool
		}{{entryID{4, 1}, true}, {entryID{3, 4}, true}, {entryID{3, 3}, true}, {entryID{3, 2}, false}, {entryID{2, 9}, false}} {
			if got := l.isUpToDate(tt.other); got != tt.want {
				t.Errorf("a log that ends in %s: %v is up to date: %t", where, tt.other, got)
			}
		}
	}
}

// §7: a snapshot from the leader is the log, until storage has it: it starts right
// behind it and ends there, and what was unstable is gone.
func TestSnapshotReplacesTheLog(t *testing.T) {
	l := logOf(t, entryID{}, []uint64{1, 1}, []uint64{1, 1})
	l.restore(snapshotAt(5, 9, 1))
	if l.firstIndex() != 10 || l.lastIndex() != 9 || l.committed != 9 || len(l.unstable.entries) != 0 {
		t.Errorf("first %d, last %d, committed %d, tail %v", l.firstIndex(), l.lastIndex(), l.committed, l.unstable.entries)
	}
	if term, err := l.term(9); term != 5 || err != nil {
		t.Errorf("its term: %d, %v", term, err)
	}
	if _, err := l.term(2); !errors.Is(err, ErrCompacted) {
		t.Errorf("the term of an entry that storage still has: %v", err)
	}
	if entries, err := l.slice(1, 3, noLimit); !errors.Is(err, ErrCompacted) {
		t.Errorf("entries that storage still has: %v, %v", entries, err)
	}
	if s, err := l.snapshot(); s.Metadata.Index != 9 || err != nil {
		t.Errorf("the snapshot is %v, %v", s, err)
	}
	l.maybeAppend(logSlice{prev: entryID{5, 9}, entries: entriesFrom(10, 5)})
	if entries, err := l.entries(10, noLimit); len(entries) != 1 || err != nil {
		t.Errorf("behind it: %v, %v", entries, err)
	}
	if term, err := l.term(9); term != 5 || err != nil {
		t.Errorf("its term, with an entry behind it: %d, %v", term, err)
	}
}
