// The clock: what ticks do.
//
//	§5.2, §5.6 · diss. §6.2 (check-quorum)

package raft

import (
	"errors"
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

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

// §5.2: a node that hears nothing campaigns when its timeout is over, and begins to
// count anew. One that may not campaign keeps counting, and does not.
func TestTimeoutCampaigns(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	for tick := 1; n.raft.role == StateFollower; tick++ {
		timeout := n.raft.randomizedElection
		n.Tick()
		if campaigned := n.raft.role == StateCandidate; campaigned != (tick == timeout) {
			t.Fatalf("after %d of %d ticks it is %v", tick, timeout, n.raft.role)
		}
	}
	if n.raft.electionElapsed != 0 {
		t.Errorf("%d ticks elapsed", n.raft.electionElapsed)
	}
	for range 20 {
		n.Tick() // §5.2: if the election is not decided, the next one begins
	}
	if n.raft.role != StateCandidate || n.raft.Term < 3 {
		t.Errorf("%v in term %d", n.raft.role, n.raft.Term)
	}

	s := NewMemoryStorage()
	s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{2}, Learners: []uint64{1}}
	learner := restart(t, s, nil)
	for range 30 {
		learner.Tick()
	}
	if learner.raft.role != StateFollower || learner.raft.electionElapsed != 30 {
		t.Errorf("a learner is %v after %d ticks of 30", learner.raft.role, learner.raft.electionElapsed)
	}
	learner.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 1})
	if learner.Tick(); learner.raft.role != StateCandidate {
		t.Errorf("promoted, its timeout over: %v", learner.raft.role)
	}
}

// A node that is put to sleep counts time and does nothing; it campaigns with the first
// real tick after its timeout.
func TestQuiescedTicksOnlyCount(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	for range 100 {
		n.TickQuiesced()
	}
	if n.raft.electionElapsed != 100 || n.raft.role != StateFollower || n.HasReady() {
		t.Errorf("%v after %d ticks", n.raft.role, n.raft.electionElapsed)
	}
	n.Tick()
	if n.raft.role != StateCandidate {
		t.Errorf("%v", n.raft.role)
	}
}

// §5.2: a leader sends heartbeats at regular intervals, of HeartbeatTick ticks.
func TestHeartbeatInterval(t *testing.T) {
	c := testConfig(1, nil)
	c.HeartbeatTick = 3
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.lead(t)
	for tick := 1; tick <= 30; tick++ {
		n.Tick()
		var to []uint64
		for _, m := range n.drain(t) {
			if m.Type == pb.MsgHeartbeat {
				to = append(to, m.To)
			}
		}
		if beat := slices.Equal(to, []uint64{2, 3}); beat != (tick%3 == 0) {
			t.Errorf("tick %d: heartbeats to %v", tick, to)
		}
	}
}

// diss. §6.2: a leader that steps down does so before the heartbeat of that tick, and
// sends none; it stays in its term and knows no leader.
func TestSteppingDownSendsNothing(t *testing.T) {
	c := testConfig(1, nil)
	c.CheckQuorum, c.ElectionTick = true, 4
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.lead(t)
	for range 3 {
		n.Tick()
	}
	n.drain(t)
	n.Tick()
	if sent := n.drain(t); len(sent) > 0 || n.raft.role != StateFollower || n.raft.Term != 2 || n.raft.lead != None {
		t.Errorf("%v of %d in term %d, %s", n.raft.role, n.raft.lead, n.raft.Term, lines(sent))
	}
}

// diss. §6.2: any answer shows that a peer is there; each counts for one election
// timeout. A new member counts as heard of, a learner not at all.
func TestWhoIsHeardOf(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(*member)
		stays  bool
	}{
		"nobody":             {func(*member) {}, false},
		"a heartbeat answer": {func(n *member) { n.step(t, beat(2, 2, "")) }, true},
		"an acknowledgement": {func(n *member) { n.step(t, acked(2, 2, 2)) }, true},
		"a refusal":          {func(n *member) { n.step(t, refusal(2, 2, 1, 0, 0)) }, true},
		"a learner":          {func(n *member) { n.step(t, beat(4, 2, "")) }, false},
		"a vote":             {func(n *member) { n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 3, To: 1, Term: 2}) }, false},
	} {
		s := NewMemoryStorage()
		s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4, 5, 6}}
		if err := errors.Join(s.Append(entriesFrom(1, 1)), s.SetHardState(pb.HardState{Term: 1})); err != nil {
			t.Fatal(err)
		}
		n := restart(t, s, func(c *Config) { c.CheckQuorum = true })
		n.lead(t)
		tt.answer(n)
		for range 10 {
			n.Tick()
		}
		if stays := n.raft.role == StateLeader; stays != tt.stays {
			t.Errorf("%s: %v", name, n.raft.role)
		}
		for range 9 {
			n.Tick()
		}
		if stays := n.raft.role == StateLeader; stays != tt.stays {
			t.Errorf("%s: %v before the next check", name, n.raft.role)
		}
		n.Tick()
		if n.raft.role == StateLeader {
			t.Errorf("%s: still leads an election timeout later", name)
		}
	}
}

// diss. §6.2: a leader counts itself at each check, and the others only if they were
// heard of since the last one.
func TestLeaderStaysWhileAQuorumAnswers(t *testing.T) {
	n := leaderOf(t, func(c *Config) { c.CheckQuorum = true })
	n.step(t, beat(3, 2, ""))
	for range 35 {
		n.step(t, beat(2, 2, ""))
		n.Tick()
	}
	if n.raft.role != StateLeader {
		t.Fatal("stepped down, though one of two peers answered all the time")
	}
	n.step(t, beat(3, 2, ""))
	for range 5 + 10 {
		n.Tick()
	}
	if n.raft.role == StateLeader {
		t.Error("leads on, an election timeout after both have fallen silent")
	}
}

// A leader must not step down over a new member that could not have been heard of.
func TestNewMemberCountsAsHeardOf(t *testing.T) {
	n := restart(t, storageWith(1), func(c *Config) { c.CheckQuorum = true })
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 2})
	for range 10 {
		n.Tick()
	}
	if n.raft.role != StateLeader {
		t.Error("stepped down over a member that could not have been heard of")
	}
	for range 10 {
		n.Tick()
	}
	if n.raft.role == StateLeader {
		t.Error("a new member counts as heard of for ever")
	}
}
