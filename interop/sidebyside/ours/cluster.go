// Package workload is the work that both libraries do side by side.
//
// It exists twice, in directories ours and theirs, with no difference but the
// import paths of the library: theirs is copied from ours by go generate, and a
// test compares them.
//
// cluster.go holds the group of nodes that the rows of rows.go set to work.
package workload

import (
	"fmt"
	"io"
	"log"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// cluster is a group of RawNodes on one goroutine, with a network that loses
// nothing: messages go straight into the receiver.
type cluster struct {
	nodes   []*raft.RawNode
	stores  []*raft.MemoryStorage
	applied []uint64
	reads   int // answered, on any node
	inbox   []raftpb.Message
}

const leader = 0 // the position of the node that leads

var quiet = &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}

func config(id uint64, storage raft.Storage) *raft.Config {
	return &raft.Config{
		ID: id, ElectionTick: 1 << 20, HeartbeatTick: 1, Storage: storage,
		MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256, Logger: quiet,
	}
}

// newCluster starts n nodes and makes the first the leader.
func newCluster(n int) *cluster {
	c := &cluster{}
	var voters []uint64
	for id := range uint64(n) {
		voters = append(voters, id+1)
	}
	for _, id := range voters {
		store := raft.NewMemoryStorage()
		snapshot := raftpb.Snapshot{Metadata: raftpb.SnapshotMetadata{
			Index: 1, Term: 1, ConfState: raftpb.ConfState{Voters: voters},
		}}
		must(store.ApplySnapshot(snapshot))
		node, err := raft.NewRawNode(config(id, store))
		must(err)
		c.nodes, c.stores, c.applied = append(c.nodes, node), append(c.stores, store), append(c.applied, 1)
	}
	must(c.nodes[leader].Campaign())
	c.settle()
	if state := c.nodes[leader].BasicStatus().RaftState; state != raft.StateLeader {
		panic(fmt.Sprint("the first node is ", state))
	}
	return c
}

// settle lets all nodes work until nothing is left to do.
func (c *cluster) settle() {
	for {
		for i, node := range c.nodes {
			for node.HasReady() {
				c.handle(i, node.Ready())
			}
		}
		if len(c.inbox) == 0 {
			return
		}
		for _, m := range c.inbox {
			must(c.nodes[m.To-1].Step(m))
		}
		c.inbox = c.inbox[:0]
	}
}

// handle does what node i wants done.
func (c *cluster) handle(i int, rd raft.Ready) {
	if !raft.IsEmptyHardState(rd.HardState) {
		must(c.stores[i].SetHardState(rd.HardState))
	}
	must(c.stores[i].Append(rd.Entries))
	c.inbox = append(c.inbox, rd.Messages...)
	if n := len(rd.CommittedEntries); n > 0 {
		c.applied[i] = rd.CommittedEntries[n-1].Index
	}
	c.reads += len(rd.ReadStates)
	c.nodes[i].Advance(rd)
}

// compact drops the log of every node that has grown beyond most entries.
func (c *cluster) compact(most uint64) {
	for i, store := range c.stores {
		first, err := store.FirstIndex()
		must(err)
		if c.applied[i] >= first+most {
			must(store.Compact(c.applied[i] - 1))
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
