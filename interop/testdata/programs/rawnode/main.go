// RawNodes in lock step, with storage written in place and by threads: every step
// is printed, so that the output tells all that the library decides.
//
// It is written against go.etcd.io/raft/v3 and built against the library of this
// repository too, with other import paths and nothing else.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/quorum"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

type member struct {
	*raft.RawNode
	id      uint64
	storage *raft.MemoryStorage
}

type group struct {
	members map[uint64]*member
	order   []uint64
	async   bool
	net     []pb.Message
}

func (g *group) add(id uint64, founders []raft.Peer) *member {
	m := &member{id: id, storage: raft.NewMemoryStorage()}
	var err error
	m.RawNode, err = raft.NewRawNode(&raft.Config{
		ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: m.storage, AsyncStorageWrites: g.async,
		MaxSizePerMsg: math.MaxUint64, MaxInflightMsgs: 8, MaxInflightBytes: math.MaxUint64,
		Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}, StepDownOnRemoval: true,
	})
	check(err)
	if founders != nil {
		check(m.Bootstrap(founders))
	}
	g.members[id] = m
	g.order = append(g.order, id)
	return m
}

// settle handles Readys and messages until there are none, printing all.
func (g *group) settle() {
	for busy := true; busy; {
		busy = false
		for _, id := range g.order {
			for m := g.members[id]; m.HasReady(); busy = true {
				rd := m.Ready()
				fmt.Printf("node %d: %s", id, raft.DescribeReady(rd, nil))
				if g.async {
					g.route(m, rd.Messages)
				} else {
					g.handle(m, rd)
				}
			}
		}
		messages := g.net
		g.net = nil
		for _, msg := range messages {
			if to := g.members[msg.To]; to != nil {
				busy = true
				if err := to.Step(msg); err != nil {
					fmt.Println("step:", err)
				}
			}
		}
	}
}

func (g *group) handle(m *member, rd raft.Ready) {
	save(m, rd.HardState, rd.Entries, rd.Snapshot)
	g.net = append(g.net, rd.Messages...)
	apply(m, rd.CommittedEntries)
	m.Advance(rd)
}

// route does the work of the two storage threads at once.
func (g *group) route(m *member, messages []pb.Message) {
	for _, msg := range messages {
		switch msg.To {
		case raft.LocalAppendThread:
			var snap pb.Snapshot
			if msg.Snapshot != nil {
				snap = *msg.Snapshot
			}
			save(m, pb.HardState{Term: msg.Term, Vote: msg.Vote, Commit: msg.Commit}, msg.Entries, snap)
			g.net = append(g.net, msg.Responses...)
		case raft.LocalApplyThread:
			apply(m, msg.Entries)
			g.net = append(g.net, msg.Responses...)
		default:
			g.net = append(g.net, msg)
		}
	}
}

func save(m *member, hs pb.HardState, entries []pb.Entry, snap pb.Snapshot) {
	if !raft.IsEmptySnap(snap) {
		check(m.storage.ApplySnapshot(snap))
	}
	check(m.storage.Append(entries))
	if !raft.IsEmptyHardState(hs) {
		check(m.storage.SetHardState(hs))
	}
}

func apply(m *member, entries []pb.Entry) {
	for _, e := range entries {
		var cc pb.ConfChangeI
		switch e.Type {
		case pb.EntryConfChange:
			var v1 pb.ConfChange
			check(v1.Unmarshal(e.Data))
			cc = v1
		case pb.EntryConfChangeV2:
			var v2 pb.ConfChangeV2
			check(v2.Unmarshal(e.Data))
			cc = v2
		default:
			continue
		}
		cs := m.ApplyConfChange(cc)
		fmt.Printf("node %d: %s\n", m.id, raft.DescribeConfState(*cs))
	}
}

func play(async bool) {
	fmt.Println("--- asynchronous storage:", async)
	g := &group{members: map[uint64]*member{}, async: async}
	founders := []raft.Peer{{ID: 1, Context: []byte("one")}, {ID: 2}, {ID: 3}}
	for _, p := range founders {
		g.add(p.ID, founders)
	}
	g.settle()
	lead := g.members[1]
	check(lead.Campaign())
	g.settle()
	check(lead.Propose([]byte("first")))
	check(g.members[2].Propose([]byte("through a follower")))
	g.settle()
	g.members[3].ReadIndex([]byte("read"))
	g.settle()

	snap, err := lead.storage.CreateSnapshot(lead.BasicStatus().Applied, &pb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}}, []byte("state"))
	check(err)
	check(lead.storage.Compact(snap.Metadata.Index))
	g.add(4, nil)
	changes, err := pb.ConfChangesFromString("l4")
	check(err)
	check(lead.ProposeConfChange(pb.ConfChangeV2{Changes: changes}))
	g.settle()
	for range 3 {
		lead.Tick()
		g.settle()
	}
	lead.ReportSnapshot(4, raft.SnapshotFinish)

	changes, err = pb.ConfChangesFromString("v4 r1")
	check(err)
	check(lead.ProposeConfChange(pb.ConfChangeV2{Transition: pb.ConfChangeTransitionJointExplicit, Changes: changes}))
	g.settle()
	lead.WithProgress(func(id uint64, kind raft.ProgressType, pr tracker.Progress) {
		fmt.Println(id, kind == raft.ProgressTypeLearner, pr.State, pr.Match)
	})
	fmt.Println(lead.Status().Config.String())
	lead.TransferLeader(2)
	g.settle()
	lead = g.members[2]
	check(lead.ProposeConfChange(pb.ConfChangeV2{}))
	g.settle()
	for range 2 {
		lead.Tick()
		g.settle()
	}
	lead.ReportUnreachable(3)
	check(g.members[3].ForgetLeader())
	check(lead.Propose([]byte("last")))
	g.settle()
	for _, id := range g.order {
		st := g.members[id].BasicStatus()
		fmt.Println(st.ID, st.Term, st.Vote, st.Commit, st.Applied, st.Lead, st.RaftState)
	}
	fmt.Println(g.members[1].Step(pb.Message{Type: pb.MsgHup, From: 2}), g.members[1].Step(pb.Message{Type: pb.MsgVoteResp, From: 77}))
	fmt.Println(errors.Is(g.members[4].Propose(nil), raft.ErrProposalDropped), g.members[1].Propose(nil))
}

// acks is an AckedIndexer.
type acks map[uint64]quorum.Index

func (a acks) AckedIndex(id uint64) (quorum.Index, bool) {
	index, ok := a[id]
	return index, ok
}

func blocks() {
	fmt.Println("--- building blocks")
	voters := quorum.MajorityConfig{1: {}, 2: {}, 3: {}}
	fmt.Print(voters.Describe(acks{1: 5, 3: 9}))
	fmt.Println(quorum.JointConfig{voters, {3: {}, 4: {}}}.VoteResult(map[uint64]bool{1: true, 3: true}))

	changer := confchange.Changer{Tracker: tracker.MakeProgressTracker(4, 0), LastIndex: 10}
	cfg, progress, err := confchange.Restore(changer, pb.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{3}})
	check(err)
	fmt.Println(cfg.String(), progress)
	changer.Tracker.Config, changer.Tracker.Progress = cfg, progress
	_, _, err = changer.Simple(pb.ConfChangeSingle{Type: pb.ConfChangeRemoveNode, NodeID: 1}, pb.ConfChangeSingle{Type: pb.ConfChangeRemoveNode, NodeID: 2})
	fmt.Println(err)

	window := tracker.NewInflights(2, 0)
	window.Add(1, 10)
	window.Add(2, 10)
	fmt.Println(window.Full(), window.Count())
	window.FreeLE(1)
	fmt.Println(window.Full(), window.Count())
	fmt.Println(raft.MustSync(pb.HardState{Term: 2}, pb.HardState{Term: 1}, 0), raft.None, raft.StateTraceDeployed)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	play(false)
	play(true)
	blocks()
}
