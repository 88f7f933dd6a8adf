// The operating system's files do what FS promises, as far as can be seen without
// a crash; and WriteFile what it promises, with one at every step.

package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"example.com/raftexample/raft/vfs"
	"example.com/raftexample/raft/vfs/crashfs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Both implementations are used in the same way, so both are tested in the same
// way: what the disk for tests allows, the real one must.
func TestFS(t *testing.T) {
	for name, fs := range map[string]struct {
		vfs.FS
		root string
	}{
		"the operating system's": {vfs.OS, t.TempDir()},
		"the disk for tests":     {crashfs.New(), "/"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(fs.root, "a", "b")
			must(t, fs.MkdirAll(dir))
			must(t, fs.MkdirAll(dir))
			_, err := fs.Open(filepath.Join(dir, "x"))
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("opening what does not exist: %v", err)
			}
			if _, err := fs.Create(filepath.Join(fs.root, "nowhere", "x")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("creating in a directory that does not exist: %v", err)
			}

			testFile(t, fs, filepath.Join(dir, "x"))
			must(t, fs.Rename(filepath.Join(dir, "x"), filepath.Join(dir, "y")))
			must(t, fs.SyncDir(dir))
			f, err := fs.Create(filepath.Join(dir, "b"))
			must(t, err)
			must(t, f.Close())
			if names, err := fs.List(dir); err != nil || !slices.Equal(names, []string{"b", "y"}) {
				t.Errorf("names %v, %v", names, err)
			}
			must(t, fs.Remove(filepath.Join(dir, "b")))
			if err := fs.Remove(filepath.Join(dir, "b")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("removed twice: %v", err)
			}

			f, err = fs.Create(filepath.Join(dir, "y"))
			must(t, err)
			if size, err := f.Size(); err != nil || size != 0 {
				t.Errorf("created anew, it has %d bytes, %v", size, err)
			}
			must(t, f.Close())
		})
	}
}

// testFile writes to a file here and there, and reads it.
func testFile(t *testing.T, fs vfs.FS, name string) {
	t.Helper()
	f, err := fs.Create(name)
	must(t, err)
	must(t, f.Preallocate(1000))
	if size, err := f.Size(); err != nil || size != 1000 {
		t.Errorf("preallocated %d bytes, %v", size, err)
	}
	must(t, f.Preallocate(10)) // it is that large already
	_, err = f.WriteAt([]byte("behind"), 1000)
	must(t, err)
	_, err = f.WriteAt([]byte("front"), 0)
	must(t, err)
	must(t, f.Sync())

	b := make([]byte, 10)
	if n, err := f.ReadAt(b, 1000); n != 6 || err != io.EOF || string(b[:n]) != "behind" {
		t.Errorf("read %d bytes at the end: %q, %v", n, b[:n], err)
	}
	if n, err := f.ReadAt(b, 5000); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes behind the end, %v", n, err)
	}
	must(t, f.Close())
	want := append([]byte("front"), make([]byte, 995)...)
	if b, err := vfs.ReadFile(fs, name); err != nil || !bytes.Equal(b, append(want, "behind"...)) {
		t.Errorf("the file has %d bytes, %v", len(b), err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	l, err := vfs.OS.Lock(name)
	must(t, err)
	if _, err := vfs.OS.Lock(name); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	must(t, l.Close())
	l, err = vfs.OS.Lock(name)
	must(t, err)
	must(t, l.Close())
}

// After a crash at any step a file has its old content or its new one, and its
// new one if WriteFile returned nil. After an error it has one of them, too.
func TestWriteFileIsAtomic(t *testing.T) {
	const name = "/d/x"
	begin := func() *crashfs.FS {
		disk := crashfs.New()
		must(t, disk.MkdirAll("/d"))
		must(t, disk.SyncDir("/"))
		must(t, vfs.WriteFile(disk, name, []byte("old")))
		return disk
	}
	whole := begin()
	first := whole.Ops() + 1
	must(t, vfs.WriteFile(whole, name, []byte("a newer one")))

	for step := first; step <= whole.Ops()+1; step++ { // the last one is never reached
		for _, fault := range []error{crashfs.ErrCrashed, syscall.EIO, syscall.ENOSPC} {
			disk := begin()
			disk.FailAt(step, fault)
			err := vfs.WriteFile(disk, name, []byte("a newer one"))
			if (err == nil) != (step > whole.Ops()) {
				t.Fatalf("%v at step %d: %v", fault, step, err)
			}
			for seed := range uint64(20) {
				b, readErr := vfs.ReadFile(disk.Restart(seed), name)
				if readErr != nil || string(b) != "a newer one" && (err == nil || string(b) != "old") {
					t.Fatalf("%v at step %d, crash %d: %q, %v", fault, step, seed, b, readErr)
				}
			}
		}
	}
}
