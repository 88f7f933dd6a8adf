// Replication, the sending side: what a leader sends, and how much at a time.
//
//	§5.3 · diss. §10.2.2 (pipelining)

package raft

import (
	"errors"
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// diss. §10.2.2: appends are sent ahead, as many as the window holds.
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

// leaderOf returns a leader of three in term 2 whose log ends with entry 2, its first;
// peer 2 has acknowledged all of it and 3 has not been heard of.
func leaderOf(t testing.TB, change func(*Config)) *member {
	t.Helper()
	c := testConfig(1, nil)
	if change != nil {
		change(c)
	}
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.lead(t)
	n.step(t, acked(2, 2, 2))
	return n
}

// propose makes the leader append an entry and returns the messages to one peer.
func (n *member) propose(t testing.TB, to uint64, data string) []pb.Message {
	t.Helper()
	if err := n.Propose([]byte(data)); err != nil {
		t.Fatal(err)
	}
	return messagesTo(to, n.drain(t))
}

func messagesTo(id uint64, messages []pb.Message) []pb.Message {
	return slices.DeleteFunc(messages, func(m pb.Message) bool { return m.To != id })
}

// diss. §10.2.2: until it is known where the logs agree, one append at a time: the next
// one waits for an answer, be it to a heartbeat. An empty one holds nothing up.
func TestProbing(t *testing.T) {
	n := leaderOf(t, nil) // the append of entry 2 to node 3 is under way
	if sent := n.propose(t, 3, "x"); len(sent) > 0 {
		t.Errorf("sent while a probe is under way: %s", lines(sent))
	}
	sent := messagesTo(3, n.step(t, beat(3, 2, "")))
	if want := `1->3 MsgApp Term:2 Log:1/1 Commit:2 Entries:[
  2/2 EntryNormal ""
  2/3 EntryNormal "x"
]
`; lines(sent) != want {
		t.Errorf("after a heartbeat's answer: %s", lines(sent))
	}
	if sent := n.propose(t, 3, "y"); len(sent) > 0 {
		t.Errorf("sent while the second probe is under way: %s", lines(sent))
	}

	n = restart(t, storageWith(1, 2), nil)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 1})
	n.step(t, acked(2, 1, 1))
	n.ReportUnreachable(2)
	for range 2 { // there are no entries to send, so nothing is under way
		if sent := n.step(t, beat(2, 1, "")); len(sent) != 1 || len(sent[0].Entries) > 0 {
			t.Errorf("%s", lines(sent))
		}
	}
}

// diss. §10.2.2: with a full window a heartbeat's answer lets one empty append through.
// If what is under way was lost, its refusal shows that.
func TestFullWindowIsProbed(t *testing.T) {
	n := leaderOf(t, func(c *Config) { c.MaxInflightMsgs = 2 })
	for _, data := range []string{"a", "b"} { // both get lost
		if sent := n.propose(t, 2, data); len(sent) != 1 {
			t.Fatalf("%s", lines(sent))
		}
	}
	if sent := n.propose(t, 2, "c"); len(sent) > 0 {
		t.Errorf("sent beyond the window: %s", lines(sent))
	}
	for range 3 {
		sent := n.step(t, beat(2, 2, ""))
		if want := "1->2 MsgApp Term:2 Log:2/4 Commit:2\n"; lines(sent) != want {
			t.Errorf("after a heartbeat's answer: %s, want %s", lines(sent), want)
		}
	}
	sent := messagesTo(2, n.step(t, refusal(2, 2, 4, 2, 2)))
	if len(sent) != 1 || sent[0].Index != 2 || len(sent[0].Entries) != 3 {
		t.Errorf("after the refusal: %s", lines(sent))
	}
	if pr := n.raft.trk.Progress[2]; pr.State != tracker.StateProbe || pr.Match != 2 {
		t.Errorf("%v", pr)
	}
}

// The window is bounded in bytes of payload, too.
func TestWindowInBytes(t *testing.T) {
	n := leaderOf(t, func(c *Config) { c.MaxSizePerMsg, c.MaxInflightBytes = 10, 10 })
	for i, want := range []int{1, 1, 0} { // 6 bytes, 12 bytes, full
		if sent := n.propose(t, 2, "sixsix"); len(sent) != want {
			t.Errorf("proposal %d: %s", i, lines(sent))
		}
	}
	if sent := messagesTo(2, n.step(t, acked(2, 2, 3))); len(sent) != 1 || len(sent[0].Entries) != 1 || sent[0].Index != 4 {
		t.Errorf("with room again: %s", lines(sent))
	}
}

// An append holds as many entries as fit into a message by their encoded size, and one
// at least.
func TestAppendsAreCutToSize(t *testing.T) {
	size := uint64((&pb.Entry{Term: 1, Index: 1}).Size())
	for limit, want := range map[uint64][]int{0: {1, 1, 1, 1, 1}, 2 * size: {2, 2, 1}, 3*size - 1: {2, 2, 1}, 3 * size: {3, 2}, noLimit: {5}} {
		c := testConfig(1, nil)
		c.MaxSizePerMsg = limit
		n := nodeOf(t, 1, c, 1, 0, 1, 1, 1, 1)
		n.lead(t) // entry 5
		sent := n.step(t, refusal(2, 2, 4, 0, 0))
		probe := len(one(t, sent).Entries)
		sent = append(sent, messagesTo(2, n.step(t, acked(2, 2, uint64(probe))))...)
		var got []int
		for _, m := range sent {
			if len(m.Entries) > 0 { // the others tell the commit index
				got = append(got, len(m.Entries))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d bytes: appends of %v entries, want %v", limit, got, want)
		}
	}
}

// Figure 2, AppendEntries: leaderCommit is the leader's whole commit index, however little
// of the log the append brings; the follower takes of it what it can check.
func TestAppendsTellTheWholeCommitIndex(t *testing.T) {
	c := testConfig(1, nil)
	c.MaxSizePerMsg = 0
	n := nodeOf(t, 1, c, 1, 0, 1, 1, 1)
	n.lead(t) // entry 4
	n.step(t, acked(2, 2, 4))
	want := "1->3 MsgApp Term:2 Log:0/0 Commit:4 Entries:[1/1 EntryNormal \"\"]\n"
	if got := lines(n.step(t, refusal(3, 2, 3, 0, 0))); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// §5.2: heartbeats go to everybody, learners and those that a snapshot is under way to
// included, and each may be told to commit only what it is known to hold.
func TestHeartbeatsGoToAll(t *testing.T) {
	s := NewMemoryStorage()
	s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}}
	if err := errors.Join(s.Append(entriesFrom(1, 1)), s.SetHardState(pb.HardState{Term: 1})); err != nil {
		t.Fatal(err)
	}
	n := restart(t, s, nil)
	n.lead(t)
	n.step(t, acked(2, 2, 2))
	n.step(t, acked(4, 2, 1))
	n.raft.trk.Progress[3].BecomeSnapshot(9)
	n.Tick()
	want := "1->2 MsgHeartbeat Term:2 Log:0/0 Commit:2\n1->3 MsgHeartbeat Term:2 Log:0/0\n1->4 MsgHeartbeat Term:2 Log:0/0 Commit:1\n"
	if got := lines(n.drain(t)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
