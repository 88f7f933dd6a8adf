// The term rule: whoever is out of date gives way, before anything else.
//
//	§5.1, Figure 2 "Rules for Servers"

package raft

import (
	"errors"
	"math"
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// Figure 2, all servers: "If RPC request or response contains term T >
// currentTerm: set currentTerm = T, convert to follower."
func TestHigherTermMakesAFollower(t *testing.T) {
	for _, role := range []StateType{StateFollower, StateCandidate, StateLeader} {
		for _, m := range []pb.Message{
			{Type: pb.MsgApp},
			{Type: pb.MsgHeartbeat},
			{Type: pb.MsgSnap, Snapshot: ptr(snapshotAt(1, 1, 1))},
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
				if m.Type == pb.MsgApp || m.Type == pb.MsgHeartbeat || m.Type == pb.MsgSnap {
					wantLead = 2
				}
				if n.raft.lead != wantLead {
					t.Errorf("leader %d, want %d", n.raft.lead, wantLead)
				}
			})
		}
	}
}

// §5.1, diss. §6.2: an answer of a higher term deposes a leader, its lease or not: whoever
// is in that term cannot come back otherwise.
func TestAnswersOfAHigherTermDeposeALeader(t *testing.T) {
	for _, m := range []pb.Message{
		{Type: pb.MsgAppResp}, {Type: pb.MsgHeartbeatResp}, {Type: pb.MsgVoteResp, Reject: true}, {Type: pb.MsgPreVoteResp, Reject: true},
	} {
		n := leaderOf(t, func(c *Config) { c.CheckQuorum, c.PreVote = true, true })
		m.From, m.To, m.Term = 3, 1, 7
		if n.step(t, m); n.raft.role != StateFollower || n.raft.Term != 7 || n.raft.lead != None {
			t.Errorf("%v: %v of %d in term %d", m.Type, n.raft.role, n.raft.lead, n.raft.Term)
		}
	}
}

// Figure 2, candidates: "If AppendEntries RPC received from new leader: convert to
// follower." And it does what the leader says.
func TestCandidateGivesWayToALeader(t *testing.T) {
	for _, preVote := range []bool{false, true} {
		for _, mt := range []pb.MessageType{pb.MsgApp, pb.MsgHeartbeat, pb.MsgSnap} {
			c := testConfig(1, nil)
			c.PreVote = preVote
			n := nodeOf(t, 1, c, 1, 0, 1)
			if err := n.Campaign(); err != nil {
				t.Fatal(err)
			}
			n.drain(t)
			answer := one(t, n.step(t, pb.Message{Type: mt, From: 3, To: 1, Term: n.raft.Term, Index: 1, LogTerm: 1}))
			if n.raft.role != StateFollower || n.raft.lead != 3 || answer.To != 3 || answer.Reject {
				t.Errorf("pre-vote %t, %v: %v of %d, %s", preVote, mt, n.raft.role, n.raft.lead, DescribeMessage(answer, nil))
			}
		}
	}
}

// What only the node or its user may say is refused when a peer says it, and so is an
// answer of a node that is no member. The node's own threads may say both.
func TestWhatAPeerMayNotSay(t *testing.T) {
	local := []pb.MessageType{
		pb.MsgHup, pb.MsgBeat, pb.MsgUnreachable, pb.MsgSnapStatus, pb.MsgCheckQuorum,
		pb.MsgStorageAppend, pb.MsgStorageAppendResp, pb.MsgStorageApply, pb.MsgStorageApplyResp,
	}
	responses := []pb.MessageType{
		pb.MsgAppResp, pb.MsgVoteResp, pb.MsgHeartbeatResp, pb.MsgUnreachable, pb.MsgReadIndexResp,
		pb.MsgPreVoteResp, pb.MsgStorageAppendResp, pb.MsgStorageApplyResp,
	}
	for mt := pb.MsgHup; mt <= pb.MsgForgetLeader; mt++ {
		isLocal, isResponse := slices.Contains(local, mt), slices.Contains(responses, mt)
		if IsLocalMsg(mt) != isLocal || IsResponseMsg(mt) != isResponse {
			t.Errorf("%v: local %t, a response %t", mt, IsLocalMsg(mt), IsResponseMsg(mt))
		}
		var fromMember, fromStranger error
		if isLocal {
			fromMember, fromStranger = ErrStepLocalMsg, ErrStepLocalMsg
		} else if isResponse {
			fromStranger = ErrStepPeerNotFound
		}
		for _, tt := range []struct {
			from uint64
			want error
		}{{2, fromMember}, {9, fromStranger}, {LocalAppendThread, nil}, {LocalApplyThread, nil}} {
			n := nodeWith(t, 1, 0, 1)
			mustStep(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 3, To: 1, Term: 1}) // who proposals go to
			m := pb.Message{Type: mt, From: tt.from, To: 1, Entries: []pb.Entry{{}}}
			if err := n.Step(m); !errors.Is(err, tt.want) {
				t.Errorf("%v from %x: %v, want %v", mt, tt.from, err, tt.want)
			}
		}
	}
	if IsLocalMsgTarget(1) || IsLocalMsgTarget(None) || !IsLocalMsgTarget(LocalAppendThread) || !IsLocalMsgTarget(LocalApplyThread) {
		t.Error("who the node's own threads are")
	}
	if LocalAppendThread != math.MaxUint64 || LocalApplyThread != math.MaxUint64-1 || None != 0 {
		t.Error("the constants have moved")
	}
}

// §5.1: "If a server receives a request with a stale term number, it rejects the
// request." Ours says nothing but where the sender could be stuck without: a leader
// that check-quorum or pre-vote keep us from deposing, and whoever only polls.
func TestLowerTermIsIgnored(t *testing.T) {
	for _, options := range []struct{ checkQuorum, preVote bool }{{false, false}, {true, false}, {false, true}} {
		for mt, want := range map[pb.MessageType]string{
			pb.MsgApp:           "1->2 MsgAppResp Term:5 Log:0/0\n",
			pb.MsgHeartbeat:     "1->2 MsgAppResp Term:5 Log:0/0\n",
			pb.MsgPreVote:       "1->2 MsgPreVoteResp Term:5 Log:0/0 Rejected (Hint: 0)\n",
			pb.MsgSnap:          "",
			pb.MsgVote:          "",
			pb.MsgAppResp:       "",
			pb.MsgVoteResp:      "",
			pb.MsgPreVoteResp:   "",
			pb.MsgHeartbeatResp: "",
			pb.MsgTimeoutNow:    "",
			pb.MsgReadIndexResp: "",
		} {
			c := testConfig(1, nil)
			c.CheckQuorum, c.PreVote = options.checkQuorum, options.preVote
			if (mt == pb.MsgApp || mt == pb.MsgHeartbeat) && !c.CheckQuorum && !c.PreVote {
				want = ""
			}
			n := nodeOf(t, 1, c, 5, 1, 1, 1)
			m := pb.Message{Type: mt, From: 2, To: 1, Term: 4, Index: 2, LogTerm: 1, Commit: 2, Snapshot: ptr(snapshotAt(4, 9, 1, 2))}
			if mt == pb.MsgReadIndexResp {
				m.Entries = []pb.Entry{{Data: []byte("r")}}
			}
			if got := lines(n.step(t, m)); got != want {
				t.Errorf("%+v, %v: %q, want %q", options, mt, got, want)
			}
			if n.raft.Term != 5 || n.raft.lead != None || n.raft.role != StateFollower || n.raft.log.committed != 1 || len(n.reads) > 0 {
				t.Errorf("%+v, %v changed the node: %+v", options, mt, n.BasicStatus())
			}
		}
	}
}

// Figure 2: a message carries its sender's term, but what is forwarded is for whichever
// term the leader is in, and a vote is about the term of its election.
func TestTermsOfMessages(t *testing.T) {
	g := newGroup(t, 3, func(c *Config) { c.PreVote = true })
	var seen []pb.Message
	g.drop = func(m pb.Message) bool {
		seen = append(seen, m)
		return false
	}
	g.elect(1)
	g.elect(2)
	if err := g.nodes[3].Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	g.nodes[3].ReadIndex([]byte("r"))
	g.settle()
	count := map[pb.MessageType]int{}
	for _, m := range seen {
		count[m.Type]++
		if m.From == None || m.To == None {
			t.Errorf("nobody's: %s", DescribeMessage(m, nil))
		}
		if forwarded := m.Type == pb.MsgProp || m.Type == pb.MsgReadIndex; forwarded != (m.Term == 0) {
			t.Errorf("%s", DescribeMessage(m, nil))
		}
	}
	for _, mt := range []pb.MessageType{pb.MsgProp, pb.MsgReadIndex, pb.MsgPreVote, pb.MsgVoteResp, pb.MsgApp, pb.MsgAppResp, pb.MsgHeartbeat} {
		if count[mt] == 0 {
			t.Errorf("no %v was sent", mt)
		}
	}
}

// A request that a peer passed on in its own term is passed on again without one.
func TestForwardedRequestsHaveNoTerm(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	for _, mt := range []pb.MessageType{pb.MsgProp, pb.MsgReadIndex} {
		m := one(t, n.step(t, pb.Message{Type: mt, From: 3, To: 1, Term: 1, Entries: []pb.Entry{{Data: []byte("x")}}}))
		if m.To != 2 || m.From != 3 || m.Term != 0 {
			t.Errorf("%s", DescribeMessage(m, nil))
		}
	}
}

// Figure 2, "Volatile state": what a role had is gone with it: leader, counters,
// votes, records of peers, a transfer, reads. The vote is kept for the term.
func TestEveryRoleStartsAfresh(t *testing.T) {
	n := leaderOf(t, func(c *Config) { c.HeartbeatTick = 5 })
	n.TransferLeader(3)
	n.ReadIndex([]byte("r"))
	n.Tick()
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 3, To: 1, Term: 3})
	if r := n.raft; r.Vote != None || r.lead != None || r.electionElapsed != 0 || r.heartbeatElapsed != 0 || r.leadTransferee != None ||
		len(r.reads.rounds) != 0 || r.pendingConfIndex != 0 || r.uncommittedSize != 0 || len(r.trk.Votes) != 0 {
		t.Errorf("%+v", r)
	}
	for id, pr := range n.raft.trk.Progress {
		match := uint64(0)
		if id == 1 {
			match = 2
		}
		if pr.Match != match || pr.Next != 3 || pr.State != tracker.StateProbe || pr.RecentActive || pr.Inflights.Count() != 0 {
			t.Errorf("record of %d: %v", id, pr)
		}
	}

	n = nodeWith(t, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgVote, From: 2, To: 1, Term: 2, Index: 1, LogTerm: 1})
	n.raft.becomeFollower(2, None)
	if n.raft.Vote != 2 {
		t.Error("a change of role within the term has lost the vote")
	}

	// A poll disturbs nothing but what it needs (diss. §9.6).
	n = nodeWith(t, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgVote, From: 2, To: 1, Term: 2, Index: 1, LogTerm: 1})
	n.Tick()
	timeout := n.raft.randomizedElection
	n.raft.becomePreCandidate()
	if r := n.raft; r.Vote != 2 || r.Term != 2 || r.electionElapsed != 1 || r.randomizedElection != timeout || r.lead != None {
		t.Errorf("term %d, vote %d, elapsed %d, leader %d", r.Term, r.Vote, r.electionElapsed, r.lead)
	}
}

// Figure 4: nobody leads without having campaigned, and no leader campaigns.
func TestImpossibleMovesPanic(t *testing.T) {
	mustPanic(t, "from follower to leader", func() { nodeWith(t, 1, 0, 1).raft.becomeLeader() })
	mustPanic(t, "from leader to candidate", func() { leaderOf(t, nil).raft.becomeCandidate() })
	mustPanic(t, "from leader to pre-candidate", func() { leaderOf(t, nil).raft.becomePreCandidate() })
}

// §5.2: a follower waits anew whenever its leader is heard of.
func TestLeaderIsHeardOf(t *testing.T) {
	for _, m := range []pb.Message{
		{Type: pb.MsgApp, Index: 1, LogTerm: 1},
		{Type: pb.MsgHeartbeat},
		{Type: pb.MsgSnap, Snapshot: ptr(snapshotAt(1, 1, 1))},
	} {
		n := nodeWith(t, 1, 0, 1)
		for range 9 {
			n.Tick()
		}
		m.From, m.To, m.Term = 3, 1, 1
		n.step(t, m)
		if n.raft.electionElapsed != 0 || n.raft.lead != 3 {
			t.Errorf("%v: %d ticks elapsed, leader %d", m.Type, n.raft.electionElapsed, n.raft.lead)
		}
	}
}

// A follower that forgets its leader may vote at once, lease or not; the leader's next
// word brings it back.
func TestForgetLeader(t *testing.T) {
	request := pb.Message{Type: pb.MsgPreVote, From: 3, To: 1, Term: 2, Index: 9, LogTerm: 1}
	c := testConfig(1, nil)
	c.CheckQuorum, c.PreVote = true, true
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	n.Tick()
	if sent := n.step(t, request); len(sent) > 0 {
		t.Errorf("with a leader: %s", lines(sent))
	}
	if err := n.ForgetLeader(); err != nil {
		t.Fatal(err)
	}
	if r := n.raft; r.lead != None || r.role != StateFollower || r.Term != 1 || r.electionElapsed != 1 {
		t.Errorf("leader %d, %v in term %d, %d ticks elapsed", r.lead, r.role, r.Term, r.electionElapsed)
	}
	if m := one(t, n.step(t, request)); m.Reject {
		t.Error("without a leader it refuses a poll")
	}
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	if n.raft.lead != 2 {
		t.Errorf("leader %d after its next heartbeat", n.raft.lead)
	}

	c.ReadOnlyOption = ReadOnlyLeaseBased // the lease is what reads rely on
	n = nodeOf(t, 1, c, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	if err := n.ForgetLeader(); err != nil || n.raft.lead != 2 {
		t.Errorf("with leases: leader %d, %v", n.raft.lead, err)
	}

	for _, want := range []StateType{StateCandidate, StatePreCandidate} {
		c := testConfig(1, nil)
		c.PreVote = want == StatePreCandidate
		n = nodeOf(t, 1, c, 1, 0, 1)
		if err := n.Campaign(); err != nil {
			t.Fatal(err)
		}
		if err := n.ForgetLeader(); err != nil || n.raft.role != want {
			t.Errorf("%v: %v, %v", want, n.raft.role, err)
		}
	}
	n = nodeWith(t, 1, 0, 1)
	n.lead(t)
	if err := n.ForgetLeader(); err != nil || n.raft.role != StateLeader || n.raft.lead != 1 {
		t.Errorf("a leader: %v of %d, %v", n.raft.role, n.raft.lead, err)
	}
}
