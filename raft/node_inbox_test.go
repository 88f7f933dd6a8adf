// Proposals on their way to a Node's loop: how they wait, and what their proposers hear.

package raft

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// Propose waits for a leader, and then for the outcome; proposals that come at the
// same time are all appended.
func TestProposeFromManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		u := startUser(t, ctx, nil)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { // there is no leader yet
				if err := u.Propose(ctx, fmt.Appendf(nil, "%d", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		u.mu.Lock()
		if len(u.applied) != 100 || u.lead != 1 {
			t.Errorf("%d applied, leader %d", len(u.applied), u.lead)
		}
		u.mu.Unlock()
		cancel()
		<-u.done
		u.Stop()
	})
}

// Together they may be too large for the limit; then those that fit get in, each
// proposer hearing of its own.
func TestBatchBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		u := startUser(t, ctx, func(c *Config) { c.MaxUncommittedEntriesSize = 100 })
		var mu sync.Mutex
		var taken, dropped int
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				err := u.Propose(ctx, make([]byte, 40))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					taken++
				case errors.Is(err, ErrProposalDropped):
					dropped++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if taken < 2 || dropped == 0 {
			t.Errorf("%d taken, %d dropped", taken, dropped)
		}
		synctest.Wait()
		u.mu.Lock()
		if len(u.applied) != taken {
			t.Errorf("%d applied, %d taken", len(u.applied), taken)
		}
		u.mu.Unlock()
		cancel()
		<-u.done
		u.Stop()
	})
}

// Without a leader Propose ends with its context, or with the node.
func TestProposeWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := RestartNode(testConfig(1, storageWith(1, 2, 3)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Propose(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after its time: %v", err)
		}
		ended := make(chan error)
		go func() { ended <- n.Propose(t.Context(), []byte("x")) }()
		synctest.Wait()
		n.Stop()
		if err := <-ended; !errors.Is(err, ErrStopped) {
			t.Errorf("after Stop: %v", err)
		}
	})
}

// A change of membership may be applied while its Ready is outstanding. A node that was
// removed takes no more proposals until there is another leader.
func TestProposalsOfARemovedNodeWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storageWith(1, 2)
		n := RestartNode(testConfig(1, s))
		defer n.Stop()
		heartbeat := pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1}
		if err := n.Step(t.Context(), heartbeat); err != nil {
			t.Fatal(err)
		}
		<-n.Ready() // and no Advance
		remove := pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1}
		if cs := n.ApplyConfChange(remove); len(cs.Voters) != 1 || cs.Voters[0] != 2 {
			t.Errorf("%v", cs)
		}
		n.Advance()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Propose(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("when it was removed: %v", err)
		}
		heartbeat.From, heartbeat.Term = 3, 2
		if err := n.Step(t.Context(), heartbeat); err != nil {
			t.Fatal(err)
		}
		if err := n.Propose(t.Context(), []byte("x")); err != nil {
			t.Errorf("with another leader: %v", err)
		}
	})
}

// A node that is no member yet goes on forwarding proposals, whoever else is added.
func TestProposalsOfANewNodeGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := RestartNode(testConfig(1, storageWith(2, 3)))
		defer n.Stop()
		mustStepNode(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
		n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Propose(ctx, []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// Propose says if a proposal was dropped; a proposal from a peer, and a change of
// membership, are dropped in silence.
func TestDroppedProposalsOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := ledNode(t, func(c *Config) { c.MaxUncommittedEntriesSize = 1 })
		defer n.Stop()
		if err := n.Propose(t.Context(), []byte("much too large, and the first")); err != nil {
			t.Error(err)
		}
		if err := n.Propose(t.Context(), []byte("x")); !errors.Is(err, ErrProposalDropped) {
			t.Errorf("Propose: %v", err)
		}
		if err := n.Step(t.Context(), pb.Message{Type: pb.MsgProp, From: 2, Entries: []pb.Entry{{Data: []byte("y")}}}); err != nil {
			t.Errorf("Step: %v", err)
		}
		change := pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 2}
		if err := n.ProposeConfChange(t.Context(), change); err != nil {
			t.Errorf("ProposeConfChange: %v", err)
		}
		if committed := doReadys(t, n, s); len(committed) != 1 {
			t.Errorf("committed %v, want the first", committed)
		}
	})
}

// A peer that proposes nothing does not stop a node, whether it comes alone or among
// others that are too much together.
func TestProposalOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := ledNode(t, func(c *Config) { c.MaxUncommittedEntriesSize = 1 })
		defer n.Stop()
		nothing := pb.Message{Type: pb.MsgProp, From: 2, To: 1}
		mustStepNode(t, n, nothing)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { mustStepNode(t, n, nothing) })
			wg.Go(func() {
				if err := n.Propose(t.Context(), []byte("xx")); err != nil && !errors.Is(err, ErrProposalDropped) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if committed := doReadys(t, n, s); len(committed) != 1 || string(committed[0].Data) != "xx" {
			t.Errorf("committed %v", committed)
		}
	})
}

// A proposal that a peer forwarded is forwarded, if need be, in this node's name.
func TestForwardedProposalsAreOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := RestartNode(testConfig(1, storageWith(1, 2, 3)))
		defer n.Stop()
		stepped := make(chan error)
		go func() { // it waits for a leader
			stepped <- n.Step(t.Context(), pb.Message{Type: pb.MsgProp, From: 3, To: 1, Entries: []pb.Entry{{Data: []byte("x")}}})
		}()
		synctest.Wait()
		select {
		case err := <-stepped:
			t.Fatalf("without a leader: %v", err)
		default:
		}
		if err := n.Step(t.Context(), pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1}); err != nil {
			t.Fatal(err)
		}
		if err := <-stepped; err != nil {
			t.Error(err)
		}
		rd := <-n.Ready()
		if m := rd.Messages[len(rd.Messages)-1]; m.Type != pb.MsgProp || m.From != 1 || m.To != 2 {
			t.Errorf("%s", DescribeReady(rd, nil))
		}
	})
}

// A user may propose between a Ready and its Advance, from the same goroutine: the
// proposal is taken at once, and goes with the next Ready.
func TestProposeBeforeAdvance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storageWith(1)
		n := RestartNode(testConfig(1, s))
		defer n.Stop()
		if err := n.Campaign(t.Context()); err != nil {
			t.Fatal(err)
		}
		for proposed := 0; proposed < 3; {
			rd := <-n.Ready()
			if err := s.SetHardState(rd.HardState); err != nil {
				t.Fatal(err)
			}
			if err := s.Append(rd.Entries); err != nil {
				t.Fatal(err)
			}
			if n.Status().RaftState == StateLeader {
				if err := n.Propose(t.Context(), []byte("x")); err != nil {
					t.Fatal(err)
				}
				proposed++
			}
			n.Advance()
		}
	})
}

// A proposal whose context ends while it waits for a leader is not made later.
func TestWithdrawnProposal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storageWith(1)
		n := RestartNode(testConfig(1, s))
		defer n.Stop()
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := make(chan error)
		go func() { cancelled <- n.Propose(ctx, []byte("withdrawn")) }()
		kept := make(chan error)
		go func() { kept <- n.Propose(t.Context(), []byte("kept")) }()
		synctest.Wait()
		cancel()
		if err := <-cancelled; err != context.Canceled {
			t.Errorf("cancelled: %v", err)
		}
		if err := n.Campaign(t.Context()); err != nil {
			t.Fatal(err)
		}
		var applied []string
		for len(applied) == 0 {
			rd := <-n.Ready()
			if err := s.SetHardState(rd.HardState); err != nil {
				t.Fatal(err)
			}
			if err := s.Append(rd.Entries); err != nil {
				t.Fatal(err)
			}
			for _, e := range rd.CommittedEntries {
				if len(e.Data) > 0 {
					applied = append(applied, string(e.Data))
				}
			}
			n.Advance()
		}
		if err := <-kept; err != nil || fmt.Sprint(applied) != "[kept]" {
			t.Errorf("kept: %v; applied %v", err, applied)
		}
	})
}

// One that is withdrawn may leave the loop awake with nothing to do.
func TestWithdrawnProposalAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storageWith(1)
		n := RestartNode(testConfig(1, s))
		defer n.Stop()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := n.Propose(ctx, []byte("withdrawn")); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := n.Campaign(t.Context()); err != nil {
			t.Fatal(err)
		}
		if committed := doReadys(t, n, s); len(committed) != 1 || committed[0].Data != nil {
			t.Errorf("committed %v, want the leader's own entry", committed)
		}
	})
}
