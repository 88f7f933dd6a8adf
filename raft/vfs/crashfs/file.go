// Files that are open.

package crashfs

import (
	"errors"
	"io"
)

// file is an open file. It stays usable when its name is removed.
type file struct {
	fs   *FS
	name string
	node *node
}

// ReadAt implements vfs.File.
func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	if err := f.fs.begin("ReadAt", f.name); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	n := f.node.content.read(b, offset)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements vfs.File. One that fails may have written a part: half.
func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	err := f.fs.begin("WriteAt", f.name)
	if err == errGone {
		return 0, err
	}
	n := len(b)
	if err != nil {
		f.fs.mu.Lock()
		if !midway(err) {
			n /= 2
		}
	}
	defer f.fs.mu.Unlock()
	f.node.write(writeOf(b[:n], offset))
	return n, err
}

// Sync implements vfs.File. After one that fails, what it should have written is
// still read, but a later one does not write it either: so do some systems.
func (f *file) Sync() error {
	err := f.fs.begin("Sync", f.name)
	if errors.Is(err, ErrSkipped) {
		return nil
	}
	if err != nil {
		f.fs.mu.Lock()
		defer f.fs.mu.Unlock()
		if !errors.Is(err, ErrCrashed) {
			f.node.pending = nil // as good as lost
		}
		return err
	}
	defer f.fs.mu.Unlock()
	for _, w := range f.node.pending {
		f.node.synced = w.apply(f.node.synced)
	}
	f.node.pending = nil
	return nil
}

// Preallocate implements vfs.File.
func (f *file) Preallocate(size int64) error {
	return f.fs.change("Preallocate", f.name, func() error {
		f.node.write(write{offset: size})
		return nil
	})
}

// Size implements vfs.File.
func (f *file) Size() (int64, error) {
	if err := f.fs.begin("Size", f.name); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return f.node.content.size, nil
}

// Close implements vfs.File. Closing syncs nothing.
func (f *file) Close() error {
	if err := f.fs.begin("Close", f.name); err != nil {
		return err
	}
	f.fs.mu.Unlock()
	return nil
}
