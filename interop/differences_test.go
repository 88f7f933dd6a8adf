// The differences that we chose, shown in both libraries.

package interop

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"testing"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// Every listed difference has its test, and nothing in the list is left empty.
func TestDifferencesAreShown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "differences_test.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			tests[f.Name.Name] = true
		}
	}
	for _, d := range Differences {
		if d.Name == "" || d.Etcd == "" || d.Ours == "" || d.Why == "" || !tests[d.Shown] {
			t.Errorf("difference without words or test: %+v", d)
		}
	}
}

// plainPlan is a cluster of voters without any options.
func plainPlan(voters int) plan {
	return plan{members: voters, voters: voters, config: raft.Config{
		ElectionTick: 8, HeartbeatTick: 1, MaxSizePerMsg: math.MaxUint64, MaxInflightMsgs: 16,
	}}
}

func newCluster(t *testing.T, p plan, eng engine) *cluster {
	c := &cluster{world: newWorld(p, func(uint64) engine { return eng }), t: t}
	c.start()
	return c
}

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

// The timeout is ElectionTick and what Rand draws.
func TestRandDecidesTimeouts(t *testing.T) {
	for draw := range 8 {
		p := plainPlan(3)
		w := newWorld(p, allOurs)
		w.draw.next = draw
		w.start()
		n := w.members[0].node
		ticks := 0
		for ; !n.HasReady(); ticks++ {
			n.Tick()
		}
		if ticks != p.config.ElectionTick+draw {
			t.Errorf("with %d drawn it campaigns after %d ticks", draw, ticks)
		}
	}
}

// No size at all: entries come one by one.
func TestZeroSizesMeanOneEntry(t *testing.T) {
	p := plainPlan(1)
	p.config.MaxSizePerMsg = 0
	batches := func(eng engine) (sizes []int, panicked bool) {
		defer func() { panicked = recover() != nil }()
		c := newCluster(t, p, eng)
		n := c.member(1).node
		must(n.Campaign())
		for range 10 {
			if !n.HasReady() {
				break
			}
			rd := n.Ready()
			must(c.member(1).store.Append(rd.Entries))
			sizes = append(sizes, len(rd.CommittedEntries))
			n.Advance(rd)
			if len(sizes) == 2 {
				must(n.Propose([]byte("a")))
				must(n.Propose([]byte("b")))
			}
		}
		return sizes, false
	}
	if sizes, panicked := batches(etcd{}); !panicked {
		t.Errorf("etcd's gave batches of %v and did not panic: what we differ from is gone", sizes)
	}
	if sizes, panicked := batches(ours{}); panicked || fmt.Sprint(sizes) != "[0 0 1 1 1]" {
		t.Errorf("ours gave batches of %v, panic: %t", sizes, panicked)
	}
}
