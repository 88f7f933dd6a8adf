// Random values of raftpb's types, and the same value in the other library.

package interop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"

	pb "example.com/raftexample/raft/raftpb"
)

// source draws values: numbers of every encoded length, and slices that are nil
// or empty as often as they hold something.
type source struct{ *rand.Rand }

func (s source) number() uint64 {
	switch s.IntN(6) {
	case 0:
		return 0
	case 1:
		return math.MaxUint64 - s.Uint64N(3)
	}
	return s.Uint64() >> s.IntN(64)
}

// enum is a known value, mostly, or any other, negative ones too.
func (s source) enum(known int) int32 {
	if s.IntN(8) == 0 {
		return int32(s.Uint32())
	}
	return int32(s.IntN(known))
}

func (s source) bytes() []byte {
	switch s.IntN(4) {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	b := make([]byte, s.IntN(200))
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return b
}

func many[T any](s source, one func() T) []T {
	switch s.IntN(4) {
	case 0:
		return nil
	case 1:
		return []T{}
	}
	list := make([]T, s.IntN(5))
	for i := range list {
		list[i] = one()
	}
	return list
}

func (s source) entry() pb.Entry {
	return pb.Entry{Type: pb.EntryType(s.enum(3)), Term: s.number(), Index: s.number(), Data: s.bytes()}
}

func (s source) hardState() pb.HardState {
	return pb.HardState{Term: s.number(), Vote: s.number(), Commit: s.number()}
}

func (s source) confState() pb.ConfState {
	return pb.ConfState{
		Voters: many(s, s.number), Learners: many(s, s.number),
		VotersOutgoing: many(s, s.number), LearnersNext: many(s, s.number), AutoLeave: s.IntN(2) == 0,
	}
}

func (s source) metadata() pb.SnapshotMetadata {
	return pb.SnapshotMetadata{ConfState: s.confState(), Index: s.number(), Term: s.number()}
}

func (s source) snapshot() pb.Snapshot {
	return pb.Snapshot{Data: s.bytes(), Metadata: s.metadata()}
}

func (s source) confChange() pb.ConfChange {
	return pb.ConfChange{
		ID: s.number(), Type: pb.ConfChangeType(s.enum(4)), NodeID: s.number(), Context: s.bytes(),
	}
}

func (s source) single() pb.ConfChangeSingle {
	return pb.ConfChangeSingle{Type: pb.ConfChangeType(s.enum(4)), NodeID: s.number()}
}

func (s source) confChangeV2() pb.ConfChangeV2 {
	return pb.ConfChangeV2{
		Transition: pb.ConfChangeTransition(s.enum(3)), Changes: many(s, s.single), Context: s.bytes(),
	}
}

func (s source) message() pb.Message { return s.messageOf(2) }

// messageOf is a message whose responses nest to the given depth at most.
func (s source) messageOf(depth int) pb.Message {
	m := pb.Message{
		Type: pb.MessageType(s.enum(24)), To: s.number(), From: s.number(), Term: s.number(),
		LogTerm: s.number(), Index: s.number(), Entries: many(s, s.entry), Commit: s.number(),
		Vote: s.number(), Reject: s.IntN(2) == 0, RejectHint: s.number(), Context: s.bytes(),
	}
	if s.IntN(2) == 0 {
		snap := s.snapshot()
		m.Snapshot = &snap
	}
	if depth > 0 {
		m.Responses = many(s, func() pb.Message { return s.messageOf(depth - 1) })
	}
	return m
}

// mirror copies from into to, field by field, where both have the same shape
// and may be of different libraries. It does not use any encoding.
func mirror(to, from reflect.Value) {
	switch from.Kind() {
	case reflect.Pointer:
		if from.IsNil() {
			to.SetZero()
			return
		}
		to.Set(reflect.New(to.Type().Elem()))
		mirror(to.Elem(), from.Elem())
	case reflect.Struct:
		if to.NumField() != from.NumField() {
			panic(fmt.Sprintf("%v has %d fields, %v has %d", to.Type(), to.NumField(), from.Type(), from.NumField()))
		}
		for i := range from.NumField() {
			mirror(to.FieldByName(from.Type().Field(i).Name), from.Field(i))
		}
	case reflect.Slice:
		if from.IsNil() {
			to.SetZero()
			return
		}
		to.Set(reflect.MakeSlice(to.Type(), from.Len(), from.Len()))
		for i := range from.Len() {
			mirror(to.Index(i), from.Index(i))
		}
	default:
		to.Set(from.Convert(to.Type()))
	}
}
