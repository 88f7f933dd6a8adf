// A group of nodes in one goroutine, for the tests of this package: messages go
// where the test lets them, and storage is MemoryStorage.

package raft

import (
	"io"
	"log"
	"math/rand/v2"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

// silent is the logger of nodes under test.
var silent = &DefaultLogger{Logger: log.New(io.Discard, "", 0)}

// testConfig returns a configuration in which nothing is limited.
func testConfig(id uint64, storage Storage) *Config {
	return &Config{
		ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: storage,
		MaxSizePerMsg: noLimit, MaxInflightMsgs: 256, Logger: silent,
		Rand: rand.New(rand.NewPCG(id, 7)),
	}
}

// storageWith returns a storage whose configuration has these voters.
func storageWith(voters ...uint64) *MemoryStorage {
	s := NewMemoryStorage()
	s.snapshot.Metadata.ConfState.Voters = voters
	return s
}

// group is a number of nodes and the messages between them.
type group struct {
	t     testing.TB
	nodes map[uint64]*member
	ids   []uint64
	drop  func(pb.Message) bool // nil: nothing is dropped
	sent  []pb.Message          // on their way
}

// member is a node with its storage and what it applied.
type member struct {
	*RawNode
	storage *MemoryStorage
	applied []pb.Entry
	reads   []ReadState
}

// newGroup returns n voters with ids from 1, and whatever change makes of their
// configuration.
func newGroup(t testing.TB, n int, change func(*Config)) *group {
	g := &group{t: t, nodes: map[uint64]*member{}}
	for id := uint64(1); id <= uint64(n); id++ {
		g.ids = append(g.ids, id)
	}
	for _, id := range g.ids {
		s := storageWith(g.ids...)
		c := testConfig(id, s)
		if change != nil {
			change(c)
		}
		rn, err := NewRawNode(c)
		if err != nil {
			t.Fatal(err)
		}
		g.nodes[id] = &member{RawNode: rn, storage: s}
	}
	return g
}

// process does what the node's Readys say, and collects their messages.
func (g *group) process(id uint64) (did bool) {
	n := g.nodes[id]
	for n != nil && n.HasReady() {
		did = true
		g.processOne(n)
	}
	return did
}

// processOne does what one Ready says, in the order it demands, and describes it.
func (g *group) processOne(n *member) string {
	rd := n.Ready()
	text := DescribeReady(rd, nil)
	if !IsEmptySnap(rd.Snapshot) {
		if err := n.storage.ApplySnapshot(rd.Snapshot); err != nil {
			g.t.Fatal(err)
		}
	}
	if err := n.storage.Append(rd.Entries); err != nil {
		g.t.Fatal(err)
	}
	if !IsEmptyHardState(rd.HardState) {
		if err := n.storage.SetHardState(rd.HardState); err != nil {
			g.t.Fatal(err)
		}
	}
	for _, e := range rd.CommittedEntries {
		n.applied = append(n.applied, e)
		g.applyConfChange(n, &e)
	}
	n.reads = append(n.reads, rd.ReadStates...)
	g.sent = append(g.sent, rd.Messages...)
	n.Advance(rd)
	return text
}

func (g *group) applyConfChange(n *member, e *pb.Entry) {
	if e.Type == pb.EntryNormal {
		return
	}
	change, err := decodeConfChange(e)
	if err != nil {
		g.t.Fatal(err)
	}
	n.ApplyConfChange(change)
}

// settle delivers messages until there are none.
func (g *group) settle() {
	for range 10000 {
		did := false
		for _, id := range g.ids {
			did = g.process(id) || did
		}
		sent := g.sent
		g.sent = nil
		for _, m := range sent {
			if g.drop != nil && g.drop(m) || g.nodes[m.To] == nil {
				continue
			}
			did = true
			if err := g.nodes[m.To].Step(m); err != nil && err != ErrProposalDropped && err != ErrStepPeerNotFound {
				g.t.Fatalf("step %v: %v", m.Type, err)
			}
		}
		if !did {
			return
		}
	}
	g.t.Fatal("the group does not settle")
}

// elect makes a node the leader.
func (g *group) elect(id uint64) {
	g.t.Helper()
	if err := g.nodes[id].Campaign(); err != nil {
		g.t.Fatal(err)
	}
	g.settle()
	if role := g.nodes[id].raft.role; role != StateLeader {
		g.t.Fatalf("node %d is %v, want leader", id, role)
	}
}
