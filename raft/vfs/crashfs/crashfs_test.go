// The disk itself: what lasts, and what may not.

package crashfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/raftexample/raft/vfs"
)

// must fails the test if an operation on a sound disk fails.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, f *FS, name, content string) vfs.File {
	t.Helper()
	file, err := f.Create(name)
	must(t, err)
	_, err = file.WriteAt([]byte(content), 0)
	must(t, err)
	return file
}

// read returns a file's content, or "-" if there is none.
func read(t *testing.T, f *FS, name string) string {
	t.Helper()
	b, err := vfs.ReadFile(f, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	must(t, err)
	return string(b)
}

// outcomes collects what a file is after many crashes.
func outcomes(t *testing.T, f *FS, name string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for seed := range uint64(300) {
		found[read(t, f.Restart(seed), name)]++
	}
	return found
}

func TestSyncedLasts(t *testing.T) {
	f := New()
	must(t, f.MkdirAll("/d/e"))
	file := create(t, f, "/d/e/x", "synced")
	must(t, file.Sync())
	must(t, f.SyncDir("/d/e"))
	must(t, f.SyncDir("/d"))
	must(t, f.SyncDir("/"))
	if got := outcomes(t, f, "/d/e/x"); len(got) != 1 || got["synced"] == 0 {
		t.Errorf("%v", got)
	}
}

func TestUnsyncedMayBeLost(t *testing.T) {
	f := New()
	must(t, f.MkdirAll("/d"))
	must(t, f.SyncDir("/"))
	file := create(t, f, "/d/x", "old")
	must(t, file.Sync())
	must(t, f.SyncDir("/d"))

	_, err := file.WriteAt([]byte("new"), 0)
	must(t, err)
	if got := read(t, f, "/d/x"); got != "new" {
		t.Errorf("before a crash %q is read", got)
	}
	got := outcomes(t, f, "/d/x")
	for _, want := range []string{"old", "new", "nld", "ned"} {
		if got[want] == 0 {
			t.Errorf("never %q: %v", want, got)
		}
		delete(got, want)
	}
	if len(got) > 0 {
		t.Errorf("impossible: %v", got)
	}
}

func TestNamesMayBeLost(t *testing.T) {
	f := New()
	must(t, f.MkdirAll("/d"))
	must(t, f.SyncDir("/"))
	must(t, create(t, f, "/d/old", "1").Sync())
	must(t, f.SyncDir("/d"))
	must(t, create(t, f, "/d/tmp", "2").Sync())
	must(t, f.Rename("/d/tmp", "/d/old"))
	if got := read(t, f, "/d/tmp") + read(t, f, "/d/old"); got != "-2" {
		t.Errorf("before a crash: %q", got)
	}
	if got := outcomes(t, f, "/d/old"); got["1"] == 0 || got["2"] == 0 || len(got) != 2 {
		t.Errorf("replaced: %v", got)
	}
	must(t, f.Remove("/d/old"))
	if got := outcomes(t, f, "/d/old"); got["1"] == 0 || got["2"] == 0 || got["-"] == 0 {
		t.Errorf("removed: %v", got)
	}

	must(t, f.MkdirAll("/e"))
	must(t, create(t, f, "/e/x", "3").Sync())
	must(t, f.SyncDir("/e"))
	if got := outcomes(t, f, "/e/x"); got["3"] == 0 || got["-"] == 0 {
		t.Errorf("in a directory that may be lost: %v", got)
	}
}

// Large writes can lose sectors in their midst, not only their end.
func TestSectorsMayBeLost(t *testing.T) {
	f := New()
	file := create(t, f, "/x", strings.Repeat("x", 4*512))
	must(t, f.SyncDir("/"))
	holes := 0
	for got := range outcomes(t, f, "/x") {
		if at := strings.IndexByte(got, 0); at >= 0 && strings.Contains(got[at:], "x") {
			holes++
		}
	}
	if holes == 0 {
		t.Error("no hole in 300 crashes")
	}
	must(t, file.Close())
}

// After a failed sync the content is read as if nothing were wrong, but a later
// sync does not save it.
func TestFailedSyncLosesWrites(t *testing.T) {
	f := New()
	file := create(t, f, "/x", "lost")
	must(t, f.SyncDir("/"))
	f.FailAt(f.Ops()+1, syscall.EIO)
	if err := file.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("%v", err)
	}
	must(t, file.Sync())
	if got := read(t, f, "/x"); got != "lost" {
		t.Errorf("read %q", got)
	}
	if got := outcomes(t, f, "/x"); len(got) != 1 || got[""] == 0 {
		t.Errorf("%v", got)
	}
}

// A sync that is skipped says that all is well, and makes nothing durable.
func TestSkippedSyncs(t *testing.T) {
	f := New()
	file := create(t, f, "/x", "content")
	f.Fault = func(op Op) error {
		if op.Kind == "Sync" {
			return ErrSkipped
		}
		return nil
	}
	must(t, file.Sync())
	must(t, f.SyncDir("/"))
	if got := outcomes(t, f, "/x"); got["content"] == 0 || got[""] == 0 || got["-"] != 0 {
		t.Errorf("without the file's sync: %v", got)
	}

	f.Fault = func(op Op) error {
		if op.Kind == "SyncDir" {
			return ErrSkipped
		}
		return nil
	}
	file = create(t, f, "/y", "content")
	must(t, file.Sync())
	must(t, f.SyncDir("/"))
	if got := outcomes(t, f, "/y"); got["content"] == 0 || got["-"] == 0 || len(got) != 2 {
		t.Errorf("without the directory's: %v", got)
	}
}

// Nothing works after a crash; the operation it happened in may have.
func TestCrashInTheMiddle(t *testing.T) {
	f := New()
	must(t, f.MkdirAll("/d"))
	must(t, f.SyncDir("/"))
	f.CrashAt(f.Ops() + 1)
	if _, err := f.Create("/d/x"); !errors.Is(err, ErrCrashed) {
		t.Fatalf("%v", err)
	}
	if _, err := f.Create("/d/y"); !errors.Is(err, ErrCrashed) {
		t.Fatalf("%v", err)
	}
	created := 0
	for seed := range uint64(20) {
		names, err := f.Restart(seed).List("/d")
		must(t, err)
		switch {
		case slices.Equal(names, []string{"x"}):
			created++
		case len(names) != 0:
			t.Fatalf("%v", names)
		}
	}
	if created == 0 || created == 20 {
		t.Errorf("created %d times of 20", created)
	}
}

// A crash leaves the same for the same seed.
func TestSeedDecides(t *testing.T) {
	f := New()
	content := bytes.Repeat([]byte("abc"), 1000)
	create(t, f, "/x", string(content))
	create(t, f, "/y", string(content))
	for seed := range uint64(20) {
		one, other := f.Restart(seed), f.Restart(seed)
		for _, name := range []string{"/x", "/y"} {
			if read(t, one, name) != read(t, other, name) {
				t.Fatalf("seed %d gives two disks", seed)
			}
		}
	}
}

func TestLock(t *testing.T) {
	f := New()
	l, err := f.Lock("/lock")
	must(t, err)
	if _, err := f.Lock("/lock"); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	must(t, l.Close())
	l, err = f.Lock("/lock")
	must(t, err)
	if _, err := f.Restart(1).Lock("/lock"); err != nil {
		t.Errorf("a lock outlives its process: %v", err)
	}
	must(t, l.Close())
}

// Zeros are not kept as bytes, and yet are read, over what was written and beyond it; and a
// crash leaves of them what it leaves of other bytes.
func TestZeros(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		n, plain := &node{}, &plainNode{}
		for range 20 {
			at := int64(r.IntN(30_000))
			if r.IntN(4) == 0 {
				n.write(write{offset: at})
				plain.write(at, nil)
				continue
			}
			b := make([]byte, r.IntN(20_000))
			for i := range b[:r.IntN(len(b)+1)] {
				b[i] = byte(r.Uint32())
			}
			n.write(writeOf(b, at))
			plain.write(at, b)
			if r.IntN(8) == 0 {
				n.synced, n.pending = n.content.clone(), nil
				plain.synced, plain.pending = bytes.Clone(plain.content), nil
			}

			from, got := r.IntN(len(plain.content)+1), make([]byte, r.IntN(10_000))
			rand.NewChaCha8([32]byte{}).Read(got)
			want := plain.content[from:min(from+len(got), len(plain.content))]
			if got := got[:n.content.read(got, int64(from))]; !bytes.Equal(got, want) {
				t.Fatalf("seed %d: %d bytes from %d on, want %d, differ", seed, len(got), from, len(want))
			}
		}
		left := n.afterCrash(rand.New(rand.NewPCG(seed, 1)))
		got, want := make([]byte, left.size), plain.afterCrash(rand.New(rand.NewPCG(seed, 1)))
		if left.read(got, 0); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: after a crash %d bytes, want %d, differ", seed, len(got), len(want))
		}
	}
}

// plainNode is a node whose content is all its bytes.
type plainNode struct {
	content, synced []byte
	pending         []plainWrite
}

type plainWrite struct {
	at   int64
	data []byte
}

func (n *plainNode) write(at int64, data []byte) {
	n.content = plainWrite{at, data}.apply(n.content)
	n.pending = append(n.pending, plainWrite{at, data})
}

func (w plainWrite) apply(content []byte) []byte {
	if end := int(w.at) + len(w.data); end > len(content) {
		content = append(content, make([]byte, end-len(content))...)
	}
	copy(content[w.at:], w.data)
	return content
}

// afterCrash takes the same numbers as node's.
func (n *plainNode) afterCrash(r *rand.Rand) []byte {
	content := bytes.Clone(n.synced)
	for _, w := range n.pending {
		switch kept := r.IntN(5); {
		case kept == 0:
		case kept == 1 && len(w.data) > 0:
			content = plainWrite{w.at, w.data[:r.IntN(len(w.data))]}.apply(content)
		case kept == 2 && len(w.data) > 512:
			for at := 0; at < len(w.data); at += 512 {
				if r.IntN(2) == 0 {
					content = plainWrite{w.at + int64(at), w.data[at:min(at+512, len(w.data))]}.apply(content)
				}
			}
		default:
			content = w.apply(content)
		}
	}
	return content
}
