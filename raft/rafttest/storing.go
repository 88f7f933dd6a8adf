// Storing: what a node makes durable, and when it counts.
//
//	Figure 2 ("Updated on stable storage"), §7 · diss. §3.8
//
// Start at store; then snapshot and adopt, which keep the log short. disk.go is
// what is stored, files.go how, in half of the seeds.

package rafttest

import (
	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// store puts a batch on disk and into memory. It returns false if the node could
// not, and stopped.
func (s *sim) store(n *node, hard pb.HardState, entries []pb.Entry, snapshot *pb.Snapshot, sync bool) bool {
	after := n.disk
	after.write(hard, entries, snapshot, sync)
	if n.files != nil {
		if err := n.files.save(hard, entries, snapshot, sync); err != nil {
			n.files.torn = &after
			s.stop(n, err)
			return false
		}
	}
	n.disk = after
	s.judge.stored(n)
	if snapshot != nil {
		must(n.storage.ApplySnapshot(*snapshot))
	}
	if !raft.IsEmptyHardState(hard) {
		must(n.storage.SetHardState(hard))
	}
	must(n.storage.Append(entries))
	return true
}

// storeAsync is the log writer: it does the oldest request and delivers what
// waited for it.
func (s *sim) storeAsync(n *node) {
	m := n.appends[0]
	n.appends = n.appends[1:]
	s.note("%d's log writer does %v", n.id, described(m))
	if !s.store(n, pb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}, m.Entries, m.Snapshot, true) {
		return
	}
	if m.Snapshot != nil && !s.restore(n, m.Snapshot) {
		return
	}
	s.respond(n, m.Responses)
}

// restore makes the state machine become a snapshot. It returns false if the node
// could not, and stopped.
func (s *sim) restore(n *node, snapshot *pb.Snapshot) bool {
	s.result.Snapshots++
	data := snapshot.Data
	if n.files != nil {
		var err error
		if data, err = n.files.readState(snapshot.Metadata); err == nil {
			err = n.files.snaps.RemoveBefore(snapshot.Metadata)
		}
		if err != nil {
			s.stop(n, err)
			return false
		}
	}
	n.machine = machine{snapshot.Metadata.Index, decodeState(data), snapshot.Metadata.ConfState}
	s.judge.applied(n)
	return true
}

// snapshot takes a snapshot of a node's state, one at a time. Until the log knows
// of it, it does not count: see adopt.
func (s *sim) snapshot(n *node) {
	term, ok := n.disk.term(n.applied)
	if n.taken != nil || n.applied <= n.disk.snap.Metadata.Index || !ok {
		return
	}
	s.note("%d takes a snapshot at %d", n.id, n.applied)
	snapshot := pb.Snapshot{Metadata: pb.SnapshotMetadata{Index: n.applied, Term: term, ConfState: n.confState}}
	if n.files == nil {
		snapshot.Data = encodeState(n.state)
	} else if err := n.files.writeState(snapshot.Metadata, n.state); err != nil {
		s.stop(n, err)
		return
	}
	n.taken = &snapshot
}

// adopt makes a snapshot the one to restart from, and drops some or all of the log
// before it.
func (s *sim) adopt(n *node) {
	taken := *n.taken
	n.taken = nil
	index := taken.Metadata.Index
	if index <= n.disk.snap.Metadata.Index {
		return // one from the leader has come in between
	}
	s.note("%d adopts its snapshot at %d", n.id, index)
	after := n.disk
	after.write(pb.HardState{}, nil, &taken, true)
	if n.files != nil {
		if err := n.files.log.Save(pb.HardState{}, nil, taken.Metadata, true); err != nil {
			n.files.torn = &after
			s.stop(n, err)
			return
		}
	}
	n.disk = after

	first, err := n.storage.FirstIndex()
	must(err)
	_, err = n.storage.CreateSnapshot(index, &taken.Metadata.ConfState, taken.Data)
	must(err)
	to := first + uint64(s.rng.IntN(int(index-first)+1))
	if err := n.storage.Compact(to); err != nil && err != raft.ErrCompacted {
		must(err)
	}
	if n.files == nil {
		return
	}
	remove, err := n.files.log.Compact()
	if err == nil {
		err = remove()
	}
	if err == nil {
		err = n.files.snaps.RemoveBefore(taken.Metadata)
	}
	if err != nil {
		s.stop(n, err)
	}
}
