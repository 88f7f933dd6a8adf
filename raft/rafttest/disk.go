// Disks: a crash loses what was not synced.
//
// Half of the seeds have no more than this. The others have files, too: see
// files.go.

package rafttest

import (
	"encoding/binary"
	"fmt"
	"slices"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// disk is what a node has stored.
type disk struct {
	hard    pb.HardState
	synced  pb.HardState // what a crash leaves of hard
	snap    pb.Snapshot
	entries []pb.Entry // behind the snapshot

	durable int  // how many entries survive a crash
	lying   bool // it says that all of them do, and has what is new in a cache
}

// write stores a batch as one: all of it survives, or nothing.
func (d *disk) write(hard pb.HardState, entries []pb.Entry, snapshot *pb.Snapshot, sync bool) {
	if snapshot != nil {
		d.follow(*snapshot)
	}
	for _, e := range entries {
		if n := len(d.entries); n > 0 && e.Index <= d.entries[n-1].Index {
			first := d.entries[0].Index
			if e.Index <= first {
				d.entries = nil
			} else {
				d.entries = d.entries[: e.Index-first : e.Index-first]
			}
			d.durable = min(d.durable, len(d.entries))
		}
		d.entries = append(d.entries, e)
	}
	if !raft.IsEmptyHardState(hard) {
		d.hard = hard
	}
	if sync {
		d.synced = d.hard
		if !d.lying {
			d.durable = len(d.entries)
		}
	}
}

// follow makes a log follow a snapshot. If it holds the entry that the snapshot
// ends with, it keeps what is behind that.
func (d *disk) follow(snapshot pb.Snapshot) {
	drop := len(d.entries)
	if term, ok := d.term(snapshot.Metadata.Index); ok && term == snapshot.Metadata.Term {
		drop -= int(d.last() - snapshot.Metadata.Index)
	}
	d.snap = snapshot
	d.entries = slices.Clone(d.entries[drop:])
	d.durable = max(0, d.durable-drop)
}

// crash loses what was not synced, or not, as chance has it.
func (d *disk) crash(keep bool) {
	if keep {
		return
	}
	d.entries = d.entries[:d.durable]
	d.synced.Commit = min(d.synced.Commit, d.last()) // or a disk that lies would be found out at once
	d.hard = d.synced
}

// last is the last index.
func (d *disk) last() uint64 {
	if n := len(d.entries); n > 0 {
		return d.entries[n-1].Index
	}
	return d.snap.Metadata.Index
}

// lastDurable is the last index that survives a crash, if the disk can be believed.
func (d *disk) lastDurable() uint64 {
	if d.lying {
		return d.last()
	}
	return d.last() - uint64(len(d.entries)-d.durable)
}

// term returns the term of an entry that is stored.
func (d *disk) term(index uint64) (uint64, bool) {
	if index == d.snap.Metadata.Index {
		return d.snap.Metadata.Term, true
	}
	if len(d.entries) == 0 || index < d.entries[0].Index || index > d.last() {
		return 0, false
	}
	return d.entries[index-d.entries[0].Index].Term, true
}

// load returns a storage with what a restart finds.
func (d *disk) load() *raft.MemoryStorage {
	ms := raft.NewMemoryStorage()
	if d.snap.Metadata.Index > 0 {
		must(ms.ApplySnapshot(d.snap))
	}
	// The commit index may be older than the snapshot, which holds only what is
	// committed.
	d.hard.Commit = max(d.hard.Commit, d.snap.Metadata.Index)
	must(ms.SetHardState(d.hard))
	must(ms.Append(d.entries))
	return ms
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("storage: %v", err))
	}
}

// The state machine is a number that every entry changes: equal numbers mean
// equal histories.

func encodeState(state uint64) []byte { return binary.BigEndian.AppendUint64(nil, state) }

func decodeState(data []byte) uint64 { return binary.BigEndian.Uint64(data) }

func nextState(state uint64, e *pb.Entry) uint64 {
	h := (state ^ e.Index) * 0x9e3779b97f4a7c15
	h = (h ^ e.Term) * 0xff51afd7ed558ccd
	for _, b := range e.Data {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h ^ h>>29
}
