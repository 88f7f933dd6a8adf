// Publishing: what is committed, on its way from Raft to the store.
//
//	§5.3 · diss. ch. 4 (changes of the membership)
//
// Entries and snapshots go to the store, which takes them when it can. Changes of
// the membership take effect here, in the loop. Start at publish.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// commit is a batch on the commit channel, in log order: what a state machine
// gets from Raft.
type commit struct {
	restore      io.ReadCloser // if not nil: first become this snapshot, of the entry below
	restoreIndex uint64
	restoreTerm  uint64

	entries []raftpb.Entry // then apply these, of all types

	capture func(state io.WriterTo) // if not nil: then hand over a copy of the state
	applied func()                  // if not nil: then say that it is done
}

// publishDurable hands over committed entries that this node stored in an
// earlier batch: they need not wait for the disk again, and neither need the
// clients whose writes they are. It takes what it hands over out of rd.
func (n *raftNode) publishDurable(rd *raft.Ready) {
	entries := rd.CommittedEntries
	if len(entries) == 0 || !raft.IsEmptySnap(rd.Snapshot) {
		return
	}
	if len(rd.Entries) > 0 && entries[len(entries)-1].Index >= rd.Entries[0].Index {
		return
	}
	for i := range entries {
		if entries[i].Type != raftpb.EntryNormal {
			return // changes of the membership take effect in publish
		}
	}
	n.publishEntries(entries)
	rd.CommittedEntries = nil
}

// publish hands a snapshot and what is committed to the store. Changes of the
// membership are applied here, on the way; it returns their ids.
func (n *raftNode) publish(rd raft.Ready) (changed []uint64, err error) {
	if !raft.IsEmptySnap(rd.Snapshot) {
		n.confState = rd.Snapshot.Metadata.ConfState
		if err := n.publishSnapshot(rd.Snapshot.Metadata); err != nil {
			return nil, err
		}
		if err := n.tidyUp(rd.Snapshot.Metadata); err != nil {
			return nil, err
		}
		if own, is := n.members.get(n.cfg.id); is {
			n.compareOwnURL(own.URL)
		}
	}
	if len(rd.CommittedEntries) == 0 {
		return nil, nil
	}
	for i := range rd.CommittedEntries {
		e := &rd.CommittedEntries[i]
		if e.Type == raftpb.EntryNormal {
			continue
		}
		id, err := n.applyConfChange(e)
		if err != nil {
			return nil, err
		}
		changed = append(changed, id)
	}

	if own, is := n.members.get(n.cfg.id); is && len(changed) > 0 { // after all of them: it may have moved to and fro
		n.compareOwnURL(own.URL)
	}
	n.publishEntries(rd.CommittedEntries)
	return changed, nil
}

// publishEntries hands committed entries to the store.
func (n *raftNode) publishEntries(entries []raftpb.Entry) {
	size := int64(0)
	for i := range entries {
		size += int64(len(entries[i].Data))
	}
	c := &commit{entries: entries}
	n.unapplied.Add(size)
	c.applied = func() { n.unapplied.Add(-size) }
	last := &entries[len(entries)-1]
	n.maybeCapture(c, raftpb.SnapshotMetadata{Index: last.Index, Term: last.Term, ConfState: n.confState})
	n.backlog.push(n.commitC, c)
}

// publishSnapshot makes the store become a snapshot, and the membership at once.
func (n *raftNode) publishSnapshot(m raftpb.SnapshotMetadata) error {
	file, err := n.snaps.OpenSnapshot(m)
	if err != nil {
		return err
	}
	state := bufio.NewReaderSize(file, 64<<10)
	if err := n.members.load(state); err != nil {
		return errors.Join(fmt.Errorf("read the members in snapshot %d: %w", m.Index, err), file.Close())
	}
	if n.node != nil {
		for _, id := range n.members.removedIDs() { // among them some that we did not see go
			n.transport.RemovePeer(id)
		}
		for _, member := range n.members.list() {
			n.transport.SetPeer(member.ID, member.URL)
		}
	}
	n.snapshots.applied(m.Index)
	n.backlog.push(n.commitC, &commit{
		restore: &untilEnd{state, file, n.done}, restoreIndex: m.Index, restoreTerm: m.Term,
	})
	return nil
}

// untilEnd reads a snapshot until the node ends, which need not wait for the rest.
type untilEnd struct {
	io.Reader
	io.Closer
	ended <-chan struct{}
}

func (u *untilEnd) Read(b []byte) (int, error) {
	select {
	case <-u.ended:
		return 0, raft.ErrStopped
	default:
		return u.Reader.Read(b)
	}
}

// applyConfChange puts a committed change of the membership into force.
func (n *raftNode) applyConfChange(e *raftpb.Entry) (id uint64, err error) {
	var cc raftpb.ConfChange
	if e.Type != raftpb.EntryConfChange {
		return 0, fmt.Errorf("entry %d changes the membership in a way this version does not know: it needs a newer version", e.Index)
	}
	if err := cc.Unmarshal(e.Data); err != nil {
		return 0, fmt.Errorf("entry %d changes the membership and cannot be read: %w", e.Index, err)
	}
	cs := n.node.ApplyConfChange(cc)
	n.confState = *cs
	n.members.apply(cc, cs)
	n.events.publish("membership", n.members.list())

	switch {
	case cc.Type == raftpb.ConfChangeRemoveNode && cc.NodeID == n.cfg.id:
		return cc.ID, n.leave()
	case cc.Type == raftpb.ConfChangeRemoveNode:
		n.logger.Info("member removed", "node", n.cfg.id, "peer", cc.NodeID, "index", e.Index)
		n.transport.RemovePeer(cc.NodeID)
	default:
		// A new member is in no older snapshot, and would ignore one: have a new one
		// ready in case it needs it.
		n.snapshots.wanted = n.snapshots.wanted || cc.Type != raftpb.ConfChangeUpdateNode && e.Index > uint64(len(n.dir.Founders))
		if m, ok := n.members.get(cc.NodeID); ok {
			n.logger.Info("member", "node", n.cfg.id, "peer", m.ID, "url", m.URL, "learner", m.Learner, "index", e.Index)
			n.transport.SetPeer(m.ID, m.URL)
		}
	}
	return cc.ID, nil
}

// errRemoved is how a member ends that was removed.
var errRemoved = errors.New("this member was removed from the cluster; to bring the machine back, start it with an empty data directory under a new id")

// leave notes that this member was removed, so that it stays stopped, and gives
// the others a moment to hear from it that the removal is committed.
func (n *raftNode) leave() error {
	if err := n.dir.change(func(id *identity) { id.Removed = true }); err != nil {
		return err
	}
	if n.Leader() == n.cfg.id {
		// If it only fell silent, it would be missed for an election timeout. But nobody
		// campaigns before he has applied the change, too.
		time.AfterFunc(tickInterval, func() { n.handOver(tickInterval) })
	}
	time.AfterFunc(3*tickInterval, func() { n.fail(errRemoved) })
	return nil
}
