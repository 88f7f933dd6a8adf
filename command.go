// Commands: what an entry of the log tells the store to do.
//
// A command names the term it was proposed in. Every replica skips one whose
// entry is of another term, which is what makes it possible to say of a write
// that it will certainly never happen: see kvstore.go.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// commandVersion is the only version of the encoding so far. Replicas must
// agree, so what a node does not know it must not skip: it stops.
const commandVersion = 1

// largeValue is from how many bytes on a value is not copied from the log to the
// store. Raft's decoder gives data of this size its own memory.
const largeValue = 4 << 10

// operation is what a command does.
type operation byte

const (
	opPut    operation = 1
	opDelete operation = 2
)

// condition is what must be true of the key when the command is applied.
type condition byte

const (
	always    condition = 0
	ifRevised condition = 1 // its revision is the one given
	ifPresent condition = 2
	ifAbsent  condition = 3
)

// command is one write. Its encoding is its fields in order; numbers are
// uvarints, but for the incarnation, which has 8 bytes.
type command struct {
	op          operation
	cond        condition
	member      uint64 // who proposed it
	incarnation uint64
	sequence    uint64
	term        uint64 // the term in which it was proposed
	revision    uint64 // for ifRevised
	key         string
	value       string // what is left
}

// encode returns the command as an entry's data.
func (c *command) encode() []byte {
	b := make([]byte, 0, 3+8+4*binary.MaxVarintLen64+binary.MaxVarintLen16+len(c.key)+len(c.value))
	b = append(b, commandVersion, byte(c.op), byte(c.cond))
	b = binary.AppendUvarint(b, c.member)
	b = binary.BigEndian.AppendUint64(b, c.incarnation)
	b = binary.AppendUvarint(b, c.sequence)
	b = binary.AppendUvarint(b, c.term)
	b = binary.AppendUvarint(b, c.revision)
	b = binary.AppendUvarint(b, uint64(len(c.key)))
	b = append(b, c.key...)
	return append(b, c.value...)
}

var errShortCommand = errors.New("a command is cut short")

// decodeCommand reads a command. A large value stays where it is: the data of an
// entry never changes, and that of a large one has memory of its own. Else key and
// value are one copy, as data may be a part of a whole batch.
func decodeCommand(data []byte) (c command, err error) {
	if len(data) < 3 {
		return command{}, errShortCommand
	}
	if data[0] != commandVersion {
		return command{}, fmt.Errorf("the log has a command of version %d, this program knows version %d: it needs a newer version", data[0], commandVersion)
	}
	c.op, c.cond = operation(data[1]), condition(data[2])
	if c.op != opPut && c.op != opDelete || c.cond > ifAbsent {
		return command{}, fmt.Errorf("the log has a command with operation %d and condition %d, which this version does not know", c.op, c.cond)
	}

	rest := data[3:]
	number := func() uint64 {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			err = errShortCommand
			return 0
		}
		rest = rest[n:]
		return v
	}
	c.member = number()
	if err != nil || len(rest) < 8 {
		return command{}, errShortCommand
	}
	c.incarnation = binary.BigEndian.Uint64(rest)
	rest = rest[8:]
	c.sequence = number()
	c.term = number()
	c.revision = number()
	size := number()
	if err != nil || size > uint64(len(rest)) {
		return command{}, errShortCommand
	}
	if value := rest[size:]; len(value) >= largeValue {
		c.key, c.value = string(rest[:size]), unchanging(value)
		return c, nil
	}
	text := string(rest)
	c.key, c.value = text[:size], text[size:]
	return c, nil
}

// unchanging is b as a string, without a copy: b must not change any more.
func unchanging(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
