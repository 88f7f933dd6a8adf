// Node: the channels around the state machine, in fake time.

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

// user is the usual loop around a Node.
type user struct {
	Node
	storage *MemoryStorage
	mu      sync.Mutex
	applied []string
	lead    uint64
	done    chan struct{}
}

func startUser(t *testing.T, ctx context.Context, change func(*Config)) *user {
	t.Helper()
	u := &user{storage: NewMemoryStorage(), done: make(chan struct{})}
	c := testConfig(1, u.storage)
	if change != nil {
		change(c)
	}
	u.Node = StartNode(c, []Peer{{ID: 1}})
	go func() {
		defer close(u.done)
		u.loop(t, ctx)
	}()
	return u
}

func (u *user) loop(t *testing.T, ctx context.Context) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			u.Tick()
		case rd := <-u.Ready():
			if err := errors.Join(u.storage.Append(rd.Entries), u.storage.SetHardState(rd.HardState)); err != nil {
				t.Error(err)
			}
			u.take(t, rd)
			u.Advance()
		case <-ctx.Done():
			return
		}
	}
}

func (u *user) take(t *testing.T, rd Ready) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if rd.SoftState != nil {
		u.lead = rd.Lead
	}
	for _, e := range rd.CommittedEntries {
		switch e.Type {
		case pb.EntryConfChange:
			var cc pb.ConfChange
			if err := cc.Unmarshal(e.Data); err != nil {
				t.Error(err)
			}
			u.ApplyConfChange(cc)
		case pb.EntryNormal:
			if len(e.Data) > 0 {
				u.applied = append(u.applied, string(e.Data))
			}
		}
	}
}

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

// After Stop everything returns, and Stop may be called again.
func TestStoppedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := RestartNode(testConfig(1, storageWith(1)))
		n.Stop()
		n.Stop()
		ctx := t.Context()
		for name, err := range map[string]error{
			"Propose": n.Propose(ctx, nil), "Campaign": n.Campaign(ctx), "ReadIndex": n.ReadIndex(ctx, nil),
			"ForgetLeader": n.ForgetLeader(ctx), "Step": n.Step(ctx, pb.Message{Type: pb.MsgHeartbeat, From: 2, Term: 1}),
			"ProposeConfChange": n.ProposeConfChange(ctx, pb.ConfChange{}),
		} {
			if !errors.Is(err, ErrStopped) {
				t.Errorf("%s: %v", name, err)
			}
		}
		n.Tick()
		n.Advance()
		n.ReportUnreachable(2)
		n.ReportSnapshot(2, SnapshotFinish)
		n.TransferLeadership(ctx, 1, 2)
		if st := n.Status(); st.ID != 0 {
			t.Errorf("status %v", st)
		}
		if cs := n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 2}); len(cs.Voters) != 0 {
			t.Errorf("configuration %v", cs)
		}
		select {
		case <-n.Ready():
			t.Error("a Ready after Stop")
		default:
		}
	})
}

// Step ignores what no peer may say, and answers of strangers; ticks are not lost
// while the loop is busy, up to a limit, and never block.
func TestStepAndTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := RestartNode(testConfig(1, storageWith(1, 2, 3)))
		ctx := t.Context()
		for _, m := range []pb.Message{
			{Type: pb.MsgHup, From: 2},
			{Type: pb.MsgCheckQuorum, From: 2},
			{Type: pb.MsgAppResp, From: 9, Term: 5},
		} {
			if err := n.Step(ctx, m); err != nil {
				t.Errorf("%v: %v", m.Type, err)
			}
		}
		if st := n.Status(); st.Term != 0 || st.RaftState != StateFollower {
			t.Errorf("status %v", st)
		}
		for range 1000 {
			n.Tick()
		}
		n.Stop()
	})
}

// A Ready is offered once, and not the next one before Advance.
func TestReadyWaitsForAdvance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storageWith(1)
		n := RestartNode(testConfig(1, s))
		defer n.Stop()
		if err := n.Campaign(t.Context()); err != nil {
			t.Fatal(err)
		}
		rd := <-n.Ready()
		synctest.Wait()
		select {
		case next := <-n.Ready():
			t.Fatalf("a second Ready: %v", DescribeReady(next, nil))
		default:
		}
		if err := s.SetHardState(rd.HardState); err != nil {
			t.Fatal(err)
		}
		n.Advance()
		if rd = <-n.Ready(); rd.RaftState != StateLeader {
			t.Errorf("%v", DescribeReady(rd, nil))
		}
	})
}
