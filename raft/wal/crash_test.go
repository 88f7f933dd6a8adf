// Crashes: at every step of a log's life, and what must be there afterwards.
//
// Start at TestCrashAtEveryStep. A life is a list of batches made from a seed; the
// model knows what the log holds after each. Whatever happens, what is recovered
// is what the log held after some batch, and not before the last one that was
// acknowledged as synced.

package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"syscall"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs/crashfs"
)

const crashDir = "/data/wal"

// contents is what a log holds.
type contents struct {
	marker  pb.SnapshotMetadata
	state   pb.HardState
	entries []pb.Entry // behind the marker
}

func (c *contents) last() uint64 { return c.marker.Index + uint64(len(c.entries)) }

func (c *contents) lastTerm() uint64 {
	if n := len(c.entries); n > 0 {
		return c.entries[n-1].Term
	}
	return c.marker.Term
}

// termOf returns the term of an entry that is there, or of the marker.
func (c *contents) termOf(index uint64) uint64 {
	if index == c.marker.Index {
		return c.marker.Term
	}
	return c.entries[index-c.marker.Index-1].Term
}

// batch is the arguments of a Save, and whether to compact afterwards.
type batch struct {
	state   pb.HardState
	entries []pb.Entry
	marker  pb.SnapshotMetadata
	sync    bool
	compact bool
}

// after returns what a log holds once a batch is in it.
func (c *contents) after(b *batch) *contents {
	next := &contents{marker: c.marker, state: c.state, entries: c.entries}
	if m := b.marker; m.Index > next.marker.Index {
		if m.Index <= next.last() && next.termOf(m.Index) == m.Term {
			next.entries = next.entries[m.Index-next.marker.Index:]
		} else {
			next.entries = nil
		}
		next.marker = m
	}
	if len(b.entries) > 0 {
		kept := b.entries[0].Index - next.marker.Index - 1
		next.entries = append(append([]pb.Entry(nil), next.entries[:kept]...), b.entries...)
	}
	if b.state != (pb.HardState{}) {
		next.state = b.state
	}
	return next
}

// random returns a batch that a node could save: entries that follow or replace
// the tail behind the commit index, a snapshot of its own or a leader's.
func (c *contents) random(r *rand.Rand) *batch {
	b := &batch{sync: r.IntN(3) > 0}
	term := max(c.state.Term, c.lastTerm(), 1)
	if r.IntN(6) == 0 {
		term++
	}
	commit := max(c.state.Commit, c.marker.Index)
	switch kind := r.IntN(12); {
	case kind == 0 && commit > c.marker.Index: // a snapshot was taken
		index := c.marker.Index + 1 + r.Uint64N(commit-c.marker.Index)
		b.marker = pb.SnapshotMetadata{Index: index, Term: c.termOf(index)}
	case kind == 1: // one came from a leader
		b.marker = pb.SnapshotMetadata{Index: c.last() + 1 + r.Uint64N(5), Term: term}
		commit = b.marker.Index
		if r.IntN(2) == 0 { // and an append behind it, before the node came to saving
			b.entries = entries(term, commit+1, 1+r.IntN(4))
		}
	case kind < 10:
		first := commit + 1 + r.Uint64N(c.last()-commit+1)
		if first <= c.last() {
			term = max(term, c.lastTerm()+1) // only a new leader replaces entries
		}
		b.entries = entries(term, first, 1+r.IntN(4))
	}
	if b.marker.Index > 0 {
		b.marker.ConfState.Voters = []uint64{1, 2, 3}
	}
	b.compact = r.IntN(5) == 0
	switch last := c.after(b).last(); {
	case r.IntN(2) == 0 || b.marker.Index > c.last():
		b.state = pb.HardState{Term: term, Vote: 1 + r.Uint64N(3), Commit: commit}
		if last > commit {
			b.state.Commit += r.Uint64N(last - commit + 1)
		}
	case term > c.state.Term:
		b.state = pb.HardState{Term: term, Commit: c.state.Commit}
	}
	return b
}

// life is a log in use, and what it may hold.
type life struct {
	disk     *crashfs.FS
	possible []*contents // after each batch, the first as it was recovered
	acked    int         // which of them is certain
}

// options make segments so small that many are needed.
func (l *life) options() Options {
	id := uint64(0)
	return Options{FS: l.disk, SegmentBytes: 700, Inline: true, NewID: func() uint64 { id++; return id }}
}

// open opens the log, and checks that what it holds is possible. From then on
// that is certain: a node acts upon what it reads.
func (l *life) open() (*WAL, error) {
	w, rec, err := Open(crashDir, l.options())
	if err != nil {
		return nil, err
	}
	got := &contents{marker: rec.Snapshot, state: rec.HardState, entries: rec.Entries}
	for i := len(l.possible) - 1; i >= l.acked; i-- {
		if l.possible[i].equal(got) {
			l.possible, l.acked = []*contents{l.possible[i]}, 0
			return w, nil
		}
	}
	return nil, fmt.Errorf("recovered %+v, which is none of the last %d contents, from\n%+v to\n%+v",
		got, len(l.possible)-l.acked, l.possible[l.acked], l.possible[len(l.possible)-1])
}

// equal compares with what was recovered, whose commit index covers the marker.
func (c *contents) equal(got *contents) bool {
	state := c.state
	state.Commit = max(state.Commit, c.marker.Index)
	return got.state == state && reflect.DeepEqual(got.marker, c.marker) &&
		len(got.entries) == len(c.entries) && (len(c.entries) == 0 || reflect.DeepEqual(got.entries, c.entries))
}

// use opens the log and saves n random batches, as far as the disk lets it.
func (l *life) use(r *rand.Rand, n int) error {
	w, err := l.open()
	if err != nil {
		return err
	}
	for range n {
		now := l.possible[len(l.possible)-1]
		b := now.random(r)
		l.possible = append(l.possible, now.after(b))
		if err := w.Save(b.state, b.entries, b.marker, b.sync); err != nil {
			return errors.Join(err, w.Close())
		}
		if b.sync {
			l.acked = len(l.possible) - 1
		}
		if b.compact {
			if err := w.Sync(); err != nil { // the marker must be durable
				return errors.Join(err, w.Close())
			}
			l.acked = len(l.possible) - 1
			remove, err := w.Compact()
			if err == nil {
				err = remove()
			}
			if err != nil {
				return errors.Join(err, w.Close())
			}
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	l.acked = len(l.possible) - 1
	return nil
}

// begin is a log that does not exist yet.
func begin() *life { return &life{disk: crashfs.New(), possible: []*contents{{}}} }

// fromSeed lives until a fault, if there is one: three times in use, closed in
// between, and returns the error that ended it.
func fromSeed(seed uint64, prepare func(*crashfs.FS)) (*life, error) {
	l := begin()
	if err := l.disk.MkdirAll("/data"); err != nil {
		return l, err
	}
	if err := l.disk.SyncDir("/"); err != nil {
		return l, err
	}
	prepare(l.disk)
	r := rand.New(rand.NewPCG(seed, 7))
	for range 3 {
		if err := l.use(r, 12); err != nil {
			return l, err
		}
	}
	return l, nil
}

// Without any crash, a log holds what was saved: whatever entries replace others,
// whichever snapshots come, and however old segments go.
func TestAnyLife(t *testing.T) {
	for seed := range 200 * seeds() {
		if l, err := fromSeed(seed, func(*crashfs.FS) {}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		} else if _, err := l.open(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// seeds is how many lives are lived.
func seeds() uint64 {
	if os.Getenv("RAFT_LONG") != "" {
		return 40
	}
	return 3
}

// diss. §3.8: what was acknowledged survives a crash at any step, and so does
// what is saved after it.
func TestCrashAtEveryStep(t *testing.T) {
	for seed := range seeds() {
		whole, err := fromSeed(seed, func(*crashfs.FS) {})
		if err != nil {
			t.Fatalf("seed %d: without a crash: %v", seed, err)
		}
		for step := 3; step <= whole.disk.Ops(); step++ {
			l, err := fromSeed(seed, func(disk *crashfs.FS) { disk.CrashAt(step) })
			if !errors.Is(err, crashfs.ErrCrashed) {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			for crash := range uint64(3) {
				after := *l
				after.disk = l.disk.Restart(crash)
				if err := after.use(rand.New(rand.NewPCG(seed, crash)), 5); err != nil {
					t.Fatalf("seed %d, crash %d at step %d of %d: %v", seed, crash, step, whole.disk.Ops(), err)
				}
				// The repair itself may not last longer than what it repaired.
				after.disk = after.disk.Restart(crash)
				if _, err := after.open(); err != nil {
					t.Fatalf("seed %d, crash %d at step %d, and once more: %v", seed, crash, step, err)
				}
			}
		}
	}
}

// A crash while what an earlier crash left is being repaired.
func TestCrashDuringRecovery(t *testing.T) {
	for seed := range seeds() {
		whole, err := fromSeed(seed, func(*crashfs.FS) {})
		if err != nil {
			t.Fatal(err)
		}
		for step := 10; step <= whole.disk.Ops(); step += 7 {
			l, err := fromSeed(seed, func(disk *crashfs.FS) { disk.CrashAt(step) })
			if !errors.Is(err, crashfs.ErrCrashed) {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			disk := l.disk
			for second := 1; ; second++ {
				again := *l
				again.disk = disk.Restart(seed)
				again.disk.CrashAt(second)
				if w, err := again.open(); err == nil {
					_ = w.Close() // the crash comes now, or later
					break
				} else if !errors.Is(err, crashfs.ErrCrashed) {
					t.Fatalf("seed %d, step %d, crash %d: %v", seed, step, second, err)
				}
				again.disk = again.disk.Restart(seed + 1)
				if _, err := again.open(); err != nil {
					t.Fatalf("seed %d, step %d, crash %d: %v", seed, step, second, err)
				}
			}
		}
	}
}

// After any operation fails the log refuses to go on. A process that starts anew
// finds what was acknowledged, and what it finds lasts through a crash: although
// after a failed sync the system may say that all is well.
func TestFaultAtEveryOperation(t *testing.T) {
	for seed := range seeds() {
		whole, err := fromSeed(seed, func(*crashfs.FS) {})
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
			for step := 3; step <= whole.disk.Ops(); step++ {
				l, err := fromSeed(seed, func(disk *crashfs.FS) { disk.FailAt(step, fault) })
				if !errors.Is(err, fault) {
					t.Fatalf("seed %d, step %d: %v instead of %v", seed, step, err, fault)
				}
				for _, crash := range []bool{true, false} { // false uses the disk itself
					after := *l
					if crash {
						after.disk = l.disk.Restart(seed)
					}
					if err := after.use(rand.New(rand.NewPCG(seed, 9)), 3); err != nil {
						t.Fatalf("seed %d, %v at step %d, crash %t: %v", seed, fault, step, crash, err)
					}
					after.disk = after.disk.Restart(seed + 1)
					if _, err := after.open(); err != nil {
						t.Fatalf("seed %d, %v at step %d, crash %t, then a crash: %v", seed, fault, step, crash, err)
					}
				}
			}
		}
	}
}

// A log that a failed write or sync has stopped stays so, though the disk works.
func TestFailureIsFinal(t *testing.T) {
	for _, kind := range []string{"WriteAt", "Sync"} {
		t.Run(kind, func(t *testing.T) {
			l := begin()
			failing := false
			l.disk.Fault = func(op crashfs.Op) error {
				if failing && op.Kind == kind {
					return syscall.EIO
				}
				return nil
			}
			w, err := l.open()
			if err != nil {
				t.Fatal(err)
			}
			mustSave(t, w, pb.HardState{Term: 1}, entries(1, 1, 1), pb.SnapshotMetadata{})
			failing = true
			if err := w.Save(pb.HardState{}, entries(1, 2, 1), pb.SnapshotMetadata{}, true); !errors.Is(err, syscall.EIO) {
				t.Fatalf("%v", err)
			}
			failing = false
			before := l.disk.Ops()
			_, compact := w.Compact()
			for name, err := range map[string]error{
				"Save":    w.Save(pb.HardState{}, entries(1, 2, 1), pb.SnapshotMetadata{}, true),
				"Sync":    w.Sync(),
				"Compact": compact,
			} {
				if !errors.Is(err, syscall.EIO) {
					t.Errorf("%s afterwards: %v", name, err)
				}
			}
			if n := l.disk.Ops() - before; n != 0 {
				t.Errorf("%d operations after the failure", n)
			}
			if err := w.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		})
	}
}
