// Node: the channels around the state machine, in fake time.

package raft

import (
	"bytes"
	"context"
	"errors"
	"log"
	"strings"
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

// After Stop everything returns, and Stop may be called again.
func TestStoppedNode(t *testing.T) {
	for range 100 {
		n := start(mustRawNode(testConfig(1, storageWith(1))))
		n.Status() // it runs
		n.Stop()
		select {
		case <-n.done:
		default:
			t.Fatal("Stop does not wait for the loop")
		}
	}
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
		if left := len(n.(*node).inbox.waiting); left > 0 {
			t.Errorf("%d proposals are kept", left)
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

// diss. §4.4: RestartNode on an empty storage makes no group: the node waits to be added
// to one.
func TestRestartNodeMakesNoGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := RestartNode(testConfig(1, NewMemoryStorage()))
		defer n.Stop()
		if err := n.Campaign(t.Context()); err != nil {
			t.Error(err)
		}
		if st := n.Status(); st.Config.String() != "voters=()" || st.RaftState != StateFollower || st.Term != 0 {
			t.Errorf("status %v, %v", st, st.Config)
		}
		if rd, ok := offered(t, n, NewMemoryStorage()); ok {
			t.Errorf("%s", DescribeReady(rd, nil))
		}
	})
}

// Step ignores what no peer may say, and answers of strangers: there is no error, and
// nothing happens.
func TestStepIgnoresWhatNoPeerMaySay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := RestartNode(testConfig(1, storageWith(1, 2, 3)))
		defer n.Stop()
		ctx := t.Context()
		for mt := pb.MsgHup; mt <= pb.MsgForgetLeader; mt++ {
			var from uint64
			switch {
			case IsLocalMsg(mt):
				from = 2
			case IsResponseMsg(mt):
				from = 9
			default:
				continue
			}
			if err := n.Step(ctx, pb.Message{Type: mt, From: from, Term: 5, Reject: true}); err != nil {
				t.Errorf("%v: %v", mt, err)
			}
		}
		if st := n.Status(); st.Term != 0 || st.RaftState != StateFollower {
			t.Errorf("status %v", st)
		}
		if rd, ok := offered(t, n, NewMemoryStorage()); ok {
			t.Errorf("%s", DescribeReady(rd, nil))
		}
	})
}

// With asynchronous writes a Ready follows the other without Advance; what the threads
// have done comes back through Step.
func TestNodeWithAsynchronousWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storageWith(1, 2, 3)
		c := testConfig(1, s)
		c.AsyncStorageWrites = true
		n := RestartNode(c)
		defer n.Stop()
		var answers []pb.Message
		for index := range uint64(2) {
			mustStepNode(t, n, pb.Message{
				Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: index, LogTerm: min(index, 1), Commit: 2, Entries: entriesFrom(index+1, 1),
			})
			rd := <-n.Ready()
			m := one(t, rd.Messages)
			if m.To != LocalAppendThread || len(rd.CommittedEntries) > 0 {
				t.Fatalf("%s", DescribeReady(rd, nil))
			}
			if err := s.Append(m.Entries); err != nil {
				t.Fatal(err)
			}
			answers = append(answers, m.Responses...)
		}
		for _, m := range answers {
			if m.To == 1 {
				mustStepNode(t, n, m)
			}
		}
		m := one(t, (<-n.Ready()).Messages)
		if m.To != LocalApplyThread || len(m.Entries) != 2 {
			t.Fatalf("%s", DescribeMessage(m, nil))
		}
		if applied := n.Status().Applied; applied != 0 {
			t.Errorf("applied %d before the state machine said so", applied)
		}
		mustStepNode(t, n, m.Responses[0])
		if applied := n.Status().Applied; applied != 2 {
			t.Errorf("applied %d", applied)
		}
	})
}

// A node whose loop is busy: ticks wait for it, as many as there is room for, and never
// block; other calls wait as long as their contexts allow.
func TestBusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := testConfig(1, storageWith(1, 2, 3))
		c.Logger = &DefaultLogger{Logger: log.New(&out, "", 0)}
		n := newNode(mustRawNode(c)) // its loop does not run yet
		for range ticksAhead + 3 {
			n.Tick()
		}
		if lost := strings.Count(out.String(), "WARN"); len(n.tickc) != ticksAhead || lost != 3 {
			t.Errorf("%d ticks wait, %d warnings", len(n.tickc), lost)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for name, call := range map[string]func(context.Context) error{
			"Campaign":     n.Campaign,
			"ForgetLeader": n.ForgetLeader,
			"ReadIndex":    func(ctx context.Context) error { return n.ReadIndex(ctx, []byte("r")) },
			"Step": func(ctx context.Context) error {
				return n.Step(ctx, pb.Message{Type: pb.MsgHeartbeat, From: 2, Term: 1})
			},
			"Propose":           func(ctx context.Context) error { return n.Propose(ctx, nil) },
			"ProposeConfChange": func(ctx context.Context) error { return n.ProposeConfChange(ctx, pb.ConfChange{}) },
		} {
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
		go n.run()
		if err := n.Campaign(t.Context()); err != nil { // taken, whatever comes of it
			t.Errorf("Campaign: %v", err)
		}
		n.Stop()
	})
}

// A Ready that nobody has taken yet grows.
func TestReadyGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := RestartNode(testConfig(1, storageWith(1, 2, 3)))
		defer n.Stop()
		for _, m := range []pb.Message{
			{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1},
			{Type: pb.MsgApp, From: 2, To: 1, Term: 1, Entries: entriesFrom(1, 1)},
		} {
			if err := n.Step(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // it is offered
		}
		if rd := <-n.Ready(); len(rd.Messages) != 2 || len(rd.Entries) != 1 {
			t.Errorf("%s", DescribeReady(rd, nil))
		}
	})
}

// ledNode returns a node that leads a group of its own, and its storage; all its Readys
// are done.
func ledNode(t *testing.T, change func(*Config)) (Node, *MemoryStorage) {
	t.Helper()
	s := storageWith(1)
	c := testConfig(1, s)
	if change != nil {
		change(c)
	}
	n := RestartNode(c)
	if err := n.Campaign(t.Context()); err != nil {
		t.Fatal(err)
	}
	doReadys(t, n, s)
	if st := n.Status(); st.RaftState != StateLeader {
		t.Fatalf("status %v", st)
	}
	return n, s
}

// doReadys does all Readys there are, and returns what they want to be applied.
func doReadys(t *testing.T, n Node, s *MemoryStorage) (committed []pb.Entry) {
	t.Helper()
	for {
		synctest.Wait()
		select {
		case rd := <-n.Ready():
			if err := errors.Join(s.Append(rd.Entries), s.SetHardState(rd.HardState)); err != nil {
				t.Fatal(err)
			}
			committed = append(committed, rd.CommittedEntries...)
			n.Advance()
		default:
			return committed
		}
	}
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
