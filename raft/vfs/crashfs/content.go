// What files hold, and what is written to them.
//
// Start at node.

package crashfs

import (
	"bytes"
	"math/rand/v2"
)

// node is the content of a file, as it is read and as it is on disk.
type node struct {
	content content
	synced  content
	pending []write
}

// write changes the content; it is on disk once synced.
func (n *node) write(w write) {
	n.content = w.apply(n.content)
	n.pending = append(n.pending, w)
}

// afterCrash is what a crash leaves of a file: what was synced, and any part of
// what was written since.
func (n *node) afterCrash(r *rand.Rand) content {
	const sector = 512
	left := n.synced.clone()
	for _, w := range n.pending {
		switch kept := r.IntN(5); {
		case kept == 0: // nothing
		case kept == 1 && w.len() > 0: // torn at some byte
			left = w.part(0, r.IntN(w.len())).apply(left)
		case kept == 2 && w.len() > sector: // some sectors
			for at := 0; at < w.len(); at += sector {
				if r.IntN(2) == 0 {
					left = w.part(at, min(at+sector, w.len())).apply(left)
				}
			}
		default:
			left = w.apply(left)
		}
	}
	return left
}

// content is bytes, and zeros from there to size. A log is made of zeros ahead of need: as
// bytes they would cost the tests much memory, and with the race detector half a minute.
type content struct {
	bytes []byte
	size  int64
}

func (c content) clone() content { return content{bytes: bytes.Clone(c.bytes), size: c.size} }

// read fills b from offset on, and returns how many bytes there were.
func (c content) read(b []byte, offset int64) int {
	b = b[:max(0, min(int64(len(b)), c.size-offset))]
	n := 0
	if offset < int64(len(c.bytes)) {
		n = copy(b, c.bytes[offset:])
	}
	clear(b[n:])
	return len(b)
}

// write is data and then zeros at an offset; without either, it makes the size at least
// offset, or, if it empties, the file empty.
type write struct {
	offset  int64
	data    []byte
	zeros   int
	empties bool
}

// writeOf is a write of b, of which it keeps a copy.
func writeOf(b []byte, offset int64) write {
	var page [4096]byte
	data := b
	for n := len(data) - len(page); n >= 0 && bytes.Equal(data[n:], page[:]); n -= len(page) {
		data = data[:n]
	}
	return write{offset: offset, data: bytes.Clone(data), zeros: len(b) - len(data)}
}

func (w write) len() int { return len(w.data) + w.zeros }

// part is what is written of bytes [from, to).
func (w write) part(from, to int) write {
	data := w.data[min(from, len(w.data)):min(to, len(w.data))]
	return write{offset: w.offset + int64(from), data: data, zeros: to - from - len(data)}
}

func (w write) apply(c content) content {
	if w.empties {
		return content{}
	}
	end := int(w.offset) + len(w.data)
	if len(w.data) > 0 && end > len(c.bytes) {
		c.bytes = append(c.bytes, make([]byte, end-len(c.bytes))...)
	}
	if int(w.offset) < len(c.bytes) {
		copy(c.bytes[w.offset:], w.data)
	}
	if end < len(c.bytes) {
		clear(c.bytes[end:min(end+w.zeros, len(c.bytes))])
	}
	c.size = max(c.size, w.offset+int64(w.len()))
	return c
}
