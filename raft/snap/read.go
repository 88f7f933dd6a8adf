// Reading a snapshot: its state, checked chunk by chunk, or the file as it lies on disk.
//
// Start at Reader.

package snap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs"
)

// Reader reads a snapshot's state. What it returns has been checked; damage
// is a *DamageError. Deleting the snapshot meanwhile does no harm.
type Reader struct {
	in     io.Reader
	name   string
	file   io.Closer
	offset int64
	total  uint64
	buf    []byte
	rest   []byte // of buf
	ended  bool
}

func newReader(in io.Reader, name string) *Reader {
	return &Reader{in: in, name: name, buf: make([]byte, chunkSize)}
}

// OpenSnapshot opens a snapshot for reading its state.
func (d *Dir) OpenSnapshot(m pb.SnapshotMetadata) (*Reader, error) {
	f, err := d.fs.Open(d.file(m))
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	r := newReader(bufio.NewReaderSize(&fileReader{f: f}, chunkSize), d.file(m))
	r.file = f
	if err := r.begin(m); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// OpenRaw opens a snapshot as it lies on disk, for sending it to a peer.
func (d *Dir) OpenRaw(m pb.SnapshotMetadata) (io.ReadCloser, error) {
	f, err := d.fs.Open(d.file(m))
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	return &fileReader{f: f}, nil
}

// fileReader reads a file from its start.
type fileReader struct {
	f   vfs.File
	off int64
}

func (r *fileReader) Read(b []byte) (int, error) {
	n, err := r.f.ReadAt(b, r.off)
	r.off += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (r *fileReader) Close() error { return r.f.Close() }

func (r *Reader) damage(reason string) error {
	return &DamageError{File: r.name, Offset: r.offset, Reason: reason}
}

// fill reads exactly len(b) bytes.
func (r *Reader) fill(b []byte) error {
	_, err := io.ReadFull(r.in, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.damage("it ends here")
	}
	return err
}

// begin reads the head, which must be that of the snapshot m.
func (r *Reader) begin(m pb.SnapshotMetadata) error {
	head := make([]byte, len(magic)+4)
	if err := r.fill(head); err != nil {
		return err
	}
	if string(head[:len(magic)]) != magic {
		return r.damage(fmt.Sprintf("a snapshot begins with %q, not %q", magic, head[:len(magic)]))
	}
	size := binary.LittleEndian.Uint32(head[len(magic):])
	if size > maxMeta {
		return r.damage(fmt.Sprintf("metadata of %d bytes", size))
	}
	rest := make([]byte, size+4)
	if err := r.fill(rest); err != nil {
		return err
	}
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, rest[:size])
	if sum != binary.LittleEndian.Uint32(rest[size:]) {
		return r.damage("the checksum of its head is wrong")
	}
	var got pb.SnapshotMetadata
	if err := got.Unmarshal(rest[:size]); err != nil {
		return r.damage(err.Error())
	}
	if got.Index != m.Index || got.Term != m.Term || got.ConfState.Equivalent(m.ConfState) != nil {
		return r.damage(fmt.Sprintf("it is the snapshot %v, not %v", &got, &m))
	}
	r.offset = int64(len(head) + len(rest))
	return nil
}

// Read implements io.Reader.
func (r *Reader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		if err := r.nextChunk(); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *Reader) nextChunk() error {
	var head [8]byte
	if err := r.fill(head[:]); err != nil {
		return err
	}
	size := int(binary.LittleEndian.Uint32(head[:]))
	last := size == 0
	if last {
		size = 8
	}
	if size > chunkSize {
		return r.damage(fmt.Sprintf("a chunk of %d bytes", size))
	}
	if err := r.fill(r.buf[:size]); err != nil {
		return err
	}
	if checksum(head[:4], r.buf[:size]) != binary.LittleEndian.Uint32(head[4:]) {
		return r.damage("a checksum is wrong")
	}
	if last {
		return r.end(binary.LittleEndian.Uint64(r.buf))
	}
	r.rest = r.buf[:size]
	r.offset += int64(8 + size)
	r.total += uint64(size)
	return nil
}

// end checks that all of the state was there, and that nothing follows.
func (r *Reader) end(total uint64) error {
	if total != r.total {
		return r.damage(fmt.Sprintf("it has %d bytes of state and should have %d", r.total, total))
	}
	switch _, err := io.ReadFull(r.in, r.buf[:1]); {
	case err == nil:
		return r.damage("it goes on behind its end")
	case !errors.Is(err, io.EOF):
		return err
	}
	r.ended = true
	return nil
}

// Close closes the file.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
