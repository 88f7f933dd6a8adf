// Proposals: what a leader lets into its log.
//
//	§5.3, §6 (one change of membership at a time) · diss. §3.5, §4.1
//
// Start at propose. Whoever is refused hears ErrProposalDropped; whoever is
// accepted has to watch the log, for the entry can still be lost with us.

package raft

import pb "example.com/raftexample/raft/raftpb"

// noEntry is the empty entry that opens a leader's term.
var noEntry [1]pb.Entry

// propose appends the entries of a MsgProp and sends them to everybody.
func (r *raft) propose(m pb.Message) error {
	switch {
	case len(m.Entries) == 0:
		panic("raft: a proposal without entries")
	case r.self == nil: // removed, and leading only until others know it
		return ErrProposalDropped
	case r.leadTransferee != None: // diss. §3.10: or the target could never catch up
		r.logger.Debugf("node %x hands over to %x: dropped a proposal", r.id, r.leadTransferee)
		return ErrProposalDropped
	}

	entries, pendingConfIndex := r.refuseConfChanges(m.Entries)
	if !r.reserve(payloadSize(entries)) {
		return ErrProposalDropped
	}
	r.pendingConfIndex = pendingConfIndex
	r.appendEntries(entries)
	if !r.gathers {
		r.broadcastAppend()
	}
	return nil
}

// appendEntries puts entries into the leader's own log, in its term. The answer
// to itself is held back until they are durable, like anybody's: only then does
// the leader count towards the quorum.
func (r *raft) appendEntries(entries []pb.Entry) {
	r.log.appendNew(r.Term, entries)
	r.send(pb.Message{To: r.id, Type: pb.MsgAppResp, Index: r.log.lastIndex()})
}

// reserve takes size bytes of payload out of the allowance for entries that are
// not applied yet, and reports whether there was room. Something is always let
// in: a single large proposal, and what has no payload, such as the change that
// leaves a joint configuration.
func (r *raft) reserve(size uint64) bool {
	if r.uncommittedSize > 0 && size > 0 && r.uncommittedSize+size > r.maxUncommittedSize {
		return false
	}
	r.uncommittedSize += size
	return true
}

// release gives back what reserve took, once it is applied. Entries of former
// leaders were never reserved, hence the floor.
func (r *raft) release(size uint64) {
	r.uncommittedSize -= min(size, r.uncommittedSize)
}

// refuseConfChanges replaces each change of membership that cannot be made now
// by an empty entry: the proposal keeps its place and has no effect. It returns
// the entries, and the index of the last change among them if there is one.
func (r *raft) refuseConfChanges(entries []pb.Entry) ([]pb.Entry, uint64) {
	pending := r.pendingConfIndex
	ours := false // whether entries is our copy: the proposer's is not written to
	for i := range entries {
		if !changesMembership(&entries[i]) {
			continue
		}
		index := r.log.lastIndex() + 1 + uint64(i)
		reason := r.whyNotNow(&entries[i], pending)
		if reason == "" {
			pending = index
			continue
		}
		r.logger.Infof("node %x refused a change of membership at %d: %s (configuration %v)", r.id, index, reason, r.trk.Config)
		if !ours {
			entries, ours = append([]pb.Entry(nil), entries...), true
		}
		entries[i] = pb.Entry{}
	}
	return entries, pending
}

// whyNotNow says what stands against a change of membership, or "".
//
// One at a time, because the quorums of a configuration and of the next but one
// need not overlap (diss. §4.1); and a change takes effect when it is applied,
// so the former one must be applied first, here at least.
func (r *raft) whyNotNow(e *pb.Entry, pending uint64) string {
	change, err := decodeConfChange(e)
	if err != nil {
		return err.Error()
	}
	joint := len(r.trk.Voters[1]) > 0
	leave := len(change.Changes) == 0

	switch {
	case r.disableConfChangeValidation:
		return ""
	case pending > r.log.applied:
		return "another one may be unapplied"
	case joint && !leave:
		return "the joint configuration must be left first"
	case !joint && leave:
		return "there is no joint configuration to leave"
	}
	return ""
}

// decodeConfChange reads the change in an entry of either type.
func decodeConfChange(e *pb.Entry) (pb.ConfChangeV2, error) {
	if e.Type == pb.EntryConfChange {
		var v1 pb.ConfChange
		err := v1.Unmarshal(e.Data)
		return v1.AsV2(), err
	}
	var v2 pb.ConfChangeV2
	err := v2.Unmarshal(e.Data)
	return v2, err
}
