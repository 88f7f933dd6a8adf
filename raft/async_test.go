// Asynchronous storage writes: what must wait for the log writer's word, and for the
// right one.

package raft

import (
	"slices"
	"strings"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"github.com/google/go-cmp/cmp"
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

// diss. §10.2.1: an entry is handed out for applying when this node has it on disk, though
// a quorum of others may have committed it before.
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

// wantMessages fails the test unless a Ready has exactly these messages.
func wantMessages(t *testing.T, rd Ready, want ...string) {
	t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n")+"\n", lines(rd.Messages)); diff != "" {
		t.Error(diff)
	}
}

// Figure 2, "Updated on stable storage before responding to RPCs": votes and
// acknowledgements, to others and to ourselves, are never among the messages to peers.
// They go to the log writer, who delivers them when the disk is done, and last the word
// to us that it is.
func TestPromisesWaitForTheLogWriter(t *testing.T) {
	n := asyncNode(t, 1, 1)
	mustStep(t, n, appended(1, 1, 1, 0))
	wantMessages(t, n.Ready(),
		`1->AppendThread MsgStorageAppend Term:0 Log:0/0 Entries:[1/2 EntryNormal ""] Responses:[`,
		`  1->2 MsgAppResp Term:1 Log:0/2`,
		`  AppendThread->1 MsgStorageAppendResp Term:1 Log:1/2`,
		`]`)

	mustStep(t, n, pb.Message{Type: pb.MsgVote, From: 3, To: 1, Term: 2, Index: 9, LogTerm: 1})
	wantMessages(t, n.Ready(), // entry 2 is still on its way to the disk
		`1->AppendThread MsgStorageAppend Term:2 Log:0/0 Vote:3 Responses:[`,
		`  1->3 MsgVoteResp Term:2 Log:0/0`,
		`  AppendThread->1 MsgStorageAppendResp Term:2 Log:1/2`,
		`]`)

	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	wantMessages(t, n.Ready(),
		`1->2 MsgVote Term:3 Log:1/2`,
		`1->3 MsgVote Term:3 Log:1/2`,
		`1->AppendThread MsgStorageAppend Term:3 Log:0/0 Vote:1 Responses:[`,
		`  1->1 MsgVoteResp Term:3 Log:0/0`,
		`  AppendThread->1 MsgStorageAppendResp Term:3 Log:1/2`,
		`]`)
	mustStep(t, n, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 3})
	if n.raft.role != StateCandidate {
		t.Fatal("it leads before its own vote is durable")
	}
	mustStep(t, n, pb.Message{Type: pb.MsgVoteResp, From: 1, To: 1, Term: 3}) // the log writer delivers it
	if n.raft.role != StateLeader {
		t.Fatalf("%v with two votes of three", n.raft.role)
	}
	wantMessages(t, n.Ready(),
		`1->2 MsgApp Term:3 Log:1/2 Entries:[3/3 EntryNormal ""]`,
		`1->3 MsgApp Term:3 Log:1/2 Entries:[3/3 EntryNormal ""]`,
		`1->AppendThread MsgStorageAppend Term:0 Log:0/0 Entries:[3/3 EntryNormal ""] Responses:[`,
		`  1->1 MsgAppResp Term:3 Log:0/3`,
		`  AppendThread->1 MsgStorageAppendResp Term:3 Log:3/3`,
		`]`)
}

// A promise that came after the entries were handed out has nothing to store, and still
// waits for them behind them.
func TestPromiseWithoutEntriesWaitsBehindThem(t *testing.T) {
	n := asyncNode(t, 1, 1)
	mustStep(t, n, appended(1, 1, 1, 0))
	n.Ready()
	mustStep(t, n, appended(1, 1, 1, 0)) // the leader repeats itself
	wantMessages(t, n.Ready(),
		`1->AppendThread MsgStorageAppend Term:0 Log:0/0 Responses:[`,
		`  1->2 MsgAppResp Term:1 Log:0/2`,
		`  AppendThread->1 MsgStorageAppendResp Term:1 Log:1/2`,
		`]`)
	if n.HasReady() {
		t.Errorf("handed out twice: %s", DescribeReady(n.Ready(), nil))
	}
}

// The answer to a heartbeat promises nothing and leaves at once. A mere change of the
// commit index carries term and vote along, so that a hard state is always whole.
func TestHardStateIsWhole(t *testing.T) {
	c := testConfig(1, nil)
	c.AsyncStorageWrites = true
	n := nodeOf(t, 1, c, 1, 1, 1, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgVote, From: 2, To: 1, Term: 2, Index: 9, LogTerm: 1})
	n.Ready()
	mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 2, Commit: 2})
	wantMessages(t, n.Ready(),
		`1->2 MsgHeartbeatResp Term:2 Log:0/0`,
		`1->AppendThread MsgStorageAppend Term:2 Log:0/0 Commit:2 Vote:2`,
		`1->ApplyThread MsgStorageApply Term:0 Log:0/0 Entries:[1/2 EntryNormal ""] Responses:[`,
		`  ApplyThread->1 MsgStorageApplyResp Term:0 Log:0/0 Entries:[1/2 EntryNormal ""]`,
		`]`)
}

// §7: the word that a snapshot is stored counts in any term, as what is committed stays
// so; that the log behind it is stored counts only in the term it was said.
func TestStoredSnapshotCountsInAnyTerm(t *testing.T) {
	n := asyncNode(t, 1, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 1, Snapshot: ptr(snapshotAt(1, 9, 1, 2, 3))})
	mustStep(t, n, appended(1, 9, 1, 0))
	rd := n.Ready()
	if got := len(rd.Messages); got != 1 || rd.Messages[0].Snapshot == nil {
		t.Fatalf("%s", DescribeReady(rd, nil))
	}
	done := rd.Messages[0].Responses[len(rd.Messages[0].Responses)-1]
	if done.Type != pb.MsgStorageAppendResp || done.Snapshot.Metadata.Index != 9 || done.Index != 10 {
		t.Fatalf("%s", DescribeMessage(done, nil))
	}
	mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 3, To: 1, Term: 2})
	if n.raft.promotable() {
		t.Error("it may campaign before the snapshot is stored")
	}
	mustStep(t, n, done)
	if n.raft.log.applied != 9 || !n.raft.promotable() {
		t.Errorf("applied %d, may campaign: %t", n.raft.log.applied, n.raft.promotable())
	}
	if offset := n.raft.log.unstable.offset; offset != 10 {
		t.Errorf("entry 10 counts as stored by a word of an earlier term: the tail begins at %d", offset)
	}
}

// A snapshot that was handed out is not handed out again. A newer one that came meanwhile
// is, and the word that the older is stored says nothing of it.
func TestNewerSnapshotMeanwhile(t *testing.T) {
	n := asyncNode(t, 1, 1)
	for _, index := range []uint64{9, 20} {
		mustStep(t, n, pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 1, Snapshot: ptr(snapshotAt(1, index, 1, 2, 3))})
		if rd := n.Ready(); rd.Snapshot.Metadata.Index != index {
			t.Errorf("%s", DescribeReady(rd, nil))
		}
		if n.HasReady() {
			t.Errorf("twice: %s", DescribeReady(n.Ready(), nil))
		}
	}
	for _, index := range []uint64{9, 20, 20} { // the last is said twice
		mustStep(t, n, pb.Message{Type: pb.MsgStorageAppendResp, From: LocalAppendThread, To: 1, Term: 1, Snapshot: ptr(snapshotAt(1, index, 1))})
		if applied := n.raft.log.applied; applied != index || n.raft.promotable() != (index == 20) {
			t.Errorf("with %d stored: applied %d, may campaign: %t", index, applied, n.raft.promotable())
		}
	}
}

// What is being applied is limited in all, not message by message; and while the limit
// cut one short, nothing more is handed out.
func TestApplyingIsLimitedInAll(t *testing.T) {
	c := testConfig(1, nil)
	c.AsyncStorageWrites = true
	c.MaxCommittedSizePerReady = uint64(2 * (&pb.Entry{Term: 1, Index: 1}).Size())
	n := nodeOf(t, 1, c, 1, 0, 1, 1, 1, 1, 1)
	toApply := func(commit uint64) (messages []pb.Message) {
		mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: commit})
		for _, m := range n.Ready().Messages {
			if m.Type == pb.MsgStorageApply {
				messages = append(messages, m)
			}
		}
		return messages
	}
	counts := func(messages []pb.Message) (counts []int) {
		for _, m := range messages {
			counts = append(counts, len(m.Entries))
		}
		return counts
	}
	first := toApply(1)
	second := toApply(2) // all there is, and all that there is room for
	third := toApply(5)
	if !slices.Equal(counts(first), []int{1}) || !slices.Equal(counts(second), []int{1}) || third != nil {
		t.Fatalf("handed out %v, then %v, then %v; the limit is two entries", counts(first), counts(second), counts(third))
	}
	mustStep(t, n, first[0].Responses[0])
	if got := toApply(5); !slices.Equal(counts(got), []int{1}) {
		t.Errorf("handed out %v with one of two applied", counts(got))
	}
	mustStep(t, n, second[0].Responses[0])
	if n.raft.log.applied != 2 {
		t.Errorf("applied %d", n.raft.log.applied)
	}
	if got := toApply(5); !slices.Equal(counts(got), []int{1}) || got[0].Entries[0].Index != 4 {
		t.Errorf("handed out %v", counts(got))
	}
}

// A message that the limit cut short stops the next one, though there is room by bytes.
func TestApplyingWaitsWhenCutShort(t *testing.T) {
	c := testConfig(1, nil)
	c.AsyncStorageWrites = true
	size := uint64((&pb.Entry{Term: 1, Index: 1}).Size())
	c.MaxCommittedSizePerReady = 2*size + 1
	n := nodeOf(t, 1, c, 1, 0, 1, 1, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: 3})
	n.Ready() // two of three entries
	mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: 3})
	for _, m := range n.Ready().Messages {
		if m.Type == pb.MsgStorageApply {
			t.Errorf("%s", DescribeMessage(m, nil))
		}
	}
}

// What a new leader replaces is handed out anew, from where it differs.
func TestReplacedEntriesAreHandedOutAgain(t *testing.T) {
	n := asyncNode(t, 1, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: 1, LogTerm: 1, Entries: entriesFrom(2, 1, 1, 1)})
	n.Ready()
	mustStep(t, n, pb.Message{Type: pb.MsgApp, From: 3, To: 1, Term: 2, Index: 2, LogTerm: 1, Entries: entriesFrom(3, 2)})
	if diff := cmp.Diff(entriesFrom(3, 2), n.Ready().Entries); diff != "" {
		t.Error(diff)
	}
}

// The log writer and the state machine have their own words for Advance.
func TestNoAdvanceWithAsynchronousWrites(t *testing.T) {
	n := asyncNode(t, 1, 1)
	rd := n.Ready()
	got := mustPanic(t, "Advance", func() { n.Advance(rd) })
	if got != "Advance must not be called when using AsyncStorageWrites" {
		t.Errorf("%v", got)
	}
}

// What has nothing to store or to apply has nothing for the threads.
func TestNothingForTheThreads(t *testing.T) {
	n := asyncNode(t, 1, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	wantMessages(t, n.Ready(), `1->2 MsgHeartbeatResp Term:1 Log:0/0`)
}

// A snapshot may overtake the state machine's thread. Its word that earlier entries are
// applied, when it comes, takes nothing back.
func TestLateWordOfTheStateMachine(t *testing.T) {
	n := asyncNode(t, 1, 1)
	mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: 1})
	n.Ready() // has entry 1 to apply
	snapshot := ptr(snapshotAt(1, 9, 1, 2))
	mustStep(t, n, pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 1, Snapshot: snapshot})
	n.Ready()
	mustStep(t, n, pb.Message{Type: pb.MsgStorageAppendResp, From: LocalAppendThread, To: 1, Term: 1, Snapshot: snapshot})
	mustStep(t, n, pb.Message{Type: pb.MsgStorageApplyResp, From: LocalApplyThread, To: 1, Entries: entriesFrom(1, 1)})
	if applied := n.BasicStatus().Applied; applied != 9 {
		t.Errorf("applied %d, want 9", applied)
	}
}

// The responses in a message to the log writer are its own until it has delivered them: those
// of later Readys come elsewhere.
func TestResponsesStayAsTheyWere(t *testing.T) {
	n := asyncNode(t, 1, 1)
	mustStep(t, n, appended(1, 1, 1, 0))
	first := n.Ready().Messages[0]
	before := lines(first.Responses)
	mustStep(t, n, appended(1, 2, 1, 0))
	mustStep(t, n, appended(1, 3, 1, 0))
	n.Ready()
	if after := lines(first.Responses); after != before {
		t.Errorf("they were\n%sand are\n%s", before, after)
	}
}
