// Reads that we answer otherwise than etcd's, in both libraries.
//
//	diss. §6.4

package interop

import (
	"testing"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// A single voter that restarts with a commit index older than its log.
func TestSingleVoterPostponesReads(t *testing.T) {
	answered := func(eng engine) (early, late []raft.ReadState) {
		c := newCluster(t, plainPlan(1), eng)
		c.elect(1)
		c.propose(1, "acknowledged")
		m := c.member(1)
		must(m.store.SetHardState(pb.HardState{Term: 2, Vote: 1, Commit: 1})) // as after a power cut
		c.boot(m, 0)
		must(m.node.Campaign())
		for m.node.status().role != raft.StateLeader.String() {
			c.takeReady(m)
			c.advance(m)
		}
		m.node.ReadIndex([]byte("r"))
		c.takeReady(m)
		early = m.reads
		c.settle()
		return early, m.reads[len(early):]
	}

	early, late := answered(etcd{})
	if len(early) != 1 || early[0].Index >= 3 || len(late) != 0 {
		t.Errorf("etcd's answered %v at first, %v later: the stale answer that we differ from is gone", early, late)
	}
	early, late = answered(ours{})
	if len(early) != 0 || len(late) != 1 || late[0].Index < 3 {
		t.Errorf("ours answered %v at first, %v later, not with what was acknowledged (3)", early, late)
	}
}

// A context that is sent again, after a write, before the first was answered.
func TestReadSentAgainIsNewRead(t *testing.T) {
	answer := func(eng engine) (before, after uint64) {
		c := newCluster(t, plainPlan(3), eng)
		c.elect(1)
		m := c.member(1)
		m.node.ReadIndex([]byte("r"))
		c.takeReady(m)
		c.advance(m)
		heartbeats := c.net // of the first read, delayed
		c.net = nil

		before = m.node.status().commit
		c.propose(1, "written in between")
		m.node.ReadIndex([]byte("r"))
		second := m.reads
		for _, data := range heartbeats {
			c.deliver(data)
		}
		for id := uint64(2); id <= 3; id++ { // only the answers to the first round arrive
			f := c.member(id)
			c.pump(f)
		}
		for _, data := range c.net {
			c.deliver(data)
		}
		c.net = nil
		c.pump(m)
		if eng == (ours{}) && len(m.reads) > len(second) && m.reads[len(m.reads)-1].Index <= before {
			t.Errorf("ours answered the second read from the first round, with %v", m.reads)
		}
		c.settle()
		c.tick(2)
		if len(m.reads) == 0 {
			t.Fatalf("%s never answered", eng.name())
		}
		return before, m.reads[len(m.reads)-1].Index
	}

	if before, index := answer(etcd{}); index != before {
		t.Errorf("etcd's answered the second read with %d, not %d: what we differ from is gone", index, before)
	}
	if before, index := answer(ours{}); index <= before {
		t.Errorf("ours answered the second read with %d, but the write in between was at %d", index, before+1)
	}
}

// A read of a leader that loses its leadership before its first commit, and wins
// it back.
func TestPostponedReadsEndWithLeadership(t *testing.T) {
	answers := func(eng engine) int {
		c := newCluster(t, plainPlan(3), eng)
		m := c.member(1)
		must(m.node.Campaign())
		for m.node.status().role != raft.StateLeader.String() {
			c.pump(m)
			net := c.net
			c.net = nil
			for _, data := range net {
				c.deliver(data)
			}
			c.pump(c.member(2))
		}
		m.node.ReadIndex([]byte("r"))
		must(m.node.Step(pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 3, Commit: 1}))
		c.net = nil
		c.elect(1)
		return len(m.reads)
	}
	if n := answers(etcd{}); n != 1 {
		t.Errorf("etcd's answered %d times: what we differ from is gone", n)
	}
	if n := answers(ours{}); n != 0 {
		t.Errorf("ours answered %d times", n)
	}
}

// A read whose context is nil, and the answers to its heartbeats.
func TestReadWithoutContextIsAnswered(t *testing.T) {
	answers := func(eng engine) int {
		c := newCluster(t, plainPlan(3), eng)
		c.elect(1)
		c.member(1).node.ReadIndex(nil)
		c.settle()
		return len(c.member(1).reads)
	}
	if n := answers(etcd{}); n != 0 {
		t.Errorf("etcd's answered %d times: what we differ from is gone", n)
	}
	if n := answers(ours{}); n != 1 {
		t.Errorf("ours answered %d times", n)
	}
}

// A leader that was removed, of a group with one voter left, which is another.
func TestRemovedLeaderAsksTheSingleVoter(t *testing.T) {
	answers := func(eng engine) (alone, confirmed int) {
		c := newCluster(t, plainPlan(2), eng)
		c.elect(1)
		must(c.member(1).node.ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1}))
		c.settle()
		m := c.member(1)
		m.node.ReadIndex([]byte("r"))
		c.pump(m)
		alone = len(m.reads)
		c.settle()
		return alone, len(m.reads)
	}
	if alone, _ := answers(etcd{}); alone != 1 {
		t.Errorf("etcd's answered %d times at once: what we differ from is gone", alone)
	}
	if alone, confirmed := answers(ours{}); alone != 0 || confirmed != 1 {
		t.Errorf("ours answered %d times at once, %d times when it was confirmed", alone, confirmed)
	}
}

// A leader of two has its first entry on its own disk only, and a read that waits for it.
// Then the other voter is removed.
func TestChangeReleasesReads(t *testing.T) {
	answers := func(eng engine) int {
		c := newCluster(t, plainPlan(2), eng)
		m := c.member(1)
		must(m.node.Campaign())
		c.pump(m)
		must(m.node.Step(pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 2}))
		c.pump(m)
		m.node.ReadIndex([]byte("r"))
		c.pump(m)
		if n := len(m.reads); n > 0 || m.node.status().role != raft.StateLeader.String() {
			t.Fatalf("%s is %s and has answered %d times", eng.name(), m.node.status().role, n)
		}
		m.node.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 2})
		c.pump(m)
		return len(m.reads)
	}
	if n := answers(etcd{}); n != 0 {
		t.Errorf("etcd's answered %d times: what we differ from is gone", n)
	}
	if n := answers(ours{}); n != 1 {
		t.Errorf("ours answered %d times", n)
	}
}
