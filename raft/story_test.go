// Stories: scripts in testdata, each a scenario with the messages it causes, to be
// read like a play. go test -run Stories -rewrite writes them anew.
//
// Lines of a script:
//
//	nodes 3 [pre-vote] [check-quorum] [one-entry] [learner=3]   a group; ids count from 1
//	tick 1 [n]            n ticks pass for node 1
//	campaign 1            node 1's patience is over
//	propose 1 x           a client asks node 1 to write x
//	change 1 v4 [joint|explicit]   a change of membership: v voter, l learner, r remove
//	leave 1               an explicit joint configuration is left
//	transfer 1 2          node 1 is asked to hand over to node 2
//	read 1 context        a client wants to read at node 1
//	handle 1              node 1 does what its Readys say, and its messages leave
//	deliver [1->2 | ->2]  what is on its way arrives: all of it, or of that link
//	lose [1->2 | ->2]     ... or gets lost
//	settle [quiet]        handle and deliver until nothing happens
//	cut 1, join 1         node 1 is cut off, or back: its messages get lost
//	crash 1, restart 1    node 1 loses what was not stored, and comes back
//	compact 1             node 1 takes a snapshot and drops its log
//	log 1, status         what a node has stored; who is what

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
	cut      map[uint64]bool
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
	}
	id, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		p.t.Fatalf("%s: %v", word, err)
	}
	p.nodeLine(word, id, args[1:])
}

// nodeLine carries out a line about one node.
func (p *play) nodeLine(word string, id uint64, args []string) {
	n := p.group.nodes[id]
	var err error
	switch word {
	case "tick":
		count := 1
		if len(args) > 0 {
			count, err = strconv.Atoi(args[0])
		}
		for range count {
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
		to, _ := strconv.ParseUint(args[0], 10, 64)
		n.TransferLeader(to)
	case "read":
		n.ReadIndex([]byte(args[0]))
	case "handle":
		p.handle(id)
	case "cut", "join":
		p.cut[id] = word == "cut"
	case "crash":
		p.group.nodes[id] = nil
	case "restart":
		p.restart(id)
	case "compact":
		p.compact(n)
	case "log":
		p.log(n)
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
	count, err := strconv.Atoi(args[0])
	if err != nil {
		p.t.Fatal(err)
	}
	p.group = &group{t: p.t, nodes: map[uint64]*member{}}
	p.config, p.cut = map[uint64]*Config{}, map[uint64]bool{}
	for id := uint64(1); id <= uint64(count); id++ {
		p.group.ids = append(p.group.ids, id)
	}
	var learners []uint64
	voters := slices.Clone(p.group.ids)
	for _, arg := range args[1:] {
		if id, ok := strings.CutPrefix(arg, "learner="); ok {
			learner, _ := strconv.ParseUint(id, 10, 64)
			learners = append(learners, learner)
			voters = slices.DeleteFunc(voters, func(id uint64) bool { return id == learner })
		}
	}
	p.founders = voters
	for _, id := range p.group.ids {
		s := storageWith(voters...)
		s.snapshot.Metadata.ConfState.Learners = learners
		p.add(id, s, args[1:])
	}
}

func (p *play) add(id uint64, s *MemoryStorage, options []string) {
	c := testConfig(id, s)
	for _, o := range options {
		c.PreVote = c.PreVote || o == "pre-vote"
		c.CheckQuorum = c.CheckQuorum || o == "check-quorum"
		if o == "one-entry" {
			c.MaxSizePerMsg = 1
		}
	}
	p.config[id] = c
	p.restartOn(id, s)
}

func (p *play) restart(id uint64) {
	c, known := p.config[id]
	if !known { // a new node, with nothing
		p.group.ids = append(p.group.ids, id)
		p.add(id, storageWith(p.founders...), nil)
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
		p.print("node %d: %s", id, strings.TrimSpace(strings.ReplaceAll(p.group.processOne(n), "\n", "\n  ")))
	}
	return true
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
