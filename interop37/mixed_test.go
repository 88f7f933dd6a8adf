// A cluster of our nodes and v3.7's, which exchange encoded messages.

package interop37

import (
	"fmt"
	"io"
	"log"
	"testing"

	their "go.etcd.io/raft/v3"
	theirpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// node is a member of either library. Its messages leave and come as bytes.
type node interface {
	step(t *testing.T, data []byte)
	work(t *testing.T) (messages [][]byte) // handles all Readys
	campaign(t *testing.T)
	transfer(to uint64)
	propose(t *testing.T, command string)
	leader() uint64
	applied() []string
}

var voters = []uint64{1, 2, 3}

type ourNode struct {
	*raft.RawNode
	store *raft.MemoryStorage
	log   []string
}

func newOurs(t *testing.T, id uint64) node {
	n := &ourNode{store: raft.NewMemoryStorage()}
	snap := raftpb.Snapshot{Metadata: raftpb.SnapshotMetadata{Index: 1, Term: 1, ConfState: raftpb.ConfState{Voters: voters}}}
	check(t, n.store.ApplySnapshot(snap))
	var err error
	n.RawNode, err = raft.NewRawNode(&raft.Config{
		ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: n.store, MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 8,
		PreVote: true, Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
	})
	check(t, err)
	return n
}

func (n *ourNode) step(t *testing.T, data []byte) {
	var m raftpb.Message
	check(t, m.Unmarshal(data))
	check(t, n.Step(m))
}

func (n *ourNode) work(t *testing.T) (messages [][]byte) {
	for n.HasReady() {
		rd := n.Ready()
		check(t, n.store.Append(rd.Entries))
		for _, m := range rd.Messages {
			data, err := m.Marshal()
			check(t, err)
			messages = append(messages, data)
		}
		for _, e := range rd.CommittedEntries {
			n.log = append(n.log, string(e.Data))
		}
		n.Advance(rd)
	}
	return messages
}

func (n *ourNode) campaign(t *testing.T)                { check(t, n.Campaign()) }
func (n *ourNode) transfer(to uint64)                   { n.TransferLeader(to) }
func (n *ourNode) propose(t *testing.T, command string) { check(t, n.Propose([]byte(command))) }
func (n *ourNode) leader() uint64                       { return n.BasicStatus().Lead }
func (n *ourNode) applied() []string                    { return n.log }

type theirNode struct {
	*their.RawNode
	store *their.MemoryStorage
	log   []string
}

func newTheirs(t *testing.T, id uint64) node {
	n := &theirNode{store: their.NewMemoryStorage()}
	check(t, n.store.ApplySnapshot(&theirpb.Snapshot{Metadata: &theirpb.SnapshotMetadata{
		Index: proto.Uint64(1), Term: proto.Uint64(1), ConfState: &theirpb.ConfState{Voters: voters},
	}}))
	var err error
	n.RawNode, err = their.NewRawNode(&their.Config{
		ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: n.store, MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 8,
		PreVote: true, Logger: &their.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
	})
	check(t, err)
	return n
}

func (n *theirNode) step(t *testing.T, data []byte) {
	m := &theirpb.Message{}
	check(t, proto.Unmarshal(data, m))
	check(t, n.Step(m))
}

func (n *theirNode) work(t *testing.T) (messages [][]byte) {
	for n.HasReady() {
		rd := n.Ready()
		check(t, n.store.Append(rd.Entries))
		for _, m := range rd.Messages {
			data, err := proto.Marshal(m)
			check(t, err)
			messages = append(messages, data)
		}
		for _, e := range rd.CommittedEntries {
			n.log = append(n.log, string(e.GetData()))
		}
		n.Advance(rd)
	}
	return messages
}

func (n *theirNode) campaign(t *testing.T)                { check(t, n.Campaign()) }
func (n *theirNode) transfer(to uint64)                   { n.TransferLeader(to) }
func (n *theirNode) propose(t *testing.T, command string) { check(t, n.Propose([]byte(command))) }
func (n *theirNode) leader() uint64                       { return n.BasicStatus().Lead }
func (n *theirNode) applied() []string                    { return n.log }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settle delivers messages until there are none left.
func settle(t *testing.T, nodes []node) {
	for range 1000 {
		var messages [][]byte
		for _, n := range nodes {
			messages = append(messages, n.work(t)...)
		}
		if len(messages) == 0 {
			return
		}
		for _, data := range messages {
			var m raftpb.Message
			check(t, m.Unmarshal(data))
			nodes[m.To-1].step(t, data)
		}
	}
	t.Fatal("messages without end")
}

// In every mix, each node in turn leads, and everybody's commands reach everybody.
func TestMixedClusterWorks(t *testing.T) {
	for mask := range 1 << len(voters) {
		t.Run(fmt.Sprintf("ours=%03b", mask), func(t *testing.T) {
			var nodes []node
			for i, id := range voters {
				if mask>>i&1 == 1 {
					nodes = append(nodes, newOurs(t, id))
				} else {
					nodes = append(nodes, newTheirs(t, id))
				}
			}
			nodes[0].campaign(t)
			settle(t, nodes)
			for _, lead := range voters {
				nodes[nodes[0].leader()-1].transfer(lead)
				settle(t, nodes)
				for from, n := range nodes {
					if n.leader() != lead {
						t.Fatalf("node %d follows %d, not %d", from+1, n.leader(), lead)
					}
					n.propose(t, fmt.Sprint(from, " under ", lead))
					settle(t, nodes)
				}
			}
			want := fmt.Sprint(nodes[0].applied())
			if len(nodes[0].applied()) != 12 { // 9 commands, 3 first entries of a term
				t.Errorf("applied: %s", want)
			}
			for _, n := range nodes[1:] {
				if got := fmt.Sprint(n.applied()); got != want {
					t.Errorf("one applied %s, another %s", want, got)
				}
			}
		})
	}
}
