// MemoryStorage beside MemoryStorage: random calls, sensible and not.

package interop

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// Any sequence of calls gives the same results, errors and panics.
func TestMemoryStorageDoesWhatEtcdsDoes(t *testing.T) {
	seeds(t, 1500, 100_000, func(seed uint64) {
		our, their := ours{}.newStore(), etcd{}.newStore()
		s := source{newRand(seed)}
		var story []string
		for range 40 {
			call := drawStoreCall(s, our)
			a, b := call.on(our), call.on(their)
			story = append(story, call.name+" -> "+b)
			if a != b {
				t.Fatalf("seed %d:\n%s\nours: %s", seed, strings.Join(story, "\n"), a)
			}
			if b == "panic" && !strings.HasPrefix(call.name, "Entries") {
				return // in what state that leaves it is nobody's business
			}
		}
	})
}

// storeCall is one call of a storage's method; it returns the results in words.
type storeCall struct {
	name string
	call func(store) string
}

// on makes the call; a panic is a result like another.
func (c storeCall) on(s store) (result string) {
	defer func() {
		if recover() != nil {
			result = "panic"
		}
	}()
	return c.call(s)
}

// drawStoreCall draws a call with indexes around those that s has.
func drawStoreCall(s source, st store) storeCall {
	first, err := st.FirstIndex()
	must(err)
	last, err := st.LastIndex()
	must(err)
	index := func() uint64 {
		low := first - min(first, 3)
		return low + s.Uint64N(last+4-low)
	}

	switch s.IntN(10) {
	case 0, 1, 2:
		return callAppend(s, index())
	case 3:
		lo := index()
		hi := lo + s.Uint64N(5)
		limit := []uint64{0, 10, 30, 1 << 40}[s.IntN(4)]
		return storeCall{fmt.Sprintf("Entries(%d, %d, %d)", lo, hi, limit), func(st store) string {
			entries, err := st.Entries(lo, hi, limit)
			return fmt.Sprintf("%#v %s", entries, errorName(err))
		}}
	case 4:
		i := index()
		return storeCall{fmt.Sprintf("Term(%d)", i), func(st store) string {
			term, err := st.Term(i)
			return fmt.Sprintf("%d %s", term, errorName(err))
		}}
	case 5:
		i := index()
		return storeCall{fmt.Sprintf("Compact(%d)", i), func(st store) string { return errorName(st.Compact(i)) }}
	case 6:
		return callCreateSnapshot(s, index())
	case 7:
		if s.IntN(3) > 0 {
			return callLook()
		}
		snap := pb.Snapshot{Data: s.bytes(), Metadata: pb.SnapshotMetadata{
			Index: index(), Term: 1 + s.Uint64N(3), ConfState: s.confState(),
		}}
		return storeCall{fmt.Sprintf("ApplySnapshot(%d)", snap.Metadata.Index), func(st store) string {
			return errorName(st.ApplySnapshot(snap))
		}}
	case 8:
		hs := s.hardState()
		return storeCall{"SetHardState", func(st store) string { return errorName(st.SetHardState(hs)) }}
	default:
		return callLook()
	}
}

func callAppend(s source, from uint64) storeCall {
	var entries []pb.Entry
	term := 1 + s.Uint64N(3)
	for i := range s.Uint64N(5) {
		entries = append(entries, pb.Entry{Term: term, Index: from + i, Data: s.bytes()})
	}
	return storeCall{fmt.Sprintf("Append(%d entries from %d)", len(entries), from), func(st store) string {
		return errorName(st.Append(append([]pb.Entry(nil), entries...)))
	}}
}

func callCreateSnapshot(s source, i uint64) storeCall {
	var cs *pb.ConfState
	if s.IntN(3) > 0 {
		state := s.confState()
		cs = &state
	}
	data := s.bytes()
	return storeCall{fmt.Sprintf("CreateSnapshot(%d)", i), func(st store) string {
		snap, err := st.CreateSnapshot(i, cs, data)
		return fmt.Sprintf("%#v %s", snap, errorName(err))
	}}
}

// callLook reads everything.
func callLook() storeCall {
	return storeCall{"look", func(st store) string {
		hs, cs, err1 := st.InitialState()
		first, err2 := st.FirstIndex()
		last, err3 := st.LastIndex()
		snap, err4 := st.Snapshot()
		text := fmt.Sprintf("%v %#v %d %d %#v %v", hs, cs, first, last, snap, errors.Join(err1, err2, err3, err4))
		if first <= last {
			entries, err := st.Entries(first, last+1, 1<<40)
			text += fmt.Sprintf(" %#v %s", entries, errorName(err))
		}
		return text
	}}
}

// errorName tells the sentinels apart from anything else.
func errorName(err error) string {
	switch err {
	case nil:
		return "ok"
	case raft.ErrCompacted, raft.ErrUnavailable, raft.ErrSnapOutOfDate, raft.ErrSnapshotTemporarilyUnavailable:
		return "sentinel: " + err.Error()
	}
	return "error"
}

// Entries that were handed out stay as they are, whatever happens to the storage.
func TestEntriesHandedOutStayAsTheyAre(t *testing.T) {
	seeds(t, 20, 2_000, func(seed uint64) {
		st := ours{}.newStore()
		s := source{newRand(seed)}
		type handedOut struct {
			entries []pb.Entry
			text    string
		}
		var held []handedOut
		for range 60 {
			drawStoreCall(s, st).on(st)
			first, err := st.FirstIndex()
			must(err)
			last, err := st.LastIndex()
			must(err)
			if first <= last {
				entries, err := st.Entries(first, last+1, 1<<40)
				must(err)
				held = append(held, handedOut{entries, fmt.Sprintf("%#v", entries)})
			}
			for _, h := range held {
				if now := fmt.Sprintf("%#v", h.entries); now != h.text {
					t.Fatalf("seed %d: %s became %s", seed, h.text, now)
				}
			}
		}
	})
}
