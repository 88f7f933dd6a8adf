// The loop of a Node: what it hands on, what it gathers, and when it hands it out.
//
//	diss. §10.2.2 (batching)
//
// gather_test.go has what a leader gathers without the channels around it.

package raft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// offered takes the Ready that is on offer and does it, or reports that there is none.
func offered(t *testing.T, n Node, s *MemoryStorage) (Ready, bool) {
	t.Helper()
	synctest.Wait()
	select {
	case rd := <-n.Ready():
		if err := errors.Join(s.Append(rd.Entries), s.SetHardState(rd.HardState)); err != nil {
			t.Fatal(err)
		}
		n.Advance()
		return rd, true
	default:
		return Ready{}, false
	}
}

// allOffered takes Readys until there is none.
func allOffered(t *testing.T, n Node, s *MemoryStorage) (all []Ready) {
	t.Helper()
	for {
		rd, ok := offered(t, n, s)
		if !ok {
			return all
		}
		all = append(all, rd)
	}
}

func mustStepNode(t *testing.T, n Node, m pb.Message) {
	t.Helper()
	if err := n.Step(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func mustPropose(t *testing.T, n Node, data ...string) {
	t.Helper()
	for _, d := range data {
		if err := n.Propose(t.Context(), []byte(d)); err != nil {
			t.Fatal(err)
		}
	}
}

// leaderNode returns a node that leads three in term 1, with nothing to do: entry 1 is
// committed.
func leaderNode(t *testing.T) (Node, *MemoryStorage) {
	t.Helper()
	s := storageWith(1, 2, 3)
	n := RestartNode(testConfig(1, s))
	if err := n.Campaign(t.Context()); err != nil {
		t.Fatal(err)
	}
	doReadys(t, n, s)
	mustStepNode(t, n, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 1})
	doReadys(t, n, s)
	for _, id := range []uint64{2, 3} {
		mustStepNode(t, n, acked(id, 1, 1))
	}
	doReadys(t, n, s)
	if st := n.Status(); st.RaftState != StateLeader || st.Commit != 1 {
		t.Fatalf("%v", st)
	}
	return n, s
}

// appendsTo lists how many entries the appends to a node have.
func appendsTo(id uint64, rd Ready) (counts []int) {
	for _, m := range rd.Messages {
		if m.Type == pb.MsgApp && m.To == id {
			counts = append(counts, len(m.Entries))
		}
	}
	return counts
}

// What is proposed while a Ready is at the disk goes with the next one, as one append to
// each. What comes while those are not committed waits, but not longer than a tick.
func TestNodeGathersProposals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := leaderNode(t)
		defer n.Stop()
		mustStepNode(t, n, beat(2, 1, ""))
		if err := n.ReadIndex(t.Context(), []byte("r")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		rd := <-n.Ready()
		mustPropose(t, n, "a", "b", "c")
		if counts := appendsTo(2, rd); len(counts) > 0 {
			t.Errorf("appends %v before anything was proposed", counts)
		}
		n.Advance()
		rd, ok := offered(t, n, s)
		if counts := appendsTo(2, rd); !ok || !slices.Equal(counts, []int{3}) || !slices.Equal(appendsTo(3, rd), []int{3}) {
			t.Errorf("appends of %v entries, want one of 3: %s", counts, DescribeReady(rd, nil))
		}

		for _, name := range []string{"d", "e"} {
			mustPropose(t, n, name)
			if rd, ok := offered(t, n, s); ok {
				t.Errorf("%s did not wait for the round under way: %s", name, DescribeReady(rd, nil))
			}
			n.Tick()
			if rd, ok := offered(t, n, s); !ok || !slices.Equal(appendsTo(2, rd), []int{1}) {
				t.Errorf("%s waits longer than a tick: %t, %s", name, ok, DescribeReady(rd, nil))
			}
		}
	})
}

// A follower's proposals gather like that, too, and each is forwarded once.
func TestNodeGathersForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storageWith(1, 2, 3)
		n := RestartNode(testConfig(1, s))
		defer n.Stop()
		mustStepNode(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
		<-n.Ready()
		mustPropose(t, n, "a", "b")
		n.Advance()
		rd, ok := offered(t, n, s)
		if want := "1->2 MsgProp Term:0 Log:0/0 Entries:[\n  0/0 EntryNormal \"a\"\n  0/0 EntryNormal \"b\"\n]\n"; !ok || lines(rd.Messages) != want {
			t.Errorf("%s, want %s", DescribeReady(rd, nil), want)
		}
		mustPropose(t, n, "c")
		rd, ok = offered(t, n, s)
		if want := "1->2 MsgProp Term:0 Log:0/0 Entries:[0/0 EntryNormal \"c\"]\n"; !ok || lines(rd.Messages) != want {
			t.Errorf("%s, want %s", DescribeReady(rd, nil), want)
		}
		if rd, ok := offered(t, n, s); ok {
			t.Errorf("forwarded again: %s", DescribeReady(rd, nil))
		}
	})
}

// However many proposals gather, they are forwarded in the order in which they came, in
// messages of bounded size.
func TestForwardsKeepTheirOrder(t *testing.T) {
	for name, tt := range map[string]struct{ proposals, bytes, messages int }{
		"entries": {maxBatchEntries + 10, 4, 2},
		"bytes":   {9, maxBatchBytes / 4, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := storageWith(1, 2, 3)
			n := RestartNode(testConfig(1, s))
			defer n.Stop()
			mustStepNode(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
			<-n.Ready()
			for i := range tt.proposals {
				mustPropose(t, n, fmt.Sprintf("%*d", tt.bytes, i))
			}
			n.Advance()
			rd, _ := offered(t, n, s)
			if len(rd.Messages) != tt.messages {
				t.Errorf("%s: %d messages, want %d", name, len(rd.Messages), tt.messages)
			}
			i := 0
			for _, m := range rd.Messages {
				for _, e := range m.Entries {
					if want := fmt.Sprintf("%*d", tt.bytes, i); string(e.Data) != want {
						t.Fatalf("%s: %.20q is forwarded where %.20q should be", name, e.Data, want)
					}
					i++
				}
			}
			if i != tt.proposals {
				t.Errorf("%s: %d forwarded, %d proposed", name, i, tt.proposals)
			}
		})
	}
}

// What has gathered on a follower that is told to campaign is still its leader's to take,
// and goes before the campaign; what comes when it leads is appended here.
func TestForwardsOfANodeThatIsElected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storageWith(1, 2, 3)
		n := RestartNode(testConfig(1, s))
		defer n.Stop()
		mustStepNode(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
		<-n.Ready()
		mustPropose(t, n, "a", "b")
		mustStepNode(t, n, pb.Message{Type: pb.MsgTimeoutNow, From: 2, To: 1, Term: 1})
		n.Advance()
		rd, _ := offered(t, n, s)
		if got := lines(rd.Messages); !strings.HasPrefix(got, "1->2 MsgProp Term:0 Log:0/0 Entries:[\n  0/0 EntryNormal \"a\"\n  0/0 EntryNormal \"b\"\n]\n1->2 MsgVote") {
			t.Errorf("sent %s", got)
		}
		mustStepNode(t, n, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 2})
		mustPropose(t, n, "c")
		var got []string
		for _, rd := range allOffered(t, n, s) {
			for _, e := range rd.Entries {
				got = append(got, string(e.Data))
			}
		}
		if want := []string{"", "c"}; !slices.Equal(got, want) {
			t.Errorf("appended %q, want %q", got, want)
		}
	})
}

// A proposal becomes one entry, whatever was proposed before it; and a change of
// membership that leaves this node a member holds none up.
func TestProposalsFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := ledNode(t, nil)
		defer n.Stop()
		var got []string
		for i := range 5 {
			if i == 2 {
				n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddLearnerNode, NodeID: 2})
			}
			mustPropose(t, n, fmt.Sprint(i))
			for _, e := range doReadys(t, n, s) {
				got = append(got, string(e.Data))
			}
		}
		if want := []string{"0", "1", "2", "3", "4"}; !slices.Equal(got, want) {
			t.Errorf("committed %q, want %q", got, want)
		}
	})
}

// Proposals wait again when the leader is lost; those of a node that must not forward, or
// that campaigns, are dropped and their proposers told.
func TestProposalsThatGoNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(1, storageWith(1, 2, 3))
		c.DisableProposalForwarding = true
		n := RestartNode(c)
		defer n.Stop()
		mustStepNode(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
		if err := n.Propose(t.Context(), []byte("x")); !errors.Is(err, ErrProposalDropped) {
			t.Errorf("without forwarding: %v", err)
		}
		if err := n.ForgetLeader(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Propose(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a leader: %v", err)
		}
	})
}

// What the user reports reaches the state machine.
func TestNodePassesReportsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := leaderNode(t)
		defer n.Stop()
		state := func(id uint64) string {
			pr := n.Status().Progress[id]
			return pr.String()
		}
		n.ReportUnreachable(2)
		if got, want := state(2), "StateProbe match=1 next=2"; got != want {
			t.Errorf("unreachable: %s, want %s", got, want)
		}
		for status, want := range map[SnapshotStatus]string{
			SnapshotFinish: "StateProbe match=1 next=10 paused", SnapshotFailure: "StateProbe match=1 next=2 paused",
		} {
			synctest.Wait()
			n.(*node).rn.raft.trk.Progress[3].BecomeSnapshot(9)
			n.ReportSnapshot(3, status)
			if got := state(3); got != want {
				t.Errorf("snapshot with status %d: %s, want %s", status, got, want)
			}
		}
		n.TransferLeadership(t.Context(), 1, 2)
		if st := n.Status(); st.LeadTransferee != 2 {
			t.Errorf("handing over to %d", st.LeadTransferee)
		}
		if rd, ok := offered(t, n, s); !ok || len(rd.Messages) != 1 || rd.Messages[0].Type != pb.MsgTimeoutNow {
			t.Errorf("%s", DescribeReady(rd, nil))
		}
	})
}

// One message of proposals is not without bounds, in entries and in bytes; what is over
// waits for the next.
func TestInboxIsTakenInPortions(t *testing.T) {
	for name, tt := range map[string]struct {
		proposals []proposal
		want      []int // proposals in each portion
	}{
		"entries": {slices.Repeat([]proposal{{entries: make([]pb.Entry, maxBatchEntries/2)}}, 5), []int{2, 2, 1}},
		"bytes":   {slices.Repeat([]proposal{{entries: []pb.Entry{{Data: make([]byte, maxBatchBytes/2)}}}}, 5), []int{2, 2, 1}},
		"neither": {slices.Repeat([]proposal{{entries: []pb.Entry{{}}}}, 5), []int{5}},
		"large":   {slices.Repeat([]proposal{{entries: []pb.Entry{{Data: make([]byte, 2*maxBatchBytes)}}}}, 2), []int{1, 1}},
	} {
		in := inbox{filled: make(chan struct{}, 1)}
		for i := range tt.proposals {
			in.put(&tt.proposals[i])
		}
		var got []int
		for len(in.filled) > 0 { // the loop is woken
			<-in.filled
			got = append(got, len(in.take(nil)))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: portions of %v, want %v", name, got, tt.want)
		}
	}
}

// What is asked for after a proposal does not overtake it, and what makes a node forget
// its leader comes after it has forwarded it.
func TestForwardsGoFirst(t *testing.T) {
	const forwarded = "1->2 MsgProp Term:0 Log:0/0 Entries:[0/0 EntryNormal \"a\"]\n"
	for name, tt := range map[string]struct {
		then func(context.Context, Node) error
		sent string // what begins so comes behind
	}{
		"a transfer": {func(ctx context.Context, n Node) error {
			n.TransferLeadership(ctx, 2, 3)
			return nil
		}, "3->2 MsgTransferLeader"},
		"a read":      {func(ctx context.Context, n Node) error { return n.ReadIndex(ctx, []byte("r")) }, "1->2 MsgReadIndex"},
		"forgetting":  {func(ctx context.Context, n Node) error { return n.ForgetLeader(ctx) }, ""},
		"campaigning": {func(ctx context.Context, n Node) error { return n.Campaign(ctx) }, "1->2 MsgVote"},
		"a vote's term": {func(ctx context.Context, n Node) error {
			return n.Step(ctx, pb.Message{Type: pb.MsgVote, From: 3, To: 1, Term: 5})
		}, "1->3 MsgVoteResp"},
		"a change": {func(_ context.Context, n Node) error {
			n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 2})
			return nil
		}, ""},
		"ticks": {func(_ context.Context, n Node) error {
			for range 30 {
				n.Tick()
			}
			return nil
		}, "1->2 MsgVote"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := storageWith(1, 2, 3)
			n := RestartNode(testConfig(1, s))
			defer n.Stop()
			mustStepNode(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
			<-n.Ready()
			mustPropose(t, n, "a")
			if err := tt.then(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			n.Advance()
			rd, _ := offered(t, n, s)
			if got := lines(rd.Messages); !strings.HasPrefix(got, forwarded) || !strings.HasPrefix(got[len(forwarded):], tt.sent) {
				t.Errorf("%s: sent %s", name, got)
			}
		})
	}
}

// What is forwarded together is small for a message and for the leader's quota, which
// admits it whole or not at all; and a message with a context stays one.
func TestForwardsAreSmall(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		sizes  []int // of messages, in entries
	}{
		"no limits":          {func(*Config) {}, []int{10, 1, 1}},
		"small messages":     {func(c *Config) { c.MaxSizePerMsg = 300 }, []int{2, 2, 2, 2, 2, 1, 1}},
		"an entry a message": {func(c *Config) { c.MaxSizePerMsg = 0 }, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		"a small quota":      {func(c *Config) { c.MaxCommittedSizePerReady, c.MaxUncommittedEntriesSize = 1<<20, 8*450 }, []int{4, 4, 2, 1, 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := storageWith(1, 2, 3)
			c := testConfig(1, s)
			tt.change(c)
			n := RestartNode(c)
			defer n.Stop()
			mustStepNode(t, n, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
			<-n.Ready()
			for range 10 {
				mustPropose(t, n, strings.Repeat("x", 100))
			}
			mustStepNode(t, n, pb.Message{Type: pb.MsgProp, From: 1, Entries: []pb.Entry{{Data: []byte("y")}}, Context: []byte("context")})
			mustPropose(t, n, "z")
			n.Advance()
			var sizes []int
			for _, rd := range allOffered(t, n, s) {
				for _, m := range rd.Messages {
					if (string(m.Context) == "context") != (string(m.Entries[0].Data) == "y") {
						t.Errorf("%s: context %q with %q", name, m.Context, m.Entries[0].Data)
					}
					sizes = append(sizes, len(m.Entries))
				}
			}
			if !slices.Equal(sizes, tt.sizes) {
				t.Errorf("%s: messages of %v entries, want %v", name, sizes, tt.sizes)
			}
		})
	}
}
