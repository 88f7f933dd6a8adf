// Files: the real log and snapshots, raft/wal and raft/snap, over a disk that
// crashes in the middle of an operation, or gives errors.
//
//	diss. §3.8
//
// Half of the seeds run them. What is stored in which order is the program's own:
// see save and load in raftnode.go and recovery.go, and snapshotter.go. node.disk
// goes on beside them, as the record of what was acknowledged: what a recovery
// finds is compared with it.
//
// Start at save and recover.

package rafttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/snap"
	"example.com/raftexample/raft/vfs/crashfs"
	"example.com/raftexample/raft/wal"
)

const (
	logDir      = "/wal"
	snapshotDir = "/snap"
)

// files is a node's log and snapshots.
type files struct {
	fs    *crashfs.FS
	log   *wal.WAL
	snaps *snap.Dir

	// A snapshot that has come in, and that Raft may want.
	incoming *snap.Incoming
	meta     pb.SnapshotMetadata

	// torn is what is stored if the batch came through in which the node stopped. It
	// may have, as a whole, though nobody was told.
	torn *disk
}

func (s *sim) newFiles() *files {
	f := &files{fs: crashfs.New()}
	f.fs.Fault = s.fault
	return f
}

// fault decides what becomes of an operation on a file.
func (s *sim) fault(op crashfs.Op) error {
	if op.Kind == "Sync" && s.Plant == PlantLostAck {
		return crashfs.ErrSkipped
	}
	logSync := (op.Kind == "Sync" || op.Kind == "SyncDir") && (op.Name == logDir || filepath.Dir(op.Name) == logDir)
	if logSync && s.Plant == PlantSkippedSync && s.chance(0.02) {
		return crashfs.ErrSkipped
	}
	if !s.chance(s.plan.faults) {
		return nil
	}
	err := pick[error](s, crashfs.ErrCrashed, crashfs.ErrCrashed, syscall.EIO, syscall.ENOSPC)
	s.note("  %s %s: %v", op.Kind, op.Name, err)
	s.result.Faults++
	return err
}

// planned reports whether an error is one that fault made.
func planned(err error) bool {
	return errors.Is(err, crashfs.ErrCrashed) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC)
}

// stop ends a node whose files failed it: the program ends at the first error.
func (s *sim) stop(n *node, err error) {
	if !planned(err) {
		s.fail("node %d: %v", n.id, err)
	}
	s.note("%d stops: %v", n.id, err)
	s.down(n, !errors.Is(err, crashfs.ErrCrashed))
}

// crash leaves of the files what a crash of the machine does.
func (f *files) crash(s *sim) {
	f.fs = f.fs.Restart(s.rng.Uint64())
	f.fs.Fault = s.fault
}

// save stores a batch: first the file of a snapshot from the leader, then, in one
// frame of the log, its marker with the entries and the hard state.
func (f *files) save(hard pb.HardState, entries []pb.Entry, snapshot *pb.Snapshot, sync bool) error {
	marker := pb.SnapshotMetadata{}
	if snapshot != nil {
		marker = snapshot.Metadata
		if f.incoming == nil || f.meta.Index != marker.Index || f.meta.Term != marker.Term {
			return fmt.Errorf("the file of snapshot %d is not here", marker.Index)
		}
		in := f.incoming
		f.incoming = nil
		if err := in.Commit(); err != nil {
			return err
		}
	}
	return f.log.Save(hard, entries, marker, sync)
}

// recover opens log and snapshots, and compares what they hold with what was
// acknowledged.
func (s *sim) recover(n *node) error {
	f := n.files
	f.incoming = nil
	var err error
	if f.snaps, err = snap.Open(snapshotDir, f.fs); err != nil {
		return err
	}
	log, rec, err := wal.Open(logDir, wal.Options{
		FS: f.fs, SegmentBytes: s.plan.segment, NewID: s.rng.Uint64, Inline: true,
	})
	if err != nil {
		return err
	}
	if why := n.disk.differs(&rec); why != "" && (f.torn == nil || f.torn.differs(&rec) != "") {
		s.fail("node %d does not recover what it has stored: %s", n.id, why)
	}
	s.result.Recoveries++
	if rec.Repaired != "" {
		s.result.Repairs++
	}
	f.log, f.torn = log, nil
	n.disk = disk{
		hard: rec.HardState, synced: rec.HardState, snap: pb.Snapshot{Metadata: rec.Snapshot},
		entries: rec.Entries, durable: len(rec.Entries),
	}
	if rec.Snapshot.Index > 0 {
		if n.disk.snap.Data, err = f.readState(rec.Snapshot); err != nil {
			return err
		}
	}
	return f.snaps.Keep(rec.Snapshot)
}

// differs says in what a recovery is not what a disk holds.
func (d *disk) differs(rec *wal.Recovery) string {
	hard := d.synced
	hard.Commit = max(hard.Commit, d.snap.Metadata.Index)
	m := &d.snap.Metadata
	switch {
	case rec.Snapshot.Index != m.Index || rec.Snapshot.Term != m.Term || rec.Snapshot.ConfState.Equivalent(m.ConfState) != nil:
		return fmt.Sprintf("snapshot %v, not %v", &rec.Snapshot, m)
	case rec.HardState != hard:
		return fmt.Sprintf("state %+v, not %+v", rec.HardState, hard)
	case len(rec.Entries) != len(d.entries):
		return fmt.Sprintf("%d entries, not %d", len(rec.Entries), len(d.entries))
	}
	for i := range d.entries {
		got, want := &rec.Entries[i], &d.entries[i]
		if got.Term != want.Term || got.Index != want.Index || got.Type != want.Type || !bytes.Equal(got.Data, want.Data) {
			return fmt.Sprintf("entry %v, not %v", got, want)
		}
	}
	return ""
}

// writeState writes the file of a snapshot: the state, and something behind it, or
// all would fit into one sector.
func (f *files) writeState(m pb.SnapshotMetadata, state uint64) error {
	w, err := f.snaps.Create(m)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(encodeState(state), make([]byte, state%2000)...)); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Commit()
}

// readState reads the state in the file of a snapshot.
func (f *files) readState(m pb.SnapshotMetadata) ([]byte, error) {
	r, err := f.snaps.OpenSnapshot(m)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return data[:8], nil
}

// attach puts the file of a snapshot, as it lies on the disk, behind a MsgSnap. It
// returns false if the message cannot go.
func (s *sim) attach(n *node, m *pb.Message) bool {
	file, err := n.files.readRaw(m.Snapshot.Metadata)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && m.Snapshot.Metadata.Index < n.disk.snap.Metadata.Index {
			s.note("  a newer snapshot has taken its place")
		} else {
			s.stop(n, err)
		}
		return false
	}
	m.Snapshot = &pb.Snapshot{Metadata: m.Snapshot.Metadata, Data: file}
	return true
}

func (f *files) readRaw(m pb.SnapshotMetadata) ([]byte, error) {
	r, err := f.snaps.OpenRaw(m)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

// receive takes the file from a MsgSnap and stores it under a name of its own,
// until Raft wants it. It returns false if Raft must not get the message.
func (s *sim) receive(n *node, m *pb.Message) bool {
	f, meta := n.files, m.Snapshot.Metadata
	file := m.Snapshot.Data
	m.Snapshot = &pb.Snapshot{Metadata: meta}
	if meta.Index <= n.raw.BasicStatus().Commit {
		return true // Raft answers what we have instead
	}
	if f.incoming != nil {
		if s.busy(n) {
			s.note("  another snapshot is coming in")
			return false
		}
		in := f.incoming // it was of no use
		f.incoming = nil
		if err := in.Abort(); err != nil {
			s.stop(n, err)
			return false
		}
	}
	in, err := f.snaps.Receive(meta, bytes.NewReader(file))
	if err != nil {
		s.stop(n, err)
		return false
	}
	f.incoming, f.meta = in, meta
	return true
}
