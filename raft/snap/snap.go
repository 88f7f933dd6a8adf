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
// Start at Dir; write.go and read.go are what becomes of one file.
package snap

import (
	"errors"
	"fmt"
	"hash/crc32"
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

// ErrDisk is wrapped by what Receive and Abort return when it was the disk that failed,
// and not the sender.
var ErrDisk = errors.New("the disk failed")

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

// RemoveBefore removes all snapshots of fewer entries than m.
func (d *Dir) RemoveBefore(m pb.SnapshotMetadata) error {
	_, limit, _ := strings.Cut(fileName(m), "-")
	return d.remove(func(name string) bool {
		_, index, ok := strings.Cut(name, "-") // hexadecimal, of one length
		return ok && strings.HasSuffix(name, suffix) && index < limit
	})
}

// pending is a file that does not have its proper name yet.
type pending struct {
	d     *Dir
	f     vfs.File
	name  string // for now
	final string
	off   int64
	dirty int   // bytes since the last sync
	err   error // what the disk said when it failed
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
	p.err = errors.Join(p.err, err)
	return n, err
}

// finish makes the content durable and closes the file.
func (p *pending) finish() error {
	p.err = errors.Join(p.err, p.f.Sync(), p.f.Close())
	return p.err
}

// establish gives the file its proper name, durably.
func (p *pending) establish() error {
	if err := p.d.fs.Rename(p.name, p.final); err != nil {
		return err
	}
	return p.d.fs.SyncDir(p.d.path)
}
