// Proposals: what a leader lets into its log.
//
//	§5.3

package raft

import (
	"errors"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"github.com/google/go-cmp/cmp"
)

// Proposals beyond the limit are dropped; one is always taken, however large; what
// was applied makes room.
func TestUncommittedLimit(t *testing.T) {
	c := testConfig(1, nil)
	c.MaxUncommittedEntriesSize = 10
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.lead(t)
	if err := n.Propose(make([]byte, 100)); err != nil {
		t.Errorf("the first proposal: %v", err)
	}
	if err := n.Propose([]byte("x")); !errors.Is(err, ErrProposalDropped) {
		t.Errorf("beyond the limit: %v", err)
	}
	if err := n.Propose(nil); err != nil {
		t.Errorf("nothing fits always: %v", err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: n.raft.log.lastIndex()})
	if err := n.Propose([]byte("x")); err != nil {
		t.Errorf("after all was applied: %v", err)
	}
}

// §5.3: a leader appends what is proposed in order, with consecutive indexes in its
// term, and sends it to all at once: an empty proposal like any, and the same twice.
func TestProposalsAreAppendedInOrder(t *testing.T) {
	n := leaderOf(t, nil)
	n.step(t, acked(3, 2, 2))
	m := pb.Message{Type: pb.MsgProp, From: 1, To: 1, Entries: []pb.Entry{{Data: []byte("a")}, {Data: []byte{}}, {Data: []byte("a")}}}
	want := `Log:2/2 Commit:2 Entries:[
  2/3 EntryNormal "a"
  2/4 EntryNormal ""
  2/5 EntryNormal "a"
]
`
	if got := lines(n.step(t, m)); got != "1->2 MsgApp Term:2 "+want+"1->3 MsgApp Term:2 "+want {
		t.Errorf("%s", got)
	}
	if m.Entries[0].Index != 0 || m.Entries[0].Term != 0 {
		t.Error("the proposer's entries were written to")
	}
	n.step(t, acked(2, 2, 5))
	if last := n.entryAt(5); last.Data == nil || len(last.Data) != 1 {
		t.Errorf("entry 5: %v", last)
	}
	if empty := n.entryAt(4); empty.Data == nil || len(empty.Data) != 0 {
		t.Errorf("an empty proposal became %v", empty)
	}
	if opening := n.entryAt(2); opening.Data != nil {
		t.Errorf("the leader's own entry has data: %v", opening)
	}
}

// entryAt returns an entry from the storage.
func (n *member) entryAt(index uint64) pb.Entry { return n.storage.ents[index-1] }

// §5.1, diss. §3.10: a proposal is dropped, and its proposer told, by whoever can neither
// append it nor pass it on.
func TestDroppedProposals(t *testing.T) {
	preVote := func(c *Config) { c.PreVote = true }
	for _, tt := range []struct {
		name    string
		change  func(*Config)
		prepare func(*member)
		want    error
	}{
		{"a follower of nobody", nil, func(*member) {}, ErrProposalDropped},
		{"a follower", nil, func(n *member) { n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1}) }, nil},
		{
			"a follower that may not forward", func(c *Config) { c.DisableProposalForwarding = true },
			func(n *member) { n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1}) }, ErrProposalDropped,
		},
		{"a candidate", nil, func(n *member) { n.Campaign() }, ErrProposalDropped},
		{"a pre-candidate", preVote, func(n *member) { n.Campaign() }, ErrProposalDropped},
		{"a leader", nil, func(n *member) { n.lead(t) }, nil},
		{"a leader that hands over", nil, func(n *member) { n.lead(t); n.TransferLeader(2) }, ErrProposalDropped},
		{
			"a leader that was removed", nil, func(n *member) {
				n.lead(t)
				n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1})
			}, ErrProposalDropped,
		},
		{
			"a leader that was demoted", nil, func(n *member) {
				n.lead(t)
				n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddLearnerNode, NodeID: 1})
			}, nil,
		},
	} {
		c := testConfig(1, nil)
		if tt.change != nil {
			tt.change(c)
		}
		n := nodeOf(t, 1, c, 1, 0, 1)
		tt.prepare(n)
		n.drain(t)
		last := n.raft.log.lastIndex()
		if err := n.Propose([]byte("x")); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if tt.want != nil && (n.raft.log.lastIndex() != last || n.HasReady()) {
			t.Errorf("%s: a dropped proposal left something", tt.name)
		}
	}
	n := leaderOf(t, nil)
	mustPanic(t, "a proposal of nothing", func() { n.Step(pb.Message{Type: pb.MsgProp, From: 1}) })
}

// A follower passes a proposal on as it is.
func TestFollowerForwardsProposals(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	entries := []pb.Entry{{Type: pb.EntryConfChangeV2, Data: []byte("c")}, {Data: []byte("x")}}
	m := one(t, n.step(t, pb.Message{Type: pb.MsgProp, From: 3, To: 1, Entries: entries}))
	want := pb.Message{Type: pb.MsgProp, From: 3, To: 2, Entries: entries}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

// The limit is about payload that is not applied yet. It is freed as entries are
// applied, committed or not does not matter; it begins at nothing in each leadership, and
// entries of former leaders neither take nor give any of it.
func TestUncommittedSize(t *testing.T) {
	c := testConfig(1, nil)
	c.MaxUncommittedEntriesSize = 10
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.lead(t) // entry 2; entry 1 is another's
	propose := func(size int, want error) {
		t.Helper()
		if err := n.Propose(make([]byte, size)); !errors.Is(err, want) {
			t.Errorf("%d bytes beside %d: %v, want %v", size, n.raft.uncommittedSize, err, want)
		}
	}
	propose(6, nil)
	propose(4, nil) // exactly the limit
	propose(1, ErrProposalDropped)
	propose(0, nil)
	n.drain(t)
	if err := n.Step(acked(2, 2, 3)); err != nil {
		t.Fatal(err)
	}
	propose(1, ErrProposalDropped) // committed, and not applied
	n.drain(t)
	propose(6, nil) // entry 3 is applied
	propose(1, ErrProposalDropped)

	// A proposal of several entries counts as one.
	n.drain(t)
	n.step(t, acked(2, 2, n.raft.log.lastIndex()))
	if n.raft.uncommittedSize != 0 {
		t.Errorf("%d bytes with all applied", n.raft.uncommittedSize)
	}
	two := pb.Message{Type: pb.MsgProp, From: 1, Entries: []pb.Entry{{Data: make([]byte, 8)}, {Data: make([]byte, 8)}}}
	if err := n.Step(two); err != nil {
		t.Errorf("one that is too large, alone: %v", err)
	}
	last := n.raft.log.lastIndex()
	if err := n.Step(two); !errors.Is(err, ErrProposalDropped) || n.raft.log.lastIndex() != last {
		t.Errorf("beside it: %v, last index %d, was %d", err, n.raft.log.lastIndex(), last)
	}

	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 3})
	n.lead(t)
	propose(6, nil)
	n.drain(t)
	n.step(t, acked(2, 4, n.raft.log.lastIndex()-1)) // the former leadership's are applied
	if n.raft.uncommittedSize != 0 {
		t.Errorf("%d bytes are still counted", n.raft.uncommittedSize)
	}
}

// Types of entries that are not the library's are the user's own: like EntryNormal they
// go into the log as they are, and no election waits for them.
func TestEntriesOfOwnTypes(t *testing.T) {
	const own = pb.EntryType(7)
	n := nodeWith(t, 1, 0)
	n.lead(t)
	if err := n.Step(pb.Message{Type: pb.MsgProp, From: 1, Entries: []pb.Entry{{Type: own, Data: []byte("mine")}, {Type: own}}}); err != nil {
		t.Fatal(err)
	}
	entries := n.Ready().Entries
	if len(entries) != 2 || entries[0].Type != own || string(entries[0].Data) != "mine" || entries[1].Type != own {
		t.Errorf("appended %v", entries)
	}
	if got := DescribeEntry(entries[0], nil); got != "2/2 7" {
		t.Errorf("described as %s", got)
	}

	s := storageWith(1, 2, 3)
	if err := errors.Join(s.Append([]pb.Entry{{Term: 1, Index: 1, Type: own}}), s.SetHardState(pb.HardState{Term: 1, Commit: 1})); err != nil {
		t.Fatal(err)
	}
	c := testConfig(1, s)
	rn, err := NewRawNode(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := rn.Campaign(); err != nil || rn.raft.role == StateFollower {
		t.Errorf("%v with a committed entry of its own type, unapplied (%v)", rn.raft.role, err)
	}
}
