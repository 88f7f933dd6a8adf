// Snapshots on disk: what is committed is whole, and what is not whole is found
// out.
//
// Start at TestWrittenIsRead; the crashes are at the end.

package snap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs/crashfs"
)

// at names a snapshot.
func at(index, term uint64) pb.SnapshotMetadata {
	return pb.SnapshotMetadata{Index: index, Term: term, ConfState: pb.ConfState{Voters: []uint64{1, 2, 3}}}
}

func mustOpen(t testing.TB, path string, disk *crashfs.FS) *Dir {
	t.Helper()
	d, err := open(path, disk)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// open opens a directory on a disk for tests, or the system's if that is nil.
func open(path string, disk *crashfs.FS) (*Dir, error) {
	if disk == nil {
		return Open(path, nil)
	}
	return Open(path, disk)
}

// save writes a snapshot, in pieces of an odd size.
func save(d *Dir, m pb.SnapshotMetadata, state []byte) error {
	w, err := d.Create(m)
	if err != nil {
		return err
	}
	for piece := range slices.Chunk(state, 1777) {
		if _, err := w.Write(piece); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	if n := w.Size(); n != int64(len(state)) {
		return fmt.Errorf("Size is %d after %d bytes", n, len(state))
	}
	return w.Commit()
}

func mustSave(t testing.TB, d *Dir, m pb.SnapshotMetadata, state []byte) {
	t.Helper()
	if err := save(d, m, state); err != nil {
		t.Fatal(err)
	}
}

// load reads a snapshot's state.
func load(d *Dir, m pb.SnapshotMetadata) ([]byte, error) {
	r, err := d.OpenSnapshot(m)
	if err != nil {
		return nil, err
	}
	state, err := io.ReadAll(r)
	return state, errors.Join(err, r.Close())
}

// raw reads a snapshot as it lies on disk.
func raw(t testing.TB, d *Dir, m pb.SnapshotMetadata) []byte {
	t.Helper()
	r, err := d.OpenRaw(m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// noise is n bytes that look like nothing.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 3))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func names(t testing.TB, path string) string {
	t.Helper()
	files, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range files {
		list = append(list, f.Name())
	}
	return strings.Join(list, " ")
}

func TestWrittenIsRead(t *testing.T) {
	d := mustOpen(t, filepath.Join(t.TempDir(), "snap"), nil)
	for i, size := range []int{0, 1, 1000, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 5} {
		m := at(uint64(i+1), 2)
		mustSave(t, d, m, noise(size))
		if got, err := load(d, m); err != nil || !bytes.Equal(got, noise(size)) {
			t.Errorf("%d bytes became %d, %v", size, len(got), err)
		}
	}
	if _, err := load(d, at(99, 2)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("one that was never written: %v", err)
	}
	if _, err := load(d, at(1, 3)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("one of another term: %v", err)
	}
}

// A large snapshot is synced as it is written, so that the log's syncs on the same disk do
// not wait behind all of it at once.
func TestSyncedWhileWritten(t *testing.T) {
	disk := crashfs.New()
	d := mustOpen(t, "/data/snap", disk)
	syncs := 0
	disk.Fault = func(op crashfs.Op) error {
		if op.Kind == "Sync" {
			syncs++
		}
		return nil
	}
	mustSave(t, d, at(1, 1), noise(3*syncEvery))
	if syncs < 4 { // and one at the end
		t.Errorf("%d syncs for %d bytes", syncs, 3*syncEvery)
	}
}

// What is not committed has no name, and leaves nothing.
func TestAborted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snap")
	d := mustOpen(t, path, nil)
	w, err := d.Create(at(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(noise(100_000)); err != nil {
		t.Fatal(err)
	}
	if _, err := load(d, at(1, 1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a snapshot can be opened: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, path); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snap")
	d := mustOpen(t, path, nil)
	mustSave(t, d, at(1, 1), []byte("kept"))
	whole := names(t, path)
	for _, name := range []string{whole + writing, whole + incoming} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustOpen(t, path, nil)
	if got := names(t, path); got != whole {
		t.Errorf("%s, want %s", got, whole)
	}
}

// Keep removes what it is not told to keep, RemoveBefore what is older; who is reading it
// does not notice.
func TestKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snap")
	d := mustOpen(t, path, nil)
	for index := uint64(1); index <= 4; index++ {
		mustSave(t, d, at(index, 1), noise(2*chunkSize))
	}
	r, err := d.OpenSnapshot(at(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	unfinished, err := d.Create(at(5, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Keep(at(3, 1), at(4, 1), at(9, 9)); err != nil {
		t.Fatal(err)
	}
	if err := unfinished.Commit(); err != nil {
		t.Errorf("one that was being written: %v", err)
	}
	check := func(want map[uint64]bool) {
		t.Helper()
		for index, kept := range want {
			if _, err := load(d, at(index, 1)); (err == nil) != kept {
				t.Errorf("%d: %v", index, err)
			}
		}
	}
	check(map[uint64]bool{1: false, 2: false, 3: true, 4: true})
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, noise(2*chunkSize)) {
		t.Errorf("reading a removed one: %d bytes, %v", len(got), err)
	}

	// Newer ones, finished or not, are none of its business.
	mustSave(t, d, at(0x100, 1), nil)
	w, err := d.Create(at(2, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveBefore(at(4, 9)); err != nil {
		t.Fatal(err)
	}
	check(map[uint64]bool{3: false, 4: true, 0x100: true})
	if err := w.Commit(); err != nil {
		t.Error(err)
	}
}

// A snapshot goes from disk to disk as it is, and is checked on its way.
func TestReceive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b")
	a, b := mustOpen(t, filepath.Join(t.TempDir(), "a"), nil), mustOpen(t, path, nil)
	m, state := at(7, 2), noise(3*chunkSize+5)
	mustSave(t, a, m, state)
	sent := raw(t, a, m)

	in, err := b.Receive(m, bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(b, m); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is in use before it is kept: %v", err)
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, err := load(b, m); err != nil || !bytes.Equal(got, state) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if !bytes.Equal(raw(t, b, m), sent) {
		t.Error("what lies on the two disks is not the same")
	}

	if in, err = b.Receive(at(7, 2), bytes.NewReader(sent)); err != nil {
		t.Fatal(err)
	}
	if err := in.Abort(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, path); got != fileName(m) {
		t.Errorf("after giving up: %s", got)
	}
}

// A stream that breaks off, or is not what was announced, leaves nothing.
func TestReceiveRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b")
	a, b := mustOpen(t, filepath.Join(t.TempDir(), "a"), nil), mustOpen(t, path, nil)
	m := at(7, 2)
	mustSave(t, a, m, noise(chunkSize+500))
	sent := raw(t, a, m)
	flipped := func(i int) []byte {
		c := bytes.Clone(sent)
		c[i] ^= 1
		return c
	}
	broken := errors.New("the line is broken")
	otherVoters := m
	otherVoters.ConfState.Voters = []uint64{9}
	for name, tt := range map[string]struct {
		m    pb.SnapshotMetadata
		body io.Reader
	}{
		"nothing":             {m, bytes.NewReader(nil)},
		"half":                {m, bytes.NewReader(sent[:len(sent)/2])},
		"a byte less":         {m, bytes.NewReader(sent[:len(sent)-1])},
		"a broken line":       {m, io.MultiReader(bytes.NewReader(sent[:1000]), failing{broken})},
		"a bit of the head":   {m, bytes.NewReader(flipped(20))},
		"a bit of the state":  {m, bytes.NewReader(flipped(chunkSize))},
		"a bit of the end":    {m, bytes.NewReader(flipped(len(sent) - 1))},
		"another index":       {at(8, 2), bytes.NewReader(sent)},
		"another term":        {at(7, 3), bytes.NewReader(sent)},
		"other voters":        {otherVoters, bytes.NewReader(sent)},
		"more behind its end": {m, bytes.NewReader(append(bytes.Clone(sent), "more"...))},
		"a chunk less":        {m, bytes.NewReader(slices.Concat(sent[:len(sent)-16-508], sent[len(sent)-16:]))},
		"a head without end":  {m, strings.NewReader(magic + "\xff\xff\xff\xff")},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := b.Receive(tt.m, tt.body)
			if err == nil {
				t.Fatalf("received %v", in)
			}
			if name == "a head without end" && !strings.Contains(err.Error(), "metadata of 4294967295 bytes") {
				t.Errorf("its length was believed: %v", err)
			}
			if name == "a broken line" && !errors.Is(err, broken) || errors.Is(err, ErrDisk) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
			if got := names(t, path); got != "" {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

// A disk that fails is told from a sender that does, whatever it fails at.
func TestReceiveOnABadDisk(t *testing.T) {
	from, m := mustOpen(t, "/data/a", crashfs.New()), at(7, 2)
	mustSave(t, from, m, noise(syncEvery+chunkSize))
	sent := raw(t, from, m)
	for step := 1; ; step++ {
		disk := crashfs.New()
		d := mustOpen(t, "/data/b", disk)
		disk.FailAt(disk.Ops()+step, syscall.ENOSPC)
		in, err := d.Receive(m, bytes.NewReader(sent))
		if err == nil {
			err = in.Abort()
		}
		if err == nil {
			if step < 10 {
				t.Fatalf("done after %d steps", step)
			}
			return
		}
		if !errors.Is(err, ErrDisk) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("step %d: %v", step, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Every flipped bit and every cut is found out, with the file and advice, before
// anything wrong is handed over.
func TestDamageIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snap")
	d := mustOpen(t, path, nil)
	m, state := at(7, 2), noise(100)
	mustSave(t, d, m, state)
	name := filepath.Join(path, fileName(m))
	whole := raw(t, d, m)
	try := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := load(d, m)
		var damage *DamageError
		if !errors.As(err, &damage) || damage.File != name || !strings.Contains(err.Error(), "restore the file") {
			t.Fatalf("%s: %v", what, err)
		}
		if !bytes.HasPrefix(state, got) {
			t.Fatalf("%s: handed over what was never written", what)
		}
	}
	for i := range whole {
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[i] ^= 1 << bit
			try(fmt.Sprintf("bit %d of byte %d", bit, i), bad)
		}
		try(fmt.Sprintf("cut to %d", i), whole[:i])
	}
	if err := os.WriteFile(name, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(d, m); err != nil {
		t.Errorf("put right: %v", err)
	}
}

// However large the state, writing, sending and reading it take a few buffers.
func TestMemoryIsBounded(t *testing.T) {
	const megabytes = 16
	a, b := mustOpen(t, filepath.Join(t.TempDir(), "a"), nil), mustOpen(t, filepath.Join(t.TempDir(), "b"), nil)
	m, piece := at(1, 1), noise(1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)

	w, err := a.Create(m)
	if err != nil {
		t.Fatal(err)
	}
	for range megabytes {
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	body, err := a.OpenRaw(m)
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.Receive(m, body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	r, err := b.OpenSnapshot(m)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r)
	if err := errors.Join(err, r.Close()); err != nil || n != megabytes<<20 {
		t.Fatal(n, err)
	}

	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes allocated for %d MiB there and back", got, megabytes)
	}
}

// What the disk of TestCrashAtEveryStep holds, and where.
const crashDir = "/data/snap"

var older, newer = at(1, 1), at(2, 1)

// live saves one snapshot, receives another as if from a peer, and keeps that.
func live(disk *crashfs.FS, state, sent []byte) (saved, kept bool, err error) {
	if err := errors.Join(disk.MkdirAll("/data"), disk.SyncDir("/")); err != nil {
		return false, false, err
	}
	d, err := open(crashDir, disk)
	if err != nil {
		return false, false, err
	}
	if err := save(d, older, state); err != nil {
		return false, false, err
	}
	in, err := d.Receive(newer, bytes.NewReader(sent))
	if err != nil {
		return true, false, err
	}
	if err := in.Commit(); err != nil {
		return true, false, err
	}
	return true, true, d.RemoveBefore(newer)
}

// A crash at any step leaves the old snapshot, and the new one if its Commit
// returned; and nothing that is not whole.
func TestCrashAtEveryStep(t *testing.T) {
	state := noise(3000)
	elsewhere := mustOpen(t, t.TempDir(), nil)
	mustSave(t, elsewhere, newer, state)
	sent := raw(t, elsewhere, newer)
	whole := crashfs.New()
	if _, _, err := live(whole, state, sent); err != nil {
		t.Fatal(err)
	}

	for step := 1; step <= whole.Ops(); step++ {
		for _, fault := range []error{crashfs.ErrCrashed, syscall.EIO, syscall.ENOSPC} {
			disk := crashfs.New()
			disk.FailAt(step, fault)
			saved, kept, err := live(disk, state, sent)
			if !errors.Is(err, fault) {
				t.Fatalf("step %d: %v instead of %v", step, err, fault)
			}
			for seed := range uint64(10) {
				d, err := open(crashDir, disk.Restart(seed))
				if err != nil {
					t.Fatalf("%v at step %d, crash %d: %v", fault, step, seed, err)
				}
				check := func(m pb.SnapshotMetadata, certain bool) {
					got, err := load(d, m)
					switch {
					case err == nil && !bytes.Equal(got, state):
						t.Fatalf("%v at step %d, crash %d: %v is not what was written", fault, step, seed, m.Index)
					case err != nil && (certain || !errors.Is(err, os.ErrNotExist)):
						t.Fatalf("%v at step %d, crash %d: %v", fault, step, seed, err)
					}
				}
				check(newer, kept)
				check(older, saved && !kept)
			}
		}
	}
}

// Any bytes as a snapshot's file give what was written, or an error.
func FuzzRead(f *testing.F) {
	d := mustOpen(f, f.TempDir(), nil)
	m := at(7, 2)
	mustSave(f, d, m, noise(100))
	whole := raw(f, d, m)
	f.Add(whole)
	f.Add(whole[:len(whole)-16])
	f.Add([]byte(magic + "\xff\xff\xff\xff"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newReader(bytes.NewReader(b), "fuzzed")
		if err := r.begin(m); err != nil {
			return
		}
		got, err := io.ReadAll(r)
		if err == nil && len(got) > len(b) {
			t.Fatalf("%d bytes of state in %d bytes", len(got), len(b))
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	d := mustOpen(b, b.TempDir(), nil)
	piece := noise(1 << 20)
	b.SetBytes(16 << 20)
	for b.Loop() {
		w, err := d.Create(at(1, 1))
		if err != nil {
			b.Fatal(err)
		}
		for range 16 {
			if _, err := w.Write(piece); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	d := mustOpen(b, b.TempDir(), nil)
	mustSave(b, d, at(1, 1), noise(16<<20))
	b.SetBytes(16 << 20)
	for b.Loop() {
		r, err := d.OpenSnapshot(at(1, 1))
		if err != nil {
			b.Fatal(err)
		}
		_, err = io.Copy(io.Discard, r)
		if err := errors.Join(err, r.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
