// What a message from a peer must be like before Raft sees it.
//
//	§5.3 (entries follow each other, terms never fall)
//
// Raft trusts its peers to follow the protocol, not to be free of bugs or to be
// peers at all. What no peer can have meant is refused here.

package rafthttp

import (
	"errors"
	"fmt"

	pb "example.com/raftexample/raft/raftpb"
)

// check says what is wrong with a message that from sent to to, if anything.
func check(m *pb.Message, from, to uint64) error {
	switch {
	case m.From != from && !forwarded(m.Type):
		return fmt.Errorf("a message from %d came from %d", m.From, from)
	case m.To != to:
		return fmt.Errorf("a message to %d came to %d", m.To, to)
	case len(m.Responses) > 0:
		return errors.New("a message to a peer cannot have responses")
	case m.Type != pb.MsgSnap && m.Snapshot != nil:
		return fmt.Errorf("a %v cannot have a snapshot", m.Type)
	}

	switch m.Type {
	case pb.MsgApp:
		return checkEntries(m)
	case pb.MsgProp:
		if len(m.Entries) == 0 {
			return errors.New("a proposal without entries")
		}
	case pb.MsgReadIndex, pb.MsgReadIndexResp:
		if len(m.Entries) != 1 {
			return fmt.Errorf("a %v with %d contexts", m.Type, len(m.Entries))
		}
	case pb.MsgSnap:
		if m.Snapshot == nil || m.Snapshot.Metadata.Index == 0 {
			return errors.New("a MsgSnap without a snapshot")
		}
		if term := m.Snapshot.Metadata.Term; term > m.Term {
			return fmt.Errorf("a snapshot of an entry of term %d in term %d", term, m.Term)
		}
	case pb.MsgAppResp, pb.MsgVote, pb.MsgVoteResp, pb.MsgPreVote, pb.MsgPreVoteResp,
		pb.MsgHeartbeat, pb.MsgHeartbeatResp, pb.MsgTransferLeader, pb.MsgTimeoutNow:
		if len(m.Entries) > 0 {
			return fmt.Errorf("a %v cannot have entries", m.Type)
		}
	default:
		return fmt.Errorf("a %v does not travel between peers", m.Type)
	}
	if m.Term == 0 && m.Type != pb.MsgProp && m.Type != pb.MsgReadIndex {
		return fmt.Errorf("a %v without a term", m.Type)
	}
	if (m.Type == pb.MsgVote || m.Type == pb.MsgPreVote) && m.LogTerm >= m.Term {
		return fmt.Errorf("a candidate of term %d has an entry of term %d already", m.Term, m.LogTerm)
	}
	return nil
}

// forwarded reports whether a message of this type may name another sender than
// the node it came from: a request that was passed on, or a transfer's target.
func forwarded(t pb.MessageType) bool {
	return t == pb.MsgProp || t == pb.MsgReadIndex || t == pb.MsgTransferLeader
}

// checkEntries checks that the entries of an append are a piece of some log.
func checkEntries(m *pb.Message) error {
	if m.Term == 0 || m.LogTerm > m.Term {
		return fmt.Errorf("an append of term %d after an entry of term %d", m.Term, m.LogTerm)
	}
	index, term := m.Index, m.LogTerm
	for i := range m.Entries {
		e := &m.Entries[i]
		if e.Index != index+1 || e.Term < term || e.Term > m.Term {
			return fmt.Errorf("entry %d/%d cannot follow %d/%d in term %d", e.Term, e.Index, term, index, m.Term)
		}
		index, term = e.Index, e.Term
	}
	return nil
}
