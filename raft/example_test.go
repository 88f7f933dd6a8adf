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

// A cluster of three in one goroutine: each Ready is stored, sent and applied, in
// this order, and then acknowledged.
func ExampleRawNode() {
	peers := []raft.Peer{{ID: 1}, {ID: 2}, {ID: 3}}
	nodes := map[uint64]*raft.RawNode{}
	storage := map[uint64]*raft.MemoryStorage{}
	for _, p := range peers {
		storage[p.ID] = raft.NewMemoryStorage()
		nodes[p.ID], _ = raft.NewRawNode(config(p.ID, storage[p.ID]))
		if err := nodes[p.ID].Bootstrap(peers); err != nil {
			panic(err)
		}
	}

	settle := func() {
		for busy := true; busy; {
			busy = false
			for id, n := range nodes {
				if !n.HasReady() {
					continue
				}
				busy = true
				rd := n.Ready()
				storage[id].Append(rd.Entries) // and to disk
				storage[id].SetHardState(rd.HardState)
				for _, e := range rd.CommittedEntries {
					if e.Type == raftpb.EntryNormal && len(e.Data) > 0 && id == 3 {
						fmt.Printf("node 3 applies %s\n", e.Data)
					}
				}
				for _, m := range rd.Messages {
					nodes[m.To].Step(m)
				}
				n.Advance(rd)
			}
		}
	}
	settle()
	nodes[1].Campaign()
	settle()
	nodes[1].Propose([]byte("hello"))
	settle()
	// Output: node 3 applies hello
}

// The loop around a Node: time, and what it wants done. Here it is the only member.
func ExampleNode() {
	storage := raft.NewMemoryStorage()
	node := raft.StartNode(config(1, storage), []raft.Peer{{ID: 1}})
	defer node.Stop()
	go node.Propose(context.Background(), []byte("hello")) // waits until there is a leader

	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			node.Tick()
		case rd := <-node.Ready():
			storage.Append(rd.Entries) // and to disk
			storage.SetHardState(rd.HardState)
			// Here rd.Messages would be sent.
			for _, e := range rd.CommittedEntries {
				switch {
				case e.Type == raftpb.EntryConfChange:
					var cc raftpb.ConfChange
					if err := cc.Unmarshal(e.Data); err != nil {
						panic(err)
					}
					node.ApplyConfChange(cc)
				case len(e.Data) > 0:
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
	storage := raft.NewMemoryStorage()
	node, _ := raft.NewRawNode(config(1, storage))
	if err := node.Bootstrap([]raft.Peer{{ID: 1}}); err != nil {
		panic(err)
	}
	settle := func() {
		for node.HasReady() {
			rd := node.Ready()
			storage.Append(rd.Entries)
			storage.SetHardState(rd.HardState)
			for _, rs := range rd.ReadStates {
				fmt.Printf("%s may be read at index %d\n", rs.RequestCtx, rs.Index)
			}
			node.Advance(rd)
		}
	}
	settle()
	node.Campaign()
	settle()
	node.ReadIndex([]byte("x"))
	settle()
	// Output: x may be read at index 2
}
