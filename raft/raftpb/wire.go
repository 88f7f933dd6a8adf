// Package raftpb holds what Raft nodes store and send, as plain structs with a
// codec: protocol buffers, version 2, byte for byte as etcd's raftpb writes them.
//
// Each struct stands with its Size, Marshal, Unmarshal and String. Numbers,
// enums and embedded structs are always written, also when zero; bytes when they
// are not nil, so that nil and empty survive; elements of a list one by one.
//
// Start with message.go; this file has the parts they are all made of, buffer.go
// encodes into a buffer of the caller's.
package raftpb

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// A tag is a field's number and wire type, as they stand before its value. All
// of ours fit into a byte.
const (
	varintType = 0 // numbers, enums, bools
	bytesType  = 2 // bytes, embedded structs, lists of numbers in one
)

// enumBits is how an enum is written: sign-extended to 64 bits.
func enumBits(v int32) uint64 { return uint64(int64(v)) }

// Measuring. Size is the length of the encoding, so that a buffer of the right
// size costs the one allocation there is.

// sizeVarint is how many bytes v takes: one for every seven bits, and one for 0.
func sizeVarint(v uint64) int { return (9*bits.Len64(v) + 64) / 64 }

// sizeNumber is what a number field takes, with its tag.
func sizeNumber(v uint64) int { return 1 + sizeVarint(v) }

// sizeBool is what a bool field takes.
const sizeBool = 2

// sizeBytes is what a field of n bytes takes, with its tag and length.
func sizeBytes(n int) int { return 1 + sizeVarint(uint64(n)) + n }

// sizeOptional is what a bytes field takes: nothing if it is nil.
func sizeOptional(v []byte) int {
	if v == nil {
		return 0
	}
	return sizeBytes(len(v))
}

// Writing, by appending. Most numbers and lengths take one byte, so that comes
// first.

func appendNumber(b []byte, field byte, v uint64) []byte {
	if v < 1<<7 {
		return append(b, field<<3|varintType, byte(v))
	}
	return appendVarint(append(b, field<<3|varintType), v)
}

// appendVarint appends v, seven bits a byte, the lowest first.
func appendVarint(b []byte, v uint64) []byte {
	for v >= 1<<7 {
		b = append(b, byte(v)|1<<7)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendBool(b []byte, field byte, v bool) []byte {
	if v {
		return append(b, field<<3|varintType, 1)
	}
	return append(b, field<<3|varintType, 0)
}

// appendHeader begins a field of n bytes.
func appendHeader(b []byte, field byte, n int) []byte {
	if n < 1<<7 {
		return append(b, field<<3|bytesType, byte(n))
	}
	return appendVarint(append(b, field<<3|bytesType), uint64(n))
}

func appendOptional(b []byte, field byte, v []byte) []byte {
	if v == nil {
		return b
	}
	return append(appendHeader(b, field, len(v)), v...)
}

// Reading.

// maxDepth bounds how deep messages may be nested, so that no input can
// exhaust the stack.
const maxDepth = 1000

// shortField is nextField for a number of one byte, as most fields are; for others
// n is 0. It is small enough to be inlined, which makes decoding a third quicker.
func shortField(b []byte) (tag, v uint64, n int) {
	const others = 1<<7 | 7 // bits of a longer tag, or of another wire type
	if len(b) > 1 && b[0]&others|b[1]&(1<<7) == 0 {
		return uint64(b[0]), uint64(b[1]), 2
	}
	return 0, 0, 0
}

// nextField reads the head of the field that b begins with, which takes n bytes.
// For a number, v is the number. For bytes, v is their length; they stand behind
// the head, and there are as many. For other wire types, which we have no use
// for, v is 0. If n is negative, parseError(n) says what is wrong.
func nextField(b []byte) (tag, v uint64, n int) {
	if len(b) > 0 && b[0] < 1<<7 {
		tag, n = uint64(b[0]), 1
	} else if tag, n = protowire.ConsumeVarint(b); n < 0 {
		return 0, 0, n
	}
	if tag&7 != varintType && tag&7 != bytesType {
		return tag, 0, n
	}

	if n < len(b) && b[n] < 1<<7 {
		v = uint64(b[n])
		n++
	} else {
		var width int
		if v, width = protowire.ConsumeVarint(b[n:]); width < 0 {
			return 0, 0, width
		}
		n += width
	}
	if tag&7 == bytesType && v > uint64(len(b)-n) {
		if int64(v) < 0 {
			return 0, 0, negativeLength
		}
		return 0, 0, cutShort
	}
	return tag, v, n
}

// skipField passes over a field that is not ours, whose head has been read: one
// that a later version may have added. Fields up to known are ours, so their
// wire type must be wrong.
func skipField(b []byte, tag, v, known uint64) (rest []byte, err error) {
	number, wireType := tag>>3, protowire.Type(tag&7)
	switch {
	case number == 0 || number > uint64(protowire.MaxValidNumber):
		return nil, fmt.Errorf("raftpb: %d is no field number", number)
	case wireType == protowire.EndGroupType:
		return nil, errors.New("raftpb: a group ends that did not begin")
	case number <= known:
		return nil, fmt.Errorf("raftpb: field %d has wire type %d", number, wireType)
	case wireType == protowire.VarintType:
		return b, nil
	case wireType == protowire.BytesType:
		return b[v:], nil
	}
	n := protowire.ConsumeFieldValue(protowire.Number(number), wireType, b)
	if n < 0 {
		return nil, parseError(n)
	}
	return b[n:], nil
}

// What can be wrong beside what protowire has codes for, which are above these.
const (
	cutShort = -100 - iota
	negativeLength
)

// parseError turns a code of nextField or protowire into an error; what is cut
// short is io.ErrUnexpectedEOF.
func parseError(n int) error {
	switch n {
	case cutShort:
		return io.ErrUnexpectedEOF
	case negativeLength:
		return errors.New("raftpb: a length is negative")
	}
	err := protowire.ParseError(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("raftpb: %w", err)
}

// clone returns a copy of a bytes field, never nil.
func clone(v []byte) []byte {
	c := make([]byte, len(v))
	copy(c, v)
	return c
}

// readNumbers adds to a list of numbers the element v, or the v bytes of packed
// elements that b begins with. It makes room for all elements at once.
func readNumbers(list []uint64, b []byte, tag, v uint64) (longer []uint64, rest []byte, err error) {
	if tag&7 == varintType {
		if len(list) == cap(list) {
			list = slices.Grow(list, 1+countFields(b, tag))
		}
		return append(list, v), b, nil
	}

	packed, rest := b[:v], b[v:]
	n := 0
	for _, c := range packed {
		if c < 1<<7 { // the last byte of a number
			n++
		}
	}
	list = slices.Grow(list, n)
	for len(packed) > 0 {
		v, width := protowire.ConsumeVarint(packed)
		if width < 0 {
			return nil, nil, parseError(width)
		}
		list, packed = append(list, v), packed[width:]
	}
	return list, rest, nil
}

// countFields counts how many fields with this tag b begins with.
func countFields(b []byte, tag uint64) (count int) {
	for {
		next, v, n := nextField(b)
		if n < 0 || next != tag {
			return count
		}
		if count, b = count+1, b[n:]; tag&7 == bytesType {
			b = b[v:]
		}
	}
}
