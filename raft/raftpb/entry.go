// Entries of the log.
//
//	§5.3
//
// Start at Entry.

package raftpb

import "strconv"

// EntryType says what an entry's data is.
type EntryType int32

// The types of entries.
const (
	EntryNormal       EntryType = 0 // a command for the state machine, or nothing
	EntryConfChange   EntryType = 1 // an encoded ConfChange
	EntryConfChangeV2 EntryType = 2 // an encoded ConfChangeV2
)

var entryTypeNames = [...]string{"EntryNormal", "EntryConfChange", "EntryConfChangeV2"}

// String returns the constant's name, or the number of an unknown type.
func (t EntryType) String() string { return enumName(entryTypeNames[:], int32(t)) }

// enumName is the name of value v of an enum whose values count from 0.
func enumName(names []string, v int32) string {
	if v >= 0 && int(v) < len(names) {
		return names[v]
	}
	return strconv.Itoa(int(v))
}

// Entry is one place of the log (§5.3).
type Entry struct {
	Term  uint64    `protobuf:"varint,2,opt,name=Term" json:"Term"`                       // the term in which a leader received it
	Index uint64    `protobuf:"varint,3,opt,name=Index" json:"Index"`                     // its position, counted from 1
	Type  EntryType `protobuf:"varint,1,opt,name=Type,enum=raftpb.EntryType" json:"Type"` // what Data is
	Data  []byte    `protobuf:"bytes,4,opt,name=Data" json:"Data,omitempty"`              // the command; nil in the entry that opens a leader's term
}

// Size returns the length of what Marshal returns.
func (e *Entry) Size() int {
	return sizeNumber(enumBits(int32(e.Type))) + sizeNumber(e.Term) + sizeNumber(e.Index) + sizeOptional(e.Data)
}

// Marshal encodes an entry. The error is always nil.
func (e *Entry) Marshal() ([]byte, error) {
	return e.appendTo(make([]byte, 0, e.Size())), nil
}

// appendTo appends the encoding to b.
func (e *Entry) appendTo(b []byte) []byte {
	b = appendNumber(b, 1, enumBits(int32(e.Type)))
	b = appendNumber(b, 2, e.Term)
	b = appendNumber(b, 3, e.Index)
	b = appendOptional(b, 4, e.Data)
	return b
}

// Unmarshal decodes data into the entry, on top of what it holds.
func (e *Entry) Unmarshal(data []byte) error {
	return e.decode(data, false)
}

// decode decodes b. Data becomes a part of it if the caller sees to the rest, else a copy.
func (e *Entry) decode(b []byte, part bool) (err error) {
	for len(b) > 0 {
		tag, v, n := shortField(b)
		if n == 0 {
			if tag, v, n = nextField(b); n < 0 {
				return parseError(n)
			}
		}
		b = b[n:]
		switch tag {
		case 1<<3 | varintType:
			e.Type = EntryType(v)
		case 2<<3 | varintType:
			e.Term = v
		case 3<<3 | varintType:
			e.Index = v
		case 4<<3 | bytesType:
			if e.Data, b = b[:v:v], b[v:]; !part {
				e.Data = clone(e.Data)
			}
		default:
			if b, err = skipField(b, tag, v, 4); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reset empties the entry.
func (e *Entry) Reset() { *e = Entry{} }

// String lists the fields that are set.
func (e *Entry) String() string { return text(e) }
