// HardState: what a node must not forget.
//
//	Figure 2, "Persistent state"

package raftpb

// HardState is what must be durable before a node answers anyone (Figure 2).
// Commit is there for a quicker start only: it may be lost without harm.
type HardState struct {
	Term   uint64 `protobuf:"varint,1,opt,name=term" json:"term"`     // the latest term the node has seen
	Vote   uint64 `protobuf:"varint,2,opt,name=vote" json:"vote"`     // who got its vote in Term, or 0
	Commit uint64 `protobuf:"varint,3,opt,name=commit" json:"commit"` // the highest index it knew to be committed
}

// Size returns the length of what Marshal returns.
func (hs *HardState) Size() int {
	return sizeNumber(hs.Term) + sizeNumber(hs.Vote) + sizeNumber(hs.Commit)
}

// Marshal encodes a hard state. The error is always nil.
func (hs *HardState) Marshal() ([]byte, error) {
	return hs.appendTo(make([]byte, 0, hs.Size())), nil
}

// appendTo appends the encoding to b.
func (hs *HardState) appendTo(b []byte) []byte {
	b = appendNumber(b, 1, hs.Term)
	b = appendNumber(b, 2, hs.Vote)
	b = appendNumber(b, 3, hs.Commit)
	return b
}

// Unmarshal decodes data into the hard state, on top of what it holds.
func (hs *HardState) Unmarshal(data []byte) (err error) {
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
			hs.Term = v
		case 2<<3 | varintType:
			hs.Vote = v
		case 3<<3 | varintType:
			hs.Commit = v
		default:
			if b, err = skipField(b, tag, v, 3); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reset empties the hard state.
func (hs *HardState) Reset() { *hs = HardState{} }

// String lists the fields that are set.
func (hs *HardState) String() string { return text(hs) }
