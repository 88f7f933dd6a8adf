// A cluster of Nodes in one process, as programs have it: a goroutine for each
// node with a ticker and a Ready loop, a network of channels, a state machine that
// takes snapshots, members that come, go and come back.
//
// It is written against go.etcd.io/raft/v3 and built against the library of this
// repository too, with other import paths and nothing else. What it prints does not
// depend on timing.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// snapshotEvery is after how many entries a node takes a snapshot; the log behind
// it is dropped, so that who joins needs the snapshot.
const snapshotEvery = 10

// network carries encoded messages.
type network struct {
	mu    sync.Mutex
	peers map[uint64]*peer
}

// send takes messages of from, which may have passed on some of others.
func (n *network) send(from *peer, messages []raftpb.Message) {
	for _, m := range messages {
		n.mu.Lock()
		to := n.peers[m.To]
		n.mu.Unlock()
		if to == nil {
			from.node.ReportUnreachable(m.To)
			if m.Type == raftpb.MsgSnap {
				from.node.ReportSnapshot(m.To, raft.SnapshotFailure)
			}
			continue
		}
		data, err := m.Marshal()
		check(err)
		select {
		case to.inbox <- data:
			if m.Type == raftpb.MsgSnap {
				from.node.ReportSnapshot(m.To, raft.SnapshotFinish)
			}
		default:
			from.node.ReportUnreachable(m.To)
		}
	}
}

func (n *network) attach(p *peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers[p.id] = p
}

func (n *network) detach(id uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.peers, id)
}

// peer is one node with its storage and state machine.
type peer struct {
	id      uint64
	net     *network
	node    raft.Node
	storage *raft.MemoryStorage
	inbox   chan []byte
	stop    chan struct{}
	stopped chan struct{}

	mu        sync.Mutex
	changed   *sync.Cond
	state     []string // the commands applied, in order
	applied   uint64
	snapIndex uint64
	restored  int // snapshots taken over from a leader
	confState raftpb.ConfState
	lead      uint64
	reads     map[string]uint64
}

func newPeer(id uint64, net *network, storage *raft.MemoryStorage) *peer {
	p := &peer{
		id: id, net: net, storage: storage,
		inbox: make(chan []byte, 1024), stop: make(chan struct{}), stopped: make(chan struct{}),
		reads: map[string]uint64{},
	}
	p.changed = sync.NewCond(&p.mu)
	return p
}

func (p *peer) config() *raft.Config {
	return &raft.Config{
		ID: p.id, ElectionTick: 50, HeartbeatTick: 1, Storage: p.storage,
		MaxSizePerMsg: 1024, MaxInflightMsgs: 16, MaxUncommittedEntriesSize: 1 << 20,
		CheckQuorum: true, PreVote: true, Logger: counter,
	}
}

// run is the Ready loop.
func (p *peer) run() {
	defer close(p.stopped)
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.node.Tick()
		case data := <-p.inbox:
			var m raftpb.Message
			check(m.Unmarshal(data))
			if err := p.node.Step(context.Background(), m); err != nil && !errors.Is(err, raft.ErrStopped) {
				panic(err)
			}
		case rd := <-p.node.Ready():
			p.handle(rd)
		case <-p.stop:
			p.node.Stop()
			return
		}
	}
}

func (p *peer) handle(rd raft.Ready) {
	if !raft.IsEmptySnap(rd.Snapshot) {
		check(p.storage.ApplySnapshot(rd.Snapshot))
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		check(p.storage.SetHardState(rd.HardState))
	}
	check(p.storage.Append(rd.Entries))
	p.net.send(p, rd.Messages)

	p.mu.Lock()
	if rd.SoftState != nil {
		p.lead = rd.SoftState.Lead
	}
	for _, read := range rd.ReadStates {
		p.reads[string(read.RequestCtx)] = read.Index
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		p.restore(rd.Snapshot)
	}
	for _, entry := range rd.CommittedEntries {
		p.apply(entry)
	}
	p.snapshot()
	p.changed.Broadcast()
	p.mu.Unlock()
	p.node.Advance()
}

func (p *peer) restore(snap raftpb.Snapshot) {
	p.state = nil
	check(json.Unmarshal(snap.Data, &p.state))
	p.applied, p.snapIndex = snap.Metadata.Index, snap.Metadata.Index
	p.confState = snap.Metadata.ConfState
	p.restored++
}

func (p *peer) apply(entry raftpb.Entry) {
	switch entry.Type {
	case raftpb.EntryNormal:
		if len(entry.Data) > 0 {
			p.state = append(p.state, string(entry.Data))
		}
	case raftpb.EntryConfChange:
		var cc raftpb.ConfChange
		check(cc.Unmarshal(entry.Data))
		p.confState = *p.node.ApplyConfChange(cc)
	case raftpb.EntryConfChangeV2:
		var cc raftpb.ConfChangeV2
		check(cc.Unmarshal(entry.Data))
		p.confState = *p.node.ApplyConfChange(&cc)
	}
	p.applied = entry.Index
}

func (p *peer) snapshot() {
	if p.applied < p.snapIndex+snapshotEvery {
		return
	}
	data, err := json.Marshal(p.state)
	check(err)
	_, err = p.storage.CreateSnapshot(p.applied, &p.confState, data)
	check(err)
	if err := p.storage.Compact(p.applied); err != nil && err != raft.ErrCompacted {
		panic(err)
	}
	p.snapIndex = p.applied
}

// wait blocks until what holds of the peer. After half a second it calls again, if
// not nil, and so on: on a busy machine leaders may change, and requests get lost.
func (p *peer) wait(what string, again func(), holds func() bool) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		for range 100 {
			select {
			case <-done:
				return
			case <-time.After(500 * time.Millisecond):
			}
			if again != nil {
				again()
			}
		}
		fmt.Fprintf(os.Stderr, "node %d: waited in vain for %s; %v\n", p.id, what, p.node.Status())
		os.Exit(1)
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !holds() {
		p.changed.Wait()
	}
}

func (p *peer) close() {
	p.net.detach(p.id)
	close(p.stop)
	<-p.stopped
}

// counting is a Logger that counts.
type counting struct{ lines atomic.Int64 }

var counter = &counting{}

func (c *counting) Debug(...any)            {}
func (c *counting) Debugf(string, ...any)   {}
func (c *counting) Info(...any)             { c.lines.Add(1) }
func (c *counting) Infof(string, ...any)    { c.lines.Add(1) }
func (c *counting) Warning(...any)          { c.lines.Add(1) }
func (c *counting) Warningf(string, ...any) { c.lines.Add(1) }
func (c *counting) Error(...any)            { c.lines.Add(1) }
func (c *counting) Errorf(string, ...any)   { c.lines.Add(1) }
func (c *counting) Fatal(v ...any)          { panic(fmt.Sprint(v...)) }
func (c *counting) Fatalf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
func (c *counting) Panic(v ...any) { panic(fmt.Sprint(v...)) }
func (c *counting) Panicf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}

var _ raft.Logger = counter

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	net := &network{peers: map[uint64]*peer{}}
	var all []*peer
	for id := uint64(1); id <= 3; id++ {
		all = append(all, newPeer(id, net, raft.NewMemoryStorage()))
	}
	for _, p := range all {
		var founders []raft.Peer
		for _, q := range all {
			founders = append(founders, raft.Peer{ID: q.id, Context: []byte(fmt.Sprint("peer ", q.id))})
		}
		p.node = raft.StartNode(p.config(), founders)
		net.attach(p)
	}
	for _, p := range all {
		go p.run()
	}
	everybody := func(what string, again func(), holds func(p *peer) bool) {
		if again != nil {
			again()
		}
		for _, p := range all {
			p.wait(what, again, func() bool { return holds(p) })
		}
	}
	elect := func(id uint64) {
		transfer := func() {
			st := all[0].node.Status()
			all[0].node.TransferLeadership(ctx, st.Lead, id)
		}
		everybody("the leader to be", transfer, func(p *peer) bool { return p.lead == id })
	}

	everybody("the founding entries", nil, func(p *peer) bool { return p.applied >= 3 })
	check(all[0].node.Campaign(ctx))
	everybody("a leader", nil, func(p *peer) bool { return p.lead != 0 })
	elect(1)
	fmt.Println("node 1 leads")

	commands := 0
	propose := func(by *peer) {
		commands++
		data := fmt.Sprintf("command %d", commands)
		for { // who leads may change while we ask
			err := by.node.Propose(ctx, []byte(data))
			if err == nil {
				break
			}
			if !errors.Is(err, raft.ErrProposalDropped) {
				panic(err)
			}
		}
		everybody(data, nil, func(p *peer) bool { return len(p.state) >= commands })
	}
	for i := range 25 {
		propose(all[i%3])
	}
	fmt.Println("everybody has", commands, "commands, the last is", last(all[1]))

	// A fourth node joins, with an empty storage and the snapshot of the others.
	joiner := newPeer(4, net, raft.NewMemoryStorage())
	joiner.node = raft.RestartNode(joiner.config())
	net.attach(joiner)
	go joiner.run()
	all = append(all, joiner)
	change := func(cc raftpb.ConfChangeI) func() {
		return func() { check(all[0].node.ProposeConfChange(ctx, cc)) }
	}
	everybody("a learner", change(raftpb.ConfChange{
		ID: 7, Type: raftpb.ConfChangeAddLearnerNode, NodeID: 4, Context: []byte("peer 4"),
	}), func(p *peer) bool { return len(p.confState.Learners) == 1 })
	everybody("the commands", nil, func(p *peer) bool { return len(p.state) == commands })
	everybody("four voters", change(&raftpb.ConfChange{Type: raftpb.ConfChangeAddNode, NodeID: 4}),
		func(p *peer) bool { return len(p.confState.Voters) == 4 })
	propose(joiner)
	fmt.Println("node 4 votes; it was sent snapshots:", joiner.restored > 0)

	// Two changes at once, through a joint configuration.
	gone := all[1]
	all = []*peer{all[0], all[2], all[3]}
	everybody("the new configuration", change(raftpb.ConfChangeV2{Changes: []raftpb.ConfChangeSingle{
		{Type: raftpb.ConfChangeRemoveNode, NodeID: 2}, {Type: raftpb.ConfChangeAddLearnerNode, NodeID: 3},
	}}), func(p *peer) bool {
		return len(p.confState.Voters) == 2 && len(p.confState.VotersOutgoing) == 0
	})
	gone.close()
	fmt.Println(all[0].confState.Voters, all[0].confState.Learners)
	propose(all[0])

	// Leadership moves.
	elect(4)
	propose(all[1])
	fmt.Println("node 4 leads")

	// A read, from a learner.
	read := func() { check(all[1].node.ReadIndex(ctx, []byte("read"))) }
	read()
	all[1].wait("the answer to a read", read, func() bool { return all[1].reads["read"] != 0 && all[1].applied >= all[1].reads["read"] })
	fmt.Println("the learner reads", last(all[1]))

	// Node 1 stops and comes back with what it had stored.
	old := all[0]
	old.close()
	check(errorText(old.node.Propose(ctx, []byte("too late")), raft.ErrStopped))
	back := newPeer(1, net, old.storage)
	snap, err := old.storage.Snapshot()
	check(err)
	check(json.Unmarshal(snap.Data, &back.state))
	back.applied, back.snapIndex, back.confState = snap.Metadata.Index, snap.Metadata.Index, snap.Metadata.ConfState
	config := back.config()
	config.Applied = snap.Metadata.Index
	back.node = raft.RestartNode(config)
	net.attach(back)
	go back.run()
	all[0] = back
	everybody("a leader again", nil, func(p *peer) bool { return p.lead != 0 })
	for range 12 {
		propose(back)
	}
	fmt.Println("node 1 is back and has", len(back.state), "commands")

	var status struct {
		ID, RaftState string
		Progress      map[string]any
	}
	elect(4)
	leader := all[2]
	check(json.Unmarshal([]byte(leader.node.Status().String()), &status))
	var members []string
	for id := range status.Progress {
		members = append(members, id)
	}
	sort.Strings(members)
	fmt.Println(status.ID, status.RaftState, members)

	for _, p := range all {
		p.close()
		p.close2()
	}
	for _, p := range all[1:] {
		if a, b := strings.Join(all[0].state, "\n"), strings.Join(p.state, "\n"); a != b {
			fmt.Println("the states differ:", a, b)
		}
	}
	sum, err := json.Marshal(all[0].state)
	check(err)
	fmt.Println(len(all[0].state), "commands,", bytes.Count(sum, []byte("command")), "in the state")
	fmt.Println("something was logged:", counter.lines.Load() > 0)
}

// close2 shows that stopping twice and calling a stopped node do no harm.
func (p *peer) close2() {
	p.node.Stop()
	p.node.Advance()
	p.node.Tick()
	if cs := p.node.ApplyConfChange(raftpb.ConfChange{}); len(cs.Voters) != 0 {
		fmt.Println("a stopped node has voters:", cs.Voters)
	}
}

func last(p *peer) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state[len(p.state)-1]
}

func errorText(got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("error %v, not %v", got, want)
	}
	return nil
}
