// Lives: how nodes start from what their disks hold, and end.
//
//	Figure 2 "Persistent state" · diss. §3.8
//
// Start at start, then crash.

package rafttest

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

var silent = &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}

func (s *sim) addNode() *node {
	n := &node{id: uint64(len(s.nodes) + 1)}
	if s.plan.segment > 0 {
		n.files = s.newFiles()
	}
	n.disk.lying = n.files == nil && s.Plant == PlantLostAck
	s.nodes = append(s.nodes, n)
	return n
}

// start starts a node from its disk.
func (s *sim) start(n *node) {
	s.note("%d starts", n.id)
	if n.files != nil {
		if err := s.recover(n); err != nil {
			s.stop(n, err)
			return
		}
	}
	n.storage = n.disk.load()
	n.machine = machine{applied: n.disk.snap.Metadata.Index, confState: n.disk.snap.Metadata.ConfState}
	if n.applied > 0 {
		n.state = decodeState(n.disk.snap.Data)
	}
	if n.kept.applied > n.applied {
		n.machine = n.kept
	}
	raw, err := raft.NewRawNode(s.config(n))
	must(err)
	n.raw, n.up, n.overdue = raw, true, false
	n.life++
	if s.Gathering != nil {
		s.Gathering.Begin(raw)
	}
	n.ready, n.stage, n.appends, n.applies, n.taken = nil, 0, nil, nil, nil
	n.reports, n.unreachable = nil, nil
	if s.plan.bootstrap && n.id <= uint64(s.plan.nodes) && n.disk.last() == 0 {
		must(raw.Bootstrap(s.founders()))
	}
	s.judge.started(n)
}

// config is what a node is started with: mostly what the seed's plan says.
func (s *sim) config(n *node) *raft.Config {
	p := &s.plan
	c := &raft.Config{
		ID: n.id, ElectionTick: 10, HeartbeatTick: 1 + s.rng.IntN(3),
		Storage: storage{MemoryStorage: n.storage, s: s, conf: n.confState}, Applied: n.applied,
		AsyncStorageWrites: p.async, PreVote: p.preVote, CheckQuorum: p.checkQuorum,
		StepDownOnRemoval: p.stepDown, DisableProposalForwarding: p.noForward,
		DisableConfChangeValidation: p.trusting, MaxInflightBytes: p.flying,
		MaxSizePerMsg: p.maxMsg, MaxCommittedSizePerReady: p.maxApply,
		MaxUncommittedEntriesSize: p.maxPending, MaxInflightMsgs: p.inflight,
		Logger: silent, Rand: rand.New(rand.NewPCG(s.seed, s.rng.Uint64())),
	}
	if p.lease {
		c.ReadOnlyOption = raft.ReadOnlyLeaseBased
	}
	return c
}

// found puts what the group begins with on a node's disk, and starts it.
func (s *sim) found(n *node, founding pb.Snapshot) {
	hard := pb.HardState{Term: 1, Commit: 1}
	if n.files != nil {
		must(s.recover(n))
		must(n.files.writeState(founding.Metadata, decodeState(founding.Data)))
		must(n.files.log.Save(hard, nil, founding.Metadata, true))
		must(n.files.log.Close())
	}
	n.disk.snap, n.disk.hard, n.disk.synced = founding, hard, hard
	s.start(n)
}

// founders are the members that a group begins with.
func (s *sim) founders() []raft.Peer {
	peers := make([]raft.Peer, s.plan.nodes)
	for i := range peers {
		peers[i].ID = uint64(i + 1)
	}
	return peers
}

// storage is what a node reads from: memory, whose snapshot is not always there to be
// read, and the configuration that belongs to what is applied.
type storage struct {
	*raft.MemoryStorage
	s    *sim
	conf pb.ConfState
}

func (st storage) InitialState() (pb.HardState, pb.ConfState, error) {
	hard, _, err := st.MemoryStorage.InitialState()
	return hard, st.conf, err
}

// Term panics where a storage need not know the answer.
func (st storage) Term(i uint64) (uint64, error) {
	first, err := st.FirstIndex()
	if err != nil {
		return 0, err
	}
	last, err := st.LastIndex()
	if err == nil && (i+1 < first || i > last) {
		panic(fmt.Sprintf("the term of entry %d was asked for, of [%d, %d]", i, first-1, last))
	}
	return st.MemoryStorage.Term(i)
}

func (st storage) Snapshot() (pb.Snapshot, error) {
	if !st.s.healed && st.s.chance(0.1) {
		return pb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable
	}
	return st.MemoryStorage.Snapshot()
}

// crash stops a node.
func (s *sim) crash(n *node) {
	keep := s.chance(0.5)
	s.note("%d crashes, unsynced data survive: %t", n.id, keep)
	s.result.Crashes++
	s.down(n, keep)
}

// down takes a node down, with its machine unless what was not synced is kept.
func (s *sim) down(n *node, keep bool) {
	n.up = false
	n.raw, n.storage, n.ready = nil, nil, nil
	switch {
	case n.files == nil:
		n.disk.crash(keep)
	case !keep:
		n.files.crash(s)
	}
}
