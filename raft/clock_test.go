// The clock: what ticks do.
//
//	§5.2, §5.6 · diss. §6.2 (check-quorum)

package raft

import (
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
