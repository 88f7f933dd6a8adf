// What a log holds after a restart, and what was torn or damaged. crash_test.go has the
// crashes at every step, damage_test.go the damage in every segment.

package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs/crashfs"
)

// entries returns n entries of a term, from index first.
func entries(term, first uint64, n int) []pb.Entry {
	ents := make([]pb.Entry, n)
	for i := range ents {
		index := first + uint64(i)
		ents[i] = pb.Entry{Term: term, Index: index, Data: fmt.Appendf(nil, "value %d of term %d", index, term)}
	}
	return ents
}

func mustOpen(t testing.TB, dir string, o Options) (*WAL, Recovery) {
	t.Helper()
	w, rec, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return w, rec
}

func mustSave(t testing.TB, w *WAL, hs pb.HardState, ents []pb.Entry, marker pb.SnapshotMetadata) {
	t.Helper()
	if err := w.Save(hs, ents, marker, true); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, w *WAL) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// What was saved is there after a restart, over several segments.
func TestSavedIsRecovered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	o := Options{SegmentBytes: 4096}
	w, rec := mustOpen(t, dir, o)
	if len(rec.Entries) != 0 || rec.HardState != (pb.HardState{}) {
		t.Fatalf("a new log holds %+v", rec)
	}
	for i := range 100 {
		hs := pb.HardState{Term: 1, Vote: 1, Commit: uint64(3 * i)}
		mustSave(t, w, hs, entries(1, uint64(3*i+1), 3), pb.SnapshotMetadata{})
	}
	if len(w.segments) < 3 {
		t.Fatalf("%d segments: the test wants several", len(w.segments))
	}
	mustClose(t, w)

	w, rec = mustOpen(t, dir, o)
	defer mustClose(t, w)
	if n := len(rec.Entries); n != 300 || rec.Entries[299].Index != 300 || string(rec.Entries[299].Data) != "value 300 of term 1" {
		t.Fatalf("%d entries recovered", n)
	}
	if want := (pb.HardState{Term: 1, Vote: 1, Commit: 297}); rec.HardState != want {
		t.Errorf("recovered %v, want %v", rec.HardState, want)
	}
	if rec.Repaired != "" {
		t.Errorf("nothing was torn, but: %s", rec.Repaired)
	}
}

// §7, Figure 13: a leader's snapshot replaces a log that does not go with it, and
// entries that come with the snapshot go on from there.
func TestEntriesBehindALeadersSnapshot(t *testing.T) {
	for _, tt := range []struct {
		name string
		old  []pb.Entry
	}{
		{"no log before", nil},
		{"a log that ends before the snapshot", entries(1, 1, 5)},
		{"a log of another leader that ends behind it", entries(1, 1, 20)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "wal")
			w, _ := mustOpen(t, dir, Options{})
			mustSave(t, w, pb.HardState{Term: 1}, tt.old, pb.SnapshotMetadata{})
			mustSave(t, w, pb.HardState{Term: 2, Commit: 10}, entries(2, 11, 3), pb.SnapshotMetadata{Index: 10, Term: 2})
			mustClose(t, w)

			w, rec := mustOpen(t, dir, Options{})
			defer mustClose(t, w)
			if n := len(rec.Entries); rec.Snapshot.Index != 10 || n != 3 || rec.Entries[0].Index != 11 || rec.Entries[0].Term != 2 {
				t.Errorf("recovered snapshot %d and %v, want entries 11 to 13 behind snapshot 10", rec.Snapshot.Index, rec.Entries)
			}
		})
	}
}

// What was written since the newest marker is known, after a restart too; and a marker
// says that all before it is committed.
func TestSizeSinceSnapshot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	o := Options{SegmentBytes: 4096}
	w, _ := mustOpen(t, dir, o)
	save := func(first uint64, marker pb.SnapshotMetadata) (written int64) {
		before := w.offset
		mustSave(t, w, pb.HardState{Term: 1}, entries(1, first, 3), marker)
		return w.offset - before
	}
	size := save(1, pb.SnapshotMetadata{}) + save(4, pb.SnapshotMetadata{})
	if got := w.SizeSinceSnapshot(); got != size {
		t.Errorf("%d bytes, want %d", got, size)
	}
	save(7, pb.SnapshotMetadata{Index: 5, Term: 1})
	if got := w.SizeSinceSnapshot(); got != 0 {
		t.Errorf("%d bytes with a marker, want 0", got)
	}
	size = save(10, pb.SnapshotMetadata{})
	mustClose(t, w)
	w, rec := mustOpen(t, dir, o)
	if got := w.SizeSinceSnapshot(); got != size {
		t.Errorf("%d bytes after a restart, want %d", got, size)
	}
	if rec.HardState.Commit != 5 {
		t.Errorf("commit index %d with a snapshot at 5", rec.HardState.Commit)
	}
	for first := uint64(13); len(w.segments) < 3; first += 3 {
		save(first, pb.SnapshotMetadata{})
	}
	size = w.SizeSinceSnapshot()
	mustClose(t, w)
	w, _ = mustOpen(t, dir, o)
	if got := w.SizeSinceSnapshot(); got < size || got > size+500 { // the first frame of each segment counts now
		t.Errorf("%d bytes in three segments, want about %d", got, size)
	}
	mustClose(t, w)
}

// A segment is written with zeros first, if its syncs gain by it: not if the one before
// had large frames. It reads the same either way.
func TestSegmentsOfLargeFramesAreNotZeroed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		data   int
		zeroed bool
	}{{"small frames", 100, true}, {"large frames", 5000, false}} {
		disk := crashfs.New()
		if err := disk.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		writes := 0
		disk.Fault = func(op crashfs.Op) error {
			if op.Kind == "WriteAt" {
				writes++
			}
			return nil
		}
		o := Options{FS: disk, SegmentBytes: 256 << 10, Inline: true}
		w, _ := mustOpen(t, "/data/wal", o)
		index := uint64(0)
		for len(w.segments) < 2 {
			index++
			writes = 0
			mustSave(t, w, pb.HardState{}, []pb.Entry{{Term: 1, Index: index, Data: make([]byte, tt.data)}}, pb.SnapshotMetadata{})
		}
		if zeroed := writes > 2; zeroed != tt.zeroed { // two are the segment's beginning, and the batch
			t.Errorf("%s: %d writes when the next segment was begun", tt.name, writes)
		}
		mustClose(t, w)
		w, rec := mustOpen(t, "/data/wal", o)
		if uint64(len(rec.Entries)) != index || rec.Repaired != "" {
			t.Errorf("%s: recovered %d entries of %d; %s", tt.name, len(rec.Entries), index, rec.Repaired)
		}
		mustClose(t, w)
	}
}

// A write cut off at any byte of the last three records leaves what was saved
// before it, and the log can go on from there.
func TestTornTailAtEveryByte(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	o := Options{SegmentBytes: 4096}
	w, _ := mustOpen(t, dir, o)
	var ends []int64
	for i := range uint64(5) {
		mustSave(t, w, pb.HardState{Term: 1, Vote: 1, Commit: i}, entries(1, i+1, 1), pb.SnapshotMetadata{})
		ends = append(ends, w.offset)
	}
	name := w.path(1)
	mustClose(t, w)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}

	for cut := ends[1]; cut < ends[4]; cut++ {
		torn := append(append([]byte(nil), whole[:cut]...), make([]byte, len(whole)-int(cut))...)
		if err := os.WriteFile(name, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		want := 0
		for want < len(ends) && ends[want] <= cut {
			want++
		}
		w, rec := mustOpen(t, dir, o)
		if len(rec.Entries) != want {
			t.Fatalf("cut at %d: %d entries, want %d", cut, len(rec.Entries), want)
		}
		if atEnd := cut == ends[want-1]; atEnd != (rec.Repaired == "") {
			t.Fatalf("cut at %d, an end is at %d: %q", cut, ends[want-1], rec.Repaired)
		}
		mustSave(t, w, pb.HardState{}, entries(2, uint64(want)+1, 1), pb.SnapshotMetadata{})
		mustClose(t, w)
		w, rec = mustOpen(t, dir, o)
		if len(rec.Entries) != want+1 || rec.Entries[want].Term != 2 {
			t.Fatalf("cut at %d: after going on, %v", cut, rec.Entries)
		}
		mustClose(t, w)
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A flipped bit in anything that a later frame proves durable is damage: the log
// does not open, names the place, and changes nothing.
func TestDamageIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	o := Options{SegmentBytes: 1 << 16}
	w, _ := mustOpen(t, dir, o)
	for i := range uint64(4) {
		mustSave(t, w, pb.HardState{Term: 1, Vote: 1, Commit: i}, entries(1, i+1, 1), pb.SnapshotMetadata{})
	}
	proven := w.offset
	mustSave(t, w, pb.HardState{}, entries(1, 5, 1), pb.SnapshotMetadata{})
	name := w.path(1)
	mustClose(t, w)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := range proven {
		bad := append([]byte(nil), whole...)
		bad[at] ^= 1 << (at % 8)
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		w, _, err := Open(dir, o)
		var damage *DamageError
		if !asDamage(err, &damage) {
			t.Fatalf("flip at %d: opened %v with error %v", at, w, err)
		}
		if damage.File != name || damage.Offset > at {
			t.Fatalf("flip at %d reported as %v", at, damage)
		}
		after, err := os.ReadFile(name)
		if err != nil || string(after) != string(bad) {
			t.Fatalf("flip at %d: the file was changed (%v)", at, err)
		}
	}
}

func asDamage(err error, damage **DamageError) bool { return errors.As(err, damage) }
