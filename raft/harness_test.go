// A group of nodes in one goroutine, for the tests of this package: messages go
// where the test lets them, and storage is MemoryStorage.

package raft

import (
	"io"
	"log"
	"math/rand/v2"
	"strings"
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
	if n != nil {
		n.wantNothing(g.t)
	}
	return did
}

// wantNothing fails the test if a Ready would have something in spite of HasReady.
func (n *member) wantNothing(t testing.TB) {
	t.Helper()
	if text := DescribeReady(n.readyWithoutAccept(), nil); text != "<empty Ready>" {
		t.Fatalf("HasReady knew nothing of %s", text)
	}
}

// processOne does what one Ready says, in the order it demands, and describes it.
func (g *group) processOne(n *member) string {
	rd := n.Ready()
	text := DescribeReady(rd, nil)
	if text == "<empty Ready>" {
		g.t.Fatal("HasReady promised what Ready has not")
	}
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
	n.wantNothing(t)
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
	if n.raft.role == StatePreCandidate {
		n.step(t, pb.Message{Type: pb.MsgPreVoteResp, From: 2, To: 1, Term: n.raft.Term + 1})
	}
	n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: n.raft.Term})
	if n.raft.role != StateLeader {
		t.Fatalf("node 1 is %v", n.raft.role)
	}
}

// mustPanic fails the test unless f panics.
func mustPanic(t testing.TB, what string, f func()) (message any) {
	t.Helper()
	defer func() {
		t.Helper()
		if message = recover(); message == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
	return nil
}

// acked is a peer's word to node 1 that it holds everything up to index.
func acked(from, term, index uint64) pb.Message {
	return pb.Message{Type: pb.MsgAppResp, From: from, To: 1, Term: term, Index: index}
}

// refusal is a peer's answer to node 1 that it lacks the entry at index, and has hint.
func refusal(from, term, index, hintTerm, hint uint64) pb.Message {
	return pb.Message{Type: pb.MsgAppResp, From: from, To: 1, Term: term, Index: index, Reject: true, LogTerm: hintTerm, RejectHint: hint}
}

// beat is a peer's answer to a heartbeat of node 1.
func beat(from, term uint64, context string) pb.Message {
	m := pb.Message{Type: pb.MsgHeartbeatResp, From: from, To: 1, Term: term}
	if context != "" {
		m.Context = []byte(context)
	}
	return m
}
