// Changes of membership: one server at a time, or through a joint configuration.
//
//	§6 · diss. §4.1 (one at a time), §4.3 (joint)
//
// Start at ConfChangeV2; ConfChange is the older form of one change.

package raftpb

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ConfChangeType says what happens to one node.
type ConfChangeType int32

// What can happen to a node.
const (
	ConfChangeAddNode        ConfChangeType = 0 // becomes a voter, from a learner too
	ConfChangeRemoveNode     ConfChangeType = 1 // leaves
	ConfChangeUpdateNode     ConfChangeType = 2 // nothing that Raft cares for: the user's news
	ConfChangeAddLearnerNode ConfChangeType = 3 // becomes a learner, from a voter too
)

var confChangeTypeNames = [...]string{
	"ConfChangeAddNode", "ConfChangeRemoveNode", "ConfChangeUpdateNode", "ConfChangeAddLearnerNode",
}

// String returns the constant's name, or the number of an unknown type.
func (t ConfChangeType) String() string { return enumName(confChangeTypeNames[:], int32(t)) }

// ConfChangeTransition says whether a change goes through a joint configuration.
type ConfChangeTransition int32

// How a change is made.
const (
	// ConfChangeTransitionAuto is joint only if more than one node changes, and
	// leaves the joint configuration by itself.
	ConfChangeTransitionAuto ConfChangeTransition = 0

	// ConfChangeTransitionJointImplicit is always joint, and leaves by itself.
	ConfChangeTransitionJointImplicit ConfChangeTransition = 1

	// ConfChangeTransitionJointExplicit is always joint, and stays so until the
	// user proposes a zero ConfChangeV2.
	ConfChangeTransitionJointExplicit ConfChangeTransition = 2
)

var confChangeTransitionNames = [...]string{
	"ConfChangeTransitionAuto", "ConfChangeTransitionJointImplicit", "ConfChangeTransitionJointExplicit",
}

// String returns the constant's name, or the number of an unknown transition.
func (t ConfChangeTransition) String() string {
	return enumName(confChangeTransitionNames[:], int32(t))
}

// ConfChange changes one node's membership.
type ConfChange struct {
	Type    ConfChangeType `protobuf:"varint,2,opt,name=type,enum=raftpb.ConfChangeType" json:"type"`
	NodeID  uint64         `protobuf:"varint,3,opt,name=node_id,json=nodeId" json:"node_id"`
	Context []byte         `protobuf:"bytes,4,opt,name=context" json:"context,omitempty"` // for the user, such as an address
	ID      uint64         `protobuf:"varint,1,opt,name=id" json:"id"`                    // for the user, to recognise the change
}

// ConfChangeSingle is one node's part in a ConfChangeV2.
type ConfChangeSingle struct {
	Type   ConfChangeType `protobuf:"varint,1,opt,name=type,enum=raftpb.ConfChangeType" json:"type"`
	NodeID uint64         `protobuf:"varint,2,opt,name=node_id,json=nodeId" json:"node_id"`
}

// ConfChangeV2 changes any number of nodes at once. The zero value, apart from
// Context, leaves a joint configuration.
type ConfChangeV2 struct {
	Transition ConfChangeTransition `protobuf:"varint,1,opt,name=transition,enum=raftpb.ConfChangeTransition" json:"transition"`
	Changes    []ConfChangeSingle   `protobuf:"bytes,2,rep,name=changes" json:"changes"`
	Context    []byte               `protobuf:"bytes,3,opt,name=context" json:"context,omitempty"` // for the user
}

// ConfChangeI is either form of a change: a ConfChange or a ConfChangeV2.
type ConfChangeI interface {
	// AsV2 returns the change as a ConfChangeV2.
	AsV2() ConfChangeV2

	// AsV1 returns the change and true if it is a ConfChange.
	AsV1() (ConfChange, bool)
}

// AsV2 returns the same change in the newer form; the ID is lost.
func (c ConfChange) AsV2() ConfChangeV2 {
	return ConfChangeV2{
		Changes: []ConfChangeSingle{{Type: c.Type, NodeID: c.NodeID}},
		Context: c.Context,
	}
}

// AsV1 returns the change itself.
func (c ConfChange) AsV1() (ConfChange, bool) { return c, true }

// AsV2 returns the change itself.
func (c ConfChangeV2) AsV2() ConfChangeV2 { return c }

// AsV1 returns false: not every ConfChangeV2 can be told as a ConfChange.
func (c ConfChangeV2) AsV1() (ConfChange, bool) { return ConfChange{}, false }

// EnterJoint reports whether the change needs a joint configuration, and if so
// whether that is left automatically. It panics for an unknown transition.
func (c ConfChangeV2) EnterJoint() (autoLeave, useJoint bool) {
	if c.Transition == ConfChangeTransitionAuto && len(c.Changes) <= 1 {
		return false, false
	}
	switch c.Transition {
	case ConfChangeTransitionAuto, ConfChangeTransitionJointImplicit:
		return true, true
	case ConfChangeTransitionJointExplicit:
		return false, true
	default:
		panic(fmt.Sprintf("raftpb: unknown transition %v in a change of membership", c.Transition))
	}
}

// LeaveJoint reports whether the change leaves a joint configuration.
func (c ConfChangeV2) LeaveJoint() bool {
	return c.Transition == ConfChangeTransitionAuto && len(c.Changes) == 0
}

// MarshalConfChange encodes a change and says which type of entry carries it.
// No change at all (nil) is a ConfChangeV2 without data, which decodes to the
// zero value and so leaves a joint configuration.
func MarshalConfChange(c ConfChangeI) (EntryType, []byte, error) {
	if c == nil {
		return EntryConfChangeV2, nil, nil
	}
	if v1, ok := c.AsV1(); ok {
		data, err := v1.Marshal()
		return EntryConfChange, data, err
	}
	v2 := c.AsV2()
	data, err := v2.Marshal()
	return EntryConfChangeV2, data, err
}

// confChangeLetters maps the letters of the text form to types, in the order of
// the types.
const confChangeLetters = "vrul"

// ConfChangesFromString reads changes as people write them: "v1 l2 r3 u4" adds
// voter 1 and learner 2, removes 3 and updates 4.
func ConfChangesFromString(s string) ([]ConfChangeSingle, error) {
	var changes []ConfChangeSingle
	if s = strings.TrimSpace(s); s == "" {
		return nil, nil
	}
	for token := range strings.SplitSeq(s, " ") {
		if len(token) < 2 {
			return nil, fmt.Errorf("raftpb: change %q is not a letter and an id", token)
		}
		t := strings.IndexByte(confChangeLetters, token[0])
		if t < 0 {
			return nil, fmt.Errorf("raftpb: change %q does not begin with v, l, r or u", token)
		}
		id, err := strconv.ParseUint(token[1:], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("raftpb: change %q: %w", token, err)
		}
		changes = append(changes, ConfChangeSingle{Type: ConfChangeType(t), NodeID: id})
	}
	return changes, nil
}

// ConfChangesToString is the inverse of ConfChangesFromString.
func ConfChangesToString(changes []ConfChangeSingle) string {
	var b strings.Builder
	for i, c := range changes {
		if i > 0 {
			b.WriteByte(' ')
		}
		if c.Type >= 0 && int(c.Type) < len(confChangeLetters) {
			b.WriteByte(confChangeLetters[c.Type])
		} else {
			b.WriteString("unknown")
		}
		b.WriteString(strconv.FormatUint(c.NodeID, 10))
	}
	return b.String()
}

// Equivalent returns nil if the two configurations have the same members in
// the same roles, in whatever order, or an error that shows both.
func (cs ConfState) Equivalent(other ConfState) error {
	same := func(a, b []uint64) bool {
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	}
	if same(cs.Voters, other.Voters) && same(cs.Learners, other.Learners) &&
		same(cs.VotersOutgoing, other.VotersOutgoing) && same(cs.LearnersNext, other.LearnersNext) &&
		cs.AutoLeave == other.AutoLeave {
		return nil
	}
	return errors.New("raftpb: configurations differ: " + fmt.Sprintf("%+v is not %+v", cs, other))
}

// Size returns the length of what Marshal returns.
func (c *ConfChange) Size() int {
	return sizeNumber(c.ID) + sizeNumber(enumBits(int32(c.Type))) + sizeNumber(c.NodeID) + sizeOptional(c.Context)
}

// Marshal encodes a change. The error is always nil.
func (c *ConfChange) Marshal() ([]byte, error) {
	return c.appendTo(make([]byte, 0, c.Size())), nil
}

// appendTo appends the encoding to b.
func (c *ConfChange) appendTo(b []byte) []byte {
	b = appendNumber(b, 1, c.ID)
	b = appendNumber(b, 2, enumBits(int32(c.Type)))
	b = appendNumber(b, 3, c.NodeID)
	b = appendOptional(b, 4, c.Context)
	return b
}

// Unmarshal decodes data into the change, on top of what it holds.
func (c *ConfChange) Unmarshal(data []byte) (err error) {
	b := data
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
			c.ID = v
		case 2<<3 | varintType:
			c.Type = ConfChangeType(v)
		case 3<<3 | varintType:
			c.NodeID = v
		case 4<<3 | bytesType:
			c.Context, b = clone(b[:v]), b[v:]
		default:
			if b, err = skipField(b, tag, v, 4); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reset empties the change.
func (c *ConfChange) Reset() { *c = ConfChange{} }

// String lists the fields that are set.
func (c *ConfChange) String() string { return text(c) }

// Size returns the length of what Marshal returns.
func (c *ConfChangeSingle) Size() int {
	return sizeNumber(enumBits(int32(c.Type))) + sizeNumber(c.NodeID)
}

// Marshal encodes a change. The error is always nil.
func (c *ConfChangeSingle) Marshal() ([]byte, error) {
	return c.appendTo(make([]byte, 0, c.Size())), nil
}

// appendTo appends the encoding to b.
func (c *ConfChangeSingle) appendTo(b []byte) []byte {
	b = appendNumber(b, 1, enumBits(int32(c.Type)))
	b = appendNumber(b, 2, c.NodeID)
	return b
}

// Unmarshal decodes data into the change, on top of what it holds.
func (c *ConfChangeSingle) Unmarshal(data []byte) (err error) {
	b := data
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
			c.Type = ConfChangeType(v)
		case 2<<3 | varintType:
			c.NodeID = v
		default:
			if b, err = skipField(b, tag, v, 2); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reset empties the change.
func (c *ConfChangeSingle) Reset() { *c = ConfChangeSingle{} }

// String lists the fields that are set.
func (c *ConfChangeSingle) String() string { return text(c) }

// Size returns the length of what Marshal returns.
func (c *ConfChangeV2) Size() int {
	n := sizeNumber(enumBits(int32(c.Transition))) + sizeOptional(c.Context)
	for i := range c.Changes {
		n += sizeBytes(c.Changes[i].Size())
	}
	return n
}

// Marshal encodes a change. The error is always nil.
func (c *ConfChangeV2) Marshal() ([]byte, error) {
	return c.appendTo(make([]byte, 0, c.Size())), nil
}

// appendTo appends the encoding to b.
func (c *ConfChangeV2) appendTo(b []byte) []byte {
	b = appendNumber(b, 1, enumBits(int32(c.Transition)))
	for i := range c.Changes {
		b = c.Changes[i].appendTo(appendHeader(b, 2, c.Changes[i].Size()))
	}
	b = appendOptional(b, 3, c.Context)
	return b
}

// Unmarshal decodes data into the change, on top of what it holds.
func (c *ConfChangeV2) Unmarshal(data []byte) (err error) {
	b := data
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
			c.Transition = ConfChangeTransition(v)
		case 2<<3 | bytesType:
			if len(c.Changes) == cap(c.Changes) {
				c.Changes = slices.Grow(c.Changes, 1+countFields(b[v:], tag))
			}
			c.Changes = append(c.Changes, ConfChangeSingle{})
			if err = c.Changes[len(c.Changes)-1].Unmarshal(b[:v]); err != nil {
				return err
			}
			b = b[v:]
		case 3<<3 | bytesType:
			c.Context, b = clone(b[:v]), b[v:]
		default:
			if b, err = skipField(b, tag, v, 3); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reset empties the change.
func (c *ConfChangeV2) Reset() { *c = ConfChangeV2{} }

// String lists the fields that are set.
func (c *ConfChangeV2) String() string { return text(c) }
