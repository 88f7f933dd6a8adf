// Writing a snapshot: one of our own, or one that comes in from a peer.
//
// Start at Writer, then Receive.

package snap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	pb "example.com/raftexample/raft/raftpb"
)

// Writer writes a snapshot's state.
type Writer struct {
	p     *pending
	chunk []byte // header and data
	total uint64
}

// Create begins a snapshot. The state is written to the Writer, and Commit or
// Abort ends it.
func (d *Dir) Create(m pb.SnapshotMetadata) (*Writer, error) {
	metadata, err := m.Marshal()
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	p, err := d.create(m, writing)
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	head := binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(metadata)))
	head = append(head, metadata...)
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	w := &Writer{p: p, chunk: make([]byte, 8, 8+chunkSize)}
	if _, err := p.Write(head); err != nil {
		return nil, errors.Join(fmt.Errorf("create snapshot: %w", err), w.Abort())
	}
	return w, nil
}

// Write implements io.Writer.
func (w *Writer) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		n := min(len(b), cap(w.chunk)-len(w.chunk))
		w.chunk = append(w.chunk, b[:n]...)
		b = b[n:]
		written += n
		if len(w.chunk) == cap(w.chunk) {
			if err := w.flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// flush writes the chunk, if there is anything in it.
func (w *Writer) flush() error {
	data := w.chunk[8:]
	if len(data) == 0 {
		return nil
	}
	binary.LittleEndian.PutUint32(w.chunk, uint32(len(data)))
	binary.LittleEndian.PutUint32(w.chunk[4:], checksum(w.chunk[:4], data))
	if _, err := w.p.Write(w.chunk); err != nil {
		return err
	}
	w.total += uint64(len(data))
	w.chunk = w.chunk[:8]
	return nil
}

// Size returns how many bytes of state were written.
func (w *Writer) Size() int64 { return int64(w.total) + int64(len(w.chunk)-8) }

// Commit makes the snapshot durable. After an error it is not to be relied on.
func (w *Writer) Commit() error {
	if err := w.flush(); err != nil {
		return errors.Join(fmt.Errorf("write snapshot: %w", err), w.Abort())
	}
	total := binary.LittleEndian.AppendUint64(nil, w.total)
	end := make([]byte, 4)
	end = binary.LittleEndian.AppendUint32(end, checksum(end, total))
	if _, err := w.p.Write(append(end, total...)); err != nil {
		return errors.Join(fmt.Errorf("write snapshot: %w", err), w.Abort())
	}
	if err := w.p.finish(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := w.p.establish(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// Abort gives the snapshot up.
func (w *Writer) Abort() error { return errors.Join(w.p.f.Close(), w.p.d.fs.Remove(w.p.name)) }

// Incoming is a snapshot that has arrived, whole, and is not in use yet.
type Incoming struct{ p *pending }

// Receive reads a snapshot as it lies on a peer's disk, checks all of it, and
// stores it under a name of its own until Commit.
func (d *Dir) Receive(m pb.SnapshotMetadata, body io.Reader) (*Incoming, error) {
	p, err := d.create(m, incoming)
	if err != nil {
		return nil, fmt.Errorf("receive snapshot: %w: %w", ErrDisk, err)
	}
	out := bufio.NewWriterSize(p, chunkSize)
	r := newReader(io.TeeReader(body, out), p.name)
	err = r.begin(m)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = p.finish()
	} else {
		err = errors.Join(err, p.f.Close())
	}
	if err == nil {
		return &Incoming{p: p}, nil
	}
	if p.err != nil {
		return nil, fmt.Errorf("receive snapshot: %w: %w", ErrDisk, p.err) // the process ends, and its next start tidies up
	}
	var damage *DamageError
	if errors.As(err, &damage) { // no file of ours
		err = fmt.Errorf("what came is damaged at offset %d: %s", damage.Offset, damage.Reason)
	}
	return nil, errors.Join(fmt.Errorf("receive snapshot: %w", err), (&Incoming{p: p}).Abort())
}

// Commit gives the snapshot its proper name, durably.
func (in *Incoming) Commit() error {
	if err := in.p.establish(); err != nil {
		return fmt.Errorf("keep received snapshot: %w", err)
	}
	return nil
}

// Abort deletes it.
func (in *Incoming) Abort() error {
	if err := in.p.d.fs.Remove(in.p.name); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return nil
}
