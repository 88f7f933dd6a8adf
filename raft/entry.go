// Entries: how they are named, compared and measured.
//
//	§5.3, §5.4.1
//
// Start at entryID: the paper's claim that term and index name an entry and all
// before it is what the rest of the log rests on.

package raft

import (
	"fmt"

	pb "example.com/raftexample/raft/raftpb"
)

// entryID names an entry. Two logs that hold the same entryID are the same up
// to it (the Log Matching Property of §5.3).
type entryID struct {
	term  uint64
	index uint64
}

func idOf(e *pb.Entry) entryID { return entryID{term: e.Term, index: e.Index} }

func (id entryID) String() string { return fmt.Sprintf("%d/%d", id.term, id.index) }

// logSlice is a piece of a leader's log, as a MsgApp carries it: entries that
// follow prev without a gap.
type logSlice struct {
	prev    entryID
	entries []pb.Entry
}

func sliceOf(m *pb.Message) logSlice {
	return logSlice{prev: entryID{term: m.LogTerm, index: m.Index}, entries: m.Entries}
}

// hasGap reports whether the entries are not what follows prev, one by one.
func (s *logSlice) hasGap() bool {
	for i := range s.entries {
		if s.entries[i].Index != s.prev.index+1+uint64(i) {
			return true
		}
	}
	return false
}

func (s *logSlice) lastIndex() uint64 { return s.prev.index + uint64(len(s.entries)) }

// changesMembership reports whether an entry is a change of the membership. Other types
// than ours are the user's own, like EntryNormal.
func changesMembership(e *pb.Entry) bool {
	return e.Type == pb.EntryConfChange || e.Type == pb.EntryConfChangeV2
}

// encodedSize is what entries take on the wire and on disk, in bytes.
func encodedSize(entries []pb.Entry) uint64 {
	var size uint64
	for i := range entries {
		size += uint64(entries[i].Size())
	}
	return size
}

// payloadSize is what the user put into entries, in bytes. Unlike encodedSize
// it does not depend on terms and indexes, so a proposal has it from the start.
func payloadSize(entries []pb.Entry) uint64 {
	var size uint64
	for i := range entries {
		size += uint64(len(entries[i].Data))
	}
	return size
}

// limitSize cuts entries to maxSize encoded bytes, but leaves at least one.
func limitSize(entries []pb.Entry, maxSize uint64) []pb.Entry {
	if len(entries) == 0 || maxSize == noLimit {
		return entries
	}
	size := uint64(entries[0].Size())
	for i := 1; i < len(entries); i++ {
		size += uint64(entries[i].Size())
		if size > maxSize {
			return entries[:i]
		}
	}
	return entries
}
