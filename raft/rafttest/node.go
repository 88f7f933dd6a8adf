// Nodes: what the user of a raft.RawNode does, with a crash possible between any
// two steps.
//
// Start at proceed. life.go starts and ends nodes.

package rafttest

import (
	"slices"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// node is a member, or one that will be or was.
type node struct {
	id   uint64
	up   bool
	life int // how often it has started
	disk disk

	files *files // nil if the disk is only thought of

	// What the state machine has on a disk of its own, if it has one.
	kept machine

	// What a crash loses.
	raw     *raft.RawNode
	storage *raft.MemoryStorage
	ready   *raft.Ready // taken and not advanced
	stage   int         // of ready
	appends []pb.Message
	applies []pb.Message
	machine
	taken       *pb.Snapshot // of this state, not adopted yet
	reports     []uint64     // snapshots sent, whose outcome was not reported
	unreachable []uint64
	overdue     bool // a tick has passed since it was asked for a Ready

	seen seen // by the judge
}

// machine is a state machine: what the entries up to applied have led to.
type machine struct {
	applied   uint64
	state     uint64
	confState pb.ConfState
}

// on does something to a node, and has it judged.
func (s *sim) on(n *node, f func()) {
	f()
	s.judge.look(n)
}

// busy reports whether a node has something to do.
func (s *sim) busy(n *node) bool {
	return n.ready != nil || n.taken != nil || len(n.appends) > 0 || len(n.applies) > 0 ||
		len(n.reports) > 0 && !s.healed || len(n.unreachable) > 0 || s.hasReady(n)
}

// proceed does one step of what a node has to do.
func (s *sim) proceed(n *node) {
	switch {
	case len(n.reports) > 0 && !s.healed && s.chance(0.3):
		s.report(n)
	case len(n.unreachable) > 0 && s.chance(0.3):
		to := n.unreachable[0]
		n.unreachable = n.unreachable[1:]
		s.note("%d hears that %d is unreachable", n.id, to)
		s.on(n, func() { n.raw.ReportUnreachable(to) })
	case n.taken != nil && s.chance(0.3):
		s.on(n, func() { s.adopt(n) })
	case len(n.appends) > 0 && s.chance(s.writes(n)):
		s.storeAsync(n)
	case len(n.applies) > 0 && s.chance(0.6):
		s.applyAsync(n)
	case n.ready != nil:
		s.continueReady(n)
	case s.hasReady(n):
		s.takeReady(n)
	}
}

// writes is how often a node's log writer gets on, if it has work.
func (s *sim) writes(n *node) float64 {
	if n.id == s.plan.slowDisk && !s.healed {
		return 0.03
	}
	return 0.6
}

// report tells a node how sending a snapshot went.
func (s *sim) report(n *node) {
	to := n.reports[0]
	n.reports = n.reports[1:]
	status := pick(s, raft.SnapshotFinish, raft.SnapshotFailure)
	s.note("%d hears of its snapshot to %d: %v", n.id, to, status)
	s.on(n, func() { n.raw.ReportSnapshot(to, status) })
}

// hasReady reports whether there is a Ready to take.
func (s *sim) hasReady(n *node) bool {
	if s.Gathering == nil {
		return n.raw.HasReady()
	}
	if n.ready == nil {
		s.Gathering.Send(n.raw, n.overdue)
		n.overdue = false
	}
	return n.raw.HasReady() && !s.Gathering.Waits(n.raw)
}

// tick lets a tick pass.
func (n *node) tick() {
	n.raw.Tick()
	n.overdue = true
}

// takeReady takes the next Ready.
func (s *sim) takeReady(n *node) {
	s.on(n, func() {
		rd := n.raw.Ready()
		s.note("%d takes %v", n.id, describedReady(rd))
		s.judge.ready(n, &rd)
		s.answerReads(n, rd.ReadStates)
		if !s.plan.async {
			n.ready, n.stage = &rd, 0
			return
		}
		var votes []pb.Message // asked for once the disk is done: see AsyncStorageWrites
		for _, m := range rd.Messages {
			switch {
			case m.To == raft.LocalAppendThread:
				m.Responses = append(votes, m.Responses...)
				n.appends = append(n.appends, m)
			case m.To == raft.LocalApplyThread:
				n.applies = append(n.applies, m)
			case m.Type == pb.MsgVote:
				votes = append(votes, m)
			default:
				s.judge.promisedEarly(n, &m)
				s.send(n, []pb.Message{m})
			}
			if !n.up {
				return
			}
		}
	})
}

type describedReady raft.Ready

func (d describedReady) String() string { return raft.DescribeReady(raft.Ready(d), nil) }

// continueReady does the next of the four duties: a leader's appends may leave
// first, then disk, messages, state machine, Advance.
func (s *sim) continueReady(n *node) {
	rd := n.ready
	n.stage++
	switch n.stage {
	case 1:
		s.note("%d sends its appends", n.id)
		early := slices.DeleteFunc(slices.Clone(rd.Messages), func(m pb.Message) bool { return m.Type != pb.MsgApp })
		s.send(n, early)
		s.applyDurable(n)
	case 2:
		s.note("%d stores", n.id)
		var snapshot *pb.Snapshot
		if !raft.IsEmptySnap(rd.Snapshot) {
			snapshot = &rd.Snapshot
		}
		s.store(n, rd.HardState, rd.Entries, snapshot, rd.MustSync || snapshot != nil)
	case 3:
		s.note("%d sends", n.id)
		late := slices.DeleteFunc(slices.Clone(rd.Messages), func(m pb.Message) bool { return m.Type == pb.MsgApp })
		s.send(n, late)
	case 4:
		s.note("%d applies", n.id)
		if !raft.IsEmptySnap(rd.Snapshot) && !s.restore(n, &rd.Snapshot) {
			return
		}
		s.on(n, func() { s.apply(n, rd.CommittedEntries) })
	case 5:
		s.note("%d advances", n.id)
		n.ready = nil
		s.on(n, func() { n.raw.Advance(*rd) })
	}
}

// applyDurable applies what an earlier batch has stored: it need not wait for this
// one's disk.
func (s *sim) applyDurable(n *node) {
	rd := n.ready
	entries := rd.CommittedEntries
	if len(entries) == 0 || !raft.IsEmptySnap(rd.Snapshot) ||
		len(rd.Entries) > 0 && entries[len(entries)-1].Index >= rd.Entries[0].Index ||
		slices.ContainsFunc(entries, func(e pb.Entry) bool { return e.Type != pb.EntryNormal }) {
		return
	}
	s.note("%d applies what is durable", n.id)
	s.on(n, func() { s.apply(n, entries) })
	rd.CommittedEntries = nil
}

// applyAsync is the state machine's thread.
func (s *sim) applyAsync(n *node) {
	m := n.applies[0]
	n.applies = n.applies[1:]
	s.note("%d's state machine does %v", n.id, described(m))
	// A snapshot may have overtaken the request on the other thread.
	fresh := m.Entries
	for len(fresh) > 0 && fresh[0].Index <= n.applied {
		fresh = fresh[1:]
	}
	s.on(n, func() { s.apply(n, fresh) })
	s.respond(n, m.Responses)
}

func (s *sim) respond(n *node, responses []pb.Message) {
	for _, m := range responses {
		if !n.up {
			return
		}
		if m.To == n.id {
			s.on(n, func() { s.ignore(n.raw.Step(m)) })
		} else {
			s.send(n, []pb.Message{m})
		}
	}
}

// apply applies entries.
func (s *sim) apply(n *node, entries []pb.Entry) {
	for i := range entries {
		e := &entries[i]
		if e.Index != n.applied+1 {
			s.fail("node %d is to apply entry %d after entry %d", n.id, e.Index, n.applied)
		}
		n.applied = e.Index
		n.state = nextState(n.state, e)
		if e.Type != pb.EntryNormal {
			s.applyChange(n, e)
		}
		s.judge.applied(n)
	}
	// Not beyond the commit index that a crash leaves: Raft would not start from there.
	if s.plan.keeps && n.applied <= n.disk.synced.Commit && s.chance(0.5) {
		n.kept = n.machine
	}
}

// applyChange applies a change of the membership, unless it would leave no voter:
// that much is up to the user.
func (s *sim) applyChange(n *node, e *pb.Entry) {
	if !s.plan.bootstrap || e.Index > uint64(s.plan.nodes) {
		s.result.Changes++
	}
	var change pb.ConfChangeI
	var v1 pb.ConfChange
	var v2 pb.ConfChangeV2
	if e.Type == pb.EntryConfChange {
		must(v1.Unmarshal(e.Data))
		change = v1
	} else {
		must(v2.Unmarshal(e.Data))
		change = v2
	}
	if !leavesVoters(n.confState, change.AsV2()) {
		change = pb.ConfChange{}
	}
	n.confState = *n.raw.ApplyConfChange(change)
	s.note("%d applies a change at %d: %v", n.id, e.Index, describedConf(n.confState))
}

type describedConf pb.ConfState

func (d describedConf) String() string { return raft.DescribeConfState(pb.ConfState(d)) }

// leavesVoters reports whether there is a voter after a change.
func leavesVoters(cs pb.ConfState, change pb.ConfChangeV2) bool {
	if change.LeaveJoint() {
		return true
	}
	voters := map[uint64]bool{}
	for _, id := range cs.Voters {
		voters[id] = true
	}
	for _, c := range change.Changes {
		switch c.Type {
		case pb.ConfChangeAddNode:
			voters[c.NodeID] = true
		case pb.ConfChangeRemoveNode, pb.ConfChangeAddLearnerNode:
			delete(voters, c.NodeID)
		}
	}
	return len(voters) > 0
}
