// Encoding into a buffer of the caller's: MarshalTo into its beginning,
// MarshalToSizedBuffer into its end. Both return how many bytes they wrote, or
// io.ErrShortBuffer if there is no room for Size bytes.

package raftpb

import "io"

// filled returns how much of b an encoding fills that was appended to b[:0:len(b)].
func filled(b, encoding []byte) (int, error) {
	if len(encoding) > len(b) {
		return 0, io.ErrShortBuffer // append has moved it elsewhere
	}
	return len(encoding), nil
}

// MarshalTo encodes into the beginning of b.
func (e *Entry) MarshalTo(b []byte) (int, error) { return filled(b, e.appendTo(b[:0:len(b)])) }

// MarshalToSizedBuffer encodes into the end of b.
func (e *Entry) MarshalToSizedBuffer(b []byte) (int, error) {
	return e.MarshalTo(b[max(0, len(b)-e.Size()):])
}

// MarshalTo encodes into the beginning of b.
func (m *Message) MarshalTo(b []byte) (int, error) { return filled(b, m.appendTo(b[:0:len(b)])) }

// MarshalToSizedBuffer encodes into the end of b.
func (m *Message) MarshalToSizedBuffer(b []byte) (int, error) {
	return m.MarshalTo(b[max(0, len(b)-m.Size()):])
}

// MarshalTo encodes into the beginning of b.
func (hs *HardState) MarshalTo(b []byte) (int, error) { return filled(b, hs.appendTo(b[:0:len(b)])) }

// MarshalToSizedBuffer encodes into the end of b.
func (hs *HardState) MarshalToSizedBuffer(b []byte) (int, error) {
	return hs.MarshalTo(b[max(0, len(b)-hs.Size()):])
}

// MarshalTo encodes into the beginning of b.
func (cs *ConfState) MarshalTo(b []byte) (int, error) { return filled(b, cs.appendTo(b[:0:len(b)])) }

// MarshalToSizedBuffer encodes into the end of b.
func (cs *ConfState) MarshalToSizedBuffer(b []byte) (int, error) {
	return cs.MarshalTo(b[max(0, len(b)-cs.Size()):])
}

// MarshalTo encodes into the beginning of b.
func (sm *SnapshotMetadata) MarshalTo(b []byte) (int, error) {
	return filled(b, sm.appendTo(b[:0:len(b)]))
}

// MarshalToSizedBuffer encodes into the end of b.
func (sm *SnapshotMetadata) MarshalToSizedBuffer(b []byte) (int, error) {
	return sm.MarshalTo(b[max(0, len(b)-sm.Size()):])
}

// MarshalTo encodes into the beginning of b.
func (s *Snapshot) MarshalTo(b []byte) (int, error) { return filled(b, s.appendTo(b[:0:len(b)])) }

// MarshalToSizedBuffer encodes into the end of b.
func (s *Snapshot) MarshalToSizedBuffer(b []byte) (int, error) {
	return s.MarshalTo(b[max(0, len(b)-s.Size()):])
}

// MarshalTo encodes into the beginning of b.
func (c *ConfChange) MarshalTo(b []byte) (int, error) { return filled(b, c.appendTo(b[:0:len(b)])) }

// MarshalToSizedBuffer encodes into the end of b.
func (c *ConfChange) MarshalToSizedBuffer(b []byte) (int, error) {
	return c.MarshalTo(b[max(0, len(b)-c.Size()):])
}

// MarshalTo encodes into the beginning of b.
func (c *ConfChangeSingle) MarshalTo(b []byte) (int, error) {
	return filled(b, c.appendTo(b[:0:len(b)]))
}

// MarshalToSizedBuffer encodes into the end of b.
func (c *ConfChangeSingle) MarshalToSizedBuffer(b []byte) (int, error) {
	return c.MarshalTo(b[max(0, len(b)-c.Size()):])
}

// MarshalTo encodes into the beginning of b.
func (c *ConfChangeV2) MarshalTo(b []byte) (int, error) { return filled(b, c.appendTo(b[:0:len(b)])) }

// MarshalToSizedBuffer encodes into the end of b.
func (c *ConfChangeV2) MarshalToSizedBuffer(b []byte) (int, error) {
	return c.MarshalTo(b[max(0, len(b)-c.Size()):])
}
