// Asynchronous storage writes: what must wait for the log writer's word, and for the
// right one.

package raft

import (
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

func asyncNode(t *testing.T, term uint64, logTerms ...uint64) *member {
	t.Helper()
	c := testConfig(1, nil)
	c.AsyncStorageWrites = true
	return nodeOf(t, 1, c, term, 0, logTerms...)
}

func mustStep(t *testing.T, n *member, m pb.Message) {
	t.Helper()
	if err := n.Step(m); err != nil {
		t.Fatalf("step %v: %v", m.Type, err)
	}
}

// An entry can be replaced and written back while a write is under way. The word
// that the first write is done is about an entry that storage has lost since.
func TestAWordFromAnEarlierTermIsNotBelieved(t *testing.T) {
	n := asyncNode(t, 2, 1)
	replace := func(term, entryTerm uint64) {
		mustStep(t, n, pb.Message{
			Type: pb.MsgApp, From: 2, To: 1, Term: term, Index: 1, LogTerm: 1,
			Entries: []pb.Entry{{Term: entryTerm, Index: 2}},
		})
		n.Ready()
	}
	replace(2, 2) // A
	replace(3, 3) // B
	replace(4, 2) // A again
	mustStep(t, n, pb.Message{Type: pb.MsgStorageAppendResp, From: LocalAppendThread, To: 1, Term: 2, Index: 2, LogTerm: 2})
	if offset := n.raft.log.unstable.offset; offset != 2 {
		t.Errorf("entry 2 counts as stored, the tail begins at %d", offset)
	}
	mustStep(t, n, pb.Message{Type: pb.MsgStorageAppendResp, From: LocalAppendThread, To: 1, Term: 4, Index: 2, LogTerm: 2})
	if offset := n.raft.log.unstable.offset; offset != 3 {
		t.Errorf("entry 2 was stored in this term, the tail begins at %d", offset)
	}
}

// An entry is handed out for applying when this node has it on disk, though a
// quorum of others may have committed it before.
func TestApplyingWaitsForOurOwnDisk(t *testing.T) {
	n := asyncNode(t, 1, 1)
	mustStep(t, n, pb.Message{
		Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: 1, LogTerm: 1, Commit: 2,
		Entries: []pb.Entry{{Term: 1, Index: 2}},
	})
	applies := func(rd Ready) (last uint64) {
		for _, m := range rd.Messages {
			if m.Type == pb.MsgStorageApply {
				last = m.Entries[len(m.Entries)-1].Index
			}
		}
		return last
	}
	if last := applies(n.Ready()); last != 1 {
		t.Errorf("entries up to %d are handed out, 1 is on disk", last)
	}
	mustStep(t, n, pb.Message{Type: pb.MsgStorageApplyResp, From: LocalApplyThread, To: 1, Entries: []pb.Entry{{Term: 1, Index: 1}}})
	if err := n.storage.Append([]pb.Entry{{Term: 1, Index: 2}}); err != nil {
		t.Fatal(err)
	}
	mustStep(t, n, pb.Message{Type: pb.MsgStorageAppendResp, From: LocalAppendThread, To: 1, Term: 1, Index: 2, LogTerm: 1})
	if last := applies(n.Ready()); last != 2 {
		t.Errorf("entries up to %d are handed out, 2 are on disk", last)
	}
}

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

// Figure 2, followers: "Updated on stable storage before responding": the answer
// to an append is in the Ready whose entries it is about, behind them; and with
// asynchronous writes it waits for the log writer.
func TestAcknowledgementsWaitForTheDisk(t *testing.T) {
	appended := pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: 1, LogTerm: 1, Entries: []pb.Entry{{Term: 1, Index: 2}}}
	c := testConfig(1, nil)
	c.AsyncStorageWrites = true
	n := nodeOf(t, 1, c, 1, 0, 1)
	if err := n.Step(appended); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	m := one(t, rd.Messages)
	if m.Type != pb.MsgStorageAppend || m.To != LocalAppendThread || len(m.Responses) != 2 || m.Responses[0].Type != pb.MsgAppResp {
		t.Errorf("%v", DescribeReady(rd, nil))
	}
}
