// Package rafttest runs whole groups of nodes in one goroutine, with seeded
// chance in place of time, network, disks and crashes, and checks after every
// event that Raft kept its promises.
//
//	Figure 3 (the five properties), §5.4.3
//
// Everything that happens follows from the seed, so a failure is replayed by
// running the seed again.
//
// Start at Run. node.go does what a user of raft.RawNode does, network.go and
// disk.go lose what may be lost, workload.go is the clients and operators,
// checks.go the judge.
package rafttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// Plant is a flaw that a simulation plants on purpose, to see that the checks
// would notice it.
type Plant int

// The flaws that can be planted.
const (
	PlantNothing   Plant = iota
	PlantLostAck         // disks say that data are durable, and lose them in a crash
	PlantStaleRead       // reads are answered from a node's own state
)

// Options say how long a simulation is, and what is planted in it.
type Options struct {
	Events int // how many, before everything is healed; 0 means 3000
	Plant  Plant
	Trace  func(string) // if not nil, gets a line for every event
}

// Failure is a broken promise.
type Failure struct {
	Seed   uint64
	Reason string
	Events []string // the last ones
	Plan   string   // the options of the nodes
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d: %s\n\nthe last events:\n%s\n\nthe plan: %s\nreplay with: go test ./raft/rafttest -run TestSeed -seed %d",
		f.Seed, f.Reason, strings.Join(f.Events, "\n"), f.Plan, f.Seed)
}

// Result is what a simulation did.
type Result struct {
	Events    int
	Committed uint64
	Leaders   int // terms that had one
	Changes   int // of the membership that were applied somewhere
	Snapshots int // that were restored
	Reads     int // that were answered
	Crashes   int
	Stranded  int // whether the group could not come to an agreement, see heal
}

// plan is what a seed decides once.
type plan struct {
	nodes       int
	async       bool
	preVote     bool
	checkQuorum bool
	lease       bool
	stepDown    bool
	noForward   bool
	maxMsg      uint64
	maxApply    uint64
	maxPending  uint64
	inflight    int
	drop        float64 // how many messages get lost
	duplicate   float64
	snapshots   bool
	changes     bool
}

// sim is a simulation under way.
type sim struct {
	Options
	rng   *rand.Rand
	seed  uint64
	plan  plan
	nodes []*node // by id, from 1
	net   network
	judge judge
	work  workload

	result Result
	recent [40]event
	count  int
}

// event is one thing that happened, described only when someone asks.
type event struct {
	format string
	args   []any
}

// broken carries a broken promise up to Run.
type broken string

// Run runs the simulation of a seed. It returns a *Failure if a promise was
// broken.
func Run(seed uint64, o Options) (result Result, err error) {
	if o.Events == 0 {
		o.Events = 3000
	}
	s := &sim{Options: o, rng: rand.New(rand.NewPCG(seed, 0x5eed)), seed: seed}
	defer func() {
		if r := recover(); r != nil {
			reason := fmt.Sprintf("panic: %v", r)
			if b, ok := r.(broken); ok {
				reason = string(b)
			}
			result, err = s.result, s.failure(reason)
		}
	}()
	s.begin()
	for range o.Events {
		s.step()
	}
	s.heal()
	s.result.Committed = s.judge.committedTo
	s.result.Leaders = len(s.judge.leaders)
	return s.result, nil
}

func (s *sim) failure(reason string) *Failure {
	f := &Failure{Seed: s.seed, Reason: reason, Plan: fmt.Sprintf("%+v", s.plan)}
	for i := max(0, s.count-len(s.recent)); i < s.count; i++ {
		e := s.recent[i%len(s.recent)]
		f.Events = append(f.Events, fmt.Sprintf("%6d  ", i)+fmt.Sprintf(e.format, e.args...))
	}
	return f
}

// fail ends the simulation with a broken promise.
func (s *sim) fail(format string, args ...any) { panic(broken(fmt.Sprintf(format, args...))) }

// note remembers an event.
func (s *sim) note(format string, args ...any) {
	s.recent[s.count%len(s.recent)] = event{format, args}
	s.count++
	s.result.Events++
	if s.Trace != nil {
		s.Trace(fmt.Sprintf(format, args...))
	}
}

// chance is true with probability p.
func (s *sim) chance(p float64) bool { return s.rng.Float64() < p }

// pick returns one of the values.
func pick[T any](s *sim, values ...T) T { return values[s.rng.IntN(len(values))] }

// begin draws the plan and starts the nodes.
func (s *sim) begin() {
	s.plan = plan{
		nodes: pick(s, 1, 2, 3, 3, 3, 3, 4, 5, 5, 7),
		async: s.chance(0.5), preVote: s.chance(0.5), checkQuorum: s.chance(0.5),
		stepDown: s.chance(0.5), noForward: s.chance(0.2),
		maxMsg:     pick[uint64](s, 0, 64, 1024, 1<<20),
		maxApply:   pick[uint64](s, 0, 40, 200, 1<<20),
		maxPending: pick[uint64](s, 0, 100, 2000),
		inflight:   pick(s, 1, 2, 8, 256),
		drop:       pick(s, 0, 0.01, 0.1, 0.3),
		duplicate:  pick(s, 0, 0.05, 0.2),
		snapshots:  s.chance(0.7),
		changes:    s.chance(0.6),
	}
	s.plan.lease = s.plan.checkQuorum && s.chance(0.2)
	s.judge.begin(s)
	s.work.begin()

	voters := make([]uint64, s.plan.nodes)
	for i := range voters {
		voters[i] = uint64(i + 1)
	}
	// All begin with a snapshot of nothing that names the voters.
	founding := pb.Snapshot{
		Data:     encodeState(0),
		Metadata: pb.SnapshotMetadata{Index: 1, Term: 1, ConfState: pb.ConfState{Voters: voters}},
	}
	for range voters {
		n := s.addNode()
		n.disk.snap = founding
		n.disk.hard = pb.HardState{Term: 1, Commit: 1}
		n.disk.synced = n.disk.hard
		s.start(n)
	}
}

// step lets one thing happen.
func (s *sim) step() {
	switch r := s.rng.IntN(1000); {
	case r < 400:
		s.deliver()
	case r < 870:
		s.goOn()
	case r < 920:
		s.tick()
	case r < 993:
		s.clients()
	default:
		s.trouble()
	}
}

// work1 lets a node go on with what Raft wants done.
func (s *sim) goOn() {
	if n := s.anyUp(); n != nil {
		s.proceed(n)
	}
}

// tick lets time pass: for one node, for all, or for one that has slept.
func (s *sim) tick() {
	n := s.anyUp()
	if n == nil {
		return
	}
	switch r := s.rng.IntN(20); {
	case r < 12:
		s.note("%d ticks", n.id)
		s.on(n, func() { n.raw.Tick() })
	case r < 19:
		s.note("all tick")
		for _, n := range s.nodes {
			if n.up {
				s.on(n, func() { n.raw.Tick() })
			}
		}
	default:
		s.note("%d wakes up and ticks 25 times", n.id)
		for range 25 {
			s.on(n, func() { n.raw.Tick() })
		}
	}
}

// anyUp returns a node that runs, or nil.
func (s *sim) anyUp() *node {
	for range 4 {
		if n := s.nodes[s.rng.IntN(len(s.nodes))]; n.up {
			return n
		}
	}
	for _, n := range s.nodes {
		if n.up {
			return n
		}
	}
	return nil
}

// heal ends all trouble. From now on the group has to come to an agreement in
// reasonable time: one leader, everything committed and applied everywhere, no
// joint configuration left.
func (s *sim) heal() {
	s.note("all heals")
	s.net.heal()
	s.plan.drop, s.plan.duplicate = 0, 0
	for _, n := range s.nodes {
		if !n.up {
			s.start(n)
		}
	}
	const rounds = 600
	for round := range rounds {
		for range 200 {
			if !s.settleOnce() {
				break
			}
		}
		if s.agreed() {
			return
		}
		s.note("round %d: all tick", round)
		for _, n := range s.nodes {
			if n.up {
				s.on(n, func() { n.raw.Tick() })
			}
		}
		if round%25 == 24 {
			s.nudge(round%100 == 99)
		}
	}
	if s.stranded() {
		s.result.Stranded++
		return
	}
	var state []string
	for _, n := range s.nodes {
		if n.up {
			state = append(state, fmt.Sprintf("node %d applied %d: %v", n.id, n.applied, n.raw.Status()))
		}
	}
	s.fail("no agreement %d ticks after all was healed:\n%s", rounds, strings.Join(state, "\n"))
}

// stranded reports whether the group has met one of the ends that the library
// cannot prevent.
func (s *sim) stranded() bool { return s.removedLeaderIsNeeded() || s.termBeyondReach() }

// removedLeaderIsNeeded is the first of them. A change of membership takes effect when it is applied. So a leader
// that has applied its own removal, or demotion, may not campaign any more, while
// those who have not still need its vote; and if its log has entries beyond what
// they have, it will not give that. Only a node that knows the newer
// configuration could help, and that is the one. (In the paper a configuration
// counts as soon as it is in the log, and the others would go on without it.)
func (s *sim) removedLeaderIsNeeded() bool {
	for _, n := range s.nodes {
		if !n.up || n.applied == 0 || slices.Contains(n.confState.Voters, n.id) {
			continue
		}
		for _, other := range s.nodes {
			cs := &other.confState
			if other.up && other.applied < n.applied && (slices.Contains(cs.Voters, n.id) || slices.Contains(cs.VotersOutgoing, n.id)) {
				return true
			}
		}
	}
	return false
}

// termBeyondReach is the second, which pre-vote or check-quorum rule out. A newcomer
// has voted for a candidate that crashed, and forgot, before its own vote was on
// disk. What the leader says of a lower term the newcomer does not answer without
// either option, and it may not campaign to make its term known.
func (s *sim) termBeyondReach() bool {
	if s.plan.preVote || s.plan.checkQuorum {
		return false
	}
	lead := uint64(0)
	for _, n := range s.nodes {
		if n.up {
			if st := n.raw.BasicStatus(); st.RaftState == raft.StateLeader {
				lead = max(lead, st.Term)
			}
		}
	}
	for _, n := range s.nodes {
		if n.up && lead > 0 && n.raw.BasicStatus().Term > lead && !slices.Contains(n.confState.Voters, n.id) {
			return true
		}
	}
	return false
}

// settleOnce lets every node do what it has to do, and delivers what was sent.
// It reports whether anything happened.
func (s *sim) settleOnce() bool {
	did := false
	for _, n := range s.nodes {
		for n.up && s.busy(n) {
			did = true
			s.proceed(n)
		}
	}
	for len(s.net.flying) > 0 {
		did = true
		s.deliverAt(0)
	}
	return did
}

// nudge does what an operator does when a healthy group does not get on: it
// proposes something, takes a snapshot, leaves a joint configuration that is left
// by hand, and now and then restarts a leader that has no vote.
func (s *sim) nudge(restart bool) {
	for _, n := range s.nodes {
		if !n.up {
			continue
		}
		st := n.raw.Status()
		if st.RaftState != raft.StateLeader {
			continue
		}
		// A member that was added after the last snapshot cannot be in it, and ignores
		// it: the user has to take a newer one.
		s.snapshot(n)
		if restart && !slices.Contains(n.confState.Voters, n.id) {
			// It leads until the user ends that, if it was not told to step down. It must
			// still vote: the others may not know yet that its removal is committed.
			s.crash(n)
			s.start(n)
			continue
		}
		s.propose(n)
		if len(n.confState.VotersOutgoing) > 0 && !n.confState.AutoLeave {
			s.note("%d is asked to leave the joint configuration", n.id)
			s.on(n, func() { s.ignore(n.raw.ProposeConfChange(pb.ConfChangeV2{})) })
		}
	}
}

// agreed reports whether the members of the group are of one mind.
func (s *sim) agreed() bool {
	var leader *node
	for _, n := range s.nodes {
		if n.up && n.raw.BasicStatus().RaftState == raft.StateLeader {
			if leader == nil || n.raw.BasicStatus().Term > leader.raw.BasicStatus().Term {
				leader = n
			}
		}
	}
	if leader == nil {
		return false
	}
	st := leader.raw.Status()
	cs := leader.confState
	if leader.applied < s.judge.committedTo || len(cs.VotersOutgoing) > 0 || st.Applied < st.Commit ||
		!slices.Contains(cs.Voters, leader.id) {
		return false
	}
	for _, n := range s.nodes {
		if n.up && (slices.Contains(cs.Voters, n.id) || slices.Contains(cs.Learners, n.id)) && n.applied != leader.applied {
			return false
		}
	}
	return true
}

// ignore takes a result that the simulation need not act on: a proposal may be
// dropped.
func (s *sim) ignore(err error) {
	if err != nil {
		s.note("  refused: %v", err)
	}
}
