// Package rafttest runs whole groups of nodes in one goroutine, with seeded
// chance in place of time, network, disks and crashes, and checks after every
// event that Raft kept its promises.
//
//	Figure 3 (the five properties), §5.4.3
//
// Everything that happens follows from the seed, so a failure is replayed by
// running the seed again.
//
// Start at Run. life.go, node.go and storing.go do what a user of raft.RawNode does;
// network.go, disk.go and files.go lose what may be lost; workload.go is the
// clients and operators, checks.go the judge, heal.go the end.
package rafttest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// Plant is a flaw that a simulation plants on purpose, to see that the checks
// would notice it.
type Plant int

// The flaws that can be planted.
const (
	PlantNothing     Plant = iota
	PlantLostAck           // disks say that data are durable, and lose them in a crash
	PlantStaleRead         // reads are answered from a node's own state
	PlantSkippedSync       // the log leaves out one sync in fifty, if there are files
)

// Disk says what nodes store things on.
type Disk int

// The kinds of disks.
const (
	DiskBySeed Disk = iota // one or the other
	DiskModel              // memory, that loses what was not synced: see disk.go
	DiskFiles              // the real log and snapshots over a faulty disk: see files.go
)

// Options say how long a simulation is, and what is planted in it.
type Options struct {
	Events int // how many, before everything is healed; 0 means 3000
	Plant  Plant
	Disk   Disk
	Trace  func(string) // if not nil, gets a line for every event

	// Gathering, if not nil, makes the nodes gather what they send, as a raft.Node
	// does. Only tests of package raft can reach that.
	Gathering Gathering
}

// Gathering is raft/gather.go: what a raft.Node does around its RawNode.
type Gathering interface {
	Begin(*raft.RawNode)
	Send(n *raft.RawNode, overdue bool) // before each Ready; overdue says that a tick has passed
	Waits(*raft.RawNode) bool           // whether a Ready is not worth taking yet
}

// Failure is a broken promise.
type Failure struct {
	Seed   uint64
	Reason string
	Events []string // the last ones
	Plan   string   // the options of the nodes
	Replay string   // the command that runs the seed again
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d: %s\n\nthe last events:\n%s\n\nthe plan: %s\nreplay with: %s",
		f.Seed, f.Reason, strings.Join(f.Events, "\n"), f.Plan, f.Replay)
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

	Recoveries int // from files
	Faults     int // of operations on them
	Repairs    int // of torn logs
	Stranded   int // whether the group could not come to an agreement, see heal
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
	trusting    bool // nodes take any change of membership: operators see to it that it is valid
	bootstrap   bool // the group begins with RawNode.Bootstrap
	keeps       bool // state machines have disks of their own
	maxMsg      uint64
	maxApply    uint64
	maxPending  uint64
	inflight    int
	flying      uint64  // how many bytes may be under way to a peer
	drop        float64 // how many messages get lost
	duplicate   float64
	snapshots   float64 // how much of what operators do is to take one
	changes     bool
	slowDisk    uint64  // whose log writer is slow, or 0
	trouble     int     // how many of 1000 events
	segment     int64   // how long the log's files are; 0 if there are none
	faults      float64 // how many operations on files fail
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

	healed bool // no more trouble
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
	f.Replay = fmt.Sprintf("go test ./raft/rafttest -run TestSeed -seed %d -v", s.seed)
	if s.Gathering != nil {
		f.Replay = fmt.Sprintf("go test ./raft -run TestGatheringKeepsPromises -seed %d -v", s.seed)
	}
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
		stepDown: s.chance(0.5), noForward: s.chance(0.2), trusting: s.chance(0.2),
		bootstrap: s.chance(0.3), keeps: s.chance(0.3) && s.Plant == PlantNothing,
		maxMsg:     pick[uint64](s, 0, 64, 1024, 1<<20),
		maxApply:   pick[uint64](s, 0, 40, 200, 1<<20),
		maxPending: pick[uint64](s, 0, 100, 2000),
		inflight:   pick(s, 1, 2, 8, 256),
		drop:       pick(s, 0, 0.01, 0.1, 0.3),
		duplicate:  pick(s, 0, 0.05, 0.2),
		snapshots:  pick(s, 0, 0.05, 0.05, 0.25),
		changes:    s.chance(0.6),
		trouble:    pick(s, 3, 10, 10, 30),
	}
	s.plan.lease = s.plan.checkQuorum && s.chance(0.2)
	if s.chance(0.3) {
		s.plan.slowDisk = uint64(s.rng.IntN(s.plan.nodes) + 1)
	}
	if s.chance(0.3) {
		s.plan.flying = s.plan.maxMsg + uint64(s.rng.IntN(200)+1)
	}
	segment, faults := pick[int64](s, 200, 1000, 8000), pick(s, 0, 0.001, 0.005, 0.03)
	if files := s.chance(0.5); s.Disk == DiskFiles || s.Disk == DiskBySeed && files {
		s.plan.segment = segment
	} else {
		faults = 0
	}
	s.judge.begin(s)
	s.work.begin()

	voters := make([]uint64, s.plan.nodes)
	for i := range voters {
		voters[i] = uint64(i + 1)
	}
	// All begin with a snapshot of nothing that names the voters, or with entries that
	// add them.
	founding := pb.Snapshot{
		Data:     encodeState(0),
		Metadata: pb.SnapshotMetadata{Index: 1, Term: 1, ConfState: pb.ConfState{Voters: voters}},
	}
	for range voters {
		if n := s.addNode(); s.plan.bootstrap {
			s.start(n)
		} else {
			s.found(n, founding)
		}
	}
	s.plan.faults = faults
}

// step lets one thing happen.
func (s *sim) step() {
	switch r := s.rng.IntN(1000); {
	case r < s.plan.trouble:
		s.trouble()
	case r < 400:
		s.deliver()
	case r < 870:
		s.goOn()
	case r < 930:
		s.tick()
	default:
		s.clients()
	}
}

// goOn lets a node go on with what Raft wants done.
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
		s.on(n, n.tick)
	case r < 19:
		s.note("all tick")
		for _, n := range s.nodes {
			if n.up {
				s.on(n, n.tick)
			}
		}
	default:
		s.note("%d wakes up and ticks 25 times", n.id)
		for range 25 {
			s.on(n, n.tick)
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

// ignore takes a result that the simulation need not act on: a proposal may be
// dropped.
func (s *sim) ignore(err error) {
	if err != nil {
		s.note("  refused: %v", err)
	}
}
