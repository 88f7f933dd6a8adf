// Gathering: what a Node's leader sends, and when.

package raft

import (
	"fmt"
	"math/rand/v2"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

// newGatheringGroup returns three voters that gather, as Nodes make them, with 1
// as the leader.
func newGatheringGroup(t testing.TB) *group {
	g := newGroup(t, 3, nil)
	g.elect(1)
	for _, n := range g.nodes {
		n.raft.gathers = true
	}
	g.gather()
	return g
}

// gather is settle for nodes that gather.
func (g *group) gather() {
	for range 1000 {
		did := false
		for _, id := range g.ids {
			did = g.takeGathered(id, false) || did
		}
		sent := g.sent
		g.sent = nil
		for _, m := range sent {
			did = true
			g.step(m)
		}
		if !did {
			return
		}
	}
	g.t.Fatal("the group does not settle")
}

func (g *group) step(m pb.Message) {
	if err := g.nodes[m.To].Step(m); err != nil && err != ErrProposalDropped {
		g.t.Fatalf("step %v: %v", m.Type, err)
	}
}

// takeGathered does what Node's loop and its user do when the last Ready is done.
func (g *group) takeGathered(id uint64, overdue bool) bool {
	n := g.nodes[id]
	n.raft.sendGathered(overdue)
	if !n.HasReady() || n.onlyGathers() {
		return false
	}
	g.processOne(n)
	return true
}

func (g *group) propose(id uint64, text string) {
	g.t.Helper()
	if err := g.nodes[id].Propose([]byte(text)); err != nil {
		g.t.Fatal(err)
	}
}

// appends counts the appends on their way to a node, and the entries in them.
func (g *group) appends(to uint64) (messages, entries int) {
	for _, m := range g.sent {
		if m.Type == pb.MsgApp && m.To == to {
			messages++
			entries += len(m.Entries)
		}
	}
	return messages, entries
}

// diss. §10.2.2: what is proposed before the next Ready is one append for each peer.
func TestProposalsGather(t *testing.T) {
	g := newGatheringGroup(t)
	for i := range 5 {
		g.propose(1, fmt.Sprint(i))
	}
	g.takeGathered(1, false)
	for _, to := range []uint64{2, 3} {
		if messages, entries := g.appends(to); messages != 1 || entries != 5 {
			t.Errorf("%d appends with %d entries to %d, want 1 with 5", messages, entries, to)
		}
	}
}

// What is proposed while a round is under way goes, to peers and to the disk, with
// the news that the round is committed.
func TestEntriesWaitForTheRoundUnderWay(t *testing.T) {
	g := newGatheringGroup(t)
	g.propose(1, "first")
	g.takeGathered(1, false)
	first := g.sent
	g.sent = nil

	g.propose(1, "second")
	g.propose(1, "third")
	if g.takeGathered(1, false) {
		t.Error("a Ready with nothing but entries that wait")
	}
	for _, m := range first {
		g.step(m)
	}
	g.takeGathered(2, false)
	for _, m := range g.sent {
		g.step(m)
	}
	g.sent = nil
	if !g.takeGathered(1, false) {
		t.Fatal("no Ready after the commit")
	}
	messages, entries := g.appends(2)
	if messages != 1 || entries != 2 {
		t.Errorf("%d appends with %d entries, want 1 with 2", messages, entries)
	}
	leader := g.nodes[1]
	if commit := g.sent[0].Commit; commit != leader.raft.log.committed {
		t.Errorf("the append says commit %d, the leader is at %d", commit, leader.raft.log.committed)
	}
	if last := leader.applied[len(leader.applied)-1]; string(last.Data) != "first" {
		t.Errorf("applied %q", last.Data)
	}
}

// An answer that ends the round does not send what waits by itself: what comes before the
// next Ready goes with it.
func TestAnswersLetEntriesGather(t *testing.T) {
	g := newGatheringGroup(t)
	g.propose(1, "first")
	g.takeGathered(1, false)
	first := g.sent
	g.sent = nil

	g.propose(1, "second")
	for _, m := range first {
		g.step(m)
	}
	g.process(2)
	answers := g.sent
	g.sent = nil
	for _, m := range answers {
		g.step(m)
	}
	g.propose(1, "third")
	g.takeGathered(1, false)
	for _, to := range []uint64{2, 3} {
		if messages, entries := g.appends(to); messages != 1 || entries != 2 {
			t.Errorf("%d appends with %d entries to %d, want 1 with 2", messages, entries, to)
		}
	}
}

// What others wait to hear does not wait for the round under way: a refused vote, and
// the word to a leader of an earlier term.
func TestAnswersDoNotWaitForTheRound(t *testing.T) {
	for name, m := range map[string]pb.Message{
		"a vote":                        {Type: pb.MsgVote, From: 2, To: 1, Term: 1},
		"a poll of an earlier term":     {Type: pb.MsgPreVote, From: 2, To: 1, Term: 0},
		"a leader of an earlier term":   {Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1},
		"and one that knows our commit": {Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: 1, LogTerm: 1},
	} {
		g := newGatheringGroup(t)
		g.nodes[1].raft.preVote = true
		if name != "a vote" {
			g.elect(2)
			g.elect(1) // term 3
			m.Term = 2
		}
		g.propose(1, "first")
		g.takeGathered(1, false)
		g.sent = nil
		g.step(m)
		if !g.takeGathered(1, false) || len(g.sent) != 1 || g.sent[0].To != 2 {
			t.Errorf("%s: not answered: %s", name, lines(g.sent))
		}
	}
}

// Nor do answers to reads, and what is committed already and did not fit into the last Ready.
func TestWhatIsForTheUserDoesNotWaitForTheRound(t *testing.T) {
	g := newGatheringGroup(t)
	n := g.nodes[1]
	n.raft.readOnlyOption = ReadOnlyLeaseBased // answers at once
	g.propose(1, "first")
	g.takeGathered(1, false)
	g.propose(1, "gathers")
	n.ReadIndex([]byte("r"))
	if !g.takeGathered(1, false) || n.takeReads() != "r@1" {
		t.Error("a read waits for the round under way")
	}

	g = newGatheringGroup(t)
	n = g.nodes[1]
	n.raft.log.maxApplyingSize = 1 // one at a time
	g.propose(1, "a")
	g.propose(1, "b")
	g.takeGathered(1, false)
	first := g.sent
	g.sent = nil
	for _, m := range first {
		g.step(m)
	}
	g.process(2)
	for _, m := range g.sent {
		g.step(m)
	}
	g.propose(1, "c")
	g.takeGathered(1, false)
	g.propose(1, "gathers")
	if applied := len(n.applied); !g.takeGathered(1, false) || len(n.applied) != applied+1 {
		t.Errorf("%d applied before, %d after: the rest waits for the round under way", applied, len(n.applied))
	}
}

// A round that takes longer than a tick holds nobody up.
func TestAnOverdueRoundHoldsNobodyUp(t *testing.T) {
	g := newGatheringGroup(t)
	g.propose(1, "lost")
	g.takeGathered(1, false)
	g.sent = nil
	g.propose(1, "next")
	if !g.takeGathered(1, true) {
		t.Fatal("no Ready")
	}
	if messages, entries := g.appends(3); messages != 1 || entries != 1 {
		t.Errorf("%d appends with %d entries, want 1 with 1", messages, entries)
	}
}

// A commit that no new entry follows is told at once.
func TestCommitIsToldWithoutNewEntries(t *testing.T) {
	g := newGatheringGroup(t)
	g.propose(1, "x")
	g.gather()
	for id, n := range g.nodes {
		if last := n.applied[len(n.applied)-1]; string(last.Data) != "x" {
			t.Errorf("node %d applied %q last", id, last.Data)
		}
	}
}

// Messages lost, late and doubled, nodes that are slow, and ticks: nodes that gather
// agree like others (§5.3), and in the end everything accepted by a leader that
// stayed is applied.
func TestGatheringNodesAgree(t *testing.T) {
	for seed := range uint64(300) {
		g := newGatheringGroup(t)
		rng := rand.New(rand.NewPCG(seed, 1))
		proposed := 0
		for range 400 {
			id := g.ids[rng.IntN(3)]
			switch rng.IntN(10) {
			case 0, 1, 2:
				if g.nodes[id].Propose(fmt.Appendf(nil, "%d", proposed)) == nil {
					proposed++
				}
			case 3:
				g.nodes[id].Tick()
				g.takeGathered(id, true)
			case 4, 5, 6:
				g.takeGathered(id, false)
			default:
				if len(g.sent) == 0 {
					continue
				}
				i := rng.IntN(min(4, len(g.sent)))
				m := g.sent[i]
				if rng.IntN(10) > 0 {
					g.sent = append(g.sent[:i:i], g.sent[i+1:]...)
				}
				if rng.IntN(10) > 0 {
					g.step(m)
				}
			}
		}
		for range 100 { // heartbeats mend what was lost
			for _, id := range g.ids {
				g.nodes[id].Tick()
				g.takeGathered(id, true)
			}
			g.gather()
		}
		g.mustAgree(t, seed)
	}
}

func (g *group) mustAgree(t *testing.T, seed uint64) {
	t.Helper()
	want := g.nodes[1].applied
	for _, id := range g.ids {
		n := g.nodes[id]
		if n.raft.log.committed != n.raft.log.lastIndex() || len(n.applied) != len(want) || len(want) < 3 {
			t.Fatalf("seed %d: node %d applied %d of %d entries, node 1 %d", seed, id, len(n.applied), n.raft.log.lastIndex(), len(want))
		}
		for i := range want {
			if n.applied[i].Term != want[i].Term || string(n.applied[i].Data) != string(want[i].Data) {
				t.Fatalf("seed %d: nodes 1 and %d differ at %d", seed, id, i)
			}
		}
	}
}
