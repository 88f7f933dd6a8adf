// Inflights: the window of appends under way to one peer.
//
//	diss. §10.2.2 (pipelining)

package tracker

// Inflights is a queue of appends that were sent and not yet acknowledged, each
// known by its last index. It is full at a number of messages, or of bytes.
type Inflights struct {
	size     int    // how many messages at most
	maxBytes uint64 // how many bytes, if not 0; the last message may go beyond

	// The queue is a ring in buffer, which grows as far as size when needed.
	buffer []inflight
	start  int
	count  int
	bytes  uint64
}

// inflight is one append: its last index, and the payload of its entries.
type inflight struct {
	index uint64
	bytes uint64
}

// NewInflights returns an empty window for size messages, and maxBytes bytes
// unless that is 0.
func NewInflights(size int, maxBytes uint64) *Inflights {
	return &Inflights{size: size, maxBytes: maxBytes}
}

// Clone returns a copy that shares nothing.
func (in *Inflights) Clone() *Inflights {
	c := *in
	c.buffer = append([]inflight(nil), in.buffer...)
	return &c
}

// Add notes that an append was sent whose last entry is index and whose entries
// have bytes of payload. It panics if the window is full. Indexes must rise.
func (in *Inflights) Add(index, bytes uint64) {
	if in.Full() {
		panic("cannot add into a Full inflights")
	}
	if in.count == len(in.buffer) {
		in.grow()
	}
	in.buffer[in.at(in.count)] = inflight{index: index, bytes: bytes}
	in.count++
	in.bytes += bytes
}

// at returns the place of the i-th message in the ring.
func (in *Inflights) at(i int) int {
	if i += in.start; i >= len(in.buffer) {
		i -= len(in.buffer)
	}
	return i
}

// grow doubles the ring, as far as size. Most windows never need all of theirs,
// and a node can lead many groups.
func (in *Inflights) grow() {
	bigger := make([]inflight, min(max(8, 2*len(in.buffer)), in.size))
	n := copy(bigger, in.buffer[in.start:])
	copy(bigger[n:], in.buffer[:in.start])
	in.buffer = bigger
	in.start = 0
}

// FreeLE forgets the messages up to index to: they were acknowledged.
func (in *Inflights) FreeLE(to uint64) {
	for in.count > 0 && in.buffer[in.start].index <= to {
		in.bytes -= in.buffer[in.start].bytes
		in.start = in.at(1)
		in.count--
	}
	if in.count == 0 {
		in.start = 0
	}
}

// Full reports whether no more may be sent.
func (in *Inflights) Full() bool {
	return in.count == in.size || in.maxBytes != 0 && in.bytes >= in.maxBytes
}

// Count returns how many messages are under way.
func (in *Inflights) Count() int { return in.count }

// reset empties the window and keeps its ring.
func (in *Inflights) reset() { in.start, in.count, in.bytes = 0, 0, 0 }
