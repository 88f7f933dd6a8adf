// The unstable tail: what is in it, and what was handed out.
//
//	diss. §10.2.1

package raft

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "example.com/raftexample/raft/raftpb"
)

// Entries that were handed out belong to whoever has them: a conflict puts others
// elsewhere.
func TestHandedOutEntriesStayAsTheyAre(t *testing.T) {
	u := unstable{offset: 1, inProgress: 1, logger: silent}
	u.extend(1, []pb.Entry{{Term: 1, Index: 1}, {Term: 1, Index: 2}, {Term: 1, Index: 3}})
	handedOut := u.nextEntries()
	before := slices.Clone(handedOut)
	u.accept()
	u.extend(2, []pb.Entry{{Term: 2, Index: 2}, {Term: 2, Index: 3}})
	for i := range before {
		if handedOut[i].Term != before[i].Term {
			t.Errorf("entry %d became one of term %d", before[i].Index, handedOut[i].Term)
		}
	}
	if next := u.nextEntries(); len(next) != 2 || next[0].Term != 2 {
		t.Errorf("to be handed out: %v", next)
	}
}

// New entries come behind, or in the place of others from where they begin; what was
// handed out and stays is not handed out again.
func TestTailIsExtended(t *testing.T) {
	for _, tt := range []struct {
		name   string
		first  uint64
		offset uint64
		terms  []uint64 // in the tail afterwards, which was 5 to 7 of term 1
		next   uint64   // the first to be handed out
	}{
		{"behind it", 8, 5, []uint64{1, 1, 1, 2, 2}, 8},
		{"in place of its end", 7, 5, []uint64{1, 1, 2, 2}, 7},
		{"in place of some that were handed out", 6, 5, []uint64{1, 2, 2}, 6},
		{"in place of all of it", 5, 5, []uint64{2, 2}, 5},
		{"in place of all of it and some in storage", 3, 3, []uint64{2, 2}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := unstable{offset: 5, inProgress: 5, logger: silent}
			u.extend(5, entriesFrom(5, 1, 1))
			u.accept()
			u.extend(7, entriesFrom(7, 1))
			u.accept()
			got := u.extend(tt.first, entriesFrom(tt.first, 2, 2))
			if diff := cmp.Diff(entriesFrom(tt.first, 2, 2), got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(entriesFrom(tt.offset, tt.terms...), u.entries); diff != "" || u.offset != tt.offset {
				t.Errorf("offset %d, %s", u.offset, diff)
			}
			if next := u.nextEntries(); len(next) == 0 || next[0].Index != tt.next {
				t.Errorf("to be handed out: %v, want from %d", next, tt.next)
			}
		})
	}
	mustPanic(t, "a gap", func() {
		u := unstable{offset: 5, inProgress: 5, logger: silent}
		u.extend(6, entriesFrom(6, 1))
	})
}

// What storage has leaves the tail: up to the entry it speaks of, if that is still the
// one at its place. Of others it says nothing.
func TestStoredEntriesLeaveTheTail(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stored entryID
		offset uint64
	}{
		{"some", entryID{term: 1, index: 6}, 7},
		{"all", entryID{term: 2, index: 7}, 8},
		{"a replaced one", entryID{term: 1, index: 7}, 5},
		{"one before the tail", entryID{term: 1, index: 4}, 5},
		{"one behind the tail", entryID{term: 2, index: 8}, 5},
	} {
		u := unstable{offset: 5, inProgress: 5, logger: silent}
		u.extend(5, entriesFrom(5, 1, 1, 2))
		u.accept()
		u.stable(tt.stored)
		if u.offset != tt.offset || u.end() != 8 || len(u.entries) > 0 && u.entries[0].Index != tt.offset {
			t.Errorf("%s: offset %d, %v", tt.name, u.offset, u.entries)
		}
		if len(u.nextEntries()) > 0 {
			t.Errorf("%s: handed out again: %v", tt.name, u.nextEntries())
		}
	}

	u := unstable{offset: 5, inProgress: 5, logger: silent}
	u.restore(snapshotAt(3, 9, 1))
	u.stable(entryID{term: 3, index: 9}) // the snapshot's own index is no entry
	if u.offset != 10 || !u.awaitsSnapshot() {
		t.Errorf("offset %d, awaits a snapshot: %t", u.offset, u.awaitsSnapshot())
	}
}
