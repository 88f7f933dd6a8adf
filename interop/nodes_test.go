// Nodes of both: the goroutine around a RawNode, where what it does differs.
//
// Start at TestNodeGathers.

package interop

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"

	theirs "go.etcd.io/raft/v3"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// loop is a Node of either library with its storage.
type loop struct {
	campaign func() error
	propose  func(data string) error
	step     func(pb.Message) error
	ready    func() []pb.Message // takes a Ready, stores what it has, and returns its messages
	advance  func()
	stop     func()
}

// loopConfig is for nodes whose group, in threeVoters, has a log that begins after entry 1.
var (
	loopConfig = raft.Config{
		ID: 1, ElectionTick: 10, HeartbeatTick: 1, MaxSizePerMsg: math.MaxUint64, MaxInflightMsgs: 16, Logger: silent{},
	}
	threeVoters = pb.Snapshot{Metadata: pb.SnapshotMetadata{Term: 1, Index: 1, ConfState: pb.ConfState{Voters: []uint64{1, 2, 3}}}}
)

func ourLoop() loop {
	s := raft.NewMemoryStorage()
	must(s.ApplySnapshot(threeVoters))
	c := loopConfig
	c.Storage = s
	n := raft.RestartNode(&c)
	ctx := context.Background()
	return loop{
		campaign: func() error { return n.Campaign(ctx) },
		propose:  func(data string) error { return n.Propose(ctx, []byte(data)) },
		step:     func(m pb.Message) error { return n.Step(ctx, m) },
		ready: func() []pb.Message {
			rd := <-n.Ready()
			must(errors.Join(s.Append(rd.Entries), s.SetHardState(rd.HardState)))
			return rd.Messages
		},
		advance: n.Advance, stop: n.Stop,
	}
}

func theirLoop() loop {
	s := theirs.NewMemoryStorage()
	must(s.ApplySnapshot(toSnapshot(threeVoters)))
	n := theirs.RestartNode(theirConfig(loopConfig, s))
	ctx := context.Background()
	return loop{
		campaign: func() error { return n.Campaign(ctx) },
		propose:  func(data string) error { return n.Propose(ctx, []byte(data)) },
		step:     func(m pb.Message) error { return n.Step(ctx, toMessage(m)) },
		ready: func() []pb.Message {
			rd := <-n.Ready()
			must(errors.Join(s.Append(rd.Entries), s.SetHardState(rd.HardState)))
			return fromReady(rd).Messages
		},
		advance: n.Advance, stop: n.Stop,
	}
}

// lead makes a node the leader, with entry 2 of term 1 committed, and a Ready outstanding.
func (l loop) lead() {
	must(l.campaign())
	l.ready()
	l.advance()
	must(l.step(pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 1}))
	l.ready()
	l.advance()
	must(l.step(pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 1, Index: 2}))
	l.ready()
}

// Three proposals come while a Ready is at the disk.
func TestNodeGathers(t *testing.T) {
	appends := func(start func() loop) (entries []int) {
		synctest.Test(t, func(t *testing.T) {
			n := start()
			defer n.stop()
			n.lead()
			for _, data := range []string{"a", "b", "c"} {
				must(n.propose(data))
			}
			n.advance()
			for _, m := range n.ready() {
				if m.Type == pb.MsgApp && m.To == 2 {
					entries = append(entries, len(m.Entries))
				}
			}
		})
		return entries
	}
	if got := appends(theirLoop); !slices.Equal(got, []int{1, 1, 1}) {
		t.Errorf("etcd's sent appends of %v entries: what we differ from is gone", got)
	}
	if got := appends(ourLoop); !slices.Equal(got, []int{3}) {
		t.Errorf("ours sent appends of %v entries", got)
	}
}

// A follower gets three proposals while a Ready is at the disk.
func TestNodeGathersForwards(t *testing.T) {
	forwards := func(start func() loop) (entries []int) {
		synctest.Test(t, func(t *testing.T) {
			n := start()
			defer n.stop()
			must(n.step(pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 2}))
			n.ready()
			for _, data := range []string{"a", "b", "c"} {
				must(n.propose(data))
			}
			n.advance()
			for _, m := range n.ready() {
				if m.Type == pb.MsgProp {
					entries = append(entries, len(m.Entries))
				}
			}
		})
		return entries
	}
	if got := forwards(theirLoop); !slices.Equal(got, []int{1, 1, 1}) {
		t.Errorf("etcd's forwarded %v entries: what we differ from is gone", got)
	}
	if got := forwards(ourLoop); !slices.Equal(got, []int{3}) {
		t.Errorf("ours forwarded %v entries", got)
	}
}

// A peer's proposal of nothing, to a leader. etcd's Node would take the test down with
// it, so its RawNode stands in.
func TestNodeIgnoresAProposalOfNothing(t *testing.T) {
	nothing := pb.Message{Type: pb.MsgProp, From: 2, To: 1}
	for _, eng := range []engine{etcd{}, ours{}} {
		c := newCluster(t, plainPlan(3), eng)
		c.elect(1)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a RawNode of %s did not panic: what we differ from is gone", eng.name())
				}
			}()
			must(c.member(1).node.Step(nothing))
		}()
	}
	synctest.Test(t, func(t *testing.T) {
		n := ourLoop()
		defer n.stop()
		n.lead()
		must(n.step(nothing))
		must(n.propose("something"))
		n.advance()
		if len(n.ready()) == 0 {
			t.Error("nothing happens any more")
		}
	})
}
