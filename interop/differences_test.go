// The differences that we chose, shown in both libraries; those of reads are in
// reads_test.go, those of Nodes in nodes_test.go.

package interop

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math"
	"path/filepath"
	"testing"

	theirs "go.etcd.io/raft/v3"
	theirpb "go.etcd.io/raft/v3/raftpb"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// Every listed difference has its test, and nothing in the list is left empty.
func TestDifferencesAreShown(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				tests[f.Name.Name] = true
			}
		}
	}
	for _, d := range Differences {
		if d.Name == "" || d.Etcd == "" || d.Ours == "" || d.Why == "" || !tests[d.Shown] {
			t.Errorf("difference without words or test: %+v", d)
		}
	}
}

// plainPlan is a cluster of voters without any options.
func plainPlan(voters int) plan {
	return plan{members: voters, voters: voters, config: raft.Config{
		ElectionTick: 8, HeartbeatTick: 1, MaxSizePerMsg: math.MaxUint64, MaxInflightMsgs: 16,
	}}
}

func newCluster(t *testing.T, p plan, eng engine) *cluster {
	c := &cluster{world: newWorld(p, func(uint64) engine { return eng }), t: t}
	c.start()
	return c
}

// The timeout is ElectionTick and what Rand draws.
func TestRandDecidesTimeouts(t *testing.T) {
	for draw := range 8 {
		p := plainPlan(3)
		w := newWorld(p, allOurs)
		w.draw.next = draw
		w.start()
		n := w.members[0].node
		ticks := 0
		for ; !n.HasReady(); ticks++ {
			n.Tick()
		}
		if ticks != p.config.ElectionTick+draw {
			t.Errorf("with %d drawn it campaigns after %d ticks", draw, ticks)
		}
	}
}

// No size at all: entries come one by one.
func TestZeroSizesMeanOneEntry(t *testing.T) {
	p := plainPlan(1)
	p.config.MaxSizePerMsg = 0
	batches := func(eng engine) (sizes []int, panicked bool) {
		defer func() { panicked = recover() != nil }()
		c := newCluster(t, p, eng)
		n := c.member(1).node
		must(n.Campaign())
		for range 10 {
			if !n.HasReady() {
				break
			}
			rd := n.Ready()
			must(c.member(1).store.Append(rd.Entries))
			sizes = append(sizes, len(rd.CommittedEntries))
			n.Advance(rd)
			if len(sizes) == 2 {
				must(n.Propose([]byte("a")))
				must(n.Propose([]byte("b")))
			}
		}
		return sizes, false
	}
	if sizes, panicked := batches(etcd{}); !panicked {
		t.Errorf("etcd's gave batches of %v and did not panic: what we differ from is gone", sizes)
	}
	if sizes, panicked := batches(ours{}); panicked || fmt.Sprint(sizes) != "[0 0 1 1 1]" {
		t.Errorf("ours gave batches of %v, panic: %t", sizes, panicked)
	}
}

// A change that is too large now, and one that is not, right after it.
func TestDroppedChangeLeavesNoTrace(t *testing.T) {
	second := func(eng engine) pb.EntryType {
		p := plainPlan(1)
		p.config.MaxUncommittedEntriesSize = 30
		c := newCluster(t, p, eng)
		c.elect(1)
		n := c.member(1).node
		must(n.Propose(make([]byte, 15)))
		large := pb.ConfChange{Type: pb.ConfChangeUpdateNode, NodeID: 1, Context: make([]byte, 100)}
		if err := n.ProposeConfChange(large); err == nil {
			t.Fatalf("%s took a change beyond the limit", eng.name())
		}
		// Nothing is in the log at its place, yet.
		must(n.ProposeConfChange(pb.ConfChangeV2{Changes: []pb.ConfChangeSingle{{Type: pb.ConfChangeUpdateNode}}}))
		c.settle()
		h := c.member(1).history
		return h[len(h)-1].Type
	}
	if typ := second(etcd{}); typ != pb.EntryNormal {
		t.Errorf("etcd's appended %v: what we differ from is gone", typ)
	}
	if typ := second(ours{}); typ == pb.EntryNormal {
		t.Error("ours refused a change because of one that it had dropped")
	}
}

// A transfer that comes with a term, from a node that passed it on.
func TestTransferIsPassedOnTwice(t *testing.T) {
	step := func(eng engine, passed pb.Message) (passedOn bool, panicked any) {
		c := newCluster(t, plainPlan(3), eng)
		c.elect(1)
		m := c.member(2)
		defer func() { panicked = recover() }()
		must(m.node.Step(passed))
		for _, msg := range m.node.Ready().Messages {
			passedOn = passedOn || msg.Type == passed.Type && msg.To == 1
		}
		return passedOn, nil
	}
	entries := []pb.Entry{{Data: []byte("x")}}
	for _, passed := range []pb.Message{
		{Type: pb.MsgTransferLeader, From: 3, To: 2, Term: 2},
		{Type: pb.MsgProp, From: 3, To: 2, Term: 2, Entries: entries},
		{Type: pb.MsgReadIndex, From: 3, To: 2, Term: 2, Entries: entries},
	} {
		if _, panicked := step(etcd{}, passed); panicked == nil {
			t.Errorf("%v: etcd's did not panic: what we differ from is gone", passed.Type)
		}
		if passedOn, panicked := step(ours{}, passed); !passedOn || panicked != nil {
			t.Errorf("%v: ours passed it on: %t, panic: %v", passed.Type, passedOn, panicked)
		}
	}
}

// A varint of 65 bits, and a field number that does not exist.
func TestMalformedFieldsAreRefused(t *testing.T) {
	for _, data := range [][]byte{
		{0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
		{0x80, 0x80, 0x80, 0x80, 0x10, 0x00},
	} {
		var our pb.Entry
		var their theirpb.Entry
		if err := their.Unmarshal(data); err != nil {
			t.Errorf("etcd's refuses %x: %v: what we differ from is gone", data, err)
		}
		if err := our.Unmarshal(data); err == nil {
			t.Errorf("ours reads %x as %v", data, &our)
		}
	}
}

// A message, and one byte less than it takes.
func TestTooSmallABufferIsAnError(t *testing.T) {
	m := pb.Message{Type: pb.MsgApp, Term: 3, Entries: []pb.Entry{{Term: 3, Index: 4, Data: []byte("a")}}}
	their := toMessage(m)
	b := make([]byte, m.Size()-1)
	if n, err := m.MarshalTo(b); !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("ours: %d, %v", n, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("etcd's did not panic: what we differ from is gone")
		}
	}()
	n, err := their.MarshalTo(b)
	t.Errorf("etcd's: %d, %v", n, err)
}

// A follower takes a Ready with a change in it, and gets a snapshot that has the
// change already before it has advanced.
func TestSnapshotWaitsForTheChangeBeforeIt(t *testing.T) {
	voters := []uint64{1, 2, 3}
	step := func(eng engine) (snapshotTaken bool, commit uint64) {
		c := newCluster(t, plainPlan(3), eng)
		change := pb.ConfChangeV2{
			Transition: pb.ConfChangeTransitionJointExplicit,
			Changes:    []pb.ConfChangeSingle{{Type: pb.ConfChangeAddLearnerNode, NodeID: 4}},
		}
		typ, data, err := pb.MarshalConfChange(change)
		must(err)
		m := c.member(2)
		must(m.node.Step(pb.Message{
			Type: pb.MsgApp, From: 1, To: 2, Term: 2, LogTerm: 1, Index: 1, Commit: 2,
			Entries: []pb.Entry{{Term: 2, Index: 2, Type: typ, Data: data}},
		}))
		rd := m.node.Ready()
		must(m.store.Append(rd.Entries))
		if len(rd.CommittedEntries) != 1 {
			t.Fatalf("%s handed out %v", eng.name(), rd.CommittedEntries)
		}
		must(m.node.Step(pb.Message{
			Type: pb.MsgSnap, From: 1, To: 2, Term: 2,
			Snapshot: &pb.Snapshot{Metadata: pb.SnapshotMetadata{
				Index: 9, Term: 2, ConfState: pb.ConfState{Voters: voters, VotersOutgoing: voters, Learners: []uint64{4}},
			}},
		}))
		return m.node.status().commit == 9, m.node.status().commit
	}
	if taken, commit := step(etcd{}); !taken {
		t.Errorf("etcd's did not take it, commit %d: what we differ from is gone", commit)
	}
	if taken, commit := step(ours{}); taken || commit != 2 {
		t.Errorf("ours took it: %t, commit %d", taken, commit)
	}
}

// The only voter is a learner; a voter is to become one although nothing is joint.
func TestImpossibleSnapshotIsIgnored(t *testing.T) {
	step := func(eng engine, cs pb.ConfState) (commit uint64, panicked any) {
		c := newCluster(t, plainPlan(3), eng)
		m := c.member(2)
		defer func() { panicked = recover() }()
		must(m.node.Step(pb.Message{
			Type: pb.MsgSnap, From: 1, To: 2, Term: 2,
			Snapshot: &pb.Snapshot{Metadata: pb.SnapshotMetadata{Index: 9, Term: 2, ConfState: cs}},
		}))
		return m.node.status().commit, nil
	}
	for _, cs := range []pb.ConfState{
		{Voters: []uint64{2}, Learners: []uint64{2}},
		{Voters: []uint64{1, 2}, LearnersNext: []uint64{2}},
	} {
		if _, panicked := step(etcd{}, cs); panicked == nil {
			t.Errorf("%v: etcd's did not panic: what we differ from is gone", cs)
		}
		if commit, panicked := step(ours{}, cs); commit != 1 || panicked != nil {
			t.Errorf("%v: ours has commit %d, panic: %v", cs, commit, panicked)
		}
	}
}

// A node votes while it has no log, stops, and is bootstrapped.
func TestBootstrapKeepsTheVote(t *testing.T) {
	bootstrap := func(eng engine) status {
		p := plainPlan(2)
		p.bootstrap = true
		w := newWorld(p, func(uint64) engine { return eng })
		must(w.members[0].store.SetHardState(pb.HardState{Term: 3, Vote: 2}))
		w.start()
		return w.members[0].node.status()
	}
	if st := bootstrap(etcd{}); st.term != 1 || st.vote != raft.None {
		t.Errorf("etcd's is in term %d with vote %d: what we differ from is gone", st.term, st.vote)
	}
	if st := bootstrap(ours{}); st.term != 3 || st.vote != 2 || st.commit != 2 {
		t.Errorf("ours is in term %d with vote %d, commit %d", st.term, st.vote, st.commit)
	}
}

// A node that applies its first entries, compacts them away at once, and wants to
// lead before it has advanced.
func TestCompactedBeforeAdvanceWaits(t *testing.T) {
	campaign := func(eng engine) (before, after string, panicked any) {
		p := plainPlan(1)
		p.bootstrap = true
		c := newCluster(t, p, eng)
		m := c.member(1)
		c.takeReady(m)
		cs := m.confState
		_, err := m.store.CreateSnapshot(m.applied, &cs, nil)
		must(err)
		must(m.store.Compact(m.applied))

		defer func() { panicked = recover() }()
		must(m.node.Campaign())
		before = m.node.status().role
		c.advance(m)
		must(m.node.Campaign())
		return before, m.node.status().role, nil
	}
	if _, _, panicked := campaign(etcd{}); panicked == nil {
		t.Error("etcd's did not panic: what we differ from is gone")
	}
	before, after, panicked := campaign(ours{})
	if panicked != nil || before != raft.StateFollower.String() || after != raft.StateCandidate.String() {
		t.Errorf("ours is %s, then %s, panic: %v", before, after, panicked)
	}
}

// A leader gets what no library sends.
func TestMalformedRequestsStopNobody(t *testing.T) {
	step := func(eng engine, m pb.Message) (last pb.Entry, panicked any) {
		c := newCluster(t, plainPlan(3), eng)
		c.elect(1)
		defer func() { panicked = recover() }()
		m.From, m.To = 2, 1
		must(c.member(1).node.Step(m))
		c.settle()
		h := c.member(1).history
		return h[len(h)-1], nil
	}
	for name, m := range map[string]pb.Message{
		"a change of the older form": {Type: pb.MsgProp, Entries: []pb.Entry{{Type: pb.EntryConfChange, Data: []byte("no change")}}},
		"a change":                   {Type: pb.MsgProp, Entries: []pb.Entry{{Type: pb.EntryConfChangeV2, Data: []byte("no change")}}},
		"a read":                     {Type: pb.MsgReadIndex},
	} {
		if _, panicked := step(etcd{}, m); panicked == nil {
			t.Errorf("%s: etcd's did not panic: what we differ from is gone", name)
		}
		if last, panicked := step(ours{}, m); panicked != nil || last.Type != pb.EntryNormal || last.Data != nil {
			t.Errorf("%s: ours appended %v, panic: %v", name, last, panicked)
		}
	}
}

// A node that wants to apply what its storage does not give.
func TestStorageThatGivesNothingIsNoticed(t *testing.T) {
	wait := func(eng engine) (readys int, panicked any) {
		c := newCluster(t, plainPlan(1), eng)
		c.elect(1)
		m := c.member(1)
		must(m.node.Propose([]byte("x")))
		c.takeReady(m)
		m.over.noEntries = true
		c.advance(m)
		defer func() { panicked = recover() }()
		for readys = 0; readys < 100 && m.node.HasReady(); readys++ {
			m.node.Advance(m.node.Ready())
		}
		return readys, nil
	}
	if readys, panicked := wait(etcd{}); readys != 100 {
		t.Errorf("etcd's made %d Readys, panic: %v: what we differ from is gone", readys, panicked)
	}
	if readys, panicked := wait(ours{}); panicked == nil {
		t.Errorf("ours made %d Readys and did not panic", readys)
	}
}

// mute is a logger that does not panic when it is asked to.
type mute struct{ silent }

func (mute) Panic(...any)          {}
func (mute) Panicf(string, ...any) {}

// A leader says that more is committed than its follower has, and the follower's logger
// does not panic over it.
func TestPanicsNeedNoLogger(t *testing.T) {
	beyond := pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: 9}
	theirConfig, theirStore := theirConfig(loopConfig, nil), theirs.NewMemoryStorage()
	theirConfig.Storage, theirConfig.Logger = theirStore, mute{}
	their, err := theirs.NewRawNode(theirConfig)
	must(err)
	if err := their.Step(toMessage(beyond)); err != nil || their.BasicStatus().Commit != 9 {
		t.Errorf("etcd's has commit %d, %v: what we differ from is gone", their.BasicStatus().Commit, err)
	}

	ourConfig := loopConfig
	ourConfig.Storage, ourConfig.Logger = raft.NewMemoryStorage(), mute{}
	our, err := raft.NewRawNode(&ourConfig)
	must(err)
	defer func() {
		if recover() == nil {
			t.Errorf("ours has commit %d", our.BasicStatus().Commit)
		}
	}()
	must(our.Step(beyond))
}

// A candidate of term 3 hears from somebody who leads no term.
func TestTermNeverFalls(t *testing.T) {
	for _, typ := range []pb.MessageType{pb.MsgHeartbeat, pb.MsgApp, pb.MsgSnap} {
		hear := func(eng engine) status {
			c := newCluster(t, plainPlan(3), eng)
			m := c.member(1)
			must(m.node.Campaign())
			c.pump(m)
			must(m.node.Step(pb.Message{Type: typ, From: 2, To: 1, Snapshot: &pb.Snapshot{}}))
			return m.node.status()
		}
		if st := hear(etcd{}); st.term != 0 || st.vote != raft.None {
			t.Errorf("%v: etcd's is in term %d with vote %d: what we differ from is gone", typ, st.term, st.vote)
		}
		if st := hear(ours{}); st.term != 2 || st.vote != 1 || st.role != raft.StateFollower.String() {
			t.Errorf("%v: ours is %s in term %d with vote %d", typ, st.role, st.term, st.vote)
		}
	}
}

// A follower's log ends at entry 1, which is committed.
func TestEntriesWithAGapAreIgnored(t *testing.T) {
	take := func(eng engine, indexes ...uint64) (entries []pb.Entry, panicked any) {
		c := newCluster(t, plainPlan(3), eng)
		m := c.member(1)
		defer func() { panicked = recover() }()
		app := pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 2, Index: 1, LogTerm: 1}
		for _, i := range indexes {
			app.Entries = append(app.Entries, pb.Entry{Term: 2, Index: i})
		}
		must(m.node.Step(app))
		entries = m.node.Ready().Entries
		must(m.store.Append(entries))
		return entries, nil
	}
	for _, indexes := range [][]uint64{{1}, {3, 4}} {
		if _, panicked := take(etcd{}, indexes...); panicked == nil {
			t.Errorf("%v: etcd's did not panic: what we differ from is gone", indexes)
		}
	}
	for _, indexes := range [][]uint64{{1}, {3}, {3, 4}, {2, 4}} {
		if entries, panicked := take(ours{}, indexes...); len(entries) > 0 || panicked != nil {
			t.Errorf("%v: ours took %v, panic: %v", indexes, entries, panicked)
		}
	}
}

// A group is begun, and begun again with somebody else in it.
func TestSecondBootstrapIsAnError(t *testing.T) {
	again := func(eng engine) (panicked any, err error) {
		p := plainPlan(2)
		p.bootstrap = true
		w := newWorld(p, func(uint64) engine { return eng })
		w.start()
		defer func() { panicked = recover() }()
		return nil, w.members[0].node.Bootstrap([]raft.Peer{{ID: 1}, {ID: 3}})
	}
	if panicked, _ := again(etcd{}); panicked == nil {
		t.Error("etcd's did not panic: what we differ from is gone")
	}
	if panicked, err := again(ours{}); err == nil || panicked != nil {
		t.Errorf("ours: %v, panic %v", err, panicked)
	}
}
