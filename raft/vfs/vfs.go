// Package vfs is what the log and the snapshots need of a file system, and no
// more: so that tests can run the real code over a disk that fails.
//
// Start at FS. What is durable when is the whole point: a file's content after
// its Sync, a created, renamed or removed name after SyncDir of its directory.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrLocked means that another process holds a lock.
var ErrLocked = errors.New("locked by another process")

// FS is a file system. Paths are the operating system's.
type FS interface {
	// MkdirAll creates a directory and its parents. It is no error if it exists.
	MkdirAll(dir string) error

	// Create opens a file for reading and writing, emptying it if it exists.
	Create(name string) (File, error)

	// Open opens a file that exists for reading and writing.
	Open(name string) (File, error)

	// Rename gives a file another name, in place of any file of that name.
	Rename(from, to string) error

	// Remove removes a file.
	Remove(name string) error

	// List returns the names in a directory, in ascending order.
	List(dir string) ([]string, error)

	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error

	// Lock creates a file if need be and locks it against other processes, until
	// it is closed. It gives ErrLocked if another has it.
	Lock(name string) (io.Closer, error)
}

// File is an open file. It need not be safe for concurrent use.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Sync makes the content durable, and the size if that changed.
	Sync() error

	// Preallocate reserves room for size bytes and makes the file that large,
	// unless it is larger.
	Preallocate(size int64) error

	// Size returns the size in bytes.
	Size() (int64, error)
}

// OS is the file system of the operating system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o750) }

func (osFS) Create(name string) (File, error) {
	return open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (osFS) Open(name string) (File, error) { return open(name, os.O_RDWR) }

func open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return f, nil
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }

func (f osFile) Preallocate(size int64) error { return preallocate(f.File, size) }

// extend makes a file size bytes large, unless it is larger.
func extend(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	return f.Truncate(size)
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// ReadFile returns the content of a file.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && (!errors.Is(err, io.EOF) || n < len(b)) {
		return nil, errors.Join(err, f.Close())
	}
	return b, f.Close()
}

// WriteFile replaces the content of a file: after a crash it has the old content
// or the new one, and once WriteFile returned nil, the new one.
func WriteFile(fsys FS, name string, content []byte) error {
	f, err := fsys.Create(name + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name+".tmp", name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}
