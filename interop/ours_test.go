// Our library as an engine.

package interop

import (
	"fmt"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

type ours struct{}

func (ours) name() string    { return "ours" }
func (ours) newStore() store { return raft.NewMemoryStorage() }

func (ours) newNode(c raft.Config, s store, o *overrides) node {
	c.Storage = ourStorage{s.(*raft.MemoryStorage), o}
	c.Rand = o.draw
	c.Logger = silent{}
	n, err := raft.NewRawNode(&c)
	if err != nil {
		panic(err)
	}
	return ourNode{n}
}

func (ours) describeReady(rd raft.Ready) string { return raft.DescribeReady(rd, nil) }

func (ours) describeMessage(m pb.Message) string { return raft.DescribeMessage(m, nil) }

// ourStorage is our MemoryStorage with the overrides applied.
type ourStorage struct {
	*raft.MemoryStorage
	o *overrides
}

func (s ourStorage) InitialState() (pb.HardState, pb.ConfState, error) {
	hs, cs, err := s.MemoryStorage.InitialState()
	if s.o.confState != nil {
		cs = *s.o.confState
	}
	return hs, cs, err
}

func (s ourStorage) Snapshot() (pb.Snapshot, error) {
	if s.o.noSnapshot {
		return pb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable
	}
	return s.MemoryStorage.Snapshot()
}

func (s ourStorage) Entries(lo, hi, maxSize uint64) ([]pb.Entry, error) {
	if s.o.noEntries {
		return nil, nil
	}
	return s.MemoryStorage.Entries(lo, hi, maxSize)
}

type ourNode struct{ *raft.RawNode }

func (n ourNode) status() status {
	st := n.RawNode.Status()
	s := status{
		id: st.ID, term: st.Term, vote: st.Vote, commit: st.Commit, lead: st.Lead,
		applied: st.Applied, transferee: st.LeadTransferee,
		role: st.RaftState.String(), config: st.Config.String(),
		voters: len(st.Config.Voters.IDs()), joint: len(st.Config.Voters[1]) > 0,
	}
	_, s.isVoter = st.Config.Voters.IDs()[st.ID]
	if st.Progress != nil {
		s.progress = make(map[uint64]string, len(st.Progress))
		for id, pr := range st.Progress {
			s.progress[id] = ourProgress(&pr)
		}
	}
	return s
}

func ourProgress(pr *tracker.Progress) string {
	return fmt.Sprintf("%s flow=%t active=%t pending=%d", pr, pr.MsgAppFlowPaused, pr.RecentActive, pr.PendingSnapshot)
}

func (n ourNode) statusJSON() string { return n.RawNode.Status().String() }

func (n ourNode) visit() []string {
	var seen []string
	n.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if pr.Inflights != nil {
			seen = append(seen, "inflights were shown")
		}
		pr.Inflights = tracker.NewInflights(1, 0) // String needs one
		seen = append(seen, fmt.Sprintf("%d type=%d %s", id, typ, ourProgress(&pr)))
	})
	return seen
}
