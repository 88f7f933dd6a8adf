// A world: the nodes of one cluster, their disks and the network between them,
// all on one goroutine, doing what a script says and writing down what can be seen
// from outside.
//
// Nothing here knows which library a node is of. Two worlds of different engines
// that run the same script therefore write down the same, or a library differs.
// Start at do.

package interop

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// plan is what a world is made of.
type plan struct {
	members   int         // ids 1..members
	voters    int         // of them, who is a voter at the start
	learners  int         // the next ids
	bootstrap bool        // voters start by Bootstrap, not from a snapshot at index 1
	postpones bool        // nobody loses leadership: postponed reads can be compared
	rejects   bool        // the application refuses some changes of membership
	config    raft.Config // for every node, but for ID
}

func (p plan) String() string {
	c := p.config
	return fmt.Sprintf("%d members, %d voters, %d learners, bootstrap=%t, election=%d async=%t sizes=%d,%d,%d,%d,%d "+
		"check=%t prevote=%t reads=%d noforward=%t novalidate=%t stepdown=%t",
		p.members, p.voters, p.learners, p.bootstrap, c.ElectionTick, c.AsyncStorageWrites,
		c.MaxSizePerMsg, c.MaxCommittedSizePerReady, c.MaxUncommittedEntriesSize, c.MaxInflightMsgs, c.MaxInflightBytes,
		c.CheckQuorum, c.PreVote, c.ReadOnlyOption, c.DisableProposalForwarding,
		c.DisableConfChangeValidation, c.StepDownOnRemoval)
}

// drawPlan draws a plan: all options in all combinations.
func drawPlan(rnd *rand.Rand, members int) plan {
	pick := func(v ...uint64) uint64 { return v[rnd.IntN(len(v))] }
	p := plan{members: members, bootstrap: rnd.IntN(3) == 0, rejects: true}
	p.voters = 1 + rnd.IntN(members)
	if !p.bootstrap {
		p.learners = rnd.IntN(members - p.voters + 1)
	}
	c := raft.Config{
		ElectionTick:                int(pick(4, 8, 16)),
		HeartbeatTick:               int(pick(1, 1, 2)),
		AsyncStorageWrites:          rnd.IntN(3) == 0,
		MaxSizePerMsg:               pick(math.MaxUint64, 1<<20, 100, 40, 0),
		MaxCommittedSizePerReady:    pick(0, 1<<20, 120, 50),
		MaxUncommittedEntriesSize:   pick(0, 0, 200, 60),
		MaxInflightMsgs:             int(pick(256, 8, 2, 1)),
		CheckQuorum:                 rnd.IntN(2) == 0,
		PreVote:                     rnd.IntN(2) == 0,
		DisableProposalForwarding:   rnd.IntN(5) == 0,
		DisableConfChangeValidation: rnd.IntN(8) == 0,
		StepDownOnRemoval:           rnd.IntN(3) == 0,
	}
	if c.MaxSizePerMsg == 0 && c.MaxCommittedSizePerReady == 0 {
		c.MaxCommittedSizePerReady = 1 << 20 // see Differences: one entry per Ready
	}
	if c.MaxSizePerMsg < 1<<20 {
		c.MaxInflightBytes = pick(0, 100, 1<<10)
	}
	if c.CheckQuorum && rnd.IntN(3) == 0 {
		c.ReadOnlyOption = raft.ReadOnlyLeaseBased
	}
	p.config = c
	return p
}

// member is one node with what belongs to it.
type member struct {
	id    uint64
	eng   engine
	node  node // nil once it has panicked, until it is restarted
	store store
	over  *overrides

	ready     *raft.Ready // taken and not advanced
	appendQ   []pb.Message
	applyQ    []pb.Message
	confState pb.ConfState // as of applied
	applied   uint64

	history []pb.Entry       // applied since the last start or snapshot
	reads   []raft.ReadState // answered
}

type world struct {
	plan    plan
	members []*member
	net     [][]byte // messages on their way, encoded
	draw    *drawer
	verbose bool
	cut     uint64 // the member that no message reaches or leaves, or 0

	out []byte // what the operation under way has shown
}

func newWorld(p plan, engineOf func(id uint64) engine) *world {
	w := &world{plan: p, draw: &drawer{}}
	for i := range p.members {
		eng := engineOf(uint64(i + 1))
		w.members = append(w.members, &member{
			id: uint64(i + 1), eng: eng, store: eng.newStore(),
			over: &overrides{draw: w.draw},
		})
	}
	return w
}

// start brings up all members.
func (w *world) start() []byte {
	w.out = w.out[:0]
	var cs pb.ConfState
	var peers []raft.Peer
	for i := range w.plan.voters {
		cs.Voters = append(cs.Voters, uint64(i+1))
		peers = append(peers, raft.Peer{ID: uint64(i + 1), Context: []byte{byte('a' + i)}})
	}
	for i := range w.plan.learners {
		cs.Learners = append(cs.Learners, uint64(w.plan.voters+i+1))
	}

	for i, m := range w.members {
		first := i < w.plan.voters+w.plan.learners
		if first && !w.plan.bootstrap {
			snap := pb.Snapshot{Metadata: pb.SnapshotMetadata{Index: 1, Term: 1, ConfState: cs}}
			must(m.store.ApplySnapshot(snap))
			must(m.store.SetHardState(pb.HardState{Term: 1, Commit: 1}))
		}
		w.boot(m, 0)
		if first && w.plan.bootstrap && m.node != nil {
			w.try(m, "bootstrap", func() error { return m.node.Bootstrap(peers) })
		}
		w.look(m)
	}
	return w.out
}

// boot starts a member's node from its store.
func (w *world) boot(m *member, applied uint64) {
	m.node, m.ready, m.appendQ, m.applyQ = nil, nil, nil, nil
	m.history, m.reads = nil, nil
	m.over.confState = nil
	_, cs, err := m.store.InitialState()
	must(err)
	first, err := m.store.FirstIndex()
	must(err)
	if applied == 0 {
		m.confState, m.applied = cs, first-1
		snap, err := m.store.Snapshot()
		must(err)
		if snap.Metadata.Index < first-1 {
			panic("the store was compacted beyond its snapshot")
		}
	} else {
		cs := m.confState
		m.over.confState = &cs
	}
	c := w.plan.config
	c.ID, c.Applied = m.id, applied
	w.guard(m, "start", func() {
		m.node = m.eng.newNode(c, m.store, m.over)
	})
}

func (w *world) printf(format string, args ...any) { w.out = fmt.Appendf(w.out, format, args...) }

// guard runs f, which calls a node of m, and writes down whether it panicked;
// such a node is dead.
func (w *world) guard(m *member, what string, f func()) {
	defer func() {
		if r := recover(); r != nil {
			w.printf("%s: panic\n", what)
			if w.verbose {
				w.printf("  %v\n", r)
			}
			m.node, m.ready = nil, nil
		}
	}()
	f()
}

// try is guard for what returns an error.
func (w *world) try(m *member, what string, f func() error) {
	w.guard(m, what, func() {
		if err := f(); err != nil {
			w.printf("%s: %v\n", what, err)
		}
	})
}

// do runs one operation and returns what it showed.
func (w *world) do(o op) []byte {
	w.out = w.out[:0]
	w.draw.next = o.draw
	m := w.members[o.node]

	switch o.kind {
	case opDeliver, opDeliverMany, opDrop:
		w.doNetwork(o)
		return w.out
	case opRestart:
		w.doRestart(m, o)
		w.look(m)
		return w.out
	}
	if m.node == nil {
		return w.out
	}

	switch o.kind {
	case opPump:
		w.pump(m)
	case opReady:
		w.takeReady(m)
	case opAdvance:
		w.advance(m)
	case opAppendThread:
		w.appendThread(m)
	case opApplyThread:
		w.applyThread(m)
	case opCompact:
		w.compact(m, o)
	case opForge:
		w.step(m, w.forge(m, o))
	case opLook:
		w.guard(m, "status", func() {
			w.printf("%s\n%s\n", sortedJSON(m.node.statusJSON()), strings.Join(m.node.visit(), "\n"))
		})
	default:
		w.call(m, o)
	}
	w.look(m)
	return w.out
}

// call runs the operations that are one call of a method.
func (w *world) call(m *member, o op) {
	n := m.node
	id := w.anyID(o.x)
	switch o.kind {
	case opTick:
		w.guard(m, "tick", n.Tick)
	case opTickMany:
		w.guard(m, "tick", func() {
			for range o.x % uint64(2*w.plan.config.ElectionTick) {
				n.Tick()
			}
		})
	case opTickQuiesced:
		w.guard(m, "tick quiesced", n.TickQuiesced)
	case opPropose:
		w.try(m, "propose", func() error { return n.Propose(payload(o.seq, o.x)) })
	case opProposeMany:
		w.step(m, pb.Message{Type: pb.MsgProp, From: m.id, Entries: w.someEntries(o)})
	case opProposeConfChange:
		if w.mayDrop(m) {
			return
		}
		w.try(m, "propose conf change", func() error { return n.ProposeConfChange(w.confChange(o.x, o.y)) })
	case opCampaign:
		w.try(m, "campaign", n.Campaign)
	case opReadIndex:
		if !w.readsDiffer(m) {
			w.guard(m, "read index", func() { n.ReadIndex(fmt.Appendf(nil, "read %d", o.seq)) })
		}
	case opTransfer:
		w.guard(m, "transfer", func() { n.TransferLeader(id) })
	case opForgetLeader:
		w.try(m, "forget leader", n.ForgetLeader)
	case opUnreachable:
		w.guard(m, "report unreachable", func() { n.ReportUnreachable(id) })
	case opSnapStatus:
		w.guard(m, "report snapshot", func() {
			n.ReportSnapshot(id, raft.SnapshotFinish+raft.SnapshotStatus(o.y%2))
		})
	case opNoSnapshot:
		m.over.noSnapshot = o.x%3 == 0
	default:
		panic(o.kind)
	}
}

// anyID is a member, mostly, or somebody unknown.
func (w *world) anyID(x uint64) uint64 { return x % uint64(w.plan.members+2) }

// payload is the data of a proposal: some bytes, rarely none.
func payload(seq int, x uint64) []byte {
	switch x % 16 {
	case 0:
		return nil
	case 1:
		return []byte{}
	case 2:
		return fmt.Appendf(nil, "%0150d", seq)
	}
	return fmt.Appendf(nil, "%d", seq)
}

// someEntries are the entries of a MsgProp.
func (w *world) someEntries(o op) []pb.Entry {
	var entries []pb.Entry
	for i := range 1 + o.x%4 {
		bits := o.y >> (8 * i)
		e := pb.Entry{Data: payload(o.seq, bits)}
		if bits%4 == 0 {
			typ, data, err := pb.MarshalConfChange(w.confChange(bits>>2, o.x>>4))
			must(err)
			e = pb.Entry{Type: typ, Data: data}
		}
		entries = append(entries, e)
	}
	return entries
}

// confChange is a change of membership, mostly one that makes sense.
func (w *world) confChange(x, y uint64) pb.ConfChangeI {
	id := func(bits uint64) uint64 { return 1 + bits%uint64(w.plan.members) }
	typ := func(bits uint64) pb.ConfChangeType {
		return [...]pb.ConfChangeType{
			pb.ConfChangeAddNode, pb.ConfChangeAddNode, pb.ConfChangeRemoveNode,
			pb.ConfChangeAddLearnerNode, pb.ConfChangeUpdateNode,
		}[bits%5]
	}
	switch x % 8 {
	case 0, 1, 2:
		return pb.ConfChange{Type: typ(x >> 3), NodeID: id(x >> 8), ID: x >> 32, Context: []byte("url")}
	case 3:
		return pb.ConfChangeV2{} // leaves a joint configuration
	case 4:
		return pb.ConfChangeV2{Changes: []pb.ConfChangeSingle{{Type: typ(x >> 3), NodeID: id(x >> 8)}}}
	}
	v2 := pb.ConfChangeV2{Transition: pb.ConfChangeTransition(x >> 3 % 3)}
	for i := range y%3 + 1 {
		bits := y >> (2 + 10*i)
		v2.Changes = append(v2.Changes, pb.ConfChangeSingle{Type: typ(bits), NodeID: id(bits >> 3)})
	}
	return v2
}

// readsDiffer reports whether m leads and has not committed in its term, or leads
// a single voter that is another node, in which cases reads are treated
// differently: see Differences.
func (w *world) readsDiffer(m *member) bool {
	st := m.node.status()
	if st.role != raft.StateLeader.String() {
		return false
	}
	single := st.voters == 1 && !st.joint
	if single && !st.isVoter {
		return true
	}
	if w.plan.postpones && !single {
		return false
	}
	term, err := m.store.Term(st.commit)
	return err != nil || term != st.term
}

// holdsChange reports whether m has been given a change of membership to apply and
// has not said yet that it did; snapshots are treated differently then: see
// Differences.
func (w *world) holdsChange(m *member) bool {
	isChange := func(e pb.Entry) bool { return e.Type != pb.EntryNormal }
	if m.ready != nil && slices.ContainsFunc(m.ready.CommittedEntries, isChange) {
		return true
	}
	return slices.ContainsFunc(m.applyQ, func(msg pb.Message) bool {
		return slices.ContainsFunc(msg.Entries, isChange)
	})
}

// mayDrop reports whether m could drop a proposal because of its size, which
// must not befall a change of membership: see Differences.
func (w *world) mayDrop(m *member) bool {
	last, err := m.store.LastIndex()
	must(err)
	return w.plan.config.MaxUncommittedEntriesSize > 0 &&
		(m.node.HasReady() || m.ready != nil || len(m.appendQ) > 0 || m.node.status().applied != last)
}

// takeReady takes one Ready, if there is one and the last was advanced.
func (w *world) takeReady(m *member) bool {
	if m.node == nil || m.ready != nil || !m.node.HasReady() {
		return false
	}
	var rd raft.Ready
	w.guard(m, "ready", func() { rd = m.node.Ready() })
	if m.node == nil {
		return false
	}
	w.showReady(m, rd)
	m.reads = append(m.reads, rd.ReadStates...)
	if w.plan.config.AsyncStorageWrites {
		w.send(m, rd.Messages)
		return true
	}

	m.ready = &rd
	w.save(m, rd.HardState, rd.Entries, rd.Snapshot)
	w.send(m, rd.Messages)
	w.apply(m, rd.CommittedEntries)
	return true
}

func (w *world) advance(m *member) {
	if m.ready == nil {
		return
	}
	rd := *m.ready
	m.ready = nil
	w.guard(m, "advance", func() { m.node.Advance(rd) })
}

// pump works off what the node wants done, but for what the network brings.
func (w *world) pump(m *member) {
	for range 20 {
		w.finish(m)
		if !w.takeReady(m) && len(m.appendQ) == 0 && len(m.applyQ) == 0 {
			return
		}
	}
}

// finish works off what a Ready that was taken has left to do.
func (w *world) finish(m *member) {
	if !w.plan.config.AsyncStorageWrites {
		w.advance(m)
		return
	}
	w.appendThread(m)
	w.applyThread(m)
}

// save puts what a node wants stored into its store.
func (w *world) save(m *member, hs pb.HardState, entries []pb.Entry, snap pb.Snapshot) {
	w.guard(m, "save", func() {
		if !raft.IsEmptySnap(snap) {
			must(m.store.ApplySnapshot(snap))
			m.confState, m.applied, m.history = snap.Metadata.ConfState, snap.Metadata.Index, nil
		}
		must(m.store.Append(entries))
		if !raft.IsEmptyHardState(hs) {
			must(m.store.SetHardState(hs))
		}
	})
}

// send puts messages on their way, or into the queues of the storage threads.
func (w *world) send(m *member, msgs []pb.Message) {
	for _, msg := range msgs {
		switch msg.To {
		case raft.LocalAppendThread:
			m.appendQ = append(m.appendQ, msg)
		case raft.LocalApplyThread:
			m.applyQ = append(m.applyQ, msg)
		default:
			data, err := msg.Marshal()
			must(err)
			w.net = append(w.net, data)
		}
	}
}

func (w *world) appendThread(m *member) {
	if len(m.appendQ) == 0 || m.node == nil {
		return
	}
	msg := m.appendQ[0]
	m.appendQ = m.appendQ[1:]
	var snap pb.Snapshot
	if msg.Snapshot != nil {
		snap = *msg.Snapshot
	}
	w.save(m, pb.HardState{Term: msg.Term, Vote: msg.Vote, Commit: msg.Commit}, msg.Entries, snap)
	w.respond(m, msg.Responses)
}

func (w *world) applyThread(m *member) {
	if len(m.applyQ) == 0 || m.node == nil {
		return
	}
	msg := m.applyQ[0]
	m.applyQ = m.applyQ[1:]
	w.apply(m, msg.Entries)
	w.respond(m, msg.Responses)
}

func (w *world) respond(m *member, responses []pb.Message) {
	for _, r := range responses {
		if r.To != m.id {
			w.send(m, []pb.Message{r})
		} else if m.node != nil {
			w.step(m, r)
		}
	}
}

// apply applies committed entries: it counts them, and switches configurations.
func (w *world) apply(m *member, entries []pb.Entry) {
	for _, e := range entries {
		if m.node == nil {
			return
		}
		m.applied = e.Index
		m.history = append(m.history, e)
		var cc pb.ConfChangeI
		switch e.Type {
		case pb.EntryConfChange:
			var v1 pb.ConfChange
			must(v1.Unmarshal(e.Data))
			cc = v1
		case pb.EntryConfChangeV2:
			var v2 pb.ConfChangeV2
			must(v2.Unmarshal(e.Data))
			cc = v2
		default:
			continue
		}
		if w.plan.rejects && e.Index%11 == 0 {
			cc = pb.ConfChange{} // the application rejects this one
		}
		w.guard(m, "apply conf change", func() {
			cs := m.node.ApplyConfChange(cc)
			m.confState = *cs
			w.printf("conf state %#v\n", *cs)
		})
	}
}

// compact makes a snapshot of what was applied and drops some of the log.
func (w *world) compact(m *member, o op) {
	snap, err := m.store.Snapshot()
	must(err)
	if m.applied <= snap.Metadata.Index || m.applied != m.node.status().applied {
		return // nothing new, or the node does not know yet what was applied
	}
	cs := m.confState
	w.guard(m, "compact", func() {
		_, err := m.store.CreateSnapshot(m.applied, &cs, fmt.Appendf(nil, "state at %d", m.applied))
		must(err)
		first, err := m.store.FirstIndex()
		must(err)
		if to := m.applied - min(m.applied, o.x%5); to >= first {
			must(m.store.Compact(to))
		}
		first, err = m.store.FirstIndex()
		must(err)
		w.printf("compacted, first index %d\n", first)
	})
}

// doRestart stops a node, which loses what was not stored, and starts it again:
// from its snapshot, or with what it had applied.
func (w *world) doRestart(m *member, o op) {
	applied := uint64(0)
	hs, _, err := m.store.InitialState()
	must(err)
	if o.x%2 == 0 && m.applied <= hs.Commit {
		applied = m.applied
	}
	w.boot(m, applied)
}

// doNetwork delivers or loses messages.
func (w *world) doNetwork(o op) {
	if len(w.net) == 0 {
		return
	}
	switch o.kind {
	case opDrop:
		i := int(o.x % uint64(len(w.net)))
		w.net = slices.Delete(w.net, i, i+1)
	case opDeliver:
		i := int(o.x % uint64(len(w.net)))
		data := w.net[i]
		w.deliver(data)
		if again := decode(data).Type; o.y%8 != 0 || again == pb.MsgReadIndex {
			w.net = slices.Delete(w.net, i, i+1) // else it will come again
		}
	case opDeliverMany:
		n := min(len(w.net), int(1+o.x%32))
		for _, data := range w.net[:n] {
			w.deliver(data)
		}
		w.net = slices.Delete(w.net, 0, n)
	default:
		panic(o.kind)
	}
}

func decode(data []byte) pb.Message {
	var m pb.Message
	must(m.Unmarshal(data))
	return m
}

func (w *world) deliver(data []byte) {
	msg := decode(data)
	if msg.To == 0 || msg.To > uint64(len(w.members)) {
		return
	}
	m := w.members[msg.To-1]
	if m.node == nil || w.cut == msg.To || w.cut == msg.From && w.cut != 0 ||
		msg.Type == pb.MsgReadIndex && w.readsDiffer(m) {
		return
	}
	w.step(m, msg)
	w.look(m)
}

func (w *world) step(m *member, msg pb.Message) {
	if msg.Type == pb.MsgTransferLeader && msg.Term != 0 && m.node.status().role != raft.StateLeader.String() {
		return // passed on twice: see Differences
	}
	if msg.Type == pb.MsgSnap && w.holdsChange(m) {
		return
	}
	changes := slices.ContainsFunc(msg.Entries, func(e pb.Entry) bool { return e.Type != pb.EntryNormal })
	if msg.Type == pb.MsgProp && changes && w.mayDrop(m) {
		return
	}
	if w.verbose {
		w.printf("  step %s\n", m.eng.describeMessage(msg))
	}
	w.try(m, "step", func() error { return m.node.Step(msg) })
}

// showReady writes a Ready down: every field, encoded or in words.
func (w *world) showReady(m *member, rd raft.Ready) {
	if w.verbose {
		w.printf("%s", m.eng.describeReady(rd))
		return
	}
	w.printf("ready sync=%t hard=%v", rd.MustSync, rd.HardState)
	if rd.SoftState != nil {
		w.printf(" soft=%v", *rd.SoftState)
	}
	for _, rs := range rd.ReadStates {
		w.printf(" read=%d,%#v", rs.Index, rs.RequestCtx)
	}
	w.printf("\n")
	for _, e := range rd.Entries {
		w.printf("entry %d/%d %d %#v\n", e.Term, e.Index, e.Type, e.Data)
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		w.printf("snapshot %#v\n", rd.Snapshot)
	}
	for _, e := range rd.CommittedEntries {
		w.printf("committed %d/%d %d %#v\n", e.Term, e.Index, e.Type, e.Data)
	}
	for _, msg := range rd.Messages {
		w.showMessage(msg)
	}
	w.printf("%s\n", m.eng.describeReady(rd))
}

func (w *world) showMessage(m pb.Message) {
	data, err := m.Marshal()
	must(err)
	w.printf("message %x\n", data)
}

// look writes down what a node shows without being asked to do anything.
func (w *world) look(m *member) {
	if m.node == nil {
		return
	}
	w.guard(m, "look", func() {
		st := m.node.status()
		w.out = st.append(w.out)
		w.printf(" ready=%t\n", m.node.HasReady())
	})
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func sortedKeys[V any](m map[uint64]V) []uint64 { return slices.Sorted(maps.Keys(m)) }
