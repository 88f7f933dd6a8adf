// Elsewhere: what package os has. On macOS its Sync is F_FULLFSYNC.

//go:build !linux

package vfs

import "os"

func syncData(f *os.File) error { return f.Sync() }

func preallocate(f *os.File, size int64) error { return extend(f, size) }
