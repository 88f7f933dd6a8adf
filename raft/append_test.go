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

// An append about what is committed already is answered with the commit index.
func TestAppendBelowCommit(t *testing.T) {
	n := nodeWith(t, 3, 3, 1, 1, 2)
	m := one(t, n.step(t, pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 3, Index: 1, LogTerm: 1, Entries: []pb.Entry{{Term: 3, Index: 2}}}))
	if m.Reject || m.Index != 3 {
		t.Errorf("answered %v", DescribeMessage(m, nil))
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
