// Package raftpb holds what Raft nodes store and send, as plain structs with a
// codec: protocol buffers, version 2, byte for byte as etcd's raftpb writes them.
//
// Each struct stands with its Size, MarshalAppend, Unmarshal and String. Numbers,
// enums and embedded structs are always written, also when zero; bytes when they
// are not nil, so that nil and empty survive; elements of a list one by one.
//
// Start with message.go; this file has the parts they are all made of.
package raftpb

import (
	"errors"
	"fmt"
	"io"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// A tag is a field's number and wire type, as they stand before its value. All
// of ours fit into a byte.
const (
	varintType = byte(protowire.VarintType)
	bytesType  = byte(protowire.BytesType)
)

// Writing. A value is measured once from the top and then appended to a buffer
// of that size, so that encoding costs one allocation.

// sizeVarint is how many bytes v takes.
func sizeVarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// sizeNumber is what a number field takes, with its tag.
func sizeNumber(v uint64) int { return 1 + sizeVarint(v) }

// sizeBytes is what a field of n bytes takes, with its tag and length.
func sizeBytes(n int) int { return 1 + sizeVarint(uint64(n)) + n }

// sizeOptional is what a bytes field takes: nothing if it is nil.
func sizeOptional(v []byte) int {
	if v == nil {
		return 0
	}
	return sizeBytes(len(v))
}

func appendNumber(b []byte, field byte, v uint64) []byte {
	b = append(b, field<<3|varintType)
	if v < 1<<7 {
		return append(b, byte(v))
	}
	return protowire.AppendVarint(b, v)
}

func appendBool(b []byte, field byte, v bool) []byte {
	if v {
		return append(b, field<<3|varintType, 1)
	}
	return append(b, field<<3|varintType, 0)
}

// appendHeader begins a field of n bytes.
func appendHeader(b []byte, field byte, n int) []byte {
	return protowire.AppendVarint(append(b, field<<3|bytesType), uint64(n))
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

// reader takes an encoded struct apart, field by field. It notes the first
// error, after which there is nothing more to read.
type reader struct {
	b     []byte // what is left
	depth int
	data  *arena // where byte fields of list elements are copied to; nil: each on its own
	err   error
}

// next reads the tag of the next field. It returns false at the end.
func (r *reader) next() (tag uint64, ok bool) {
	if len(r.b) == 0 {
		return 0, false
	}
	tag = r.varint()
	return tag, r.err == nil
}

func (r *reader) fail(err error) {
	r.err = err
	r.b = nil
}

func (r *reader) varint() uint64 {
	if len(r.b) > 0 && r.b[0] < 1<<7 { // most numbers are small
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := protowire.ConsumeVarint(r.b)
	if n < 0 {
		r.fail(parseError(n))
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bool() bool { return r.varint() != 0 }

// view returns a bytes field without copying it.
func (r *reader) view() []byte {
	n := r.varint()
	if r.err != nil {
		return nil
	}
	switch {
	case int64(n) < 0:
		r.fail(errors.New("raftpb: a length is negative"))
		return nil
	case n > uint64(len(r.b)):
		r.fail(io.ErrUnexpectedEOF)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// bytes returns a copy of a bytes field, never nil unless there is an error.
func (r *reader) bytes() []byte {
	v := r.view()
	switch {
	case r.err != nil:
		return nil
	case len(v) == 0:
		return []byte{}
	case r.data != nil:
		return r.data.copy(v)
	}
	return append(make([]byte, 0, len(v)), v...)
}

// numbers reads one element of a list of numbers, or many if they are packed.
func (r *reader) numbers(list *[]uint64, tag uint64) {
	if byte(tag)&7 == varintType {
		if v := r.varint(); r.err == nil {
			*list = append(*list, v)
		}
		return
	}
	packed := reader{b: r.view()}
	for len(packed.b) > 0 {
		v := packed.varint()
		if packed.err != nil {
			r.fail(packed.err)
			return
		}
		*list = append(*list, v)
	}
}

// embedded reads a struct that is a field of this one.
func (r *reader) embedded(decode func(*reader)) {
	inner := reader{b: r.view(), depth: r.depth + 1, data: r.data}
	if r.err != nil {
		return
	}
	if inner.depth > maxDepth {
		r.fail(errors.New("raftpb: messages are nested too deep"))
		return
	}
	if decode(&inner); inner.err != nil {
		r.fail(inner.err)
	}
}

// skip passes over a field that is not ours: one that a later version may have
// added. Fields up to known are ours, so their wire type must be wrong.
func (r *reader) skip(tag, known uint64) {
	number, wireType := tag>>3, protowire.Type(tag&7)
	switch {
	case number == 0 || number > uint64(protowire.MaxValidNumber):
		r.fail(fmt.Errorf("raftpb: %d is no field number", number))
		return
	case wireType == protowire.EndGroupType:
		r.fail(errors.New("raftpb: a group ends that did not begin"))
		return
	case number <= known:
		r.fail(fmt.Errorf("raftpb: field %d has wire type %d", number, wireType))
		return
	}
	n := protowire.ConsumeFieldValue(protowire.Number(number), wireType, r.b)
	if n < 0 {
		r.fail(parseError(n))
		return
	}
	r.b = r.b[n:]
}

// parseError turns protowire's code into an error; what is cut short is
// io.ErrUnexpectedEOF.
func parseError(n int) error {
	err := protowire.ParseError(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("raftpb: %w", err)
}

// arena holds the bytes of many fields in one allocation.
type arena struct{ buf []byte }

func (a *arena) copy(v []byte) []byte {
	start := len(a.buf)
	if cap(a.buf)-start < len(v) {
		return append(make([]byte, 0, len(v)), v...) // the estimate was short
	}
	a.buf = append(a.buf, v...)
	return a.buf[start:len(a.buf):len(a.buf)]
}

// enumBits is how an enum is written: sign-extended to 64 bits.
func enumBits(v int32) uint64 { return uint64(int64(v)) }
