// Package snap keeps snapshots on disk, one file each.
//
//	§7 · diss. ch. 5
//
// A file is written under another name, synced, renamed, and the directory
// synced: what has its proper name is whole. It is a stream of chunks that are
// checked one by one, so neither writing nor reading nor sending one takes more
// memory than a chunk.
//
//	magic "RAFTSNP1" · length (4) · raftpb.SnapshotMetadata · checksum of these (4)
//	length (4) · checksum (4) · data        repeated, length up to 64 KiB
//	0 (4) · checksum (4) · bytes of data in all (8)
//
// Numbers are little endian. Checksums are CRC32C, those of chunks of the length
// and the data: else a bit could make the end a chunk. Which of the files counts is the
// log's to say: see the markers of package wal.
//
// Start at Dir.
package snap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strings"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs"
)

const (
	magic     = "RAFTSNP1"
	chunkSize = 64 << 10
	maxMeta   = 1 << 20
	syncEvery = 1 << 20

	suffix   = ".snap"
	writing  = ".tmp"
	incoming = ".incoming"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is that of a chunk.
func checksum(length, data []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, data)
}

// Dir is a directory of snapshots. Its methods may be called concurrently.
type Dir struct {
	fs   vfs.FS
	path string
}

// DamageError means that a snapshot on disk is not what was written.
type DamageError struct {
	File   string
	Offset int64
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %s; restore the file from a copy, "+
		"or remove this member from its cluster, delete its data and add it under a new id", e.File, e.Offset, e.Reason)
}

// Open opens a directory of snapshots, which it creates if need be, and removes
// what a crash left unfinished. A nil fsys means vfs.OS.
func Open(path string, fsys vfs.FS) (*Dir, error) {
	if fsys == nil {
		fsys = vfs.OS
	}
	d := &Dir{fs: fsys, path: path}
	if err := fsys.MkdirAll(path); err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	err := d.remove(func(name string) bool {
		return strings.HasSuffix(name, writing) || strings.HasSuffix(name, incoming)
	})
	if err != nil {
		return nil, fmt.Errorf("open snapshots: remove leftovers: %w", err)
	}
	return d, nil
}

// remove removes the files that unwanted picks.
func (d *Dir) remove(unwanted func(name string) bool) error {
	names, err := d.fs.List(d.path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if unwanted(name) {
			if err := d.fs.Remove(filepath.Join(d.path, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func fileName(m pb.SnapshotMetadata) string {
	return fmt.Sprintf("%016x-%016x%s", m.Term, m.Index, suffix)
}

func (d *Dir) file(m pb.SnapshotMetadata) string { return filepath.Join(d.path, fileName(m)) }

// Keep removes all snapshots but those given.
func (d *Dir) Keep(kept ...pb.SnapshotMetadata) error {
	return d.remove(func(name string) bool {
		for _, m := range kept {
			if name == fileName(m) {
				return false
			}
		}
		return strings.HasSuffix(name, suffix)
	})
}

// pending is a file that does not have its proper name yet.
type pending struct {
	d     *Dir
	f     vfs.File
	name  string // for now
	final string
	off   int64
	dirty int // bytes since the last sync
}

func (d *Dir) create(m pb.SnapshotMetadata, ending string) (*pending, error) {
	final := d.file(m)
	f, err := d.fs.Create(final + ending)
	if err != nil {
		return nil, err
	}
	return &pending{d: d, f: f, name: final + ending, final: final}, nil
}

// Write implements io.Writer. It syncs now and then: the log is on the same disk,
// and its syncs would wait behind all that a snapshot has piled up.
func (p *pending) Write(b []byte) (int, error) {
	n, err := p.f.WriteAt(b, p.off)
	p.off += int64(n)
	if p.dirty += n; err == nil && p.dirty >= syncEvery {
		p.dirty = 0
		err = p.f.Sync()
	}
	return n, err
}

// finish makes the content durable and closes the file.
func (p *pending) finish() error { return errors.Join(p.f.Sync(), p.f.Close()) }

// establish gives the file its proper name, durably.
func (p *pending) establish() error {
	if err := p.d.fs.Rename(p.name, p.final); err != nil {
		return err
	}
	return p.d.fs.SyncDir(p.d.path)
}

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
		return nil, fmt.Errorf("receive snapshot: %w", err)
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
	in := &Incoming{p: p}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("receive snapshot: %w", err), in.Abort())
	}
	return in, nil
}

// Commit gives the snapshot its proper name, durably.
func (in *Incoming) Commit() error {
	if err := in.p.establish(); err != nil {
		return fmt.Errorf("keep received snapshot: %w", err)
	}
	return nil
}

// Abort deletes it.
func (in *Incoming) Abort() error { return in.p.d.fs.Remove(in.p.name) }

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
