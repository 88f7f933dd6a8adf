// Frames and records: the bytes of one Save.
//
// Start at frame, then scanFrame, which reads one back. doc.go draws them.

package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	pb "example.com/raftexample/raft/raftpb"
)

const (
	segmentMagic     = "RAFTWAL1"
	frameMagic       = 0x52465257
	segmentHeaderLen = 36
	frameHeaderLen   = 40
)

// The types of records.
const (
	recordEntry  = 1
	recordState  = 2
	recordMarker = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A segmentHeader is the beginning of a segment.
type segmentHeader struct {
	number  uint64
	id      uint64 // random, drawn anew for each life of a file
	prevEnd uint64 // where the frames of the segment before end
}

func (h segmentHeader) append(b []byte) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, h.id)
	b = binary.LittleEndian.AppendUint64(b, h.prevEnd)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseSegmentHeader reads a segment's header, and says what is wrong with it.
func parseSegmentHeader(b []byte) (segmentHeader, error) {
	if len(b) < segmentHeaderLen {
		return segmentHeader{}, errors.New("the file is too short for a segment's header")
	}
	if string(b[:8]) != segmentMagic {
		return segmentHeader{}, fmt.Errorf("a segment begins with %q, not %q", segmentMagic, b[:8])
	}
	if crc32.Checksum(b[:32], castagnoli) != binary.LittleEndian.Uint32(b[32:]) {
		return segmentHeader{}, errors.New("the checksum of the segment's header is wrong")
	}
	return segmentHeader{
		number:  binary.LittleEndian.Uint64(b[8:]),
		id:      binary.LittleEndian.Uint64(b[16:]),
		prevEnd: binary.LittleEndian.Uint64(b[24:]),
	}, nil
}

// seed is what the checksums of the segment's frames start from.
func (h segmentHeader) seed() uint32 {
	var id [8]byte
	binary.LittleEndian.PutUint64(id[:], h.id)
	return crc32.Checksum(id[:], castagnoli)
}

// frame is a batch in the making. Its buffer is used again and again.
type frame struct{ buf []byte }

// begin makes room for the header behind what is in the buffer.
func (f *frame) begin() { f.buf = append(f.buf[:0], make([]byte, frameHeaderLen)...) }

func (f *frame) addEntry(e *pb.Entry) {
	encoded(e.MarshalTo(f.add(recordEntry, e.Size())))
}

func (f *frame) addState(hs *pb.HardState) {
	encoded(hs.MarshalTo(f.add(recordState, hs.Size())))
}

func (f *frame) addMarker(m *pb.SnapshotMetadata) {
	encoded(m.MarshalTo(f.add(recordMarker, m.Size())))
}

// encoded asserts that what Size promised had room.
func encoded(_ int, err error) {
	if err != nil {
		panic(fmt.Sprintf("wal: encode a record: %v", err))
	}
}

// add begins a record and returns the room for its size bytes.
func (f *frame) add(recordType byte, size int) []byte {
	f.buf = append(f.buf, recordType)
	f.buf = binary.AppendUvarint(f.buf, uint64(size))
	start := len(f.buf)
	f.buf = slices.Grow(f.buf, size)[:start+size]
	return f.buf[start:]
}

// seal fills in the header and returns the whole frame.
func (f *frame) seal(seed uint32, segment, number, synced uint64) []byte {
	h, payload := f.buf[:frameHeaderLen], f.buf[frameHeaderLen:]
	binary.LittleEndian.PutUint32(h[0:], frameMagic)
	binary.LittleEndian.PutUint64(h[4:], segment)
	binary.LittleEndian.PutUint64(h[12:], number)
	binary.LittleEndian.PutUint32(h[20:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(h[24:], synced)
	binary.LittleEndian.PutUint32(h[32:], crc32.Update(seed, castagnoli, h[:32]))
	binary.LittleEndian.PutUint32(h[36:], crc32.Update(seed, castagnoli, payload))
	return f.buf
}

// frameInfo is what a frame's header says.
type frameInfo struct {
	number uint64
	length int // of the payload
	synced uint64
}

// scanHeader reads a frame's header at the start of b. It returns false if there
// is none of this segment.
func scanHeader(b []byte, h segmentHeader, seed uint32) (info frameInfo, ok bool) {
	if len(b) < frameHeaderLen ||
		binary.LittleEndian.Uint32(b) != frameMagic ||
		binary.LittleEndian.Uint64(b[4:]) != h.number ||
		crc32.Update(seed, castagnoli, b[:32]) != binary.LittleEndian.Uint32(b[32:]) {
		return frameInfo{}, false
	}
	return frameInfo{
		number: binary.LittleEndian.Uint64(b[12:]),
		length: int(binary.LittleEndian.Uint32(b[20:])),
		synced: binary.LittleEndian.Uint64(b[24:]),
	}, true
}

// scanFrame reads the frame with this number at the start of b, and how much of
// the segment had been synced before it. It returns nil if there is no frame.
func scanFrame(b []byte, h segmentHeader, seed uint32, number uint64) (payload []byte, synced uint64) {
	info, ok := scanHeader(b, h, seed)
	if !ok || info.number != number || info.length > len(b)-frameHeaderLen {
		return nil, 0
	}
	payload = b[frameHeaderLen : frameHeaderLen+info.length]
	if crc32.Update(seed, castagnoli, payload) != binary.LittleEndian.Uint32(b[36:]) {
		return nil, 0
	}
	return payload, info.synced
}

// eachRecord calls f for the records of a payload. An error means that whoever
// wrote it was not this package: the checksum was right.
func eachRecord(payload []byte, f func(recordType byte, data []byte) error) error {
	for len(payload) > 0 {
		recordType := payload[0]
		size, n := binary.Uvarint(payload[1:])
		if n <= 0 || size > uint64(len(payload)-1-n) {
			return errors.New("a record is longer than its frame")
		}
		data := payload[1+n : 1+n+int(size)]
		if err := f(recordType, data); err != nil {
			return err
		}
		payload = payload[1+n+int(size):]
	}
	return nil
}
