// Examples of the library in use. Start at ExampleRawNode: all that a user has to do.

package raft_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"time"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// quiet keeps the library's log out of the examples.
var quiet = &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}

func config(id uint64, storage raft.Storage) *raft.Config {
	return &raft.Config{
		ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: storage,
		MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256, Logger: quiet,
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// A cluster of three in one goroutine. Each Ready is stored, sent and applied, in this
// order, and then acknowledged. (No log is compacted here, so no Ready has a snapshot to
// store and apply. What changes the membership is applied by ApplyConfChange: see the
// example of Node.)
func ExampleRawNode() {
	peers := []raft.Peer{{ID: 1}, {ID: 2}, {ID: 3}}
	nodes, disks := map[uint64]*raft.RawNode{}, map[uint64]*raft.MemoryStorage{}
	for _, p := range peers {
		disks[p.ID] = raft.NewMemoryStorage()
		nodes[p.ID], _ = raft.NewRawNode(config(p.ID, disks[p.ID])) // it panics instead
		must(nodes[p.ID].Bootstrap(peers))
	}
	handleReadys := func() (did bool) {
		for id, n := range nodes {
			for ; n.HasReady(); did = true {
				rd := n.Ready()
				must(disks[id].Append(rd.Entries))
				if !raft.IsEmptyHardState(rd.HardState) {
					must(disks[id].SetHardState(rd.HardState))
				}
				for _, m := range rd.Messages {
					must(nodes[m.To].Step(m))
				}
				for _, e := range rd.CommittedEntries {
					if e.Type == raftpb.EntryNormal && len(e.Data) > 0 && id == 3 {
						fmt.Printf("node 3 applies %s\n", e.Data)
					}
				}
				n.Advance(rd)
			}
		}
		return did
	}
	settle := func() {
		for handleReadys() {
		}
	}

	settle()
	must(nodes[1].Campaign())
	settle()
	must(nodes[1].Propose([]byte("hello")))
	settle()
	// Output: node 3 applies hello
}

// The loop around a Node: time, and what it wants done. Here it is the only member.
func ExampleNode() {
	disk := raft.NewMemoryStorage()
	node := raft.StartNode(config(1, disk), []raft.Peer{{ID: 1}})
	defer node.Stop()
	proposed := make(chan error, 1)
	go func() { proposed <- node.Propose(context.Background(), []byte("hello")) }() // waits for a leader

	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			node.Tick()
		case rd := <-node.Ready():
			must(disk.Append(rd.Entries))
			if !raft.IsEmptyHardState(rd.HardState) {
				must(disk.SetHardState(rd.HardState))
			}
			// Here rd.Messages would be sent, and rd.Snapshot stored before them.
			for _, e := range rd.CommittedEntries {
				switch {
				case e.Type == raftpb.EntryConfChange:
					var cc raftpb.ConfChange
					must(cc.Unmarshal(e.Data))
					node.ApplyConfChange(cc)
				case len(e.Data) > 0:
					must(<-proposed)
					fmt.Printf("applied %s\n", e.Data)
					return
				}
			}
			node.Advance()
		}
	}
	// Output: applied hello
}

// A read at the only voter: once it has committed in its term, it may answer from
// a state machine that has applied what the ReadState says.
func ExampleRawNode_ReadIndex() {
	disk := raft.NewMemoryStorage()
	node, _ := raft.NewRawNode(config(1, disk))
	must(node.Bootstrap([]raft.Peer{{ID: 1}}))
	applied := uint64(0)
	settle := func() {
		for node.HasReady() {
			rd := node.Ready()
			must(disk.Append(rd.Entries))
			if !raft.IsEmptyHardState(rd.HardState) {
				must(disk.SetHardState(rd.HardState))
			}
			for _, e := range rd.CommittedEntries {
				applied = e.Index
			}
			for _, rs := range rd.ReadStates { // one that is ahead of applied would wait
				fmt.Printf("%s may be read at index %d, %d is applied\n", rs.RequestCtx, rs.Index, applied)
			}
			node.Advance(rd)
		}
	}

	settle()
	must(node.Campaign())
	settle()
	node.ReadIndex([]byte("x"))
	settle()
	// Output: x may be read at index 2, 2 is applied
}
