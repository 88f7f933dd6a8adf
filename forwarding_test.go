// Forwarding: proposals of a follower either leave for the leader or are refused.

package main

import (
	"errors"
	"testing"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
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
