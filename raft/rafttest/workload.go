// Clients and operators: writes, reads, changes of the membership, transfers,
// snapshots, crashes.

package rafttest

import (
	"encoding/binary"
	"slices"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// workload is what the clients remember.
type workload struct {
	writes uint64
	asked  uint64
	reads  map[uint64]pendingRead // by context
}

// pendingRead is a read without an answer.
type pendingRead struct {
	node  uint64
	floor uint64 // what was committed when it began, as far as anyone knew; with leases see read
}

func (w *workload) begin() { w.reads = map[uint64]pendingRead{} }

// clients lets a client or an operator do something.
func (s *sim) clients() {
	n := s.anyUp()
	if n == nil {
		return
	}
	switch r := s.rng.IntN(94); {
	case s.chance(s.plan.snapshots):
		s.snapshot(n)
	case r < 45:
		s.propose(n)
	case r < 75:
		s.read(n)
	case r < 85:
		s.changeMembers(n)
	case r < 90:
		to := uint64(s.rng.IntN(len(s.nodes)) + 1)
		s.note("%d is asked to hand over to %d", n.id, to)
		s.on(n, func() { n.raw.TransferLeader(to) })
	case r < 92:
		s.campaign(n)
	default:
		s.note("%d is told to forget its leader", n.id)
		s.on(n, func() { s.ignore(n.raw.ForgetLeader()) })
	}
}

// trouble lets something go wrong, or mends it.
func (s *sim) trouble() {
	switch s.rng.IntN(4) {
	case 0:
		s.cutLinks()
	case 1:
		n := s.nodes[s.rng.IntN(len(s.nodes))]
		if s.chance(0.5) {
			n = s.prominent(n)
		}
		if n.up && s.chance(0.5) {
			s.crash(n)
		}
		if s.chance(0.2) && !n.up { // it is back before anyone misses it
			s.start(n)
			if n.up {
				s.campaign(n)
			}
		}
	default:
		for _, n := range s.nodes {
			if !n.up && s.chance(0.5) {
				s.start(n)
			}
		}
	}
}

// prominent returns a node that leads or campaigns, or else the one given.
func (s *sim) prominent(otherwise *node) *node {
	for _, n := range s.nodes {
		if n.up && n.raw.BasicStatus().RaftState != raft.StateFollower {
			return n
		}
	}
	return otherwise
}

func (s *sim) campaign(n *node) {
	s.note("%d is told to campaign", n.id)
	s.on(n, func() { s.ignore(n.raw.Campaign()) })
}

// propose writes something no one else writes.
func (s *sim) propose(n *node) {
	s.work.writes++
	data := binary.BigEndian.AppendUint64(nil, s.work.writes)
	if s.chance(0.1) {
		data = append(data, make([]byte, s.rng.IntN(pick(s, 300, 300, 3000)))...)
	}
	s.note("%d is asked to write %x", n.id, data[:8])
	s.on(n, func() { s.ignore(n.raw.Propose(data)) })
}

// read asks for an index to read at. It must not be below what is committed now.
func (s *sim) read(n *node) {
	s.work.asked++
	context := binary.BigEndian.AppendUint64(nil, s.work.asked)
	if s.chance(0.2) && n.ready == nil && !n.raw.HasReady() && n.raw.BasicStatus().RaftState == raft.StateLeader {
		// The same context again, while it is pending or after its answer. Only where
		// no earlier answer can be on its way: the two look alike.
		for id, r := range s.sortedReads() {
			if r.node == n.id {
				context = binary.BigEndian.AppendUint64(nil, id)
				break
			}
		}
	}
	id := binary.BigEndian.Uint64(context)
	floor := s.judge.committedTo
	if s.plan.lease {
		// Leases promise little when clocks run apart, as they do here. But whoever leads has
		// committed in its own term before it answers.
		floor = s.judge.committedBefore(n.raw.BasicStatus().Term)
	}
	s.work.reads[id] = pendingRead{node: n.id, floor: floor}
	s.note("%d is asked to read, %d", n.id, id)
	if s.Plant == PlantStaleRead {
		s.answerReads(n, []raft.ReadState{{Index: n.applied, RequestCtx: context}})
		return
	}
	s.on(n, func() { n.raw.ReadIndex(context) })
}

// sortedReads goes through the pending reads in the order of their contexts: the
// order of a map would not follow from the seed.
func (s *sim) sortedReads() func(yield func(uint64, pendingRead) bool) {
	return func(yield func(uint64, pendingRead) bool) {
		ids := make([]uint64, 0, len(s.work.reads))
		for id := range s.work.reads {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			if !yield(id, s.work.reads[id]) {
				return
			}
		}
	}
}

// answerReads judges answers to reads.
func (s *sim) answerReads(n *node, states []raft.ReadState) {
	for _, st := range states {
		id := binary.BigEndian.Uint64(st.RequestCtx)
		r, ok := s.work.reads[id]
		if !ok || r.node != n.id {
			continue // an answer to an earlier use of the context
		}
		s.result.Reads++
		if st.Index < r.floor {
			s.fail("node %d may read at %d by context %d, but %d was committed when it asked", n.id, st.Index, id, r.floor)
		}
		delete(s.work.reads, id)
	}
}

// maxNodes is how many ids there can be in all.
const maxNodes = 9

// changeMembers proposes a change: one member, or several at once.
func (s *sim) changeMembers(n *node) {
	if !s.plan.changes || s.plan.trusting && !s.mayChange(n) {
		return
	}
	if len(n.confState.VotersOutgoing) > 0 && (s.plan.trusting || s.chance(0.7)) {
		s.note("%d is asked to leave the joint configuration", n.id)
		s.on(n, func() { s.ignore(n.raw.ProposeConfChange(pb.ConfChangeV2{})) })
		return
	}
	if s.chance(0.4) {
		c := s.change()
		s.note("%d is asked to change the membership: %v %d", n.id, c.Type, c.NodeID)
		s.on(n, func() { s.ignore(n.raw.ProposeConfChange(pb.ConfChange{Type: c.Type, NodeID: c.NodeID})) })
		return
	}
	change := pb.ConfChangeV2{Transition: pick(s, pb.ConfChangeTransitionAuto, pb.ConfChangeTransitionJointImplicit, pb.ConfChangeTransitionJointExplicit)}
	for range 1 + s.rng.IntN(3) {
		change.Changes = append(change.Changes, s.change())
	}
	s.note("%d is asked to change the membership: %v %s", n.id, change.Transition, pb.ConfChangesToString(change.Changes))
	s.on(n, func() { s.ignore(n.raw.ProposeConfChange(change)) })
}

// mayChange reports whether a change that is proposed now meets no other: the node
// leads, and has applied all of its log.
func (s *sim) mayChange(n *node) bool {
	st := n.raw.BasicStatus()
	last := n.seen.base.index
	if k := len(n.seen.log); k > 0 {
		last = n.seen.log[k-1].Index
	}
	return st.RaftState == raft.StateLeader && !n.raw.HasReady() && n.applied == last && st.Applied == last
}

// change draws what happens to one node, which may be a new one.
func (s *sim) change() pb.ConfChangeSingle {
	t := pick(s, pb.ConfChangeAddNode, pb.ConfChangeAddNode, pb.ConfChangeAddLearnerNode, pb.ConfChangeRemoveNode, pb.ConfChangeUpdateNode)
	if len(s.nodes) < maxNodes && s.chance(0.2) {
		n := s.addNode()
		s.start(n)
		return pb.ConfChangeSingle{Type: pick(s, pb.ConfChangeAddNode, pb.ConfChangeAddLearnerNode), NodeID: n.id}
	}
	return pb.ConfChangeSingle{Type: t, NodeID: uint64(s.rng.IntN(len(s.nodes)) + 1)}
}
