// Bootstrap: the first configuration of a group.
//
//	diss. §4.4 (bootstrapping)

package raft

import (
	"errors"
	"fmt"

	pb "example.com/raftexample/raft/raftpb"
)

// Peer is a member of a new group.
type Peer struct {
	ID      uint64
	Context []byte // for the user, such as an address; it comes back in the entry
}

// Bootstrap makes an empty node the member of a new group of peers. All of them
// must be started with the same list in the same order: it becomes the beginning
// of every log, an entry each that adds a member, all of them committed.
func (rn *RawNode) Bootstrap(peers []Peer) error {
	if len(peers) == 0 {
		return errors.New("must provide at least one peer to Bootstrap")
	}
	last, err := rn.raft.log.storage.LastIndex()
	if err != nil {
		return fmt.Errorf("read the last index: %w", err)
	}
	if last != 0 || rn.raft.log.lastIndex() != 0 { // what an earlier call began is not stored yet
		return errors.New("can't bootstrap a nonempty Storage")
	}

	entries := make([]pb.Entry, len(peers))
	for i, p := range peers {
		add := pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: p.ID, Context: p.Context}
		data, err := add.Marshal()
		if err != nil {
			return fmt.Errorf("encode member %x: %w", p.ID, err)
		}
		entries[i] = pb.Entry{Type: pb.EntryConfChange, Data: data}
	}

	if rn.raft.Term == 0 { // or the node has voted already, and must not take that back
		rn.raft.becomeFollower(1, None)
	}
	rn.raft.log.appendNew(1, entries)
	rn.raft.log.commitTo(uint64(len(entries)))

	// In force at once, so that the node knows its peers. The user applies them again when
	// it gets the entries, which changes nothing but that the node may campaign then.
	for _, p := range peers {
		rn.raft.applyConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: p.ID}.AsV2())
	}
	return nil
}
