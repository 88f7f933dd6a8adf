// Linux: fdatasync leaves out times and the like, fallocate reserves blocks.

package vfs

import (
	"errors"
	"os"
	"syscall"
)

func syncData(f *os.File) error { return retry(f, "fdatasync", syscall.Fdatasync) }

func preallocate(f *os.File, size int64) error {
	err := retry(f, "fallocate", func(fd int) error { return syscall.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, syscall.EOPNOTSUPP) { // not all file systems can
		return extend(f, size)
	}
	return err
}

// retry runs a system call again when a signal interrupted it.
func retry(f *os.File, name string, call func(fd int) error) error {
	for {
		err := call(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return &os.PathError{Op: name, Path: f.Name(), Err: err}
		}
	}
}
