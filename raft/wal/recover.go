// Recovery: what a log on disk says, and where it ends.
//
// Start at recover. doc.go lists the crash cases.

package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs"
)

// Recovery is what a log holds.
type Recovery struct {
	// Snapshot names the newest snapshot that was marked; its index is 0 if there
	// was none.
	Snapshot pb.SnapshotMetadata

	// HardState is the newest. Its commit index is not below the snapshot's.
	HardState pb.HardState

	// Entries are the log behind the snapshot, without a gap.
	Entries []pb.Entry

	// Repaired says what was cut off, if anything was.
	Repaired string
}

// DamageError means that something in the log is lost that had been durable. No
// program can mend that.
type DamageError struct {
	File   string
	Offset int64
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %s. What it held may have been acknowledged, so it is not cut off; "+
		"restore the file from a copy, or remove this member from its cluster, delete its data and add it under a new id",
		e.File, e.Offset, e.Reason)
}

// recover reads the segments, repairs the tail of the last one and opens it for
// writing.
func (w *WAL) recover(numbers []uint64) (Recovery, error) {
	numbers, stray := lastRun(numbers)
	r := replay{}
	for i, number := range numbers {
		if err := w.recoverSegment(&r, number, i == len(numbers)-1); err != nil {
			return Recovery{}, err
		}
	}
	rec, reason := r.result()
	if reason != "" {
		return Recovery{}, &DamageError{File: w.path(numbers[0]), Reason: reason}
	}

	if r.torn {
		if err := zero(w.file, w.offset, w.size); err != nil {
			return Recovery{}, fmt.Errorf("cut off a torn tail: %w", err)
		}
		rec.Repaired = fmt.Sprintf("cut off a torn write at offset %d of %s", w.offset, w.path(w.header.number))
	}
	for _, number := range stray {
		if err := w.FS.Remove(w.path(number)); err != nil {
			return Recovery{}, fmt.Errorf("remove a segment that was left over: %w", err)
		}
	}
	w.state, w.marker = rec.HardState, rec.Snapshot
	return rec, nil
}

// lastRun splits numbers into the last ones without a gap, and those before:
// segments that had been removed, and that a crash brought back. If they were
// not, entries will be missing, and result finds out.
func lastRun(numbers []uint64) (run, before []uint64) {
	i := len(numbers) - 1
	for i > 0 && numbers[i-1] == numbers[i]-1 {
		i--
	}
	return numbers[i:], numbers[:i]
}

// recoverSegment replays one segment. The last one is left open.
func (w *WAL) recoverSegment(r *replay, number uint64, last bool) error {
	name := w.path(number)
	b, err := vfs.ReadFile(w.FS, name)
	if err != nil {
		return err
	}
	h, err := parseSegmentHeader(b)
	if err != nil {
		return &DamageError{File: name, Reason: err.Error()}
	}
	if h.number != number {
		return &DamageError{File: name, Reason: fmt.Sprintf("it is segment %x by its header", h.number)}
	}
	if len(w.segments) > 0 && h.prevEnd != uint64(w.offset) {
		return &DamageError{
			File: w.path(number - 1), Offset: w.offset,
			Reason: fmt.Sprintf("its frames end here, but ended at %d when the next segment was begun", h.prevEnd),
		}
	}

	w.header, w.seed = h, h.seed()
	w.offset, w.synced, w.frames, w.size = segmentHeaderLen, 0, 0, int64(len(b))
	r.maxIndex = 0
	for {
		payload, synced := scanFrame(b[w.offset:], h, w.seed, w.frames)
		if payload == nil {
			break
		}
		w.synced = max(w.synced, int64(synced))
		r.bytes += int64(frameHeaderLen + len(payload)) // a marker in it makes that 0
		if err := eachRecord(payload, r.record); err != nil {
			return &DamageError{File: name, Offset: w.offset, Reason: err.Error()}
		}
		w.offset += int64(frameHeaderLen + len(payload))
		w.frames++
	}
	w.segments = append(w.segments, segment{number: number, maxIndex: r.maxIndex})
	if !last {
		return nil
	}
	return w.openTail(r, name, b)
}

// openTail decides what the end of the last segment is, and opens it.
func (w *WAL) openTail(r *replay, name string, b []byte) error {
	tail := b[w.offset:]
	switch after, damaged := w.laterProof(tail); {
	case w.frames == 0:
		return &DamageError{File: name, Offset: w.offset, Reason: "the segment's first frame is broken"}
	case damaged:
		return &DamageError{
			File: name, Offset: w.offset,
			Reason: fmt.Sprintf("a frame is broken, and the frame at %d was written after it had been synced", w.offset+after),
		}
	}
	f, err := w.FS.Open(name)
	if err != nil {
		return err
	}
	w.file = f
	w.size = max(w.size, w.SegmentBytes)
	w.bytes = r.bytes
	// Anything but zeros is made zeros: what is left of a write, or of the file's
	// earlier life, must not be found behind frames to come.
	r.torn = !isZero(tail)
	return w.makeDurable(b)
}

// isZero reports whether b is all zeros: the first is one, and each is like the one before.
func isZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

// makeDurable sees to it that no crash undoes what was read, which may be in the
// system's cache only: if the process ended without a crash of the system. To
// sync is not enough, as a sync that failed before may have left pages that count
// as written and are not. So what no frame proves to be synced is written again.
func (w *WAL) makeDurable(b []byte) error {
	if w.synced < w.offset {
		if _, err := w.file.WriteAt(b[w.synced:w.offset], w.synced); err != nil {
			return err
		}
		if err := w.file.Sync(); err != nil {
			return err
		}
		w.synced = w.offset
	}
	return w.FS.SyncDir(w.dir)
}

// laterProof looks behind the end of the good frames for a header which says
// that more than that had been synced.
func (w *WAL) laterProof(tail []byte) (after int64, found bool) {
	var magic [4]byte
	binary.LittleEndian.PutUint32(magic[:], frameMagic)
	for i := 0; ; i++ {
		next := bytes.Index(tail[i:], magic[:])
		if next < 0 {
			return 0, false
		}
		i += next
		if info, ok := scanHeader(tail[i:], w.header, w.seed); ok && info.synced > uint64(w.offset) {
			return int64(i), true
		}
	}
}

// replay is the state of the log as its records are read, oldest first.
type replay struct {
	state    pb.HardState
	marker   pb.SnapshotMetadata
	entries  []pb.Entry // without a gap
	maxIndex uint64     // of the entries in this segment
	bytes    int64      // since the newest marker
	torn     bool
}

// record takes the next record.
func (r *replay) record(recordType byte, data []byte) error {
	switch recordType {
	case recordEntry:
		var e pb.Entry
		if err := e.Unmarshal(data); err != nil {
			return err
		}
		return r.entry(e)
	case recordState:
		r.state = pb.HardState{}
		return r.state.Unmarshal(data)
	case recordMarker:
		var m pb.SnapshotMetadata
		if err := m.Unmarshal(data); err != nil {
			return err
		}
		r.mark(m)
		return nil
	}
	return fmt.Errorf("a record has type %d, which this version does not know", recordType)
}

// entry puts an entry into the log, in place of any at its index and behind.
func (r *replay) entry(e pb.Entry) error {
	r.maxIndex = max(r.maxIndex, e.Index)
	if n := uint64(len(r.entries)); n > 0 {
		first := r.entries[0].Index
		switch {
		case e.Index > first+n:
			return fmt.Errorf("entry %d follows entry %d", e.Index, first+n-1)
		case e.Index <= first:
			r.entries = nil
		default:
			r.entries = r.entries[:e.Index-first]
		}
	}
	r.entries = append(r.entries, e)
	return nil
}

// mark takes the marker of a snapshot. If the log holds the entry it names, the
// snapshot was taken here, and what follows stays. Otherwise it came from a
// leader, and replaced a log that was not that leader's.
func (r *replay) mark(m pb.SnapshotMetadata) {
	if m.Index <= r.marker.Index {
		return // the first frame of a segment repeats it
	}
	r.marker = m
	r.bytes = 0
	if n := uint64(len(r.entries)); n > 0 {
		first := r.entries[0].Index
		switch {
		case m.Index < first:
			return // the entry was in a segment that is gone, as a later marker allowed
		case m.Index < first+n && r.entries[m.Index-first].Term == m.Term:
			r.entries = append([]pb.Entry(nil), r.entries[m.Index-first+1:]...)
			return
		}
	}
	r.entries = nil
}

// result checks that the parts belong together; reason says why they do not.
func (r *replay) result() (rec Recovery, reason string) {
	rec = Recovery{Snapshot: r.marker, HardState: r.state, Entries: r.entries}
	last := r.marker.Index
	if n := len(r.entries); n > 0 {
		if first := r.entries[0].Index; first > r.marker.Index+1 {
			return Recovery{}, fmt.Sprintf("the log begins with entry %d, but the last snapshot is at %d", first, r.marker.Index)
		}
		last = r.entries[n-1].Index
		if last <= r.marker.Index {
			rec.Entries = nil
		} else {
			rec.Entries = r.entries[r.marker.Index+1-r.entries[0].Index:]
		}
	}
	if rec.HardState.Commit > max(last, r.marker.Index) {
		return Recovery{}, fmt.Sprintf("entries up to %d were committed, but the log ends at %d", rec.HardState.Commit, last)
	}
	rec.HardState.Commit = max(rec.HardState.Commit, r.marker.Index)
	return rec, ""
}
