// Messages: what nodes say to each other, and to their own threads.
//
//	Figure 2 (the RPCs), Figure 13 (InstallSnapshot) · diss. §3.10, §6.4, §9.6
//
// Start at Message.

package raftpb

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
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
	Type MessageType `json:"type"`
	To   uint64      `json:"to"`
	From uint64      `json:"from"`
	Term uint64      `json:"term"` // the sender's term, 0 where none belongs

	// LogTerm and Index name an entry: the one before Entries (MsgApp), the
	// candidate's last (MsgVote), the one that is acknowledged or refused
	// (MsgAppResp), the one a read waits for (MsgReadIndexResp).
	LogTerm uint64 `json:"logTerm"`
	Index   uint64 `json:"index"`

	Entries []Entry `json:"entries"`
	Commit  uint64  `json:"commit"` // the leader's commit index
	Vote    uint64  `json:"vote"`   // the vote to store (MsgStorageAppend)

	Snapshot   *Snapshot `json:"snapshot,omitempty"`
	Reject     bool      `json:"reject"`
	RejectHint uint64    `json:"rejectHint"` // where the logs may agree (MsgAppResp)
	Context    []byte    `json:"context,omitempty"`

	// Responses are to be delivered once the work this message asks for is done;
	// only messages to the node's own threads have them.
	Responses []Message `json:"responses"`
}

// Size returns the length of what Marshal returns.
func (m *Message) Size() int {
	n := sizeNumber(enumBits(int32(m.Type))) + sizeNumber(m.To) + sizeNumber(m.From) + sizeNumber(m.Term) + sizeNumber(m.LogTerm) + sizeNumber(m.Index) + sizeNumber(m.Commit) + 2 + sizeNumber(m.RejectHint) + sizeOptional(m.Context) + sizeNumber(m.Vote)
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
	return m.MarshalAppend(make([]byte, 0, m.Size())), nil
}

// MarshalAppend appends what Marshal returns to b.
func (m *Message) MarshalAppend(b []byte) []byte {
	b = appendNumber(b, 1, enumBits(int32(m.Type)))
	b = appendNumber(b, 2, m.To)
	b = appendNumber(b, 3, m.From)
	b = appendNumber(b, 4, m.Term)
	b = appendNumber(b, 5, m.LogTerm)
	b = appendNumber(b, 6, m.Index)
	for i := range m.Entries {
		b = m.Entries[i].MarshalAppend(appendHeader(b, 7, m.Entries[i].Size()))
	}
	b = appendNumber(b, 8, m.Commit)
	if m.Snapshot != nil {
		b = m.Snapshot.MarshalAppend(appendHeader(b, 9, m.Snapshot.Size()))
	}
	b = appendBool(b, 10, m.Reject)
	b = appendNumber(b, 11, m.RejectHint)
	b = appendOptional(b, 12, m.Context)
	b = appendNumber(b, 13, m.Vote)
	for i := range m.Responses {
		b = m.Responses[i].MarshalAppend(appendHeader(b, 14, m.Responses[i].Size()))
	}
	return b
}

// Unmarshal decodes data into the message, on top of what it holds.
func (m *Message) Unmarshal(data []byte) error {
	in := reader{b: data}
	m.decode(&in)
	return in.err
}

func (m *Message) decode(in *reader) {
	for tag, ok := in.next(); ok; tag, ok = in.next() {
		switch tag {
		case 1<<3 | uint64(varintType):
			m.Type = MessageType(in.varint())
		case 2<<3 | uint64(varintType):
			m.To = in.varint()
		case 3<<3 | uint64(varintType):
			m.From = in.varint()
		case 4<<3 | uint64(varintType):
			m.Term = in.varint()
		case 5<<3 | uint64(varintType):
			m.LogTerm = in.varint()
		case 6<<3 | uint64(varintType):
			m.Index = in.varint()
		case 7<<3 | uint64(bytesType):
			m.decodeEntry(in)
		case 8<<3 | uint64(varintType):
			m.Commit = in.varint()
		case 9<<3 | uint64(bytesType):
			if m.Snapshot == nil {
				m.Snapshot = &Snapshot{}
			}
			in.embedded(m.Snapshot.decode)
		case 10<<3 | uint64(varintType):
			m.Reject = in.bool()
		case 11<<3 | uint64(varintType):
			m.RejectHint = in.varint()
		case 12<<3 | uint64(bytesType):
			m.Context = in.bytes()
		case 13<<3 | uint64(varintType):
			m.Vote = in.varint()
		case 14<<3 | uint64(bytesType):
			m.Responses = append(m.Responses, Message{})
			in.embedded(m.Responses[len(m.Responses)-1].decode)
		default:
			in.skip(tag, 14)
		}
	}
}

// Reset empties the message.
func (m *Message) Reset() { *m = Message{} }

// String lists the fields that are set.
func (m *Message) String() string {
	var w text
	m.describe(&w)
	return w.String()
}

func (m *Message) describe(w *text) {
	w.enum("type", int32(m.Type), m.Type)
	w.number("to", m.To)
	w.number("from", m.From)
	w.number("term", m.Term)
	w.number("logTerm", m.LogTerm)
	w.number("index", m.Index)
	for i := range m.Entries {
		w.embedded("entries", m.Entries[i].describe)
	}
	w.number("commit", m.Commit)
	if m.Snapshot != nil {
		w.embedded("snapshot", m.Snapshot.describe)
	}
	w.bool("reject", m.Reject)
	w.number("rejectHint", m.RejectHint)
	w.bytes("context", m.Context)
	w.number("vote", m.Vote)
	for i := range m.Responses {
		w.embedded("responses", m.Responses[i].describe)
	}
}

// decodeEntry reads an entry of a message. At the first one it looks ahead at
// how many there are, so that all of them and their data take two allocations.
func (m *Message) decodeEntry(in *reader) {
	if in.data == nil {
		n, size := countEntries(in.b)
		m.Entries = slices.Grow(m.Entries, n)
		in.data = &arena{buf: make([]byte, 0, size)}
	}
	m.Entries = append(m.Entries, Entry{})
	inner := reader{b: in.view(), data: in.data}
	if in.err != nil {
		return
	}
	if m.Entries[len(m.Entries)-1].decode(&inner); inner.err != nil {
		in.fail(inner.err)
	}
}

// countEntries counts the entries in what is left of a message, which is right
// behind the tag of the first one, and estimates what their data take. What is
// malformed it leaves for others to find.
func countEntries(b []byte) (n, size int) {
	const entryTag = 7<<3 | uint64(bytesType)
	const frame = 8 // what an entry takes beside its data, at the least
	for tag := entryTag; ; {
		if tag == entryTag {
			v, skipped := protowire.ConsumeBytes(b)
			if skipped < 0 {
				return n, size
			}
			n++
			size += max(len(v)-frame, 0)
			b = b[skipped:]
		} else {
			skipped := protowire.ConsumeFieldValue(protowire.Number(tag>>3), protowire.Type(tag&7), b)
			if skipped < 0 {
				return n, size
			}
			b = b[skipped:]
		}
		var width int
		if tag, width = protowire.ConsumeVarint(b); width < 0 {
			return n, size
		}
		b = b[width:]
	}
}
