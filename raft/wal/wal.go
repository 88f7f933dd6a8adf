// The WAL itself: opening, saving, compacting.
//
// Start at Save. recover.go is what Open does with a log that exists, segment.go
// where new segments come from.

package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs"
)

// DefaultSegmentBytes is the size of a segment, unless one batch is larger.
const DefaultSegmentBytes = 16 << 20

// Options are how a log is kept. The zero value is a good choice.
type Options struct {
	// FS is the file system; nil means vfs.OS.
	FS vfs.FS

	// SegmentBytes is the size of a segment; 0 means DefaultSegmentBytes.
	SegmentBytes int64

	// OnSync, if not nil, is called with the time that each sync of a Save took.
	OnSync func(time.Duration)

	// NewID draws the random id of a segment; nil means crypto/rand.
	NewID func() uint64

	// Inline prepares segments when they are needed rather than in the background,
	// so that a test meets the same file operations in the same order every time.
	Inline bool
}

// WAL is an open log. It must not be used concurrently.
type WAL struct {
	Options
	dir string

	segments []segment // oldest first; the last is written to
	file     vfs.File  // of the last segment
	header   segmentHeader
	seed     uint32
	size     int64  // of the file
	offset   int64  // where the next frame goes
	synced   int64  // up to where the file is known to be durable
	frames   uint64 // how many it holds
	large    bool   // the segment before had few of them, large ones

	state   pb.HardState        // the newest that is in the file
	marker  pb.SnapshotMetadata // the newest that is in the file
	pending pb.HardState        // newer than state, to go with the next frame; or empty
	bytes   int64               // written since the newest marker

	frame frame
	spare <-chan spare // the next segment's file, in the making
	err   error        // why nothing more can be written
}

// segment is one file of the log.
type segment struct {
	number   uint64
	maxIndex uint64 // of the entries in it
}

// Open opens the log in a directory, which it creates if need be, and returns
// what the log holds. A torn tail is repaired; damage is a *DamageError, and
// then nothing was changed.
func Open(dir string, o Options) (*WAL, Recovery, error) {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.NewID == nil {
		o.NewID = randomID
	}
	w := &WAL{Options: o, dir: dir}
	rec, err := w.open()
	if err != nil {
		return nil, Recovery{}, errors.Join(fmt.Errorf("open log: %w", err), w.closeFile())
	}
	return w, rec, nil
}

func (w *WAL) open() (Recovery, error) {
	if err := w.FS.MkdirAll(w.dir); err != nil {
		return Recovery{}, err
	}
	if err := w.FS.SyncDir(filepath.Dir(w.dir)); err != nil {
		return Recovery{}, err
	}
	numbers, err := w.listSegments()
	if err != nil {
		return Recovery{}, err
	}
	rec := Recovery{}
	if len(numbers) > 0 {
		if rec, err = w.recover(numbers); err != nil {
			return Recovery{}, err
		}
	} else if err := w.begin(1, 0); err != nil {
		return Recovery{}, err
	}
	w.prepareSpare()
	return rec, nil
}

// Save writes one batch as one frame. If sync is true the batch is on disk when
// Save returns nil, and no crash undoes it. A batch is one write, at most one
// sync. An empty hard state, no entries, an empty marker leave out that part; a
// marker says that the snapshot it names is durable.
//
// A failed Save leaves the tail in a state nobody can know: part of the batch
// may be there, and after a failed fsync the kernel may have dropped pages it
// reported as written. So the WAL refuses to go on; reopening it repairs it.
func (w *WAL) Save(hs pb.HardState, ents []pb.Entry, marker pb.SnapshotMetadata, sync bool) error {
	if w.err != nil {
		return w.err
	}
	if hs != (pb.HardState{}) {
		w.pending = hs
	}
	if len(ents) == 0 && marker.Index == 0 && !sync {
		return nil // the next frame has it, see doc.go
	}

	w.frame.begin()
	if marker.Index > 0 {
		w.frame.addMarker(&marker) // first: a leader's snapshot replaces the log that the entries go on from
	}
	for i := range ents {
		w.frame.addEntry(&ents[i])
	}
	if w.pending != (pb.HardState{}) {
		w.frame.addState(&w.pending)
	}
	if err := w.write(ents, sync); err != nil {
		w.err = fmt.Errorf("log stopped by a failed write: %w", err)
		return w.err
	}
	if marker.Index > 0 {
		w.marker = marker
		w.bytes = 0
	}
	if w.pending != (pb.HardState{}) {
		w.state, w.pending = w.pending, pb.HardState{}
	}
	return nil
}

// write puts the frame behind the last one, in a new segment if it does not fit.
func (w *WAL) write(ents []pb.Entry, sync bool) error {
	need := int64(len(w.frame.buf))
	if w.offset+need > w.size {
		if err := w.roll(need); err != nil {
			return err
		}
	}
	sealed := w.frame.seal(w.seed, w.header.number, w.frames, uint64(w.synced))
	if _, err := w.file.WriteAt(sealed, w.offset); err != nil {
		return err
	}
	w.offset += need
	w.bytes += need
	w.frames++
	if n := len(ents); n > 0 {
		last := &w.segments[len(w.segments)-1]
		last.maxIndex = max(last.maxIndex, ents[n-1].Index)
	}
	if cap(w.frame.buf) > 4<<20 { // a huge batch; most are small
		w.frame.buf = nil
	}
	if sync {
		return w.sync()
	}
	return nil
}

// sync makes durable what was written.
func (w *WAL) sync() error {
	if w.synced == w.offset {
		return nil
	}
	start := time.Now()
	if err := w.file.Sync(); err != nil {
		return err
	}
	if w.OnSync != nil {
		w.OnSync(time.Since(start))
	}
	w.synced = w.offset
	return nil
}

// Sync makes everything that was saved durable, the latest hard state too.
func (w *WAL) Sync() error {
	if w.err == nil && w.pending == (pb.HardState{}) {
		if err := w.sync(); err != nil {
			w.err = fmt.Errorf("log stopped by a failed sync: %w", err)
		}
		return w.err
	}
	return w.Save(pb.HardState{}, nil, pb.SnapshotMetadata{}, true)
}

// SizeSinceSnapshot returns how many bytes were written since the newest marker.
func (w *WAL) SizeSinceSnapshot() int64 { return w.bytes }

// Compact gives up the segments that a recovery does not need: those, from the
// oldest on, with no entry behind the newest marker. Call it once that marker is
// durable. To remove their files is left to the caller, who may do so in another
// goroutine, as it can take the system long.
func (w *WAL) Compact() (remove func() error, err error) {
	if w.err != nil {
		return nil, w.err
	}
	n := 0
	for n < len(w.segments)-1 && w.segments[n].maxIndex <= w.marker.Index {
		n++
	}
	var files []string
	for _, s := range w.segments[:n] {
		files = append(files, w.path(s.number))
	}
	w.segments = w.segments[n:]
	return func() error {
		for _, file := range files { // the oldest first: those that are left join the rest
			if err := w.FS.Remove(file); err != nil {
				return fmt.Errorf("remove a segment: %w", err)
			}
		}
		return nil
	}, nil
}

// Close makes everything durable and closes the files. A log that a failed write
// has stopped is closed as it is.
func (w *WAL) Close() error {
	var err error
	if w.err == nil {
		err = w.Sync()
		w.err = errors.New("the log is closed")
	}
	if w.spare != nil {
		if s := <-w.spare; s.file != nil {
			err = errors.Join(err, s.file.Close())
		}
		w.spare = nil
	}
	return errors.Join(err, w.closeFile())
}

func (w *WAL) closeFile() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}

func randomID() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails, says package crypto/rand
	return binary.LittleEndian.Uint64(b[:])
}
