// Canaries: libraries with a planted flaw, which the scripts must notice. A judge
// that cannot convict proves nothing.

package interop

import (
	"testing"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// flawed is etcd's library with a flaw in its Readys.
type flawed struct {
	etcd
	flaw func(rd *raft.Ready)
}

func (f flawed) newNode(c raft.Config, s store, o *overrides) node {
	return &flawedNode{f.etcd.newNode(c, s, o), f.flaw}
}

type flawedNode struct {
	node
	flaw func(rd *raft.Ready)
}

func (n *flawedNode) Ready() raft.Ready {
	rd := n.node.Ready()
	n.flaw(&rd)
	return rd
}

// eachOf calls f with every message of a type.
func eachOf(typ pb.MessageType, f func(m *pb.Message)) func(rd *raft.Ready) {
	return func(rd *raft.Ready) {
		for i := range rd.Messages {
			if rd.Messages[i].Type == typ {
				f(&rd.Messages[i])
			}
		}
	}
}

// Every planted flaw is noticed, and its story gets short.
func TestFlawsAreNoticed(t *testing.T) {
	for name, flaw := range map[string]func(rd *raft.Ready){
		"syncs without need":      func(rd *raft.Ready) { rd.MustSync = true },
		"forgets its vote":        func(rd *raft.Ready) { rd.HardState.Vote = 0 },
		"hides that it leads":     func(rd *raft.Ready) { rd.SoftState = nil },
		"answers reads too early": func(rd *raft.Ready) { each(rd.ReadStates, func(r *raft.ReadState) { r.Index-- }) },
		"claims a newer log":      eachOf(pb.MsgVote, func(m *pb.Message) { m.LogTerm++ }),
		"commits ahead":           eachOf(pb.MsgApp, func(m *pb.Message) { m.Commit++ }),
		"gives no hint":           eachOf(pb.MsgAppResp, func(m *pb.Message) { m.RejectHint = 0 }),
		"sends nil for empty":     eachOf(pb.MsgApp, func(m *pb.Message) { each(m.Entries, func(e *pb.Entry) { e.Data = append([]byte(nil), e.Data...) }) }),
		"reorders its messages": func(rd *raft.Ready) {
			if n := len(rd.Messages); n > 1 {
				rd.Messages[0], rd.Messages[n-1] = rd.Messages[n-1], rd.Messages[0]
			}
		},
		"takes over no learner":    eachOf(pb.MsgSnap, func(m *pb.Message) { m.Snapshot.Metadata.ConfState.Learners = nil }),
		"transfers without a term": eachOf(pb.MsgTimeoutNow, func(m *pb.Message) { m.Term = 0 }),
		"leaves out a last message": func(rd *raft.Ready) {
			if n := len(rd.Messages); n > 3 {
				rd.Messages = rd.Messages[:n-1]
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad := func(uint64) engine { return flawed{flaw: flaw} }
			for seed := range uint64(300) {
				rnd := newRand(seed)
				members := 2 + rnd.IntN(4)
				p := drawPlan(rnd, members)
				script := calm.draw(rnd, 600, members)
				if compare(p, script, bad, allTheirs) == nil {
					continue
				}
				short, d := shrink(p, script, bad, allTheirs)
				if d == nil || len(short) > 60 {
					t.Errorf("%d operations are left, difference %v", len(short), d)
				}
				return
			}
			t.Error("nobody noticed")
		})
	}
}

func each[T any](list []T, f func(*T)) {
	for i := range list {
		f(&list[i])
	}
}
