// Clusters of both: some nodes ours, some of etcd's, exchanging encoded messages.
//
// A mixed cluster must do step by step what one of etcd's alone does (random
// scripts), and end where a cluster should end (stories).

package interop

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// mixed makes the nodes whose bit is set in mask ours, the others etcd's.
func mixed(mask uint64) func(id uint64) engine {
	return func(id uint64) engine {
		if mask>>(id-1)&1 == 1 {
			return ours{}
		}
		return etcd{}
	}
}

// A mixed cluster does what etcd's does, whatever happens.
func TestMixedClusterDoesWhatEtcdsDoes(t *testing.T) {
	seeds(t, 100, 10_000, func(seed uint64) {
		rnd := newRand(seed)
		members := 2 + rnd.IntN(4)
		p := drawPlan(rnd, members)
		mask := 1 + rnd.Uint64N(1<<members-2)
		w := []*weights{&calm, &quarrelsome, &hostile}[rnd.IntN(3)]
		mustAgree(t, seed, p, w.draw(rnd, 500, members), mixed(mask), allTheirs)
	})
}

// eachMix runs a story in every mix of three nodes out of n that begin as voters,
// in both storage modes.
func eachMix(t *testing.T, n int, story func(t *testing.T, c *cluster)) {
	for mask := range uint64(1) << n {
		for _, async := range []bool{false, true} {
			name := ""
			for id := range uint64(n) {
				name += mixed(mask)(id+1).name() + " "
			}
			t.Run(fmt.Sprintf("%sasync=%t", name, async), func(t *testing.T) {
				p := plan{members: n, voters: 3, bootstrap: true, config: raft.Config{
					ElectionTick: 8, HeartbeatTick: 1, MaxSizePerMsg: math.MaxUint64, MaxInflightMsgs: 16,
					CheckQuorum: true, PreVote: true, AsyncStorageWrites: async,
				}}
				c := &cluster{world: newWorld(p, mixed(mask)), t: t}
				c.start()
				c.settle()
				story(t, c)
			})
		}
	}
}

// cluster is a world in which a story is played.
type cluster struct {
	*world
	t *testing.T
}

func (c *cluster) member(id uint64) *member { return c.members[id-1] }

// settle lets everybody work and all messages arrive until nothing moves.
func (c *cluster) settle() {
	for range 1000 {
		busy := false
		for _, m := range c.members {
			if m.node == nil {
				c.t.Fatalf("node %d has died: %s", m.id, c.out)
			}
			busy = busy || m.node.HasReady() || m.ready != nil || len(m.appendQ)+len(m.applyQ) > 0
			c.pump(m)
		}
		net := c.net
		c.net = nil
		for _, data := range net {
			c.deliver(data)
		}
		if !busy && len(net) == 0 {
			return
		}
		c.out = c.out[:0]
	}
	c.t.Fatal("the cluster does not come to rest")
}

// tick passes time for everyone and lets the cluster settle after each tick.
func (c *cluster) tick(n int) {
	for range n {
		for _, m := range c.members {
			m.node.Tick()
		}
		c.settle()
	}
}

// elect makes id the leader.
func (c *cluster) elect(id uint64) {
	c.t.Helper()
	must(c.member(id).node.Campaign())
	c.settle()
	c.mustLead(id)
}

func (c *cluster) mustLead(id uint64) {
	c.t.Helper()
	for _, m := range c.members {
		if st := m.node.status(); m.id != c.cut && st.lead != id && slices.Contains(m.confState.Voters, m.id) {
			c.t.Fatalf("node %d follows %d, not %d", m.id, st.lead, id)
		}
	}
}

// propose has node id propose a command and waits until everybody applied it.
func (c *cluster) propose(id uint64, command string) {
	c.t.Helper()
	must(c.member(id).node.Propose([]byte(command)))
	c.settle()
	c.mustHave(command)
}

// mustHave checks that all who can be reached have applied command last, and the
// same log as everybody else.
func (c *cluster) mustHave(command string) {
	c.t.Helper()
	var longest []pb.Entry
	for _, m := range c.members {
		if len(m.history) > len(longest) && m.id != c.cut {
			longest = m.history
		}
	}
	for _, m := range c.members {
		if m.id == c.cut || len(m.confState.Voters) == 0 {
			continue
		}
		if n := len(m.history); n == 0 || string(m.history[n-1].Data) != command {
			c.t.Fatalf("node %d has not applied %q last, but %v", m.id, command, m.history)
		}
		tail := longest[len(longest)-len(m.history):]
		if a, b := fmt.Sprint(m.history), fmt.Sprint(tail); a != b {
			c.t.Fatalf("node %d applied %s, others %s", m.id, a, b)
		}
	}
}

// A leader of either library is elected by timeout, and replicates.
func TestMixedClusterElectsAndReplicates(t *testing.T) {
	eachMix(t, 3, func(t *testing.T, c *cluster) {
		for id := uint64(1); id <= 3; id++ {
			c.draw.next = 3
			for c.member(id).node.status().role != raft.StateLeader.String() {
				c.member(id).node.Tick() // only its time passes
				c.settle()
				if c.member(id).node.status().lead != id { // the others' leases have to run out
					for _, m := range c.members {
						if m.id != id && m.node.status().role != raft.StateLeader.String() {
							m.node.TickQuiesced()
						}
					}
					if lead := c.member(id).node.status().lead; lead != 0 {
						c.cut = lead
					}
				}
			}
			c.cut = 0
			c.tick(2)
			c.mustLead(id)
			for from := uint64(1); from <= 3; from++ {
				c.propose(from, fmt.Sprint("command of ", from, " under ", id))
			}
		}
	})
}

// A follower that was cut off gets a snapshot when the log it needs is gone.
func TestMixedClusterSendsSnapshots(t *testing.T) {
	eachMix(t, 3, func(t *testing.T, c *cluster) {
		for leader := uint64(1); leader <= 3; leader++ {
			c.elect2(leader)
			lagging := leader%3 + 1
			c.cut = lagging
			for i := range 5 {
				c.propose(leader, fmt.Sprint("missed ", leader, i))
			}
			c.compact(c.member(leader), op{})
			c.cut = 0
			c.tick(3)
			if snap, err := c.member(lagging).store.Snapshot(); err != nil || snap.Metadata.Index != c.member(leader).applied {
				t.Fatalf("node %d has snapshot %d, the leader's is at %d", lagging, snap.Metadata.Index, c.member(leader).applied)
			}
			c.propose(lagging, fmt.Sprint("after the snapshot ", leader))
		}
	})
}

// elect2 makes id the leader by a transfer, if there is a leader.
func (c *cluster) elect2(id uint64) {
	c.t.Helper()
	if lead := c.member(id).node.status().lead; lead != 0 {
		c.member(lead).node.TransferLeader(id)
		c.settle()
		c.mustLead(id)
		return
	}
	c.elect(id)
}

// Leadership passes from any node to any other, asked of any.
func TestMixedClusterTransfersLeadership(t *testing.T) {
	eachMix(t, 3, func(t *testing.T, c *cluster) {
		c.elect(1)
		for _, to := range []uint64{2, 3, 1, 3, 2, 1} {
			for asked := uint64(1); asked <= 3; asked++ {
				c.member(asked).node.TransferLeader(to)
				c.settle()
				c.mustLead(to)
			}
			c.propose(to, fmt.Sprint("led by ", to))
		}
	})
}

// Every node can read through any leader: the index covers all that was committed.
func TestMixedClusterReads(t *testing.T) {
	eachMix(t, 3, func(t *testing.T, c *cluster) {
		for leader := uint64(1); leader <= 3; leader++ {
			c.elect2(leader)
			c.propose(leader, fmt.Sprint("written under ", leader))
			for reader := uint64(1); reader <= 3; reader++ {
				m := c.member(reader)
				m.reads = nil
				rctx := fmt.Sprint("read ", leader, reader)
				m.node.ReadIndex([]byte(rctx))
				c.settle()
				if len(m.reads) != 1 || string(m.reads[0].RequestCtx) != rctx || m.reads[0].Index != m.applied {
					t.Fatalf("node %d read %v under %d, with %d applied", reader, m.reads, leader, m.applied)
				}
			}
		}
	})
}

// Members come, as learners first, and go: one at a time and jointly, with and
// without a leader of the other library half way.
func TestMixedClusterChangesMembership(t *testing.T) {
	eachMix(t, 5, func(t *testing.T, c *cluster) {
		c.elect(1)
		change := func(by uint64, cc pb.ConfChangeI, want pb.ConfState) {
			t.Helper()
			must(c.member(by).node.ProposeConfChange(cc))
			c.settle()
			c.tick(2)
			lead := c.member(by).node.status().lead
			if err := want.Equivalent(c.member(lead).confState); err != nil {
				t.Fatal(err)
			}
		}
		add := func(id uint64) pb.ConfChangeSingle { return pb.ConfChangeSingle{NodeID: id} }
		learn := func(id uint64) pb.ConfChangeSingle {
			return pb.ConfChangeSingle{Type: pb.ConfChangeAddLearnerNode, NodeID: id}
		}
		remove := func(id uint64) pb.ConfChangeSingle {
			return pb.ConfChangeSingle{Type: pb.ConfChangeRemoveNode, NodeID: id}
		}

		change(2, pb.ConfChange{Type: pb.ConfChangeAddLearnerNode, NodeID: 4},
			pb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}})
		change(1, pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4},
			pb.ConfState{Voters: []uint64{1, 2, 3, 4}})
		c.propose(4, "four vote")

		change(3, pb.ConfChangeV2{Changes: []pb.ConfChangeSingle{add(5), learn(2)}},
			pb.ConfState{Voters: []uint64{1, 3, 4, 5}, Learners: []uint64{2}})
		c.propose(2, "five came, two listens")

		change(5, pb.ConfChangeV2{
			Transition: pb.ConfChangeTransitionJointExplicit,
			Changes:    []pb.ConfChangeSingle{remove(1), add(2), learn(4)},
		}, pb.ConfState{
			Voters: []uint64{2, 3, 5}, VotersOutgoing: []uint64{1, 3, 4, 5}, LearnersNext: []uint64{4},
		})
		c.propose(3, "joint")
		c.elect2(5)
		c.propose(1, "joint under another leader")

		change(3, pb.ConfChangeV2{}, pb.ConfState{Voters: []uint64{2, 3, 5}, Learners: []uint64{4}})
		c.cut = 1 // it is out, and does not know
		c.propose(4, "one has left")
	})
}
