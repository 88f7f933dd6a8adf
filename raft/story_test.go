// Stories: scripts in testdata, each a scenario with the messages it causes, to be
// read like a play. go test -run Stories -rewrite writes them anew.
//
// Lines of a script:
//
//	nodes 3 [options]     a group; ids count from 1. The options of its nodes:
//	                      pre-vote, check-quorum, lease, step-down, async, one-entry,
//	                      window=2 (MaxInflightMsgs), learner=3
//	has 2 term=5 1 1 4    node 2 begins in term 5, with entries of these terms
//	tick 1 [n]            n ticks pass for node 1
//	campaign 1            node 1's patience is over
//	propose 1 x           a client asks node 1 to write x
//	change 1 v4 [joint|explicit]   a change of membership: v voter, l learner, r remove
//	leave 1               an explicit joint configuration is left
//	transfer 1 2          node 1 is asked to hand over to node 2
//	forget 1              node 1 is told to forget its leader
//	read 1 context        a client wants to read at node 1
//	handle 1 [2 3]        node 1 does what its Readys say, and its messages leave; so does 2...
//	store 1, apply 1      with async: its disk, or its state machine, does the next work
//	deliver [1->2 | ->2]  what is on its way arrives: all of it, or of that link
//	lose [1->2 | ->2]     ... or gets lost
//	settle [quiet]        handle and deliver until nothing happens
//	cut 1, join 1         node 1 is cut off, or back: its messages get lost
//	crash 1, restart 1    node 1 loses what was not stored, and comes back
//	compact 1             node 1 takes a snapshot and drops its log
//	report 1 3 [failure]  node 1 hears how sending a snapshot to node 3 went
//	log 1, status         what a node has stored; who is what
//	terms                 the terms of the entries in every log, as the paper draws them
//	progress 1            what node 1, as the leader, knows of each

package raft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	pb "example.com/raftexample/raft/raftpb"
)

func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		play := &play{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			play.t = t
			return play.scene(strings.TrimSpace(d.Cmd+" "+argsOf(d)) + "\n" + d.Input)
		})
	})
}

func argsOf(d *datadriven.TestData) string {
	var args []string
	for _, a := range d.CmdArgs {
		args = append(args, a.String())
	}
	return strings.Join(args, " ")
}

// play is a story as it goes.
type play struct {
	t        *testing.T
	group    *group
	config   map[uint64]*Config
	founders []uint64 // the configuration that every log begins with
	options  []string
	cut      map[uint64]bool
	appends  map[uint64][]pb.Message // with async: for each node's disk,
	applies  map[uint64][]pb.Message // and for its state machine
	out      strings.Builder
}

// scene carries out lines and returns what they print.
func (p *play) scene(lines string) string {
	p.out.Reset()
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		p.line(words[0], words[1:])
	}
	if p.out.Len() == 0 {
		return "ok"
	}
	return p.out.String()
}

func (p *play) print(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

// line carries out one line.
func (p *play) line(word string, args []string) {
	switch word {
	case "nodes":
		p.nodes(args)
		return
	case "deliver", "lose":
		p.deliver(args, word == "lose")
		return
	case "settle":
		p.settle(len(args) > 0)
		return
	case "status":
		p.status()
		return
	case "terms":
		p.terms()
		return
	}
	p.nodeLine(word, number(p.t, args[0]), args[1:])
}

func number(t *testing.T, word string) uint64 {
	id, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// nodeLine carries out a line about one node.
func (p *play) nodeLine(word string, id uint64, args []string) {
	n := p.group.nodes[id]
	var err error
	switch word {
	case "tick":
		for range number(p.t, append(args, "1")[0]) {
			n.Tick()
		}
	case "campaign":
		err = n.Campaign()
	case "propose":
		err = n.Propose([]byte(args[0]))
	case "change":
		err = n.ProposeConfChange(changeOf(p.t, args))
	case "leave":
		err = n.ProposeConfChange(pb.ConfChangeV2{})
	case "transfer":
		n.TransferLeader(number(p.t, args[0]))
	case "forget":
		err = n.ForgetLeader()
	case "read":
		n.ReadIndex([]byte(args[0]))
	case "handle":
		p.handle(id)
		for _, arg := range args {
			p.handle(number(p.t, arg))
		}
	case "store":
		p.store(id)
	case "apply":
		p.apply(id)
	case "cut", "join":
		p.cut[id] = word == "cut"
	case "crash":
		p.group.nodes[id], p.appends[id], p.applies[id] = nil, nil, nil
	case "restart":
		p.restart(id)
	case "has":
		p.has(id, args)
	case "compact":
		p.compact(n)
	case "report":
		status := SnapshotFinish
		if len(args) > 1 {
			status = SnapshotFailure
		}
		n.ReportSnapshot(number(p.t, args[0]), status)
	case "log":
		p.log(n)
	case "progress":
		p.print("%s", strings.TrimSpace(n.raft.trk.Progress.String()))
	default:
		p.t.Fatalf("a script says %q, which this test does not know", word)
	}
	if err != nil {
		p.print("%v", err)
	}
}

func changeOf(t *testing.T, args []string) pb.ConfChangeI {
	change := pb.ConfChangeV2{}
	for _, arg := range args {
		switch arg {
		case "joint":
			change.Transition = pb.ConfChangeTransitionJointImplicit
		case "explicit":
			change.Transition = pb.ConfChangeTransitionJointExplicit
		default:
			c, err := pb.ConfChangesFromString(arg)
			if err != nil {
				t.Fatal(err)
			}
			change.Changes = append(change.Changes, c...)
		}
	}
	return change
}

func (p *play) nodes(args []string) {
	p.group = &group{t: p.t, nodes: map[uint64]*member{}}
	p.config, p.cut = map[uint64]*Config{}, map[uint64]bool{}
	p.appends, p.applies = map[uint64][]pb.Message{}, map[uint64][]pb.Message{}
	for id := uint64(1); id <= number(p.t, args[0]); id++ {
		p.group.ids = append(p.group.ids, id)
	}
	p.options = args[1:]
	var learners []uint64
	voters := slices.Clone(p.group.ids)
	for _, o := range p.options {
		if id, ok := strings.CutPrefix(o, "learner="); ok {
			learner := number(p.t, id)
			learners = append(learners, learner)
			voters = slices.DeleteFunc(voters, func(id uint64) bool { return id == learner })
		}
	}
	p.founders = voters
	for _, id := range p.group.ids {
		s := storageWith(voters...)
		s.snapshot.Metadata.ConfState.Learners = learners
		p.add(id, s)
	}
}

func (p *play) add(id uint64, s *MemoryStorage) {
	c := testConfig(id, s)
	for _, o := range p.options {
		name, value, _ := strings.Cut(o, "=")
		switch name {
		case "pre-vote":
			c.PreVote = true
		case "check-quorum":
			c.CheckQuorum = true
		case "lease":
			c.ReadOnlyOption = ReadOnlyLeaseBased
		case "step-down":
			c.StepDownOnRemoval = true
		case "async":
			c.AsyncStorageWrites = true
		case "one-entry":
			c.MaxSizePerMsg = 1
		case "window":
			c.MaxInflightMsgs = int(number(p.t, value))
		case "learner": // see nodes
		default:
			p.t.Fatalf("a script has the option %q, which this test does not know", o)
		}
	}
	p.config[id] = c
	p.restartOn(id, s)
}

// has gives a node a past: "term=5 1 1 4" is a log of three entries.
func (p *play) has(id uint64, args []string) {
	term, _ := strings.CutPrefix(args[0], "term=")
	s := storageWith(p.founders...)
	for i, arg := range args[1:] {
		if err := s.Append([]pb.Entry{{Term: number(p.t, arg), Index: uint64(i + 1)}}); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := s.SetHardState(pb.HardState{Term: number(p.t, term)}); err != nil {
		p.t.Fatal(err)
	}
	p.add(id, s)
}

func (p *play) restart(id uint64) {
	c, known := p.config[id]
	if !known { // a new node, with nothing
		p.group.ids = append(p.group.ids, id)
		p.add(id, storageWith(p.founders...))
		return
	}
	p.restartOn(id, c.Storage.(*MemoryStorage))
}

func (p *play) restartOn(id uint64, s *MemoryStorage) {
	rn, err := NewRawNode(p.config[id])
	if err != nil {
		p.t.Fatal(err)
	}
	p.group.nodes[id] = &member{RawNode: rn, storage: s}
}

// handle does what one node's Readys say, and prints them.
func (p *play) handle(id uint64) bool {
	n := p.group.nodes[id]
	if n == nil || !n.HasReady() {
		return false
	}
	for n.HasReady() {
		var text string
		answered := n.raft.readStates
		if n.async {
			text = p.handOut(n)
		} else {
			text = p.group.processOne(n)
		}
		for _, rs := range answered { // a context is text here
			text = strings.ReplaceAll(text, fmt.Sprint(rs), fmt.Sprintf("{%d %q}", rs.Index, rs.RequestCtx))
		}
		p.print("node %d: %s", id, strings.TrimSpace(strings.ReplaceAll(text, "\n", "\n  ")))
	}
	return true
}

// handOut takes a Ready with asynchronous storage writes, and describes it.
func (p *play) handOut(n *member) string {
	rd := n.Ready()
	id := n.raft.id
	for _, m := range rd.Messages {
		switch m.To {
		case LocalAppendThread:
			p.appends[id] = append(p.appends[id], m)
		case LocalApplyThread:
			p.applies[id] = append(p.applies[id], m)
		default:
			p.group.sent = append(p.group.sent, m)
		}
	}
	return DescribeReady(rd, nil)
}

// store is the oldest work of a node's disk.
func (p *play) store(id uint64) bool {
	if len(p.appends[id]) == 0 {
		return false
	}
	n, m := p.group.nodes[id], p.appends[id][0]
	p.appends[id] = p.appends[id][1:]
	if err := n.storage.Append(m.Entries); err != nil {
		p.t.Fatal(err)
	}
	if m.Term != 0 {
		if err := n.storage.SetHardState(pb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}); err != nil {
			p.t.Fatal(err)
		}
	}
	p.print("node %d has stored it", id)
	p.respond(n, m.Responses)
	return true
}

// apply is the oldest work of a node's state machine.
func (p *play) apply(id uint64) bool {
	if len(p.applies[id]) == 0 {
		return false
	}
	n, m := p.group.nodes[id], p.applies[id][0]
	p.applies[id] = p.applies[id][1:]
	p.print("node %d has applied it", id)
	p.respond(n, m.Responses)
	return true
}

// respond delivers what waited for work to be done.
func (p *play) respond(n *member, responses []pb.Message) {
	for _, m := range responses {
		if m.To != n.raft.id {
			p.group.sent = append(p.group.sent, m)
		} else if err := n.Step(m); err != nil {
			p.t.Fatal(err)
		}
	}
}

// matches reports whether a message is on a link: "1->2", "->2", "1->".
func matches(m *pb.Message, link string) bool {
	from, to, _ := strings.Cut(link, "->")
	return (from == "" || from == strconv.FormatUint(m.From, 10)) && (to == "" || to == strconv.FormatUint(m.To, 10))
}

func (p *play) deliver(args []string, lose bool) bool {
	link := "->"
	if len(args) > 0 {
		link = args[0]
	}
	sent := p.group.sent
	p.group.sent = nil
	did := false
	for _, m := range sent {
		if !matches(&m, link) {
			p.group.sent = append(p.group.sent, m)
			continue
		}
		did = true
		if to := p.group.nodes[m.To]; lose || p.cut[m.From] || p.cut[m.To] || to == nil {
			p.print("lost: %s", DescribeMessage(m, nil))
		} else if err := to.Step(m); err != nil {
			p.print("%s: %v", DescribeMessage(m, nil), err)
		}
	}
	return did
}

func (p *play) settle(quiet bool) {
	before := p.out.String()
	for range 1000 {
		did := false
		for _, id := range p.group.ids {
			did = p.handle(id) || did
			for p.store(id) || p.apply(id) {
				did = true
			}
		}
		if did = p.deliver(nil, false) || did; !did {
			break
		}
	}
	if quiet {
		p.out.Reset()
		p.out.WriteString(before)
	}
}

func (p *play) compact(n *member) {
	applied := n.raft.log.applied
	cs := n.raft.trk.ConfState()
	if _, err := n.storage.CreateSnapshot(applied, &cs, []byte("state")); err != nil {
		p.t.Fatal(err)
	}
	if err := n.storage.Compact(applied); err != nil {
		p.t.Fatal(err)
	}
}

func (p *play) log(n *member) {
	if !IsEmptySnap(n.storage.snapshot) {
		p.print("snapshot %d/%d", n.storage.snapshot.Metadata.Term, n.storage.snapshot.Metadata.Index)
	}
	p.print("%scommit %d, applied %d", DescribeEntries(n.storage.ents, nil), n.raft.log.committed, n.raft.log.applied)
}

func (p *play) terms() {
	for _, id := range p.group.ids {
		line := fmt.Sprintf("%d:", id)
		for _, e := range p.group.nodes[id].storage.ents {
			line += fmt.Sprintf(" %d", e.Term)
		}
		p.print("%s", line)
	}
}

func (p *play) status() {
	for _, id := range p.group.ids {
		n := p.group.nodes[id]
		if n == nil {
			p.print("%d is down", id)
			continue
		}
		st := n.BasicStatus()
		p.print("%d %v term %d, leader %s, log %v, commit %d, %v", id, st.RaftState, st.Term, describeTarget(st.Lead), n.raft.log.last, st.Commit, n.raft.trk.Config)
	}
}
