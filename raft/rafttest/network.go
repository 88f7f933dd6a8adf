// The network: messages get lost, late, doubled and out of order, and links are
// cut, one way or both.

package rafttest

import (
	"slices"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

type network struct {
	flying []pb.Message
	cut    map[[2]uint64]bool // from, to
}

func (n *network) heal() { n.cut = nil }

// send puts messages on their way.
func (s *sim) send(from *node, messages []pb.Message) {
	for _, m := range messages {
		s.judge.sent(from, &m)
		if m.Type == pb.MsgSnap {
			from.reports = append(from.reports, m.To)
			if from.files != nil && !s.attach(from, &m) {
				if !from.up {
					return
				}
				continue
			}
		}
		if s.net.cut[[2]uint64{m.From, m.To}] || s.chance(s.plan.drop) {
			if s.chance(0.3) {
				from.unreachable = append(from.unreachable, m.To)
			}
			continue
		}
		s.net.flying = append(s.net.flying, m)
		if s.chance(s.plan.duplicate) {
			s.net.flying = append(s.net.flying, clone(&m))
		}
	}
}

// clone copies a message as a network does: by its bytes.
func clone(m *pb.Message) pb.Message {
	data, err := m.Marshal()
	if err != nil {
		panic(err)
	}
	var c pb.Message
	if err := c.Unmarshal(data); err != nil {
		panic(err)
	}
	return c
}

// deliver delivers a message: mostly one of the oldest.
func (s *sim) deliver() {
	if len(s.net.flying) == 0 {
		s.goOn()
		return
	}
	i := 0
	if s.chance(0.3) {
		i = s.rng.IntN(len(s.net.flying))
	}
	s.deliverAt(i)
}

func (s *sim) deliverAt(i int) {
	m := s.net.flying[i]
	s.net.flying = slices.Delete(s.net.flying, i, i+1)
	to := s.nodes[m.To-1]
	if !to.up || s.net.cut[[2]uint64{m.From, m.To}] {
		return
	}
	s.note("deliver %v", described(m))
	s.on(to, func() {
		if m.Type == pb.MsgSnap && to.files != nil && !s.receive(to, &m) {
			return
		}
		if err := to.raw.Step(m); err != nil && err != raft.ErrStepPeerNotFound {
			s.ignore(err)
		}
	})
}

// described shows a message when it is printed.
type described pb.Message

func (d described) String() string { return raft.DescribeMessage(pb.Message(d), nil) }

// cutLinks cuts some links, or heals all.
func (s *sim) cutLinks() {
	if s.chance(0.4) {
		s.note("all links heal")
		s.net.heal()
		return
	}
	if s.net.cut == nil {
		s.net.cut = map[[2]uint64]bool{}
	}
	alone := uint64(s.rng.IntN(len(s.nodes)) + 1)
	in, out := s.chance(0.7), s.chance(0.7)
	s.note("cut off %d, inwards %t, outwards %t", alone, in, out)
	for _, n := range s.nodes {
		if in {
			s.net.cut[[2]uint64{n.id, alone}] = true
		}
		if out {
			s.net.cut[[2]uint64{alone, n.id}] = true
		}
	}
}
