// Rules: a test for each sentence of Figure 2 and for those of the dissertation
// that are implemented, by their sections.

package raft

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// nodeWith returns node 1 of three in a term, with a log of these terms from index
// 1 on, of which commit are committed.
func nodeWith(t testing.TB, term, commit uint64, logTerms ...uint64) *member {
	t.Helper()
	return nodeOf(t, 1, testConfig(1, nil), term, commit, logTerms...)
}

func nodeOf(t testing.TB, id uint64, c *Config, term, commit uint64, logTerms ...uint64) *member {
	t.Helper()
	s := storageWith(1, 2, 3)
	for i, logTerm := range logTerms {
		if err := s.Append([]pb.Entry{{Term: logTerm, Index: uint64(i + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetHardState(pb.HardState{Term: term, Commit: commit}); err != nil {
		t.Fatal(err)
	}
	c.ID, c.Storage, c.Applied = id, s, commit
	rn, err := NewRawNode(c)
	if err != nil {
		t.Fatal(err)
	}
	return &member{RawNode: rn, storage: s}
}

// step steps a message and returns the messages that the next Readys have.
func (n *member) step(t testing.TB, m pb.Message) []pb.Message {
	t.Helper()
	if err := n.Step(m); err != nil {
		t.Fatalf("step %v: %v", m.Type, err)
	}
	return n.drain(t)
}

// drain does what the Readys say and returns their messages.
func (n *member) drain(t testing.TB) []pb.Message {
	t.Helper()
	g := &group{t: t}
	for n.HasReady() {
		g.processOne(n)
	}
	return g.sent
}

func one(t testing.TB, messages []pb.Message) pb.Message {
	t.Helper()
	if len(messages) != 1 {
		t.Fatalf("%d messages, want one: %v", len(messages), messages)
	}
	return messages[0]
}

func lines(messages []pb.Message) string {
	var b strings.Builder
	for _, m := range messages {
		b.WriteString(DescribeMessage(m, nil) + "\n")
	}
	return b.String()
}

// lead makes node 1 the leader of its next term.
func (n *member) lead(t testing.TB) {
	t.Helper()
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: n.raft.Term})
	if n.raft.role != StateLeader {
		t.Fatalf("node 1 is %v", n.raft.role)
	}
}

// Figure 2, all servers: "If RPC request or response contains term T >
// currentTerm: set currentTerm = T, convert to follower."
func TestHigherTermMakesAFollower(t *testing.T) {
	for _, role := range []StateType{StateFollower, StateCandidate, StateLeader} {
		for _, m := range []pb.Message{
			{Type: pb.MsgApp},
			{Type: pb.MsgHeartbeat},
			{Type: pb.MsgVote},
			{Type: pb.MsgAppResp},
			{Type: pb.MsgVoteResp, Reject: true},
			{Type: pb.MsgHeartbeatResp},
			{Type: pb.MsgPreVoteResp, Reject: true},
		} {
			t.Run(role.String()+" "+m.Type.String(), func(t *testing.T) {
				n := nodeWith(t, 1, 0, 1)
				switch role {
				case StateCandidate:
					if err := n.Campaign(); err != nil {
						t.Fatal(err)
					}
					n.drain(t)
				case StateLeader:
					n.lead(t)
				}
				m.From, m.To, m.Term = 2, 1, 7
				n.step(t, m)
				if n.raft.Term != 7 || n.raft.role != StateFollower {
					t.Errorf("%v in term %d", n.raft.role, n.raft.Term)
				}
				wantLead := None
				if m.Type == pb.MsgApp || m.Type == pb.MsgHeartbeat {
					wantLead = 2
				}
				if n.raft.lead != wantLead {
					t.Errorf("leader %d, want %d", n.raft.lead, wantLead)
				}
			})
		}
	}
}

// diss. §9.6: neither a request for a pre-vote nor its grant changes a term.
func TestPreVoteChangesNoTerm(t *testing.T) {
	n := nodeWith(t, 3, 0, 3)
	answer := one(t, n.step(t, pb.Message{Type: pb.MsgPreVote, From: 2, To: 1, Term: 9, Index: 1, LogTerm: 3}))
	if answer.Type != pb.MsgPreVoteResp || answer.Reject || answer.Term != 9 {
		t.Errorf("answered %v", DescribeMessage(answer, nil))
	}
	if n.raft.Term != 3 || n.raft.Vote != None {
		t.Errorf("term %d, vote %d", n.raft.Term, n.raft.Vote)
	}
	n.step(t, pb.Message{Type: pb.MsgPreVoteResp, From: 2, To: 1, Term: 9})
	if n.raft.Term != 3 {
		t.Errorf("a grant moved the term to %d", n.raft.Term)
	}
}

// Figure 2, RequestVote 1: "Reply false if term < currentTerm." Ours is silent for
// real votes, and answers pre-votes with the newer term.
func TestStaleVoteRequestsGetNothing(t *testing.T) {
	n := nodeWith(t, 5, 0, 1)
	if sent := n.step(t, pb.Message{Type: pb.MsgVote, From: 2, To: 1, Term: 4, Index: 9, LogTerm: 4}); len(sent) != 0 {
		t.Errorf("answered %s", lines(sent))
	}
	answer := one(t, n.step(t, pb.Message{Type: pb.MsgPreVote, From: 2, To: 1, Term: 4, Index: 9, LogTerm: 4}))
	if !answer.Reject || answer.Term != 5 {
		t.Errorf("answered %v", DescribeMessage(answer, nil))
	}
}

// §5.2: "Each server will vote for at most one candidate in a given term, on a
// first-come-first-served basis"; and it says so only when that is durable.
func TestOneVotePerTerm(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	request := func(from, term uint64) pb.Message {
		return pb.Message{Type: pb.MsgVote, From: from, To: 1, Term: term, Index: 1, LogTerm: 1}
	}
	if err := n.Step(request(2, 2)); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	if rd.Vote != 2 || rd.Term != 2 || !rd.MustSync || one(t, rd.Messages).Reject {
		t.Errorf("the grant is not in one Ready with the vote to store: %v", DescribeReady(rd, nil))
	}
	n.Advance(rd)
	if m := one(t, n.step(t, request(3, 2))); !m.Reject {
		t.Error("a second vote in term 2")
	}
	if m := one(t, n.step(t, request(2, 2))); m.Reject {
		t.Error("the same candidate asked again, its answer lost, and was refused")
	}
	if m := one(t, n.step(t, request(3, 3))); m.Reject {
		t.Error("no vote in term 3")
	}
}

// §5.1 with Figure 2: a node that restarts remembers its vote.
func TestVoteSurvivesARestart(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgVote, From: 2, To: 1, Term: 2, Index: 1, LogTerm: 1})
	rn, err := NewRawNode(testConfig(1, n.storage))
	if err != nil {
		t.Fatal(err)
	}
	again := &member{RawNode: rn, storage: n.storage}
	if m := one(t, again.step(t, pb.Message{Type: pb.MsgVote, From: 3, To: 1, Term: 2, Index: 1, LogTerm: 1})); !m.Reject {
		t.Error("voted twice in term 2")
	}
}

// §5.2: a node that knows the leader of a term does not vote in it.
func TestNoVoteAgainstAKnownLeader(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 2})
	if m := one(t, n.step(t, pb.Message{Type: pb.MsgVote, From: 3, To: 1, Term: 2, Index: 9, LogTerm: 2})); !m.Reject {
		t.Error("voted in a term that has a leader")
	}
}

// §5.4.1, diss. §3.6.1: a voter refuses a candidate whose log is behind its own.
func TestVoteNeedsUpToDateLog(t *testing.T) {
	for _, tt := range []struct {
		name      string
		candidate entryID
		granted   bool
	}{
		{"same log", entryID{term: 2, index: 3}, true},
		{"longer", entryID{term: 2, index: 4}, true},
		{"shorter", entryID{term: 2, index: 2}, false},
		{"shorter but later term", entryID{term: 3, index: 1}, true},
		{"longer but earlier term", entryID{term: 1, index: 9}, false},
	} {
		for _, request := range []pb.MessageType{pb.MsgVote, pb.MsgPreVote} {
			t.Run(tt.name+" "+request.String(), func(t *testing.T) {
				n := nodeWith(t, 3, 0, 1, 1, 2)
				m := one(t, n.step(t, pb.Message{Type: request, From: 2, To: 1, Term: 4, Index: tt.candidate.index, LogTerm: tt.candidate.term}))
				if m.Reject == tt.granted {
					t.Errorf("granted %t, want %t", !m.Reject, tt.granted)
				}
			})
		}
	}
}

// §6, diss. §4.2.3: with check-quorum, a node that hears from a leader ignores
// candidates, unless the leader itself asked for the election.
func TestStickyLeader(t *testing.T) {
	c := testConfig(1, nil)
	c.CheckQuorum = true
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	request := pb.Message{Type: pb.MsgVote, From: 3, To: 1, Term: 2, Index: 9, LogTerm: 1}
	if sent := n.step(t, request); len(sent) > 0 || n.raft.Term != 1 {
		t.Errorf("term %d, answered %s", n.raft.Term, lines(sent))
	}
	request.Context = []byte(campaignTransfer)
	if m := one(t, n.step(t, request)); m.Reject {
		t.Error("a transfer of leadership was refused")
	}

	n = nodeOf(t, 1, c, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	for range 10 {
		n.raft.electionElapsed++ // as ticks do, without campaigning
	}
	request.Context = nil
	if m := one(t, n.step(t, request)); m.Reject {
		t.Error("the lease did not end after an election timeout")
	}
}

// §5.2: "candidates restart their randomized election timeouts"; timeouts are drawn
// from [ElectionTick, 2*ElectionTick-1], all of it.
func TestElectionTimeoutIsRandom(t *testing.T) {
	drawn := map[int]int{}
	for range 1000 {
		n := nodeWith(t, 1, 0)
		n.raft.rand = globalRand{}
		n.raft.becomeFollower(2, None)
		ticks := 0
		for n.raft.role == StateFollower {
			n.Tick()
			ticks++
		}
		drawn[ticks]++
	}
	for ticks := range drawn {
		if ticks < 10 || ticks > 19 {
			t.Errorf("a timeout of %d ticks", ticks)
		}
	}
	if len(drawn) != 10 {
		t.Errorf("%d different timeouts, want 10: %v", len(drawn), drawn)
	}
}

// Figure 2, candidates: "Increment currentTerm, vote for self, send RequestVote RPCs
// to all other servers." The vote for itself counts once it is durable.
func TestCampaign(t *testing.T) {
	n := nodeWith(t, 4, 0, 2, 3)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	want := "1->2 MsgVote Term:5 Log:3/2\n1->3 MsgVote Term:5 Log:3/2\n"
	if diff := cmp.Diff(want, lines(rd.Messages)); diff != "" || rd.Term != 5 || rd.Vote != 1 || !rd.MustSync {
		t.Errorf("%s%v", diff, DescribeReady(rd, nil))
	}
	if len(n.raft.trk.Votes) != 0 {
		t.Error("its own vote counts before it is stored")
	}
	n.Advance(rd)
	if !n.raft.trk.Votes[1] {
		t.Error("its own vote does not count when it is stored")
	}
}

// §5.2: a candidate wins with votes from a majority, and its first answer is what
// counts of each voter.
func TestMajorityWins(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []bool // of 2, 3
		role    StateType
	}{
		{"one yes", []bool{true}, StateLeader},
		{"one no", []bool{false}, StateCandidate},
		{"no and yes", []bool{false, true}, StateLeader},
		{"no and no", []bool{false, false}, StateFollower},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := nodeWith(t, 1, 0, 1)
			if err := n.Campaign(); err != nil {
				t.Fatal(err)
			}
			n.drain(t)
			for i, yes := range tt.answers {
				n.step(t, pb.Message{Type: pb.MsgVoteResp, From: uint64(i + 2), To: 1, Term: 2, Reject: !yes})
			}
			if n.raft.role != tt.role || n.raft.Term != 2 {
				t.Errorf("%v in term %d, want %v", n.raft.role, n.raft.Term, tt.role)
			}
		})
	}
	n := nodeWith(t, 1, 0, 1)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 2, Reject: true})
	n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 2})
	if n.raft.role != StateCandidate {
		t.Errorf("a voter that changed its mind made it %v", n.raft.role)
	}
}

// A pre-vote's answer is no vote, and the other way round (diss. §9.6).
func TestVotesOfTheOtherKindDoNotCount(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgPreVoteResp, From: 2, To: 1, Term: 2})
	if n.raft.role != StateCandidate {
		t.Errorf("elected by pre-votes: %v", n.raft.role)
	}
}

// §5.4.2, §8: a new leader appends an empty entry of its term, and sends it at once,
// after what was its last entry.
func TestNewLeaderOpensItsTerm(t *testing.T) {
	n := nodeWith(t, 1, 1, 1, 1)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	sent := n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 3, To: 1, Term: 2})
	want := `1->2 MsgApp Term:2 Log:1/2 Commit:1 Entries:[2/3 EntryNormal ""]
1->3 MsgApp Term:2 Log:1/2 Commit:1 Entries:[2/3 EntryNormal ""]
`
	if diff := cmp.Diff(want, lines(sent)); diff != "" {
		t.Error(diff)
	}
	if data := n.storage.ents[2].Data; data != nil {
		t.Errorf("the entry has data: %q", data)
	}
}

// Figure 2, candidates: "If AppendEntries RPC received from new leader: convert to
// follower."
func TestCandidateGivesWayToALeader(t *testing.T) {
	for _, preVote := range []bool{false, true} {
		for _, mt := range []pb.MessageType{pb.MsgApp, pb.MsgHeartbeat} {
			c := testConfig(1, nil)
			c.PreVote = preVote
			n := nodeOf(t, 1, c, 1, 0, 1)
			if err := n.Campaign(); err != nil {
				t.Fatal(err)
			}
			n.drain(t)
			n.step(t, pb.Message{Type: mt, From: 3, To: 1, Term: n.raft.Term, Index: 1, LogTerm: 1})
			if n.raft.role != StateFollower || n.raft.lead != 3 {
				t.Errorf("pre-vote %t, %v: %v of %d", preVote, mt, n.raft.role, n.raft.lead)
			}
		}
	}
}

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

// Figure 2, leaders: "If there exists an N such that N > commitIndex, a majority of
// matchIndex[i] >= N, and log[N].term == currentTerm: set commitIndex = N" (§5.3,
// §5.4). The leader's own copy counts once it is durable.
func TestCommitRule(t *testing.T) {
	n := nodeWith(t, 1, 0, 1, 1)
	n.lead(t) // in term 2: entry 3 opens it
	ack := func(index uint64) {
		n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: index})
	}
	ack(2)
	if c := n.raft.log.committed; c != 0 {
		t.Errorf("entry 2 of term 1 was committed by counting: commit %d", c)
	}
	ack(3)
	if c := n.raft.log.committed; c != 3 {
		t.Errorf("entry 3 of the leader's term is on a majority, commit is %d", c)
	}

	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready() // entry 4, not stored here yet
	if err := n.Step(pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 4}); err != nil {
		t.Fatal(err)
	}
	if c := n.raft.log.committed; c != 3 {
		t.Errorf("the leader counted its own copy before it was stored: commit %d", c)
	}
	if err := n.storage.Append(rd.Entries); err != nil {
		t.Fatal(err)
	}
	n.Advance(rd)
	if c := n.raft.log.committed; c != 4 {
		t.Errorf("stored and on a majority, commit is %d", c)
	}
}

// diss. §4.2.1: learners count in no quorum.
func TestLearnersDoNotCount(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.elect(1)
	for _, id := range []uint64{4, 5} {
		if err := g.nodes[1].ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeAddLearnerNode, NodeID: id}); err != nil {
			t.Fatal(err)
		}
		g.settle()
	}
	n := g.nodes[1]
	committed := n.raft.log.committed
	g.drop = func(m pb.Message) bool { return true }
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	g.settle()
	last := n.raft.log.lastIndex()
	for _, id := range []uint64{4, 5} {
		n.step(t, pb.Message{Type: pb.MsgAppResp, From: id, To: 1, Term: 1, Index: last})
		n.step(t, pb.Message{Type: pb.MsgHeartbeatResp, From: id, To: 1, Term: 1})
	}
	if n.raft.log.committed != committed {
		t.Error("learners made a majority")
	}
	n.ReadIndex([]byte("r"))
	for _, id := range []uint64{4, 5} {
		n.step(t, pb.Message{Type: pb.MsgHeartbeatResp, From: id, To: 1, Term: 1, Context: []byte("r")})
	}
	if len(n.reads) > 0 {
		t.Error("learners confirmed a read")
	}
}

// diss. §4.2.1: a learner does not campaign, nor does one that was removed.
func TestOnlyVotersCampaign(t *testing.T) {
	for name, cs := range map[string]pb.ConfState{
		"learner":  {Voters: []uint64{2, 3}, Learners: []uint64{1}},
		"stranger": {Voters: []uint64{2, 3}},
	} {
		s := NewMemoryStorage()
		s.snapshot.Metadata.ConfState = cs
		rn, err := NewRawNode(testConfig(1, s))
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			rn.Tick()
		}
		if err := rn.Campaign(); err != nil || rn.raft.role != StateFollower || rn.raft.Term != 0 {
			t.Errorf("a %s became %v in term %d, %v", name, rn.raft.role, rn.raft.Term, err)
		}
	}
}

// §5.3: a follower that refused is probed from where the logs may agree; a late
// refusal is ignored.
func TestBackingUp(t *testing.T) {
	n := nodeWith(t, 5, 0, 1, 1, 4, 4, 4)
	n.lead(t) // term 6, entry 6; the probe to 2 is after entry 5
	refuse := func(index, hint, term uint64) []pb.Message {
		return n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 6, Index: index, Reject: true, RejectHint: hint, LogTerm: term})
	}
	// The follower's last entry at or below 5 with a term up to 4 is 4, of term 2: of
	// ours, entries 3 to 5 are of term 4, so 2 is the first that can agree.
	if m := one(t, refuse(5, 4, 2)); m.Index != 2 || m.LogTerm != 1 {
		t.Errorf("probed with %v", DescribeMessage(m, nil))
	}
	if sent := refuse(5, 4, 2); len(sent) > 0 {
		t.Errorf("a late refusal caused %s", lines(sent))
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 6, Index: 6})
	pr := n.raft.trk.Progress[2]
	if pr.State != tracker.StateReplicate || pr.Match != 6 {
		t.Errorf("after agreeing: %v", pr)
	}
}

// diss. §10.2.1: appends are sent ahead, as many as the window holds.
func TestPipelining(t *testing.T) {
	c := testConfig(1, nil)
	c.MaxInflightMsgs = 3
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.lead(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	var entries int
	for range 5 {
		if err := n.Propose([]byte("x")); err != nil {
			t.Fatal(err)
		}
		for _, m := range n.drain(t) {
			if m.To == 2 && m.Type == pb.MsgApp {
				entries += len(m.Entries)
			}
		}
	}
	if entries != 3 {
		t.Errorf("%d entries sent without an answer, want 3", entries)
	}
	sent := n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 4})
	entries = 0
	for _, m := range sent {
		if m.To == 2 {
			entries += len(m.Entries)
		}
	}
	if entries != 2 {
		t.Errorf("%d entries sent when there was room again, want 2", entries)
	}
}

// §5.2: heartbeats commit only what the follower is known to hold.
func TestHeartbeatCommit(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.lead(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	n.Tick()
	commits := map[uint64]uint64{}
	for _, m := range n.drain(t) {
		commits[m.To] = m.Commit
	}
	if commits[2] != 2 || commits[3] != 0 {
		t.Errorf("heartbeats commit %v, want 2 for node 2 and 0 for node 3", commits)
	}
}

// diss. §6.2: with check-quorum a leader that hears from no majority for an
// election timeout steps down; without, it stays.
func TestCheckQuorum(t *testing.T) {
	for _, check := range []bool{true, false} {
		c := testConfig(1, nil)
		c.CheckQuorum = check
		n := nodeOf(t, 1, c, 1, 0, 1)
		n.lead(t)
		n.step(t, pb.Message{Type: pb.MsgHeartbeatResp, From: 2, To: 1, Term: 2})
		for range 10 {
			n.Tick()
		}
		if n.raft.role != StateLeader {
			t.Errorf("check-quorum %t: stepped down, though it had heard from a majority", check)
		}
		for range 10 {
			n.Tick()
		}
		want := StateLeader
		if check {
			want = StateFollower
		}
		if n.raft.role != want || n.raft.Term != 2 {
			t.Errorf("check-quorum %t: %v in term %d", check, n.raft.role, n.raft.Term)
		}
	}
}

// §6, diss. §4.1: one change of membership at a time; one that comes too early is
// an empty entry in its place.
func TestOneChangeAtATime(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.lead(t)
	change := func(id uint64) pb.EntryType {
		if err := n.ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: id}); err != nil {
			t.Fatal(err)
		}
		n.drain(t)
		return n.storage.ents[len(n.storage.ents)-1].Type
	}
	if got := change(4); got != pb.EntryNormal {
		t.Error("a new leader may have a change in its log that is not applied, and took another")
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: n.raft.log.lastIndex()})
	if got := change(4); got != pb.EntryConfChange {
		t.Errorf("with nothing pending: %v", got)
	}
	if got := change(5); got != pb.EntryNormal {
		t.Errorf("with a change pending: %v", got)
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: n.raft.log.lastIndex()})
	if got := change(5); got != pb.EntryConfChange {
		t.Errorf("with the change applied: %v", got)
	}
}

// diss. §4.1: who has a change of membership to apply does not campaign.
func TestNoCampaignWithAnUnappliedChange(t *testing.T) {
	s := storageWith(1, 2, 3)
	data, err := (&pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 3}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append([]pb.Entry{{Term: 1, Index: 1, Type: pb.EntryConfChange, Data: data}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetHardState(pb.HardState{Term: 1, Commit: 1}); err != nil {
		t.Fatal(err)
	}
	rn, err := NewRawNode(testConfig(1, s))
	if err != nil {
		t.Fatal(err)
	}
	if err := rn.Campaign(); err != nil || rn.raft.role != StateFollower {
		t.Errorf("%v, role %v", err, rn.raft.role)
	}
}

// §6: in a joint configuration agreement needs both majorities.
func TestJointQuorums(t *testing.T) {
	s := NewMemoryStorage()
	s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{1, 2, 3}, VotersOutgoing: []uint64{1, 4, 5}}
	rn, err := NewRawNode(testConfig(1, s))
	if err != nil {
		t.Fatal(err)
	}
	n := &member{RawNode: rn, storage: s}
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	vote := func(from uint64) {
		n.step(t, pb.Message{Type: pb.MsgVoteResp, From: from, To: 1, Term: 1})
	}
	vote(2)
	vote(3)
	if n.raft.role == StateLeader {
		t.Fatal("elected by one half")
	}
	vote(4)
	if n.raft.role != StateLeader {
		t.Fatal("not elected by both")
	}
	ack := func(from uint64) {
		n.step(t, pb.Message{Type: pb.MsgAppResp, From: from, To: 1, Term: 1, Index: 1})
	}
	ack(4)
	ack(5)
	if n.raft.log.committed != 0 {
		t.Error("committed by one half")
	}
	ack(3)
	if n.raft.log.committed != 1 {
		t.Error("not committed by both")
	}
}

// diss. §3.10: a leader that hands over takes no proposals, sends TimeoutNow when
// the target's log is complete, and gives up after an election timeout.
func TestTransfer(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.lead(t)
	n.TransferLeader(2)
	n.drain(t)
	if err := n.Propose([]byte("x")); !errors.Is(err, ErrProposalDropped) {
		t.Errorf("a proposal during the transfer: %v", err)
	}
	sent := n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	if !slices.ContainsFunc(sent, func(m pb.Message) bool { return m.Type == pb.MsgTimeoutNow && m.To == 2 }) {
		t.Errorf("no MsgTimeoutNow: %s", lines(sent))
	}
	for range 10 {
		n.Tick()
	}
	if err := n.Propose([]byte("x")); err != nil {
		t.Errorf("after the transfer was given up: %v", err)
	}
}

// §8, diss. §6.4: a read waits until the leader has committed in its term, then for
// a quorum to answer heartbeats that were sent for it.
func TestReadIndex(t *testing.T) {
	n := nodeWith(t, 1, 1, 1)
	n.lead(t)
	n.ReadIndex([]byte("early"))
	if sent := n.drain(t); len(sent) > 0 {
		t.Errorf("a read before the first commit of the term: %s", lines(sent))
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	if len(n.reads) > 0 {
		t.Error("answered without asking")
	}
	n.step(t, pb.Message{Type: pb.MsgHeartbeatResp, From: 2, To: 1, Term: 2, Context: []byte("early")})
	if diff := cmp.Diff([]ReadState{{Index: 2, RequestCtx: []byte("early")}}, n.reads); diff != "" {
		t.Error(diff)
	}
}

// A context that is used again is a new read: answers to heartbeats of its first
// use, late or doubled, do not confirm it.
func TestReadContextUsedAgain(t *testing.T) {
	n := nodeWith(t, 1, 1, 1)
	n.lead(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	old := pb.Message{Type: pb.MsgHeartbeatResp, From: 2, To: 1, Term: 2, Context: []byte("r")}

	n.ReadIndex([]byte("r"))
	n.drain(t)
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 3})
	n.ReadIndex([]byte("r"))
	sent := n.drain(t)
	n.step(t, old)
	if len(n.reads) > 0 {
		t.Fatalf("an answer to the first round confirmed %v", n.reads)
	}
	fresh := old
	for _, m := range sent {
		if m.Type == pb.MsgHeartbeat && m.To == 2 {
			fresh.Context = m.Context
		}
	}
	n.step(t, fresh)
	if diff := cmp.Diff([]ReadState{{Index: 3, RequestCtx: []byte("r")}}, n.reads); diff != "" {
		t.Error(diff)
	}

	// The same once it has been answered.
	n.reads = nil
	n.ReadIndex([]byte("r"))
	n.drain(t)
	n.step(t, old)
	n.step(t, fresh)
	if len(n.reads) > 0 {
		t.Errorf("answers to former rounds confirmed %v", n.reads)
	}
}

// diss. §6.4: a single voter postpones reads, too; a removed leader asks the voter
// that is left.
func TestReadOfASingleVoter(t *testing.T) {
	s := storageWith(1)
	rn, err := NewRawNode(testConfig(1, s))
	if err != nil {
		t.Fatal(err)
	}
	n := &member{RawNode: rn, storage: s}
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	if err := s.SetHardState(rd.HardState); err != nil {
		t.Fatal(err)
	}
	n.Advance(rd) // it leads now, and its first entry is not stored
	n.ReadIndex([]byte("r"))
	if len(n.raft.readStates) > 0 {
		t.Error("answered before the first commit of the term")
	}
	n.drain(t)
	if len(n.reads) != 1 || n.reads[0].Index != 1 {
		t.Errorf("reads %v, want one at 1", n.reads)
	}

	g := newGroup(t, 2, nil)
	g.elect(1)
	if err := g.nodes[1].ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1}); err != nil {
		t.Fatal(err)
	}
	g.settle()
	g.nodes[1].ReadIndex([]byte("r"))
	g.drop = func(pb.Message) bool { return true }
	g.settle()
	if len(g.nodes[1].reads) > 0 {
		t.Error("a removed leader answered alone")
	}
}

// Proposals beyond the limit are dropped; one is always taken, however large; what
// was applied makes room.
func TestUncommittedLimit(t *testing.T) {
	c := testConfig(1, nil)
	c.MaxUncommittedEntriesSize = 10
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.lead(t)
	if err := n.Propose(make([]byte, 100)); err != nil {
		t.Errorf("the first proposal: %v", err)
	}
	if err := n.Propose([]byte("x")); !errors.Is(err, ErrProposalDropped) {
		t.Errorf("beyond the limit: %v", err)
	}
	if err := n.Propose(nil); err != nil {
		t.Errorf("nothing fits always: %v", err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: n.raft.log.lastIndex()})
	if err := n.Propose([]byte("x")); err != nil {
		t.Errorf("after all was applied: %v", err)
	}
}

// §7, Figure 13: a snapshot replaces the log, unless the log holds all of it; one
// that is not meant for this node, or older than its commit index, is ignored.
func TestSnapshot(t *testing.T) {
	snap := func(term, index uint64, voters ...uint64) *pb.Snapshot {
		return &pb.Snapshot{Metadata: pb.SnapshotMetadata{Term: term, Index: index, ConfState: pb.ConfState{Voters: voters}}}
	}
	for _, tt := range []struct {
		name     string
		snapshot *pb.Snapshot
		answer   uint64
		taken    bool
	}{
		{"newer", snap(2, 9, 1, 2), 9, true},
		{"conflicting with our log", snap(2, 3, 1, 2), 3, true},
		{"in our log", snap(1, 3, 1, 2), 3, false},
		{"committed already", snap(1, 1, 1, 2), 1, false},
		{"older than what is committed, and another's", snap(2, 1, 1, 2), 1, false},
		{"not for us", snap(2, 9, 2, 3), 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := nodeWith(t, 2, 1, 1, 1, 1, 1)
			if err := n.Step(pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 2, Snapshot: tt.snapshot}); err != nil {
				t.Fatal(err)
			}
			rd := n.Ready()
			if taken := !IsEmptySnap(rd.Snapshot); taken != tt.taken {
				t.Errorf("taken %t, want %t", taken, tt.taken)
			}
			if m := one(t, rd.Messages); m.Type != pb.MsgAppResp || m.Index != tt.answer {
				t.Errorf("answered %v, want index %d", DescribeMessage(m, nil), tt.answer)
			}
			if tt.taken && n.raft.promotable() {
				t.Error("may campaign before the snapshot is stored")
			}
		})
	}
}

// A leader that is removed steps down if it was told to, or else stays and counts
// itself no more (§6).
func TestRemovedLeader(t *testing.T) {
	for _, stepDown := range []bool{true, false} {
		g := newGroup(t, 3, func(c *Config) { c.StepDownOnRemoval = stepDown })
		g.elect(1)
		if err := g.nodes[1].ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1}); err != nil {
			t.Fatal(err)
		}
		g.settle()
		want := StateLeader
		if stepDown {
			want = StateFollower
		}
		if role := g.nodes[1].raft.role; role != want {
			t.Errorf("step down %t: %v", stepDown, role)
		}
		if err := g.nodes[1].Propose([]byte("x")); !errors.Is(err, ErrProposalDropped) {
			t.Errorf("step down %t: a proposal: %v", stepDown, err)
		}
	}
}

// §7, §6: a snapshot does not overtake a change of membership that the user was
// given to apply: it would be applied to a configuration that has it already.
func TestSnapshotWaitsForAChangeBeingApplied(t *testing.T) {
	n := nodeWith(t, 1, 0)
	data, err := (&pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	if err := n.Step(pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 1, Commit: 1, Entries: []pb.Entry{{Term: 1, Index: 1, Type: pb.EntryConfChange, Data: data}}}); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready() // adds node 4, which the snapshot below has removed again
	if len(rd.CommittedEntries) != 1 {
		t.Fatalf("%v", DescribeReady(rd, nil))
	}
	snapshot := pb.Message{Type: pb.MsgSnap, From: 2, To: 1, Term: 1, Snapshot: &pb.Snapshot{
		Metadata: pb.SnapshotMetadata{Term: 1, Index: 9, ConfState: pb.ConfState{Voters: []uint64{1, 2, 3}}},
	}}
	if err := n.Step(snapshot); err != nil {
		t.Fatal(err)
	}
	if err := n.storage.Append(rd.Entries); err != nil {
		t.Fatal(err)
	}
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4})
	n.Advance(rd)
	n.step(t, snapshot)
	if got := n.raft.trk.ConfState().Voters; !slices.Equal(got, []uint64{1, 2, 3}) || n.raft.log.applied != 9 {
		t.Errorf("voters %v, applied %d; want those of the snapshot", got, n.raft.log.applied)
	}
}
