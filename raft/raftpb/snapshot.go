// Snapshots, and the configuration they carry.
//
//	§7, §6
//
// Start at Snapshot.

package raftpb

// ConfState is a configuration of the group: who votes and who only listens.
// While it is joint (§6), VotersOutgoing holds the voters of the old half.
type ConfState struct {
	// Voters are the voters, or those of the new half of a joint configuration.
	Voters []uint64 `protobuf:"varint,1,rep,name=voters" json:"voters,omitempty"`

	// Learners receive the log and count in no quorum (diss. §4.2.1).
	Learners []uint64 `protobuf:"varint,2,rep,name=learners" json:"learners,omitempty"`

	// VotersOutgoing are the voters of the old half; empty unless joint.
	VotersOutgoing []uint64 `protobuf:"varint,3,rep,name=voters_outgoing,json=votersOutgoing" json:"voters_outgoing,omitempty"`

	// LearnersNext are voters of the old half that become learners on leaving the
	// joint configuration.
	LearnersNext []uint64 `protobuf:"varint,4,rep,name=learners_next,json=learnersNext" json:"learners_next,omitempty"`

	// AutoLeave says that the leader leaves the joint configuration by itself.
	AutoLeave bool `protobuf:"varint,5,opt,name=auto_leave,json=autoLeave" json:"auto_leave"`
}

// SnapshotMetadata says which prefix of the log a snapshot stands for.
type SnapshotMetadata struct {
	ConfState ConfState `protobuf:"bytes,1,opt,name=conf_state,json=confState" json:"conf_state"` // the configuration as of Index
	Index     uint64    `protobuf:"varint,2,opt,name=index" json:"index"`                         // the last entry it includes
	Term      uint64    `protobuf:"varint,3,opt,name=term" json:"term"`                           // that entry's term
}

// Snapshot is the state machine as of an entry (§7).
type Snapshot struct {
	Data     []byte           `protobuf:"bytes,1,opt,name=data" json:"data,omitempty"` // the state, in the user's own encoding
	Metadata SnapshotMetadata `protobuf:"bytes,2,opt,name=metadata" json:"metadata"`
}

// Size returns the length of what Marshal returns.
func (cs *ConfState) Size() int {
	n := sizeBool
	for _, id := range cs.Voters {
		n += sizeNumber(id)
	}
	for _, id := range cs.Learners {
		n += sizeNumber(id)
	}
	for _, id := range cs.VotersOutgoing {
		n += sizeNumber(id)
	}
	for _, id := range cs.LearnersNext {
		n += sizeNumber(id)
	}
	return n
}

// Marshal encodes a configuration. The error is always nil.
func (cs *ConfState) Marshal() ([]byte, error) {
	return cs.appendTo(make([]byte, 0, cs.Size())), nil
}

// appendTo appends the encoding to b.
func (cs *ConfState) appendTo(b []byte) []byte {
	for _, id := range cs.Voters {
		b = appendNumber(b, 1, id)
	}
	for _, id := range cs.Learners {
		b = appendNumber(b, 2, id)
	}
	for _, id := range cs.VotersOutgoing {
		b = appendNumber(b, 3, id)
	}
	for _, id := range cs.LearnersNext {
		b = appendNumber(b, 4, id)
	}
	b = appendBool(b, 5, cs.AutoLeave)
	return b
}

// Unmarshal decodes data into the configuration, on top of what it holds.
func (cs *ConfState) Unmarshal(data []byte) (err error) {
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
		case 1<<3 | varintType, 1<<3 | bytesType:
			if cs.Voters, b, err = readNumbers(cs.Voters, b, tag, v); err != nil {
				return err
			}
		case 2<<3 | varintType, 2<<3 | bytesType:
			if cs.Learners, b, err = readNumbers(cs.Learners, b, tag, v); err != nil {
				return err
			}
		case 3<<3 | varintType, 3<<3 | bytesType:
			if cs.VotersOutgoing, b, err = readNumbers(cs.VotersOutgoing, b, tag, v); err != nil {
				return err
			}
		case 4<<3 | varintType, 4<<3 | bytesType:
			if cs.LearnersNext, b, err = readNumbers(cs.LearnersNext, b, tag, v); err != nil {
				return err
			}
		case 5<<3 | varintType:
			cs.AutoLeave = v != 0
		default:
			if b, err = skipField(b, tag, v, 5); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reset empties the configuration.
func (cs *ConfState) Reset() { *cs = ConfState{} }

// String lists the fields that are set.
func (cs *ConfState) String() string { return text(cs) }

// Size returns the length of what Marshal returns.
func (sm *SnapshotMetadata) Size() int {
	return sizeBytes(sm.ConfState.Size()) + sizeNumber(sm.Index) + sizeNumber(sm.Term)
}

// Marshal encodes the metadata. The error is always nil.
func (sm *SnapshotMetadata) Marshal() ([]byte, error) {
	return sm.appendTo(make([]byte, 0, sm.Size())), nil
}

// appendTo appends the encoding to b.
func (sm *SnapshotMetadata) appendTo(b []byte) []byte {
	b = sm.ConfState.appendTo(appendHeader(b, 1, sm.ConfState.Size()))
	b = appendNumber(b, 2, sm.Index)
	b = appendNumber(b, 3, sm.Term)
	return b
}

// Unmarshal decodes data into the metadata, on top of what it holds.
func (sm *SnapshotMetadata) Unmarshal(data []byte) (err error) {
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
		case 1<<3 | bytesType:
			if err = sm.ConfState.Unmarshal(b[:v]); err != nil {
				return err
			}
			b = b[v:]
		case 2<<3 | varintType:
			sm.Index = v
		case 3<<3 | varintType:
			sm.Term = v
		default:
			if b, err = skipField(b, tag, v, 3); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reset empties the metadata.
func (sm *SnapshotMetadata) Reset() { *sm = SnapshotMetadata{} }

// String lists the fields that are set.
func (sm *SnapshotMetadata) String() string { return text(sm) }

// Size returns the length of what Marshal returns.
func (s *Snapshot) Size() int {
	return sizeOptional(s.Data) + sizeBytes(s.Metadata.Size())
}

// Marshal encodes a snapshot. The error is always nil.
func (s *Snapshot) Marshal() ([]byte, error) {
	return s.appendTo(make([]byte, 0, s.Size())), nil
}

// appendTo appends the encoding to b.
func (s *Snapshot) appendTo(b []byte) []byte {
	b = appendOptional(b, 1, s.Data)
	b = s.Metadata.appendTo(appendHeader(b, 2, s.Metadata.Size()))
	return b
}

// Unmarshal decodes data into the snapshot, on top of what it holds.
func (s *Snapshot) Unmarshal(data []byte) (err error) {
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
		case 1<<3 | bytesType:
			s.Data, b = clone(b[:v]), b[v:]
		case 2<<3 | bytesType:
			if err = s.Metadata.Unmarshal(b[:v]); err != nil {
				return err
			}
			b = b[v:]
		default:
			if b, err = skipField(b, tag, v, 2); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reset empties the snapshot.
func (s *Snapshot) Reset() { *s = Snapshot{} }

// String lists the fields that are set.
func (s *Snapshot) String() string { return text(s) }
