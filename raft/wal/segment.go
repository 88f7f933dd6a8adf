// Segments: how the log moves to the next file.
//
// Start at roll.

package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"example.com/raftexample/raft/vfs"
)

const (
	suffix    = ".wal"
	spareName = "spare"
)

func (w *WAL) path(number uint64) string {
	return filepath.Join(w.dir, fmt.Sprintf("%016x%s", number, suffix))
}

// listSegments returns the numbers of the segments, in ascending order.
func (w *WAL) listSegments() ([]uint64, error) {
	names, err := w.FS.List(w.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		hex, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		number, err := strconv.ParseUint(hex, 16, 64)
		if err != nil || len(hex) != 16 {
			return nil, fmt.Errorf("%s is not the name of a segment: move it away", filepath.Join(w.dir, name))
		}
		numbers = append(numbers, number) // names of one length sort like numbers
	}
	return numbers, nil
}

// roll closes the segment and begins the next one, for a frame of need bytes.
// The old one is synced first: that a later segment exists proves it durable.
func (w *WAL) roll(need int64) error {
	if err := w.sync(); err != nil {
		return err
	}
	w.large = uint64(w.offset)/w.frames > uint64(w.SegmentBytes)/zeroBelow
	old := w.file
	if err := w.begin(w.header.number+1, need); err != nil {
		return err
	}
	if err := old.Close(); err != nil {
		return err
	}
	w.prepareSpare()
	return nil
}

// begin makes a new segment, large enough for need bytes, the one to write to.
// w.frame is left as it is: it may hold the batch that did not fit.
func (w *WAL) begin(number uint64, need int64) error {
	s := w.takeSpare()
	if s.err != nil {
		return fmt.Errorf("prepare a segment: %w", s.err)
	}

	header := segmentHeader{number: number, id: w.NewID(), prevEnd: uint64(w.offset)}
	var first frame
	first.begin()
	if w.marker.Index > 0 {
		first.addMarker(&w.marker)
	}
	first.addState(&w.state) // not the pending one: it may commit the batch to come
	content := header.append(nil)
	content = append(content, first.seal(header.seed(), number, 0, 0)...)

	if err := w.establish(s.file, content, number); err != nil {
		return errors.Join(err, s.file.Close())
	}
	w.file, w.header, w.seed = s.file, header, header.seed()
	w.size = max(w.SegmentBytes, int64(len(content))+need)
	w.offset, w.synced = int64(len(content)), int64(len(content))
	w.frames = 1
	w.segments = append(w.segments, segment{number: number})
	return nil
}

// establish writes the beginning of a segment and gives it its name, durably.
func (w *WAL) establish(f vfs.File, content []byte, number uint64) error {
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := w.FS.Rename(filepath.Join(w.dir, spareName), w.path(number)); err != nil {
		return err
	}
	return w.FS.SyncDir(w.dir)
}

// spare is a file for the next segment: it reads as zeros.
type spare struct {
	file vfs.File
	err  error
}

// If the frames of a segment were larger than this part of it, on average, the next one
// is not filled with zeros. A sync of blocks that were written before is
// twice as fast, as the file system has nothing to note; but with frames of more than
// 64 KiB there are few of them, and to write everything twice costs a third of the
// throughput.
const zeroBelow = 256

// prepareSpare begins to make the file for the next segment, so that rolling
// need not wait for 16 MiB of zeros.
func (w *WAL) prepareSpare() {
	if w.Inline {
		return
	}
	made := make(chan spare, 1)
	w.spare = made
	zeroed := !w.large
	go func() { made <- w.makeSpare(zeroed) }()
}

func (w *WAL) takeSpare() spare {
	if w.spare == nil {
		return w.makeSpare(!w.large)
	}
	s := <-w.spare
	w.spare = nil
	return s
}

func (w *WAL) makeSpare(zeroed bool) spare {
	f, err := w.FS.Create(filepath.Join(w.dir, spareName))
	if err != nil {
		return spare{err: err}
	}
	if zeroed {
		err = zero(f, 0, w.SegmentBytes)
	} else if err = f.Preallocate(w.SegmentBytes); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return spare{err: errors.Join(err, f.Close())}
	}
	return spare{file: f}
}

// zero writes zeros to [from, to) of a file, and makes them durable.
func zero(f vfs.File, from, to int64) error {
	if from >= to {
		return nil
	}
	if err := f.Preallocate(to); err != nil {
		return err
	}
	zeros := make([]byte, min(to-from, 1<<20))
	for from < to {
		n, err := f.WriteAt(zeros[:min(to-from, int64(len(zeros)))], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return f.Sync()
}
