// Files of the disk.

package crashfs

import (
	"bytes"
	"errors"
	"io"
)

// write changes the content; it is on disk once synced.
func (n *node) write(w write) {
	n.content = w.apply(n.content)
	n.pending = append(n.pending, w)
}

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
	if offset >= int64(len(f.node.content)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.content[offset:])
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
	f.node.write(write{offset: offset, data: bytes.Clone(b[:n])})
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
	return int64(len(f.node.content)), nil
}

// Close implements vfs.File. Closing syncs nothing.
func (f *file) Close() error {
	if err := f.fs.begin("Close", f.name); err != nil {
		return err
	}
	f.fs.mu.Unlock()
	return nil
}
