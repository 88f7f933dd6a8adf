// Recovery: from what is on disk to a node that can go on.
//
//	diss. §3.8
//
// Start at replay. rewriteForNewCluster is for the day when the others are gone for good.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/snap"
	"example.com/raftexample/raft/wal"
)

// replay opens log and snapshots and puts what they hold where it belongs: the
// snapshot's state into the store, the log behind it into memory.
func (n *raftNode) replay() (restarted bool, err error) {
	fsys := n.dir.fs
	if n.snaps, err = snap.Open(n.dir.snapDir(), fsys); err != nil {
		return false, err
	}
	if n.dir.Started {
		if _, err := fsys.List(n.dir.walDir()); err != nil {
			return false, fmt.Errorf("the log of member %d is gone (%w): %s", n.cfg.id, err, wipedRecipe(n.cfg.id))
		}
	}
	log, rec, err := wal.Open(n.dir.walDir(), wal.Options{
		FS: fsys, OnSync: func(took time.Duration) { n.metrics.fsyncSeconds.Observe(took.Seconds()) },
	})
	if err != nil {
		return false, err
	}
	n.wal = log
	if rec.Repaired != "" {
		n.logger.Warn("repaired the log after a crash", "node", n.cfg.id, "what", rec.Repaired)
	}

	restarted = rec.HardState != (raftpb.HardState{}) || len(rec.Entries) > 0 || rec.Snapshot.Index > 0
	if n.dir.Started && !restarted {
		return false, fmt.Errorf("the log of member %d is empty: %s", n.cfg.id, wipedRecipe(n.cfg.id))
	}
	if n.cfg.forceNew {
		if err := n.rewriteForNewCluster(&rec); err != nil {
			return false, err
		}
	}
	return restarted, n.load(rec)
}

// load fills memory from what was recovered.
func (n *raftNode) load(rec wal.Recovery) error {
	if rec.Snapshot.Index > 0 {
		if err := n.storage.ApplySnapshot(raftpb.Snapshot{Metadata: rec.Snapshot}); err != nil {
			return err
		}
		n.confState = rec.Snapshot.ConfState
		if err := n.publishSnapshot(rec.Snapshot); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the snapshot of member %d is gone (%w): restore it from a copy, or %s", n.cfg.id, err, wipedRecipe(n.cfg.id))
		} else if err != nil {
			return err
		}
	}
	if err := n.compareFlags(&rec); err != nil {
		return err
	}
	if err := n.snaps.Keep(rec.Snapshot); err != nil {
		return err
	}
	if err := n.storage.SetHardState(rec.HardState); err != nil {
		return err
	}
	n.noteEntries(rec.Entries)
	n.term.Store(rec.HardState.Term)
	n.committed.Store(rec.HardState.Commit)
	return n.storage.Append(rec.Entries)
}

// compareFlags warns when --cluster is not what is stored, which wins. A list that has
// no member in common with it means another cluster: then somebody took the wrong
// directory.
func (n *raftNode) compareFlags(rec *wal.Recovery) error {
	stored := newMembership()
	for _, m := range n.members.list() { // as in the snapshot
		stored.members[m.ID] = m
	}
	for i := range rec.Entries {
		e := &rec.Entries[i]
		if e.Type != raftpb.EntryConfChange || e.Index > rec.HardState.Commit {
			continue
		}
		var cc raftpb.ConfChange
		if err := cc.Unmarshal(e.Data); err != nil {
			return fmt.Errorf("entry %d changes the membership and cannot be read: %w", e.Index, err)
		}
		stored.apply(cc, &raftpb.ConfState{})
	}
	flag, members := describeMembers(n.cfg.cluster), describeMembers(stored.list())
	if members == "" || members == flag {
		return nil
	}
	if !haveCommon(n.cfg.cluster, stored.list()) && !haveCommon(n.cfg.cluster, n.dir.Founders) {
		return fmt.Errorf("%s belongs to another cluster, %s of %s, and --cluster is %s: choose another directory with --data-dir",
			n.dir.path, n.dir.Cluster, members, flag)
	}
	n.logger.Warn("the data directory wins over --cluster", "node", n.cfg.id, "stored", members, "flag", flag)
	if own, is := stored.get(n.cfg.id); is {
		n.compareOwnURL(own.URL)
	}
	return nil
}

// compareOwnURL warns when the cluster looks for this member where it is not: it listens
// where --cluster says, since an address may be changed before or after the machine moves.
func (n *raftNode) compareOwnURL(known string) {
	own := n.cfg.ownURL()
	said := known == n.elsewhere // the log is read twice: by compareFlags, and when it is applied
	if n.elsewhere = known; known != own && !said {
		n.logger.Warn("the cluster, as far as is known here, looks for this member elsewhere: start it with that URL in --cluster, or change it",
			"node", n.cfg.id, "cluster", known, "own", own, "change", fmt.Sprintf("curl -L http://CLIENT-URL/-/members/%d -XPUT -d %s", n.cfg.id, own))
	}
}

// haveCommon reports whether two lists have a member in common, at the same URL.
func haveCommon(a, b []member) bool {
	return slices.ContainsFunc(a, func(m member) bool {
		return slices.ContainsFunc(b, func(o member) bool { return o.ID == m.ID && o.URL == m.URL })
	})
}

// rewriteForNewCluster appends to the log what makes this member the only one:
// the removal of all others, in a term of its own. Entries that were not known
// to be committed are kept: some may have been acknowledged.
func (n *raftNode) rewriteForNewCluster(rec *wal.Recovery) error {
	last := raftpb.Entry{Index: rec.Snapshot.Index, Term: rec.Snapshot.Term}
	if len(rec.Entries) > 0 {
		last = rec.Entries[len(rec.Entries)-1]
	}
	others, err := n.membersIn(rec)
	if err != nil {
		return err
	}
	term := max(rec.HardState.Term, last.Term) + 1
	var added []raftpb.Entry
	change := func(cc raftpb.ConfChange) error {
		data, err := cc.Marshal()
		last.Index++
		added = append(added, raftpb.Entry{Term: term, Index: last.Index, Type: raftpb.EntryConfChange, Data: data})
		return err
	}
	errs := []error{change(raftpb.ConfChange{Type: raftpb.ConfChangeAddNode, NodeID: n.cfg.id, Context: []byte(n.cfg.ownURL())})}
	for _, id := range others {
		if id != n.cfg.id {
			errs = append(errs, change(raftpb.ConfChange{Type: raftpb.ConfChangeRemoveNode, NodeID: id}))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	rec.HardState = raftpb.HardState{Term: term, Vote: n.cfg.id, Commit: last.Index}
	rewritten := len(rec.Entries)
	for i := len(rec.Entries) - 1; i >= 0; i-- {
		if removes(&rec.Entries[i], n.cfg.id) { // or it would leave once more
			rec.Entries[i] = raftpb.Entry{Term: rec.Entries[i].Term, Index: rec.Entries[i].Index}
			rewritten = i
		}
	}
	rec.Entries = append(rec.Entries, added...)
	if err := n.wal.Save(rec.HardState, rec.Entries[rewritten:], raftpb.SnapshotMetadata{}, true); err != nil {
		return err
	}
	n.logger.Warn("this member is a cluster of its own now: what the others had acknowledged and this one had not received is lost",
		"node", n.cfg.id, "cluster", n.dir.Cluster, "removed", len(added)-1, "last", last.Index)
	return nil
}

// removes reports whether an entry removes a member.
func removes(e *raftpb.Entry, id uint64) bool {
	var cc raftpb.ConfChange
	return e.Type == raftpb.EntryConfChange && cc.Unmarshal(e.Data) == nil &&
		cc.Type == raftpb.ConfChangeRemoveNode && cc.NodeID == id
}

// membersIn returns the ids of the members that a recovered log ends with.
func (n *raftNode) membersIn(rec *wal.Recovery) ([]uint64, error) {
	ids := map[uint64]bool{}
	cs := rec.Snapshot.ConfState
	for _, id := range append(append([]uint64(nil), cs.Voters...), cs.Learners...) {
		ids[id] = true
	}
	for i := range rec.Entries {
		if rec.Entries[i].Type != raftpb.EntryConfChange {
			continue
		}
		var cc raftpb.ConfChange
		if err := cc.Unmarshal(rec.Entries[i].Data); err != nil {
			return nil, err
		}
		if cc.Type == raftpb.ConfChangeRemoveNode {
			delete(ids, cc.NodeID)
		} else {
			ids[cc.NodeID] = true
		}
	}
	list := make([]uint64, 0, len(ids))
	for id := range ids {
		list = append(list, id)
	}
	return list, nil
}
