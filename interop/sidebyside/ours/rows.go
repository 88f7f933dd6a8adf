// The rows of the table, one function a row. Start at Rows.

package workload

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// Row is one piece of work to measure.
type Row struct {
	Name string
	Kind Kind
	Run  func(b *testing.B)
}

// Kind says which limits a row is held to.
type Kind int

// The kinds of rows.
const (
	Consensus Kind = iota // nodes at work
	Encode                // a value to bytes
	Decode                // and back
	DecodeApp             // a MsgApp of many entries
)

// Rows are all of them.
func Rows() []Row {
	var rows []Row
	add := func(kind Kind, run func(b *testing.B), name string, args ...any) {
		rows = append(rows, Row{fmt.Sprintf(name, args...), kind, run})
	}
	for _, batch := range []int{1, 64} {
		for _, size := range []int{16, 1 << 10, 64 << 10} {
			add(Consensus, func(b *testing.B) { propose(b, 3, batch, size) }, "3 nodes, %d proposals of %d B", batch, size)
		}
	}
	add(Consensus, func(b *testing.B) { propose(b, 5, 1, 16) }, "5 nodes, 1 proposal of 16 B")
	add(Consensus, func(b *testing.B) { propose(b, 5, 64, 1<<10) }, "5 nodes, 64 proposals of 1024 B")
	add(Consensus, func(b *testing.B) { throughNode(b, 1, 1) }, "Node alone, 1 client")
	add(Consensus, func(b *testing.B) { throughNode(b, 1, 64) }, "Node alone, 64 clients")
	add(Consensus, func(b *testing.B) { throughNode(b, 3, 64) }, "3 Nodes, 64 clients")
	add(Consensus, tickNode, "Node, ticks, now and then Status")
	add(Consensus, heartbeats, "heartbeats to 100 followers")
	add(Consensus, func(b *testing.B) { readIndex(b, 0) }, "ReadIndex at the leader of 3")
	add(Consensus, func(b *testing.B) { readIndex(b, 1) }, "ReadIndex at a follower of 3")
	for _, v := range values() {
		add(Encode, func(b *testing.B) { encode(b, v.value) }, "encode %s", v.name)
		kind := Decode
		if v.many {
			kind = DecodeApp
		}
		add(kind, func(b *testing.B) { decode(b, v.value, v.empty) }, "decode %s", v.name)
	}
	return rows
}

// propose commits batches of proposals one after the other in a cluster of n.
func propose(b *testing.B, n, batch, size int) {
	c := newCluster(n)
	data := bytes.Repeat([]byte("x"), size)
	keep := uint64(max(128, 8<<20/(size*batch)))
	b.ReportAllocs()
	for b.Loop() {
		before := c.applied[n-1]
		for range batch {
			must(c.nodes[leader].Propose(data))
		}
		c.settle()
		if c.applied[n-1] != before+uint64(batch) {
			b.Fatalf("applied %d entries, not %d", c.applied[n-1]-before, batch)
		}
		c.compact(min(keep, 4096))
	}
}

// heartbeats sends a round of heartbeats and takes the answers.
func heartbeats(b *testing.B) {
	c := newCluster(101)
	node := c.nodes[leader]
	b.ReportAllocs()
	for b.Loop() {
		node.Tick()
		rd := node.Ready()
		if len(rd.Messages) != 100 {
			b.Fatalf("%d messages", len(rd.Messages))
		}
		for _, m := range rd.Messages {
			must(node.Step(raftpb.Message{Type: raftpb.MsgHeartbeatResp, From: m.To, To: m.From, Term: m.Term}))
		}
		node.Advance(rd)
	}
}

// readIndex confirms one read after the other.
func readIndex(b *testing.B, at int) {
	c := newCluster(3)
	var context [8]byte
	b.ReportAllocs()
	for b.Loop() {
		for i := range context { // a fresh context for each
			context[i]++
			if context[i] != 0 {
				break
			}
		}
		before := c.reads
		c.nodes[at].ReadIndex(bytes.Clone(context[:]))
		c.settle()
		if c.reads != before+1 {
			b.Fatalf("%d reads answered", c.reads-before)
		}
	}
}

// group is some Nodes, each with its goroutine, and a loop for each.
type group struct {
	nodes  []raft.Node
	stores []*raft.MemoryStorage

	committed []chan struct{} // by client: its proposal is committed

	stop chan struct{}
	done sync.WaitGroup
}

// newGroup starts n Nodes, and the channels of some clients.
func newGroup(n, clients int) *group {
	g := &group{stop: make(chan struct{})}
	for range clients {
		g.committed = append(g.committed, make(chan struct{}, 1))
	}
	var voters []uint64
	for id := range uint64(n) {
		voters = append(voters, id+1)
	}
	for _, id := range voters {
		store := raft.NewMemoryStorage()
		must(store.ApplySnapshot(raftpb.Snapshot{Metadata: raftpb.SnapshotMetadata{
			Index: 1, Term: 1, ConfState: raftpb.ConfState{Voters: voters},
		}}))
		g.stores = append(g.stores, store)
		g.nodes = append(g.nodes, raft.RestartNode(config(id, store)))
	}
	for i := range g.nodes {
		g.done.Add(1)
		go g.loop(i)
	}
	must(g.nodes[leader].Campaign(context.Background()))
	g.propose(0) // waits for the leader
	return g
}

// loop handles the Readys of node i until the group is closed.
func (g *group) loop(i int) {
	defer g.done.Done()
	node, store := g.nodes[i], g.stores[i]
	for {
		select {
		case <-g.stop:
			return
		case rd := <-node.Ready():
			must(store.Append(rd.Entries))
			for _, m := range rd.Messages {
				if err := g.nodes[m.To-1].Step(context.Background(), m); !errors.Is(err, raft.ErrStopped) {
					must(err)
				}
			}
			if i == leader {
				g.wake(rd.CommittedEntries)
			}
			g.compact(store, rd.CommittedEntries)
			node.Advance()
		}
	}
}

func (g *group) compact(store *raft.MemoryStorage, committed []raftpb.Entry) {
	if len(committed) == 0 {
		return
	}
	first, err := store.FirstIndex()
	must(err)
	if last := committed[len(committed)-1].Index; last > first+4096 {
		must(store.Compact(last - 2048))
	}
}

func (g *group) wake(committed []raftpb.Entry) {
	for i := range committed {
		if data := committed[i].Data; len(data) > 0 {
			g.committed[binary.BigEndian.Uint64(data)] <- struct{}{}
		}
	}
}

// propose returns once a proposal of a client is committed.
func (g *group) propose(client int) {
	data := make([]byte, 16)
	binary.BigEndian.PutUint64(data, uint64(client))
	must(g.nodes[leader].Propose(context.Background(), data))
	<-g.committed[client]
}

func (g *group) close() {
	close(g.stop)
	for _, node := range g.nodes {
		node.Stop()
	}
	g.done.Wait()
}

// throughNode commits proposals of several clients at once, through Node's
// channels. One operation is one proposal.
func throughNode(b *testing.B, n, clients int) {
	g := newGroup(n, clients)
	defer g.close()
	b.ReportAllocs()
	b.ResetTimer()

	var work sync.WaitGroup
	for client := range clients {
		work.Add(1)
		go func() {
			defer work.Done()
			for i := client; i < b.N; i += clients {
				g.propose(client)
			}
		}()
	}
	work.Wait()
	b.StopTimer()
}

// tickNode passes ticks through Node's channel.
func tickNode(b *testing.B) {
	g := newGroup(1, 1)
	defer g.close()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		g.nodes[leader].Tick()
		if i%64 == 63 {
			g.nodes[leader].Status() // lets the loop catch up
		}
	}
	b.StopTimer()
}

// codec is what can be encoded.
type codec interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
	Reset()
}

// value is one to encode and decode.
type value struct {
	name  string
	value codec
	empty codec
	many  bool
}

// app is a MsgApp of n entries.
func app(n, size int) *raftpb.Message {
	m := &raftpb.Message{Type: raftpb.MsgApp, To: 2, From: 1, Term: 7, LogTerm: 7, Index: 123456, Commit: 123450}
	for i := range n {
		m.Entries = append(m.Entries, raftpb.Entry{
			Term: 7, Index: m.Index + 1 + uint64(i), Data: bytes.Repeat([]byte("x"), size),
		})
	}
	return m
}

func values() []value {
	state := raftpb.ConfState{Voters: []uint64{1, 2, 3, 4, 5}, Learners: []uint64{6}}
	snapshot := &raftpb.Snapshot{Data: bytes.Repeat([]byte("x"), 4<<10), Metadata: raftpb.SnapshotMetadata{
		ConfState: state, Index: 123456, Term: 7,
	}}
	change := &raftpb.ConfChangeV2{Changes: []raftpb.ConfChangeSingle{{NodeID: 4}, {NodeID: 1, Type: raftpb.ConfChangeRemoveNode}}}
	return []value{
		{name: "MsgApp, 1 entry of 16 B", value: app(1, 16), empty: &raftpb.Message{}},
		{name: "MsgApp, 1 entry of 1024 B", value: app(1, 1<<10), empty: &raftpb.Message{}},
		{name: "MsgApp, 64 entries of 16 B", value: app(64, 16), empty: &raftpb.Message{}, many: true},
		{name: "MsgApp, 64 entries of 1024 B", value: app(64, 1<<10), empty: &raftpb.Message{}, many: true},
		{name: "MsgHeartbeat", value: &raftpb.Message{Type: raftpb.MsgHeartbeat, To: 2, From: 1, Term: 7, Commit: 9}, empty: &raftpb.Message{}},
		{name: "Entry of 128 B", value: &app(1, 128).Entries[0], empty: &raftpb.Entry{}},
		{name: "HardState", value: &raftpb.HardState{Term: 7, Vote: 1, Commit: 123456}, empty: &raftpb.HardState{}},
		{name: "ConfState", value: &state, empty: &raftpb.ConfState{}},
		{name: "Snapshot of 4 KiB", value: snapshot, empty: &raftpb.Snapshot{}},
		{name: "ConfChangeV2", value: change, empty: &raftpb.ConfChangeV2{}},
	}
}

func encode(b *testing.B, v codec) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}

func decode(b *testing.B, v, into codec) {
	data, err := v.Marshal()
	must(err)
	b.ReportAllocs()
	for b.Loop() {
		into.Reset()
		if err := into.Unmarshal(data); err != nil {
			b.Fatal(err)
		}
	}
}
