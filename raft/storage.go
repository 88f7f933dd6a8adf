// Storage: how the library reads what its user has stored.
//
//	diss. §3.8 (persisted state)
//
// MemoryStorage in memory_storage.go is the implementation most users start from.

package raft

import (
	"errors"

	pb "example.com/raftexample/raft/raftpb"
)

// What a Storage answers when it cannot give what was asked for. The library
// treats any other error as a failed disk and panics.
var (
	// ErrCompacted means that the entries asked for were dropped after a snapshot.
	ErrCompacted = errors.New("requested index is unavailable due to compaction")

	// ErrSnapOutOfDate means that the storage already holds a snapshot as new as
	// the one it was given.
	ErrSnapOutOfDate = errors.New("requested index is older than the existing snapshot")

	// ErrUnavailable means that the storage does not have those entries.
	ErrUnavailable = errors.New("requested entry at index is unavailable")

	// ErrSnapshotTemporarilyUnavailable means that a snapshot is being made; the
	// library asks again later.
	ErrSnapshotTemporarilyUnavailable = errors.New("snapshot is temporarily unavailable")
)

// Storage gives the library what its user has made durable. It is only read:
// the user writes to it what each Ready asks for, before Advance.
//
// The log in a Storage starts after a base: the entry at FirstIndex()-1, of
// which only the term is kept.
type Storage interface {
	// InitialState returns the stored hard state and the configuration as of the
	// applied index. It is called once, when the node starts.
	InitialState() (pb.HardState, pb.ConfState, error)

	// Entries returns the entries in [lo, hi), cut to maxSize encoded bytes but at
	// least one. ErrCompacted if lo is not above the base, ErrUnavailable if they
	// are not there. The caller may append to the result, not change its elements.
	Entries(lo, hi, maxSize uint64) ([]pb.Entry, error)

	// Term returns the term of entry i, which is in [FirstIndex()-1, LastIndex()].
	Term(i uint64) (uint64, error)

	// LastIndex returns the index of the last entry, or of the base without any.
	LastIndex() (uint64, error)

	// FirstIndex returns the index of the first entry that can be read.
	FirstIndex() (uint64, error)

	// Snapshot returns the newest snapshot, or ErrSnapshotTemporarilyUnavailable.
	Snapshot() (pb.Snapshot, error)
}
