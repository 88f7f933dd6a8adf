// Damage: what is not a torn tail is refused, in every segment.

package wal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs"
	"example.com/raftexample/raft/vfs/crashfs"
)

// filled returns a log of several segments on a real disk, closed, with the
// segments' paths and how much of each is in use.
func filled(t *testing.T) (dir string, o Options, paths []string, used []int64) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "wal")
	o = Options{SegmentBytes: 600, Inline: true}
	w, _ := mustOpen(t, dir, o)
	for index := uint64(1); len(w.segments) < 4; index++ {
		if n := len(w.segments); n > len(paths) {
			paths = append(paths, w.path(w.header.number))
			used = append(used, 0)
		}
		mustSave(t, w, pb.HardState{Term: 1, Vote: 1, Commit: index - 1}, entries(1, index, 1), pb.SnapshotMetadata{})
		if len(w.segments) == len(used) {
			used[len(used)-1] = w.offset
		}
	}
	paths, used = append(paths, w.path(w.header.number)), append(used, w.offset)
	mustClose(t, w)
	return dir, o, paths, used
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantDamage opens a log and wants it to refuse, naming the file.
func wantDamage(t *testing.T, what, dir string, o Options, name string) {
	t.Helper()
	w, rec, err := Open(dir, o)
	var damage *DamageError
	if !errors.As(err, &damage) {
		t.Fatalf("%s: opened %v with %d entries, error %v", what, w != nil, len(rec.Entries), err)
	}
	if damage.File != name || !strings.Contains(err.Error(), "restore the file from a copy") {
		t.Fatalf("%s: %v", what, err)
	}
}

// Before the last segment every bit counts: a segment is synced before the next
// one is begun.
func TestDamageInEarlierSegmentIsRefused(t *testing.T) {
	dir, o, paths, used := filled(t)
	for i := range paths[:len(paths)-1] {
		whole := read(t, paths[i])
		for at := range used[i] {
			bad := append([]byte(nil), whole...)
			bad[at] ^= 1 << (at % 8)
			write(t, paths[i], bad)
			wantDamage(t, "a flipped bit", dir, o, paths[i])
		}
		for _, length := range []int64{0, 10, segmentHeaderLen, used[i] - 1} {
			write(t, paths[i], whole[:length])
			wantDamage(t, "cut short", dir, o, paths[i])
		}
		write(t, paths[i], whole)
	}
	w, rec := mustOpen(t, dir, o)
	if rec.Repaired != "" || len(rec.Entries) == 0 {
		t.Errorf("after all was put right: %+v", rec)
	}
	mustClose(t, w)
}

// A segment has its name only when it has its first frame, so that is no tail.
func TestBrokenBeginningIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	o := Options{SegmentBytes: 600, Inline: true}
	w, _ := mustOpen(t, dir, o)
	name, end := w.path(1), w.offset
	mustClose(t, w)
	whole := read(t, name)
	for at := range end {
		bad := append([]byte(nil), whole...)
		bad[at] ^= 1
		write(t, name, bad)
		wantDamage(t, "a flipped bit", dir, o, name)
	}
}

// A segment that is missing, or is another's, is found out.
func TestWrongSegmentsAreRefused(t *testing.T) {
	dir, o, paths, _ := filled(t)
	second, third := read(t, paths[1]), read(t, paths[2])
	write(t, paths[1], third)
	wantDamage(t, "a segment twice", dir, o, paths[1])

	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	wantDamage(t, "a segment is missing", dir, o, paths[2])
	write(t, paths[1], second)

	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	wantDamage(t, "the first segment is missing", dir, o, paths[1])

	for _, name := range []string{"copy.wal", "1.wal"} {
		write(t, filepath.Join(dir, name), second)
		if _, _, err := Open(dir, o); err == nil || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// A single entry that is missing is found out, and so is a log without any that had some:
// the commit index tells.
func TestMissingEntriesAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	o := Options{SegmentBytes: 1, Inline: true} // a segment for each batch
	w, _ := mustOpen(t, dir, o)
	mustSave(t, w, pb.HardState{Term: 1, Vote: 1}, entries(1, 1, 1), pb.SnapshotMetadata{})
	mustSave(t, w, pb.HardState{Term: 1, Vote: 1, Commit: 1}, entries(1, 2, 1), pb.SnapshotMetadata{})
	removeBefore := func(number uint64) {
		for n := uint64(1); n < number; n++ {
			if err := os.Remove(w.path(n)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	second := w.header.number
	mustSave(t, w, pb.HardState{Term: 2, Vote: 2, Commit: 1}, nil, pb.SnapshotMetadata{})
	third := w.header.number
	mustSave(t, w, pb.HardState{Term: 3, Vote: 3, Commit: 1}, nil, pb.SnapshotMetadata{})
	mustClose(t, w)

	removeBefore(second)
	wantDamage(t, "entry 1 is missing", dir, o, w.path(second))
	removeBefore(third)
	wantDamage(t, "both are missing", dir, o, w.path(third))
}

// A crash may bring back segments that had been given up. They are removed again.
func TestSegmentsThatCameBackAreRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	o := Options{SegmentBytes: 1, Inline: true}
	w, _ := mustOpen(t, dir, o)
	for index := uint64(1); index <= 4; index++ {
		mustSave(t, w, pb.HardState{Term: 1, Commit: index}, entries(1, index, 1), pb.SnapshotMetadata{})
	}
	first := read(t, w.path(1))
	mustSave(t, w, pb.HardState{}, nil, pb.SnapshotMetadata{Term: 1, Index: 4})
	remove, err := w.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	if len(w.segments) != 1 {
		t.Errorf("%d segments are left, want the one with the marker", len(w.segments))
	}
	mustClose(t, w)

	write(t, w.path(1), first)
	w, rec := mustOpen(t, dir, o)
	if rec.Snapshot.Index != 4 || rec.HardState.Commit != 4 || len(rec.Entries) != 0 {
		t.Errorf("recovered %+v", rec)
	}
	mustClose(t, w)
	if _, err := os.Stat(w.path(1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("segment 1 is still there: %v", err)
	}
}

// A log that is opened again knows which of its segments the marker covers, and begins new
// ones with that marker.
func TestCompactAfterARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	o := Options{SegmentBytes: 1, Inline: true}
	w, _ := mustOpen(t, dir, o)
	for index := uint64(1); index <= 4; index++ {
		mustSave(t, w, pb.HardState{Term: 1, Commit: index}, entries(1, index, 1), pb.SnapshotMetadata{})
	}
	mustSave(t, w, pb.HardState{}, nil, pb.SnapshotMetadata{Term: 1, Index: 3})
	mustClose(t, w)

	w, _ = mustOpen(t, dir, o)
	mustSave(t, w, pb.HardState{}, entries(1, 5, 1), pb.SnapshotMetadata{})
	remove, err := w.Compact()
	if err == nil {
		err = remove()
	}
	if err != nil {
		t.Fatal(err)
	}
	if first := w.segments[0]; first.maxIndex != 4 {
		t.Errorf("the first segment has entry %d, want 4, the first behind the marker", first.maxIndex)
	}
	last := w.header.number
	mustClose(t, w)
	for _, s := range w.segments {
		if s.number < last {
			if err := os.Remove(w.path(s.number)); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _, err = Open(dir, o) // entry 4 is missing now, by the marker in the segment's first frame
	var damage *DamageError
	if !errors.As(err, &damage) || !strings.Contains(damage.Reason, "the last snapshot is at 3") {
		t.Errorf("the last segment alone: %v", err)
	}
}

// What may lie behind the last frame of the last segment without ever having been
// acknowledged is no damage: it is cut off, and what follows is sound.
func TestAnyTailIsCutOff(t *testing.T) {
	dir, o, paths, used := filled(t)
	last, end := paths[len(paths)-1], used[len(used)-1]
	whole := read(t, last)
	w, want := mustOpen(t, dir, o)
	mustClose(t, w)

	made := func(id, number, synced uint64) []byte {
		var f frame
		f.begin()
		for _, e := range entries(9, want.Entries[len(want.Entries)-1].Index+1, 2) {
			f.addEntry(&e)
		}
		return bytes.Clone(f.seal(segmentHeader{id: id}.seed(), w.header.number, number, synced))
	}
	// Frames of an earlier life of the same file: all is right but the segment's id.
	earlier := func(number uint64) []byte { return made(w.header.id+1, number, 1<<40) }
	torn := made(w.header.id, w.frames, uint64(end))
	torn[len(torn)-1] ^= 1

	for name, tail := range map[string][]byte{
		"an earlier life":                earlier(w.frames),
		"a tear, then an earlier life":   slices.Concat(torn, earlier(w.frames+1)),
		"a tear, zeros, an earlier life": slices.Concat(torn[:50], make([]byte, 30), earlier(w.frames+1)),
		"nothing":                        {},
		"zeros":                          make([]byte, 100),
		"garbage":                        []byte(strings.Repeat("garbage ", 30)),
		"a magic number":                 {0x57, 0x52, 0x46, 0x52},
		"half a sector":                  append(make([]byte, 256), strings.Repeat("x", 256)...),
		"another segment":                read(t, paths[1]),
		"its own first frame":            whole[segmentHeaderLen:],
	} {
		t.Run(name, func(t *testing.T) {
			write(t, last, append(append([]byte(nil), whole[:end]...), tail...))
			w, rec := mustOpen(t, dir, o)
			if !reflect.DeepEqual(rec.Entries, want.Entries) || rec.HardState != want.HardState {
				t.Errorf("recovered %d entries and %v, want %d and %v", len(rec.Entries), rec.HardState, len(want.Entries), want.HardState)
			}
			if sound := len(strings.Trim(string(tail), "\x00")) == 0; sound != (rec.Repaired == "") {
				t.Errorf("repaired: %q", rec.Repaired)
			}
			next := want.Entries[len(want.Entries)-1].Index + 1
			mustSave(t, w, pb.HardState{}, entries(2, next, 1), pb.SnapshotMetadata{})
			mustClose(t, w)

			w, rec = mustOpen(t, dir, o)
			if n := len(rec.Entries); n != len(want.Entries)+1 || rec.Entries[n-1].Term != 2 || rec.Repaired != "" {
				t.Errorf("after going on: %d entries, repaired %q", n, rec.Repaired)
			}
			mustClose(t, w)
			write(t, last, whole)
			removeAfter(t, dir, filepath.Base(last))
		})
	}
}

// removeAfter removes the segments behind one, which a case may have added.
func removeAfter(t *testing.T, dir, last string) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name.Name(), suffix) && name.Name() > last {
			if err := os.Remove(filepath.Join(dir, name.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Any bytes in place of a segment give an error or a log, never a panic; and a
// log that opens can be written to and opened again.
func FuzzOpen(f *testing.F) {
	options := func() Options {
		return Options{FS: crashfs.New(), SegmentBytes: 600, Inline: true, NewID: func() uint64 { return 1 }}
	}
	o := options()
	w, _ := mustOpen(f, crashDir, o)
	for index := uint64(1); index <= 3; index++ {
		mustSave(f, w, pb.HardState{Term: 1, Commit: index}, entries(1, index, 1), pb.SnapshotMetadata{})
	}
	name := w.path(1)
	mustClose(f, w)
	whole, err := vfs.ReadFile(o.FS, name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:100])
	f.Add([]byte{})
	f.Add(append(append([]byte(nil), whole[:120]...), make([]byte, 80)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := options()
		if err := errors.Join(o.FS.MkdirAll(crashDir), vfs.WriteFile(o.FS, name, b)); err != nil {
			t.Fatal(err)
		}
		w, rec, err := Open(crashDir, o)
		if err != nil {
			return
		}
		n := len(rec.Entries)
		next := rec.Snapshot.Index + 1 + uint64(n)
		mustSave(t, w, pb.HardState{}, entries(9, next, 1), pb.SnapshotMetadata{})
		mustClose(t, w)
		w, rec = mustOpen(t, crashDir, o)
		if len(rec.Entries) != n+1 || rec.Entries[n].Term != 9 {
			t.Fatalf("%d entries became %d", n, len(rec.Entries))
		}
		mustClose(t, w)
	})
}

// Payloads whose checksum is right can still not be ours.
func FuzzRecords(f *testing.F) {
	var made frame
	made.begin()
	made.addEntry(&pb.Entry{Term: 1, Index: 1, Data: []byte("x")})
	made.addState(&pb.HardState{Term: 1})
	made.addMarker(&pb.SnapshotMetadata{Index: 1, Term: 1})
	f.Add(made.buf[frameHeaderLen:])
	f.Add([]byte{recordEntry, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, payload []byte) {
		var r replay
		if err := eachRecord(payload, r.record); err != nil {
			return
		}
		for i := range r.entries {
			if r.entries[i].Index != r.entries[0].Index+uint64(i) {
				t.Fatalf("a gap in %v", r.entries)
			}
		}
		r.result()
	})
}
