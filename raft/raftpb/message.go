// Messages: what nodes say to each other, and to their own threads.
//
//	Figure 2 (the RPCs), Figure 13 (InstallSnapshot) · diss. §3.10, §6.4, §9.6
//
// Start at Message.

package raftpb

import (
	"errors"
	"slices"
)

// MessageType says what a Message is.
type MessageType int32

// The types of messages. The paper's RPCs are pairs of them: AppendEntries is
// MsgApp and MsgAppResp, RequestVote is MsgVote and MsgVoteResp.
const (
	MsgHup               MessageType = 0  // local: campaign now
	MsgBeat              MessageType = 1  // local: send heartbeats
	MsgProp              MessageType = 2  // append these entries, if you lead
	MsgApp               MessageType = 3  // AppendEntries (§5.3)
	MsgAppResp           MessageType = 4  // its answer
	MsgVote              MessageType = 5  // RequestVote (§5.2)
	MsgVoteResp          MessageType = 6  // its answer
	MsgSnap              MessageType = 7  // InstallSnapshot (§7)
	MsgHeartbeat         MessageType = 8  // AppendEntries without entries or check (§5.2)
	MsgHeartbeatResp     MessageType = 9  // its answer
	MsgUnreachable       MessageType = 10 // local: a message to From got lost
	MsgSnapStatus        MessageType = 11 // local: how sending a snapshot to From went
	MsgCheckQuorum       MessageType = 12 // local: step down without a quorum (diss. §6.2)
	MsgTransferLeader    MessageType = 13 // hand leadership to From (diss. §3.10)
	MsgTimeoutNow        MessageType = 14 // campaign now, you are the new leader (diss. §3.10)
	MsgReadIndex         MessageType = 15 // which index must a read wait for? (diss. §6.4)
	MsgReadIndexResp     MessageType = 16 // its answer
	MsgPreVote           MessageType = 17 // would you vote for me? (diss. §9.6)
	MsgPreVoteResp       MessageType = 18 // its answer
	MsgStorageAppend     MessageType = 19 // to the own log writer: store this
	MsgStorageAppendResp MessageType = 20 // its answer
	MsgStorageApply      MessageType = 21 // to the own state machine: apply this
	MsgStorageApplyResp  MessageType = 22 // its answer
	MsgForgetLeader      MessageType = 23 // a follower is to forget its leader
)

var messageTypeNames = [...]string{
	"MsgHup", "MsgBeat", "MsgProp", "MsgApp", "MsgAppResp", "MsgVote", "MsgVoteResp", "MsgSnap",
	"MsgHeartbeat", "MsgHeartbeatResp", "MsgUnreachable", "MsgSnapStatus", "MsgCheckQuorum",
	"MsgTransferLeader", "MsgTimeoutNow", "MsgReadIndex", "MsgReadIndexResp", "MsgPreVote",
	"MsgPreVoteResp", "MsgStorageAppend", "MsgStorageAppendResp", "MsgStorageApply",
	"MsgStorageApplyResp", "MsgForgetLeader",
}

// String returns the constant's name, or the number of an unknown type.
func (t MessageType) String() string { return enumName(messageTypeNames[:], int32(t)) }

// Message is everything nodes say to each other; Type decides which fields
// mean something.
type Message struct {
	Type MessageType `protobuf:"varint,1,opt,name=type,enum=raftpb.MessageType" json:"type"`
	To   uint64      `protobuf:"varint,2,opt,name=to" json:"to"`
	From uint64      `protobuf:"varint,3,opt,name=from" json:"from"`
	Term uint64      `protobuf:"varint,4,opt,name=term" json:"term"` // the sender's term, 0 where none belongs

	// LogTerm and Index name an entry: the one before Entries (MsgApp), the
	// candidate's last (MsgVote), the one that is acknowledged or refused
	// (MsgAppResp), the one a read waits for (MsgReadIndexResp).
	LogTerm uint64 `protobuf:"varint,5,opt,name=logTerm" json:"logTerm"`
	Index   uint64 `protobuf:"varint,6,opt,name=index" json:"index"`

	Entries []Entry `protobuf:"bytes,7,rep,name=entries" json:"entries"`
	Commit  uint64  `protobuf:"varint,8,opt,name=commit" json:"commit"` // the leader's commit index
	Vote    uint64  `protobuf:"varint,13,opt,name=vote" json:"vote"`    // the vote to store (MsgStorageAppend)

	Snapshot   *Snapshot `protobuf:"bytes,9,opt,name=snapshot" json:"snapshot,omitempty"`
	Reject     bool      `protobuf:"varint,10,opt,name=reject" json:"reject"`
	RejectHint uint64    `protobuf:"varint,11,opt,name=rejectHint" json:"rejectHint"` // where the logs may agree (MsgAppResp)
	Context    []byte    `protobuf:"bytes,12,opt,name=context" json:"context,omitempty"`

	// Responses are to be delivered once the work this message asks for is done;
	// only messages to the node's own threads have them.
	Responses []Message `protobuf:"bytes,14,rep,name=responses" json:"responses"`
}

// Size returns the length of what Marshal returns.
func (m *Message) Size() int {
	n := sizeNumber(enumBits(int32(m.Type))) + sizeNumber(m.To) + sizeNumber(m.From) +
		sizeNumber(m.Term) + sizeNumber(m.LogTerm) + sizeNumber(m.Index) + sizeNumber(m.Commit) +
		sizeNumber(m.Vote) + sizeBool + sizeNumber(m.RejectHint) + sizeOptional(m.Context)
	for i := range m.Entries {
		n += sizeBytes(m.Entries[i].Size())
	}
	if m.Snapshot != nil {
		n += sizeBytes(m.Snapshot.Size())
	}
	for i := range m.Responses {
		n += sizeBytes(m.Responses[i].Size())
	}
	return n
}

// Marshal encodes a message. The error is always nil.
func (m *Message) Marshal() ([]byte, error) {
	return m.appendTo(make([]byte, 0, m.Size())), nil
}

// appendTo appends the encoding to b.
func (m *Message) appendTo(b []byte) []byte {
	b = appendNumber(b, 1, enumBits(int32(m.Type)))
	b = appendNumber(b, 2, m.To)
	b = appendNumber(b, 3, m.From)
	b = appendNumber(b, 4, m.Term)
	b = appendNumber(b, 5, m.LogTerm)
	b = appendNumber(b, 6, m.Index)
	for i := range m.Entries {
		b = m.Entries[i].appendTo(appendHeader(b, 7, m.Entries[i].Size()))
	}
	b = appendNumber(b, 8, m.Commit)
	if m.Snapshot != nil {
		b = m.Snapshot.appendTo(appendHeader(b, 9, m.Snapshot.Size()))
	}
	b = appendBool(b, 10, m.Reject)
	b = appendNumber(b, 11, m.RejectHint)
	b = appendOptional(b, 12, m.Context)
	b = appendNumber(b, 13, m.Vote)
	for i := range m.Responses {
		b = m.Responses[i].appendTo(appendHeader(b, 14, m.Responses[i].Size()))
	}
	return b
}

// Unmarshal decodes data into the message, on top of what it holds.
func (m *Message) Unmarshal(data []byte) error {
	return m.decode(data, 0)
}

// decode decodes b, which is nested so many messages deep.
func (m *Message) decode(b []byte, depth int) (err error) {
	if depth > maxDepth {
		return errors.New("raftpb: messages are nested too deep")
	}
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
			m.Type = MessageType(v)
		case 2<<3 | varintType:
			m.To = v
		case 3<<3 | varintType:
			m.From = v
		case 4<<3 | varintType:
			m.Term = v
		case 5<<3 | varintType:
			m.LogTerm = v
		case 6<<3 | varintType:
			m.Index = v
		case 7<<3 | bytesType:
			if b, err = m.decodeEntries(b, v); err != nil {
				return err
			}
		case 8<<3 | varintType:
			m.Commit = v
		case 9<<3 | bytesType:
			if err = m.decodeSnapshot(b[:v]); err != nil {
				return err
			}
			b = b[v:]
		case 10<<3 | varintType:
			m.Reject = v != 0
		case 11<<3 | varintType:
			m.RejectHint = v
		case 12<<3 | bytesType:
			m.Context, b = clone(b[:v]), b[v:]
		case 13<<3 | varintType:
			m.Vote = v
		case 14<<3 | bytesType:
			m.Responses = append(m.Responses, Message{})
			if err = m.Responses[len(m.Responses)-1].decode(b[:v], depth+1); err != nil {
				return err
			}
			b = b[v:]
		default:
			if b, err = skipField(b, tag, v, 14); err != nil {
				return err
			}
		}
	}
	return nil
}

// decodeSnapshot decodes b into the snapshot, on top of what it holds if there is one.
func (m *Message) decodeSnapshot(b []byte) error {
	if m.Snapshot == nil {
		m.Snapshot = &Snapshot{}
	}
	return m.Snapshot.Unmarshal(b)
}

// Reset empties the message.
func (m *Message) Reset() { *m = Message{} }

// String lists the fields that are set.
func (m *Message) String() string { return text(m) }

// sharedEntryBytes is the size below which entries that come together share one
// allocation. A larger one may be kept longer than the rest: if there is one, each
// gets its own.
const sharedEntryBytes = 4 << 10

// decodeEntries reads the entry of size bytes that b begins with, and those that
// follow it directly: there may be many. Small ones take two allocations, one for
// the entries and one for all their data.
func (m *Message) decodeEntries(b []byte, size uint64) (rest []byte, err error) {
	count, largest, end := countEntries(b, size)
	if m.Entries == nil {
		m.Entries = make([]Entry, 0, count)
	} else {
		m.Entries = slices.Grow(m.Entries, count)
	}

	first, run, shared := len(m.Entries), b[:end], count > 1 && largest < sharedEntryBytes
	total := 0
	for {
		m.Entries = append(m.Entries, Entry{})
		e := &m.Entries[len(m.Entries)-1]
		if err = e.decode(run[:size], shared); err != nil {
			m.Entries = m.Entries[:first] // they may be parts of b, which is not ours
			return nil, err
		}
		total += len(e.Data)
		if run = run[size:]; len(run) == 0 {
			break
		}
		_, next, n := nextField(run) // sound: it has been counted
		size, run = next, run[n:]
	}
	if shared {
		own(m.Entries[first:], total)
	}
	return b[end:], nil
}

// own copies the data of entries, which are parts of what they were decoded from, to
// where nothing else is: total bytes. A copy of all at once, heads and all, would be
// quicker to make; but it is memory that costs here, for every byte that the collector
// has to come back for.
func own(entries []Entry, total int) {
	data := make([]byte, total)
	for i := range entries {
		if d := &entries[i].Data; *d != nil {
			n := copy(data, *d)
			*d, data = data[:n:n], data[n:]
		}
	}
}

// countEntries counts the entries that b begins with, of which the first has size
// bytes and no head any more, and returns the size of the largest, and where the
// last one ends.
func countEntries(b []byte, size uint64) (count int, largest uint64, end int) {
	const entryTag = 7<<3 | bytesType
	for {
		count, largest, end = count+1, max(largest, size), end+int(size)
		if end == len(b) || b[end] != entryTag {
			return count, largest, end
		}
		_, next, n := nextField(b[end:])
		if n < 0 {
			return count, largest, end
		}
		size, end = next, end+n
	}
}
