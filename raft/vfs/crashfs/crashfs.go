// Package crashfs is a disk for tests, in memory, that can fail and crash.
//
// A crash loses what was not synced, or keeps some of it: any part of the writes
// to a file since its Sync, any of the names created, renamed and removed in a
// directory since its SyncDir. Which part, a seed decides. An operation can be
// made to fail, or to be the last one before a crash.
//
// Start at FS, then Restart.
package crashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"

	"example.com/raftexample/raft/vfs"
)

// ErrCrashed is what every operation returns once the disk has crashed.
var ErrCrashed = errors.New("crashfs: the disk has crashed")

// ErrSkipped is for Fault to return: a Sync or SyncDir then does nothing, and says
// that it did.
var ErrSkipped = errors.New("crashfs: skipped")

// errGone is ErrCrashed for the operations after the one in which it happened.
var errGone = fmt.Errorf("too late: %w", ErrCrashed)

// midway reports whether err is a crash in the middle of an operation, which may
// then still have an effect.
func midway(err error) bool { return err != errGone && errors.Is(err, ErrCrashed) }

// Op is an operation that is about to happen.
type Op struct {
	Number int    // counted from 1 since the disk was made or restarted
	Kind   string // the method's name
	Name   string // of the file or directory
}

// FS is the disk. It is safe for concurrent use.
type FS struct {
	// Fault, if not nil, is asked before each operation. An error makes it fail;
	// ErrCrashed is a crash in the middle of it, ErrSkipped a lie. It must be set before the disk is
	// used, may block, and is called without any lock.
	Fault func(Op) error

	mu      sync.Mutex
	ops     int
	crashed bool
	dirs    map[string]*directory
	locks   map[string]bool
}

var _ vfs.FS = (*FS)(nil)

// directory is the names in a directory, as they are and as they are on disk.
type directory struct {
	parent  string
	durable bool // its own name, in its parent
	names   map[string]*node
	synced  map[string]*node
	pending []renaming
}

// renaming is a change of names: node gets the name to, and loses from. Either
// may be empty: then a name is created, or removed.
type renaming struct {
	from, to string
	node     *node
}

func (r renaming) apply(names map[string]*node) {
	if r.from != "" {
		delete(names, r.from)
	}
	if r.to != "" {
		names[r.to] = r.node
	}
}

// New returns an empty disk.
func New() *FS {
	root := &directory{durable: true, names: map[string]*node{}, synced: map[string]*node{}}
	return &FS{dirs: map[string]*directory{"/": root, ".": root}, locks: map[string]bool{}}
}

// CrashAt makes the n-th operation the last one.
func (f *FS) CrashAt(n int) { f.FailAt(n, ErrCrashed) }

// FailAt makes the n-th operation fail with err.
func (f *FS) FailAt(n int, err error) {
	f.Fault = func(op Op) error {
		if op.Number == n {
			return fmt.Errorf("%s %s: %w", op.Kind, op.Name, err)
		}
		return nil
	}
}

// Ops returns how many operations there were.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Restart returns the disk as it is after a crash now. What was not synced is
// there or not, as seed has it. The disk itself goes on, so that many crashes can
// be tried.
func (f *FS) Restart(seed uint64) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := rand.New(rand.NewPCG(seed, 1))
	after := New()
	nodes := map[*node]*node{}
	for _, path := range slices.Sorted(maps.Keys(f.dirs)) {
		if path != "/" && path != "." && !f.survives(path, r, after) {
			continue
		}
		d := f.dirs[path]
		names := maps.Clone(d.synced)
		for _, change := range d.pending {
			if r.IntN(2) == 0 {
				change.apply(names)
			}
		}
		copied := after.dirs[path]
		for _, name := range slices.Sorted(maps.Keys(names)) {
			n := names[name]
			if nodes[n] == nil {
				left := n.afterCrash(r)
				nodes[n] = &node{content: left.clone(), synced: left}
			}
			copied.names[name], copied.synced[name] = nodes[n], nodes[n]
		}
	}
	return after
}

// survives decides whether a directory outlives a crash, and creates it then.
func (f *FS) survives(path string, r *rand.Rand, after *FS) bool {
	d := f.dirs[path]
	if _, ok := after.dirs[d.parent]; !ok || !d.durable && r.IntN(2) == 0 {
		return false
	}
	after.dirs[path] = &directory{parent: d.parent, durable: true, names: map[string]*node{}, synced: map[string]*node{}}
	return true
}

// begin counts an operation and asks what becomes of it. If it returns nil, the
// caller holds the lock.
func (f *FS) begin(kind, name string) error {
	f.mu.Lock()
	f.ops++
	op := Op{Number: f.ops, Kind: kind, Name: name}
	if f.crashed {
		f.mu.Unlock()
		return errGone
	}
	if f.Fault == nil {
		return nil
	}
	f.mu.Unlock()
	err := f.Fault(op)
	f.mu.Lock()
	if errors.Is(err, ErrCrashed) {
		f.crashed = true
	}
	if err != nil {
		f.mu.Unlock()
	}
	return err
}

// change does an operation that changes something. If the disk crashes in the
// middle of it, it is done as well; whether it lasts is for Restart to decide.
func (f *FS) change(kind, name string, do func() error) error {
	if err := f.begin(kind, name); err != nil {
		if midway(err) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return errors.Join(err, do())
		}
		return err
	}
	defer f.mu.Unlock()
	return do()
}

func (f *FS) directory(path string) (*directory, error) {
	if d := f.dirs[filepath.Clean(path)]; d != nil {
		return d, nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

// rename changes names in a directory.
func (f *FS) rename(path string, change renaming) error {
	d, err := f.directory(path)
	if err != nil {
		return err
	}
	change.apply(d.names)
	d.pending = append(d.pending, change)
	return nil
}

// MkdirAll implements vfs.FS.
func (f *FS) MkdirAll(dir string) error {
	return f.change("MkdirAll", dir, func() error {
		for path := filepath.Clean(dir); f.dirs[path] == nil; path = filepath.Dir(path) {
			f.dirs[path] = &directory{parent: filepath.Dir(path), names: map[string]*node{}, synced: map[string]*node{}}
		}
		return nil
	})
}

// Create implements vfs.FS.
func (f *FS) Create(name string) (vfs.File, error) {
	var n *node
	err := f.change("Create", name, func() error {
		d, err := f.directory(filepath.Dir(name))
		if err != nil {
			return err
		}
		if n = d.names[filepath.Base(name)]; n != nil {
			n.write(write{empties: true})
			return nil
		}
		n = &node{}
		return f.rename(filepath.Dir(name), renaming{to: filepath.Base(name), node: n})
	})
	if err != nil {
		return nil, err
	}
	return &file{fs: f, name: name, node: n}, nil
}

// Open implements vfs.FS.
func (f *FS) Open(name string) (vfs.File, error) {
	if err := f.begin("Open", name); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	d, err := f.directory(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	n := d.names[filepath.Base(name)]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{fs: f, name: name, node: n}, nil
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	return f.change("Rename", from, func() error {
		d, err := f.directory(filepath.Dir(from))
		if err != nil {
			return err
		}
		n := d.names[filepath.Base(from)]
		if n == nil || filepath.Dir(from) != filepath.Dir(to) { // none of ours moves between directories
			return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
		}
		return f.rename(filepath.Dir(to), renaming{from: filepath.Base(from), to: filepath.Base(to), node: n})
	})
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	return f.change("Remove", name, func() error {
		d, err := f.directory(filepath.Dir(name))
		if err != nil {
			return err
		}
		if d.names[filepath.Base(name)] == nil {
			return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
		}
		return f.rename(filepath.Dir(name), renaming{from: filepath.Base(name)})
	})
}

// List implements vfs.FS.
func (f *FS) List(dir string) ([]string, error) {
	if err := f.begin("List", dir); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	d, err := f.directory(dir)
	if err != nil {
		return nil, err
	}
	names := slices.Collect(maps.Keys(d.names))
	for path, sub := range f.dirs {
		if sub.parent == filepath.Clean(dir) {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(dir string) error {
	if err := f.begin("SyncDir", dir); err != nil {
		if errors.Is(err, ErrSkipped) {
			return nil
		}
		return err
	}
	defer f.mu.Unlock()
	d, err := f.directory(dir)
	if err != nil {
		return err
	}
	d.synced, d.pending = maps.Clone(d.names), nil
	for _, sub := range f.dirs {
		if sub.parent == filepath.Clean(dir) {
			sub.durable = true
		}
	}
	return nil
}

// Lock implements vfs.FS. Restart breaks all locks.
func (f *FS) Lock(name string) (io.Closer, error) {
	if err := f.begin("Lock", name); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if f.locks[name] {
		return nil, vfs.ErrLocked
	}
	f.locks[name] = true
	return unlocker{f, name}, nil
}

type unlocker struct {
	fs   *FS
	name string
}

func (u unlocker) Close() error {
	u.fs.mu.Lock()
	defer u.fs.mu.Unlock()
	delete(u.fs.locks, u.name)
	return nil
}
