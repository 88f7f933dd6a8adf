// The state of the store as it is written to snapshots, and read from them.

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/tidwall/btree"
)

// snapshot returns the state as it is now, to be written out by another
// goroutine while this one goes on.
func (s *kvStore) snapshot() io.WriterTo {
	s.mu.Lock() // Copy marks the tree as shared
	defer s.mu.Unlock()
	return storeState{items: s.items.Copy()}
}

// storeState is a state of the store: the number of keys, then key, revision and
// value of each in order; numbers and lengths are uvarints.
type storeState struct{ items *btree.Map[string, item] }

const stateVersion = 1

// WriteTo writes the state out.
func (st storeState) WriteTo(w io.Writer) (int64, error) {
	out := bufio.NewWriterSize(w, 64<<10)
	var written int64
	write := func(b []byte) error {
		n, err := out.Write(b)
		written += int64(n)
		return err
	}
	head := binary.AppendUvarint([]byte{stateVersion}, uint64(st.items.Len()))
	err := write(head)
	var scratch []byte
	st.items.Scan(func(key string, it item) bool {
		if err != nil {
			return false
		}
		scratch = binary.AppendUvarint(scratch[:0], uint64(len(key)))
		scratch = append(scratch, key...)
		scratch = binary.AppendUvarint(scratch, it.revision)
		scratch = binary.AppendUvarint(scratch, uint64(len(it.value)))
		if err = write(scratch); err != nil {
			return false
		}
		var n int
		n, err = out.WriteString(it.value)
		written += int64(n)
		return err == nil
	})
	if err != nil {
		return written, err
	}
	return written, out.Flush()
}

// restore replaces the state by a snapshot's. What was awaited may be in there or
// not: nobody can tell any more.
func (s *kvStore) restore(c *commit) error {
	s.mu.Lock()
	s.items = nil // or the old and the new would be in memory at the same time
	s.mu.Unlock()
	items, size, err := readState(c.restore, func(done, of uint64, size int64) {
		s.progress(done, of)
		s.resized(max(s.size, size/int64(max(done, 1))*int64(of))) // before or, as it seems, in the end
	})
	if err := errors.Join(err, c.restore.Close()); err != nil {
		return err
	}
	s.mu.Lock()
	s.items, s.size = items, size
	s.index, s.term = c.restoreIndex, c.restoreTerm
	s.applied.Store(s.index)
	s.mu.Unlock()

	s.waitMu.Lock()
	for i, w := range s.ring {
		if w != nil {
			s.ring[i] = nil
			w.outcome <- outcome{err: errUnknown}
		}
	}
	s.waitMu.Unlock()
	s.announce()
	return nil
}

// readState reads what WriteTo wrote, and returns its size too. Now and then it says
// how far it is.
func readState(r io.Reader, progress func(done, of uint64, size int64)) (*btree.Map[string, item], int64, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	version, err := in.ReadByte()
	if err != nil {
		return nil, 0, err
	}
	if version != stateVersion {
		return nil, 0, fmt.Errorf("its version is %d: it needs a newer version of this program", version)
	}
	count, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, 0, err
	}
	text := func(limit uint64) (string, error) {
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return "", err
		}
		if size > limit {
			return "", fmt.Errorf("%d bytes are more than a key or value can have", size)
		}
		if b, err := in.Peek(int(size)); err == nil { // no copy but the string
			s := string(b)
			_, err = in.Discard(len(b))
			return s, err
		}
		b := make([]byte, size) // more than the buffer holds
		_, err = io.ReadFull(in, b)
		return string(b), err
	}
	items, size := new(btree.Map[string, item]), int64(0)
	for done := range count {
		if done%256 == 0 {
			progress(done, count, size)
		}
		key, err := text(maxKeyBytes)
		if err != nil {
			return nil, 0, err
		}
		revision, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, 0, err
		}
		value, err := text(maxValueBytes)
		if err != nil {
			return nil, 0, err
		}
		items.Load(key, item{value: value, revision: revision}) // in order, which is quicker than Set
		size += dataBytes(key, value)
	}
	progress(count, count, size)
	return items, size, nil
}
