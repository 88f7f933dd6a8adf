// Forwarding: proposals of a follower either leave for the leader or are refused.

package main

import (
	"bytes"
	"errors"
	"testing"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs/crashfs"
)

// newForwarder returns a node that is not started, and a waiter of its store with
// the command it waits for.
func newForwarder(t *testing.T) (*raftNode, *waiter, []byte) {
	n := &raftNode{cfg: config{id: 2}, forwarded: make(chan raftpb.Message, 1)}
	n.outgoing.filled = make(chan struct{}, 1)
	n.store = newKVStore(n, 2, 1, nil)
	w := waiters.Get().(*waiter)
	c := &command{op: opPut, member: 2, incarnation: 1, key: "key", value: "value"}
	if !n.store.enter(w, c, 8) {
		t.Fatal("no room for one waiter")
	}
	t.Cleanup(func() { n.store.leave(w, 8) })
	return n, w, c.encode()
}

// What cannot leave is refused at once, and was never proposed: nobody leads any more,
// or this node leads now and has too much to do.
func TestUnsentForwardsAreRefused(t *testing.T) {
	for name, lead := range map[string]uint64{"no leader": raft.None, "leader with a full queue": 2} {
		t.Run(name, func(t *testing.T) {
			n, w, data := newForwarder(t)
			n.lead.Store(1)
			if err := n.Propose(t.Context(), data); err != nil {
				t.Fatal(err)
			}
			n.lead.Store(lead)
			n.forwarded <- raftpb.Message{}
			n.forwardProposals()
			select {
			case got := <-w.outcome:
				if !errors.Is(got.err, errDropped) {
					t.Errorf("outcome %v, want %v", got.err, errDropped)
				}
			default:
				t.Error("the waiter has heard nothing")
			}
		})
	}
}

// A follower that has become the leader meanwhile proposes what it would have sent.
func TestForwardsOfANewLeaderStay(t *testing.T) {
	n, _, data := newForwarder(t)
	n.lead.Store(1)
	if err := n.Propose(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	n.lead.Store(2)
	n.forwardProposals()
	m := <-n.forwarded
	if m.Type != raftpb.MsgProp || len(m.Entries) != 1 || string(m.Entries[0].Data) != string(data) {
		t.Errorf("proposed %v", &m)
	}
}

// While the disk hangs nobody takes what is to be sent: it must not pile up.
func TestForwardsAreBounded(t *testing.T) {
	for name, size := range map[string]int{"many": 1, "large": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			n, _, _ := newForwarder(t)
			n.lead.Store(1)
			data, taken := make([]byte, size), 0
			for n.Propose(t.Context(), data) == nil {
				if taken++; taken > maxWaiting {
					t.Fatalf("took more than %d", maxWaiting)
				}
			}
			if want := min(maxWaiting, maxWaitingBytes/size); taken != want {
				t.Errorf("took %d, want %d", taken, want)
			}
			if err := n.Propose(t.Context(), data); !errors.Is(err, raft.ErrProposalDropped) {
				t.Errorf("then: %v, want %v", err, raft.ErrProposalDropped)
			}
			if entries := n.outgoing.take(); len(entries) != taken {
				t.Errorf("%d wait, want %d", len(entries), taken)
			}
			if err := n.Propose(t.Context(), data); err != nil {
				t.Errorf("after they were taken: %v", err)
			}
		})
	}
}

// Heartbeats need not wait for long: what is forwarded goes in messages that are not large,
// in order.
func TestForwardsGoInPieces(t *testing.T) {
	t.Parallel()
	n, err := follower(t, crashfs.New())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan raftpb.Message, 100)
	peer := messagesTo(t, got)
	defer peer.Close()
	n.transport.SetPeer(2, peer.URL)
	n.lead.Store(2)
	const entries, size = 20, 300 << 10
	for i := range entries {
		if err := n.Propose(t.Context(), bytes.Repeat([]byte{byte(i)}, size)); err != nil {
			t.Fatal(err)
		}
	}
	n.forwardProposals()
	for i := 0; i < entries; {
		m := <-got
		if m.Type != raftpb.MsgProp || m.Size() > maxForwardBytes+size {
			t.Errorf("a %v of %d bytes", m.Type, m.Size())
		}
		for _, e := range m.Entries {
			if len(e.Data) != size || e.Data[0] != byte(i) {
				t.Errorf("entry %d is another", i)
			}
			i++
		}
	}
	if err := errors.Join(n.close(), n.dir.close()); err != nil {
		t.Error(err)
	}
}

// A leader that hears from nobody, or a slow peer, costs so much memory and no more, and
// whoever was cut off disturbs nobody (diss. §6.2, §9.6): Raft sees to that if it is told to.
func TestRaftIsTold(t *testing.T) {
	c := (&raftNode{}).raftConfig()
	if !c.CheckQuorum || !c.PreVote {
		t.Errorf("check quorum %t, pre-vote %t", c.CheckQuorum, c.PreVote)
	}
	for what, bytes := range map[string]uint64{
		"not committed": c.MaxUncommittedEntriesSize, "in flight": c.MaxInflightBytes,
		"in a Ready": c.MaxCommittedSizePerReady, "in a message": c.MaxSizePerMsg,
	} {
		if bytes == 0 || bytes > 64<<20 {
			t.Errorf("%d bytes %s", bytes, what)
		}
	}
}
