// MemoryStorage: what a Storage promises the library, sentence by sentence.
//
//	diss. §3.8 (persisted state) · §7 (what a log starts after)
//
// Start at TestStorageReads; the rest is about what changes it.

package raft

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// storedFrom returns a storage whose log starts after base and has entries of these
// terms.
func storedFrom(t testing.TB, base entryID, terms ...uint64) *MemoryStorage {
	t.Helper()
	s := NewMemoryStorage()
	if base.index > 0 {
		if err := s.ApplySnapshot(snapshotAt(base.term, base.index, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Append(entriesFrom(base.index+1, terms...)); err != nil {
		t.Fatal(err)
	}
	return s
}

// entriesFrom returns entries of these terms, the first at index.
func entriesFrom(index uint64, terms ...uint64) []pb.Entry {
	var entries []pb.Entry
	for i, term := range terms {
		entries = append(entries, pb.Entry{Term: term, Index: index + uint64(i)})
	}
	return entries
}

func snapshotAt(term, index uint64, voters ...uint64) pb.Snapshot {
	return pb.Snapshot{Metadata: pb.SnapshotMetadata{Term: term, Index: index, ConfState: pb.ConfState{Voters: voters}}}
}

// termsIn returns the terms of all entries in a storage.
func termsIn(s *MemoryStorage) []uint64 {
	var terms []uint64
	for _, e := range s.ents {
		terms = append(terms, e.Term)
	}
	return terms
}

// A storage holds the entries after its base. Of the base itself the term is known;
// what is before was compacted, what is behind the last entry does not exist.
func TestStorageReads(t *testing.T) {
	s := storedFrom(t, entryID{term: 2, index: 3}, 4, 5, 5) // entries 4 to 6
	first, err := s.FirstIndex()
	if err != nil || first != 4 {
		t.Errorf("first index %d, %v", first, err)
	}
	last, err := s.LastIndex()
	if err != nil || last != 6 {
		t.Errorf("last index %d, %v", last, err)
	}
	for _, tt := range []struct {
		index, term uint64
		err         error
	}{{2, 0, ErrCompacted}, {3, 2, nil}, {4, 4, nil}, {6, 5, nil}, {7, 0, ErrUnavailable}} {
		if term, err := s.Term(tt.index); term != tt.term || !errors.Is(err, tt.err) {
			t.Errorf("term of entry %d: %d, %v", tt.index, term, err)
		}
	}
	for _, tt := range []struct {
		lo, hi uint64
		count  int
		err    error
	}{{3, 5, 0, ErrCompacted}, {2, 9, 0, ErrCompacted}, {4, 5, 1, nil}, {5, 7, 2, nil}, {4, 7, 3, nil}, {7, 7, 0, nil}} {
		entries, err := s.Entries(tt.lo, tt.hi, noLimit)
		if len(entries) != tt.count || !errors.Is(err, tt.err) {
			t.Errorf("entries [%d, %d): %v, %v", tt.lo, tt.hi, entries, err)
		}
		if tt.count > 0 && entries[0].Index != tt.lo {
			t.Errorf("entries [%d, %d) begin at %d", tt.lo, tt.hi, entries[0].Index)
		}
	}
	mustPanic(t, "entries beyond the last", func() { s.Entries(4, 8, noLimit) })
}

// A new storage is a log that starts at 1 and has nothing in it.
func TestEmptyStorage(t *testing.T) {
	s := NewMemoryStorage()
	first, firstErr := s.FirstIndex()
	last, lastErr := s.LastIndex()
	term, termErr := s.Term(0)
	if err := errors.Join(firstErr, lastErr, termErr); first != 1 || last != 0 || term != 0 || err != nil {
		t.Errorf("first %d, last %d, term of the base %d, %v", first, last, term, err)
	}
	if _, err := s.Entries(1, 1, noLimit); !errors.Is(err, ErrUnavailable) {
		t.Errorf("entries of nothing: %v", err)
	}
	snapshot, err := s.Snapshot()
	if err != nil || !IsEmptySnap(snapshot) {
		t.Errorf("snapshot %v, %v", snapshot, err)
	}
	hs, cs, err := s.InitialState()
	if err != nil || !IsEmptyHardState(hs) || len(cs.Voters) != 0 {
		t.Errorf("state %v, configuration %v, %v", hs, cs, err)
	}
}

// Every method waits for the mutex, which a user may hold over several steps; but for
// InitialState, which is called before there is anybody to wait for.
func TestStorageLocks(t *testing.T) {
	var wg sync.WaitGroup
	done := make(chan string, 11)
	unlock := make(chan bool)
	for name, call := range map[string]func(*MemoryStorage) error{
		"InitialState":   func(s *MemoryStorage) error { _, _, err := s.InitialState(); return err },
		"SetHardState":   func(s *MemoryStorage) error { return s.SetHardState(pb.HardState{Term: 1}) },
		"Entries":        func(s *MemoryStorage) error { _, err := s.Entries(1, 2, noLimit); return err },
		"Term":           func(s *MemoryStorage) error { _, err := s.Term(3); return err },
		"LastIndex":      func(s *MemoryStorage) error { _, err := s.LastIndex(); return err },
		"FirstIndex":     func(s *MemoryStorage) error { _, err := s.FirstIndex(); return err },
		"Snapshot":       func(s *MemoryStorage) error { _, err := s.Snapshot(); return err },
		"ApplySnapshot":  func(s *MemoryStorage) error { return s.ApplySnapshot(snapshotAt(1, 1, 1)) },
		"CreateSnapshot": func(s *MemoryStorage) error { _, err := s.CreateSnapshot(2, nil, nil); return err },
		"Compact":        func(s *MemoryStorage) error { return s.Compact(1) },
		"Append":         func(s *MemoryStorage) error { return s.Append(entriesFrom(4, 3)) },
	} {
		s := storedFrom(t, entryID{}, 1, 2, 3)
		s.Lock()
		go func() {
			<-unlock
			s.Unlock()
		}()
		wg.Go(func() {
			if err := call(s); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			done <- name
		})
	}
	if first := <-done; first != "InitialState" {
		t.Errorf("%s does not wait", first)
	}
	select {
	case next := <-done:
		t.Errorf("%s does not wait", next)
	case <-time.After(20 * time.Millisecond): // long enough for one that does not, mostly
	}
	close(unlock)
	wg.Wait()
}

// Entries are cut to a size counted in encoded bytes, but one is always given.
func TestEntriesAreCutToSize(t *testing.T) {
	s := storedFrom(t, entryID{}, 1, 2, 3)
	size := uint64(s.ents[0].Size()) // all have the same
	for _, tt := range []struct {
		limit uint64
		count int
	}{{0, 1}, {size - 1, 1}, {size, 1}, {2*size - 1, 1}, {2 * size, 2}, {3*size - 1, 2}, {3 * size, 3}, {noLimit, 3}} {
		entries, err := s.Entries(1, 4, tt.limit)
		if err != nil || len(entries) != tt.count {
			t.Errorf("%d bytes: %d entries, %v; want %d", tt.limit, len(entries), err, tt.count)
		}
	}
}

// Figure 2, AppendEntries 3 and 4, as storage sees them: an entry replaces the one at
// its index and all that follow it, and what is compacted already is left out.
func TestStorageAppend(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entries []pb.Entry
		want    []uint64 // the terms of the entries from 4 on
	}{
		{"nothing", nil, []uint64{4, 4, 4}},
		{"behind the last", entriesFrom(7, 5), []uint64{4, 4, 4, 5}},
		{"the same again", entriesFrom(4, 4, 4, 4), []uint64{4, 4, 4}},
		{"all is replaced", entriesFrom(4, 5, 5), []uint64{5, 5}},
		{"the middle is replaced, and the end dropped", entriesFrom(5, 5), []uint64{4, 5}},
		{"replaced and extended", entriesFrom(6, 5, 6), []uint64{4, 4, 5, 6}},
		{"wholly compacted", entriesFrom(2, 9, 9), []uint64{4, 4, 4}},
		{"compacted in part", entriesFrom(3, 9, 5, 5), []uint64{5, 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := storedFrom(t, entryID{term: 2, index: 3}, 4, 4, 4)
			if err := s.Append(tt.entries); err != nil {
				t.Fatal(err)
			}
			if got := termsIn(s); !slices.Equal(got, tt.want) {
				t.Errorf("terms %v, want %v", got, tt.want)
			}
			for i, e := range s.ents {
				if e.Index != uint64(4+i) {
					t.Errorf("entry %d is at %d", e.Index, 4+i)
				}
			}
		})
	}
	mustPanic(t, "a gap", func() {
		if err := storedFrom(t, entryID{}, 1).Append(entriesFrom(3, 1)); err != nil {
			t.Error(err)
		}
	})
}

// What was handed out stays as it was, whatever happens to the storage; and appending
// to it changes nothing here.
func TestStoredEntriesHandedOutDoNotChange(t *testing.T) {
	for name, change := range map[string]func(*MemoryStorage) error{
		"replaced": func(s *MemoryStorage) error { return s.Append(entriesFrom(2, 9)) }, // there is room behind
		"extended": func(s *MemoryStorage) error { return s.Append(entriesFrom(4, 9)) },
		"compacted, then extended": func(s *MemoryStorage) error {
			return errors.Join(s.Compact(2), s.Append(entriesFrom(4, 9)), s.Append(entriesFrom(3, 9)))
		},
		"replaced by a snapshot": func(s *MemoryStorage) error { return s.ApplySnapshot(snapshotAt(9, 9, 1)) },
	} {
		s := storedFrom(t, entryID{}, 1, 2, 3)
		held, err := s.Entries(1, 4, noLimit)
		if err != nil {
			t.Fatal(err)
		}
		front, err := s.Entries(1, 3, noLimit)
		if err != nil {
			t.Fatal(err)
		}
		_ = append(front, pb.Entry{Term: 7, Index: 7}) // the caller's right
		if got := termsIn(s); !slices.Equal(got, []uint64{1, 2, 3}) {
			t.Errorf("an append to what was handed out wrote into the storage: %v", got)
		}
		if err := change(s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, e := range held {
			if e.Term != uint64(i+1) || e.Index != uint64(i+1) {
				t.Errorf("%s: entry %d became %v", name, i+1, e)
			}
		}
	}
}

// §7, Figure 13: a snapshot replaces all entries; one that is no newer than the last
// is refused.
func TestApplySnapshot(t *testing.T) {
	s := storedFrom(t, entryID{}, 1, 1, 2)
	snapshot := snapshotAt(2, 2, 1, 2, 3)
	if err := s.ApplySnapshot(snapshot); err != nil {
		t.Fatal(err)
	}
	last, err := s.LastIndex()
	if err != nil || last != 2 || len(s.ents) != 0 {
		t.Errorf("last index %d, %v, with entries %v", last, err, s.ents)
	}
	if term, err := s.Term(2); term != 2 || err != nil {
		t.Errorf("the term of the base is %d, %v", term, err)
	}
	if _, cs, err := s.InitialState(); err != nil || !slices.Equal(cs.Voters, []uint64{1, 2, 3}) {
		t.Errorf("the configuration is %v, %v", cs, err)
	}
	for _, index := range []uint64{1, 2} {
		if err := s.ApplySnapshot(snapshotAt(3, index, 9)); !errors.Is(err, ErrSnapOutOfDate) {
			t.Errorf("a snapshot at %d after one at 2: %v", index, err)
		}
	}
	if got, err := s.Snapshot(); err != nil || got.Metadata.Term != 2 {
		t.Errorf("the refused one was stored: %v, %v", got, err)
	}
}

// §7: taking a snapshot keeps the log and its entry's term; no configuration means the
// last one's. It is not taken twice, nor of what is not there.
func TestCreateSnapshot(t *testing.T) {
	s := storedFrom(t, entryID{}, 1, 2, 3)
	cs := pb.ConfState{Voters: []uint64{1, 2}}
	got, err := s.CreateSnapshot(2, &cs, []byte("state"))
	if err != nil || got.Metadata.Index != 2 || got.Metadata.Term != 2 || string(got.Data) != "state" ||
		got.Metadata.ConfState.Equivalent(cs) != nil {
		t.Errorf("%v, %v", got, err)
	}
	if first, err := s.FirstIndex(); first != 1 || err != nil {
		t.Errorf("the log begins at %d after it, %v", first, err)
	}
	for _, index := range []uint64{1, 2} {
		if _, err := s.CreateSnapshot(index, nil, nil); !errors.Is(err, ErrSnapOutOfDate) {
			t.Errorf("a snapshot at %d after one at 2: %v", index, err)
		}
	}
	if got, err = s.CreateSnapshot(3, nil, nil); err != nil || got.Metadata.Term != 3 || got.Metadata.ConfState.Equivalent(cs) != nil {
		t.Errorf("without a configuration: %v, %v", got, err)
	}
	mustPanic(t, "a snapshot of what is not there", func() { s.CreateSnapshot(4, nil, nil) })

	// Of what the log begins after, only the term is left: enough for a snapshot there.
	s = storedFrom(t, entryID{}, 1, 2, 3)
	if err := s.Compact(2); err != nil {
		t.Fatal(err)
	}
	mustPanic(t, "a snapshot of what was compacted", func() { s.CreateSnapshot(1, nil, nil) })
	if got, err := s.CreateSnapshot(2, nil, nil); err != nil || got.Metadata.Index != 2 || got.Metadata.Term != 2 {
		t.Errorf("where the log begins: %v, %v", got, err)
	}
}

// §7: compaction drops entries up to an index and keeps that one's term.
func TestCompact(t *testing.T) {
	s := storedFrom(t, entryID{}, 1, 2, 3)
	if err := s.Compact(2); err != nil {
		t.Fatal(err)
	}
	if first, err := s.FirstIndex(); first != 3 || err != nil {
		t.Errorf("first index %d, %v", first, err)
	}
	if term, err := s.Term(2); term != 2 || err != nil {
		t.Errorf("the term of the base is %d, %v", term, err)
	}
	for _, index := range []uint64{0, 1, 2} {
		if err := s.Compact(index); !errors.Is(err, ErrCompacted) {
			t.Errorf("compacted to %d after 2: %v", index, err)
		}
	}
	mustPanic(t, "compacted beyond the last entry", func() {
		if err := s.Compact(4); err != nil {
			t.Error(err)
		}
	})
	if err := s.Compact(3); err != nil {
		t.Errorf("the last entry: %v", err)
	}
	if _, err := s.Entries(4, 4, noLimit); !errors.Is(err, ErrUnavailable) {
		t.Errorf("with the base alone: %v", err)
	}
	if last, err := s.LastIndex(); last != 3 || err != nil {
		t.Errorf("last index %d, %v", last, err)
	}
}
