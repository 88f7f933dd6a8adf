// Appends at the follower: Figure 2, "AppendEntries RPC", sentence by sentence.

package raft

import (
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"github.com/google/go-cmp/cmp"
)

// Figure 2, AppendEntries 2 to 5.
func TestAppend(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prev    entryID
		terms   []uint64 // of the entries sent
		commit  uint64
		answer  string
		logs    []uint64 // terms of the log afterwards
		commits uint64
	}{
		{"2: no entry at prevLogIndex", entryID{2, 5}, []uint64{2}, 1, "Log:2/5 Rejected (Hint: 3)", []uint64{1, 1, 2}, 1},
		{"2: another term at prevLogIndex", entryID{3, 3}, []uint64{3}, 1, "Log:2/3 Rejected (Hint: 3)", []uint64{1, 1, 2}, 1},
		{"2: the hint skips later terms", entryID{1, 3}, nil, 1, "Log:1/3 Rejected (Hint: 2)", []uint64{1, 1, 2}, 1},
		{"3: a conflict deletes what follows", entryID{1, 1}, []uint64{3}, 1, "Log:0/2", []uint64{1, 3}, 1},
		{"4: new entries are appended", entryID{2, 3}, []uint64{3, 3}, 1, "Log:0/5", []uint64{1, 1, 2, 3, 3}, 1},
		{"4: those already there stay, and so does what follows", entryID{1, 1}, []uint64{1}, 1, "Log:0/2", []uint64{1, 1, 2}, 1},
		{"5: commit moves to leaderCommit", entryID{2, 3}, nil, 2, "Log:0/3", []uint64{1, 1, 2}, 2},
		{"5: but not beyond the last new entry", entryID{1, 1}, []uint64{1}, 3, "Log:0/2", []uint64{1, 1, 2}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := nodeWith(t, 3, 1, 1, 1, 2)
			m := pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 3, Index: tt.prev.index, LogTerm: tt.prev.term, Commit: tt.commit}
			for i, term := range tt.terms {
				m.Entries = append(m.Entries, pb.Entry{Term: term, Index: tt.prev.index + 1 + uint64(i)})
			}
			answer := one(t, n.step(t, m))
			if diff := cmp.Diff("1->2 MsgAppResp Term:3 "+tt.answer, DescribeMessage(answer, nil)); diff != "" {
				t.Error(diff)
			}
			var terms []uint64
			for _, e := range n.storage.ents {
				terms = append(terms, e.Term)
			}
			if !slices.Equal(terms, tt.logs) || n.raft.log.committed != tt.commits {
				t.Errorf("log %v commit %d, want %v and %d", terms, n.raft.log.committed, tt.logs, tt.commits)
			}
		})
	}
}

// An append about what is committed already is answered with the commit index, and its
// entries are not even looked at.
func TestAppendBelowCommit(t *testing.T) {
	n := nodeWith(t, 3, 3, 1, 1, 2)
	for _, m := range []pb.Message{
		{Index: 1, LogTerm: 1, Entries: []pb.Entry{{Term: 3, Index: 2}}},
		{Index: 2, LogTerm: 1},
		{Index: 2, LogTerm: 9, Entries: []pb.Entry{{Term: 9, Index: 3}}},
	} {
		m.Type, m.From, m.To, m.Term = pb.MsgApp, 2, 1, 3
		if answer := one(t, n.step(t, m)); answer.Reject || answer.Index != 3 {
			t.Errorf("after %d: answered %v", m.Index, DescribeMessage(answer, nil))
		}
	}
}

// §5.4.3: an entry that conflicts with a committed one can only come from a bug.
func TestConflictWithCommittedPanics(t *testing.T) {
	n := nodeWith(t, 3, 2, 1, 1, 2)
	defer func() {
		if recover() == nil {
			t.Error("a committed entry was replaced")
		}
	}()
	n.raft.log.maybeAppend(logSlice{prev: entryID{1, 1}, entries: []pb.Entry{{Term: 3, Index: 2}}})
}

// §5.3: an append that was overtaken, or doubled, holds less than we do. It takes
// nothing away, whatever is behind what it holds.
func TestLateAppendTruncatesNothing(t *testing.T) {
	n := nodeWith(t, 3, 0, 1, 1)
	m := pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 3, Index: 2, LogTerm: 1, Entries: entriesFrom(3, 3, 3, 3)}
	n.step(t, m)
	for count, last := range []uint64{2, 3, 4, 5} {
		late := m
		late.Entries = m.Entries[:count]
		if answer := one(t, n.step(t, late)); answer.Reject || answer.Index != last {
			t.Errorf("%d entries: %s", count, DescribeMessage(answer, nil))
		}
		if got := termsIn(n.storage); !slices.Equal(got, []uint64{1, 1, 3, 3, 3}) || n.raft.log.lastIndex() != 5 {
			t.Errorf("%d entries: the log is %v up to %d", count, got, n.raft.log.lastIndex())
		}
	}
}

// §5.3, end: a refusal names the last of our entries that can be in the leader's log at
// that place, as terms in a log never fall: not behind the place asked about, not behind
// our end, of no later term. Its term is 0 where ours does not reach back any more.
func TestRefusalHints(t *testing.T) {
	for _, tt := range []struct {
		name string
		log  []uint64 // terms from index 1 on
		prev entryID  // what the leader asks about
		hint entryID
	}{
		{"our log is shorter", []uint64{1, 1, 4}, entryID{term: 4, index: 9}, entryID{term: 4, index: 3}},
		{"shorter, and of a later term", []uint64{1, 1, 4}, entryID{term: 3, index: 9}, entryID{term: 1, index: 2}},
		{"another term at that place", []uint64{1, 1, 4, 4, 4}, entryID{term: 3, index: 4}, entryID{term: 1, index: 2}},
		{"an earlier term at that place", []uint64{1, 2, 2, 2}, entryID{term: 4, index: 3}, entryID{term: 2, index: 3}},
		{"all of later terms", []uint64{4, 4, 4}, entryID{term: 3, index: 3}, entryID{}},
		{"we have nothing", nil, entryID{term: 3, index: 3}, entryID{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := nodeWith(t, 5, 0, tt.log...)
			m := one(t, n.step(t, pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 5, Index: tt.prev.index, LogTerm: tt.prev.term}))
			got := entryID{term: m.LogTerm, index: m.RejectHint}
			if !m.Reject || m.Index != tt.prev.index || got != tt.hint {
				t.Errorf("%s, want hint %v", DescribeMessage(m, nil), tt.hint)
			}
		})
	}

	compacted := restart(t, storedFrom(t, entryID{term: 4, index: 6}, 4), nil)
	if got := compacted.raft.log.lastAtOrBelow(entryID{term: 3, index: 7}); got != (entryID{index: 5}) {
		t.Errorf("where our log does not reach back: %v", got)
	}
}

// A heartbeat commits what it says, which the leader knows us to hold, and is answered
// with its context. A commit index beyond our log means that we have lost something.
func TestHeartbeat(t *testing.T) {
	n := nodeWith(t, 1, 0, 1, 1)
	answer := one(t, n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: 2, Context: []byte("c")}))
	if answer.Type != pb.MsgHeartbeatResp || string(answer.Context) != "c" || n.raft.log.committed != 2 {
		t.Errorf("committed %d, %s", n.raft.log.committed, DescribeMessage(answer, nil))
	}
	if n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: 1}); n.raft.log.committed != 2 {
		t.Errorf("an older one took the commit index back to %d", n.raft.log.committed)
	}
	mustPanic(t, "a commit index beyond the log", func() {
		n.Step(pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: 3})
	})
}

// §5.3: entries follow the one before without a gap. What does not is no append, and
// changes nothing, wherever our log ends.
func TestEntriesWithAGapAreIgnored(t *testing.T) {
	for _, indexes := range [][]uint64{{1}, {3}, {2, 2}, {2, 4}, {3, 4}, {0}} {
		n := nodeWith(t, 1, 1, 1)
		var entries []pb.Entry
		for _, i := range indexes {
			entries = append(entries, pb.Entry{Term: 1, Index: i})
		}
		if sent := n.step(t, pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: 1, LogTerm: 1, Entries: entries}); len(sent) > 0 {
			t.Errorf("entries %v after 1: answered %s", indexes, lines(sent))
		}
		if last := n.raft.log.last; last != (entryID{term: 1, index: 1}) {
			t.Errorf("entries %v after 1: the log ends at %v", indexes, last)
		}
	}
}
