// The judge: what must be true after every event.
//
//	Figure 3 · diss. §3.6.3 (safety argument)
//
// It sees what leaves the nodes and what they store, and keeps one record for the
// whole group: of leaders, votes, entries, commits, states and configurations.
// Each check is of what is new, so judging costs the same however long a run is.

package rafttest

import (
	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

type judge struct {
	s           *sim
	leaders     map[uint64]reign        // by term: Election Safety
	votes       map[vote]uint64         // one per node and term
	entries     map[entryKey]entryValue // Log Matching
	committed   map[uint64]uint64       // by index, the term: Leader Completeness
	committedTo uint64
	states      map[uint64]uint64 // by index: State Machine Safety
	confs       map[uint64]pb.ConfState
}

type vote struct{ node, term uint64 }

// reign is who leads a term. A node that has crashed in between does not lead it
// again: its log need not be what it was.
type reign struct {
	node uint64
	life int
}

type entryKey struct{ term, index uint64 }

// entryValue is what an entry with this term and index is, everywhere: if the
// entry before it is also the same everywhere, logs match up to it.
type entryValue struct {
	prevTerm uint64
	known    bool // prevTerm is
	hash     uint64
}

// seen is what the judge saw of a node in this life.
type seen struct {
	term, commit uint64
	applied      uint64
	log          []pb.Entry // as the node handed it out, from logFirst on
	base         entryKey   // the snapshot that the log follows, which storage may not have yet
	leads        uint64     // the term it leads
}

func (j *judge) begin(s *sim) {
	*j = judge{
		s: s, leaders: map[uint64]reign{}, votes: map[vote]uint64{}, entries: map[entryKey]entryValue{},
		committed: map[uint64]uint64{}, states: map[uint64]uint64{}, confs: map[uint64]pb.ConfState{},
	}
	if !s.plan.bootstrap {
		j.committed[1], j.committedTo, j.states[1] = 1, 1, 0
	}
}

// started notes what a node begins a life with.
func (j *judge) started(n *node) {
	st := n.raw.BasicStatus()
	if st.Term < n.disk.synced.Term {
		j.s.fail("node %d starts in term %d, but had stored term %d", n.id, st.Term, n.disk.synced.Term)
	}
	n.seen = seen{term: st.Term, commit: st.Commit, applied: st.Applied, log: append([]pb.Entry(nil), n.disk.entries...)}
	if n.applied > 0 {
		j.applied(n) // the snapshot it starts from
	}
}

// look checks what a node's status shows.
func (j *judge) look(n *node) {
	if !n.up {
		return
	}
	st := n.raw.BasicStatus()
	sn := &n.seen
	if st.Term < sn.term || st.Commit < sn.commit || st.Applied < sn.applied {
		j.s.fail("node %d went back: term %d to %d, commit %d to %d, applied %d to %d",
			n.id, sn.term, st.Term, sn.commit, st.Commit, sn.applied, st.Applied)
	}
	sn.term, sn.commit, sn.applied = st.Term, st.Commit, st.Applied
	if st.RaftState != raft.StateLeader {
		sn.leads = 0
		return
	}
	// Election Safety: at most one leader can be elected in a given term.
	now := reign{n.id, n.life}
	if other, ok := j.leaders[st.Term]; ok && other != now {
		j.s.fail("node %d in its life %d and node %d in its life %d both lead in term %d",
			other.node, other.life, n.id, n.life, st.Term)
	}
	j.leaders[st.Term] = now
}

// ready checks a Ready as it is taken.
func (j *judge) ready(n *node, rd *raft.Ready) {
	sn := &n.seen
	if !raft.IsEmptySnap(rd.Snapshot) {
		sn.log = nil
		sn.base = entryKey{rd.Snapshot.Metadata.Term, rd.Snapshot.Metadata.Index}
	}
	for i := range rd.Entries {
		j.append(n, &rd.Entries[i])
	}
	if st := n.raw.BasicStatus(); st.RaftState == raft.StateLeader {
		j.leaderLog(n, st.Term)
	}
	// What a node says is committed is what everyone says is.
	if rd.Commit > 0 {
		j.commit(n, rd.Commit)
	}
}

// append takes an entry into the record of a node's log.
func (j *judge) append(n *node, e *pb.Entry) {
	sn := &n.seen
	for len(sn.log) > 0 && sn.log[len(sn.log)-1].Index >= e.Index {
		last := &sn.log[len(sn.log)-1]
		// Leader Append-Only: a leader never overwrites or deletes entries in its log.
		if sn.leads != 0 && sn.leads == n.raw.BasicStatus().Term && last.Term != e.Term {
			j.s.fail("leader %d of term %d replaces entry %d/%d", n.id, sn.leads, last.Term, last.Index)
		}
		if term, ok := j.committed[last.Index]; ok && last.Index <= sn.commit && term == last.Term && (last.Index > e.Index || last.Term != e.Term) {
			j.s.fail("node %d gives up entry %d/%d, which is committed", n.id, last.Term, last.Index)
		}
		sn.log = sn.log[:len(sn.log)-1]
	}

	// Log Matching: if two logs contain an entry with the same index and term, then
	// the logs are identical in all entries up through the given index.
	v := entryValue{hash: nextState(0, e)}
	if k := len(sn.log); k > 0 {
		v.prevTerm, v.known = sn.log[k-1].Term, true
	} else if sn.base.index == e.Index-1 && sn.base.index > 0 {
		v.prevTerm, v.known = sn.base.term, true
	} else if term, ok := n.disk.term(e.Index - 1); ok {
		v.prevTerm, v.known = term, true
	}
	key := entryKey{e.Term, e.Index}
	if known, ok := j.entries[key]; !ok || !known.known && v.known {
		j.entries[key] = v
	} else if known.hash != v.hash || known.known && v.known && known.prevTerm != v.prevTerm {
		j.s.fail("node %d has another entry %d/%d than others, or another one before it", n.id, e.Term, e.Index)
	}
	sn.log = append(sn.log, *e)
}

// leaderLog checks a leader's log. Leader Completeness: if a log entry is
// committed in a given term, then that entry will be present in the logs of the
// leaders for all higher-numbered terms.
func (j *judge) leaderLog(n *node, term uint64) {
	sn := &n.seen
	if sn.leads == term {
		return
	}
	sn.leads = term
	for index := j.committedTo; index > 0; index-- {
		want, ok := j.committed[index]
		if !ok || want >= term {
			continue
		}
		if len(sn.log) == 0 || index < sn.log[0].Index {
			return // in its snapshot
		}
		if last := sn.log[len(sn.log)-1].Index; index > last || sn.log[index-sn.log[0].Index].Term != want {
			j.s.fail("node %d leads in term %d without entry %d/%d, which was committed", n.id, term, want, index)
		}
		if index+50 < j.committedTo {
			return // what lies deeper was compared when it was newer
		}
	}
}

// commit takes what a node says of its commit index into the record.
func (j *judge) commit(n *node, to uint64) {
	for index := to; index > 0; index-- {
		term, ok := uint64(0), false
		if log := n.seen.log; len(log) > 0 && index >= log[0].Index && index <= log[len(log)-1].Index {
			term, ok = log[index-log[0].Index].Term, true
		}
		if !ok {
			break // in a snapshot
		}
		if known, was := j.committed[index]; was {
			if known != term {
				j.s.fail("node %d says that entry %d/%d is committed, others had %d/%d", n.id, term, index, known, index)
			}
			break // what is before matches, as logs do
		}
		j.committed[index] = term
	}
	j.committedTo = max(j.committedTo, to)
}

// applied checks a state machine. State Machine Safety: if a server has applied a
// log entry at a given index to its state machine, no other server will ever
// apply a different log entry for the same index.
func (j *judge) applied(n *node) {
	if state, ok := j.states[n.applied]; ok && state != n.state {
		j.s.fail("node %d has another state than others after entry %d", n.id, n.applied)
	}
	j.states[n.applied] = n.state
	if j.s.plan.bootstrap && n.applied < uint64(j.s.plan.nodes) {
		return // bootstrapping knows all members at once; who restarts, those whose entries it has applied
	}
	if cs, ok := j.confs[n.applied]; ok {
		if err := cs.Equivalent(n.confState); err != nil {
			j.s.fail("node %d has another configuration than others after entry %d: %v", n.id, n.applied, err)
		}
	}
	j.confs[n.applied] = n.confState
}

// sent checks a message as it leaves: promises must rest on what is on disk.
func (j *judge) sent(n *node, m *pb.Message) {
	switch m.Type {
	case pb.MsgApp, pb.MsgHeartbeat, pb.MsgSnap:
		if lead := j.leaders[m.Term].node; lead != n.id {
			j.s.fail("node %d sends %v in term %d, in which %d leads", n.id, m.Type, m.Term, lead)
		}
	case pb.MsgVote:
		// Or it could ask again in the same term after a crash, with a shorter log.
		if n.disk.synced.Term < m.Term {
			j.s.fail("node %d asks for votes in term %d, but has stored term %d", n.id, m.Term, n.disk.synced.Term)
		}
	case pb.MsgVoteResp:
		if !m.Reject {
			j.voted(n, m.Term, m.To)
			if n.disk.synced.Term < m.Term || n.disk.synced.Term == m.Term && n.disk.synced.Vote != m.To {
				j.s.fail("node %d votes for %d in term %d and has not stored that", n.id, m.To, m.Term)
			}
		}
	case pb.MsgAppResp:
		// An answer of an earlier term than what is on disk is about a log that has been
		// replaced before it was stored: as if the disk had been quick, and the entries
		// overwritten later. Nobody can tell the difference.
		if stored := n.disk.lastDurable(); !m.Reject && m.Index > stored && m.Term >= n.disk.hard.Term {
			j.s.fail("node %d acknowledges entry %d, but has stored %d", n.id, m.Index, stored)
		}
	}
}

// stored notes the vote that a node has made durable, its own as a candidate too.
func (j *judge) stored(n *node) {
	if hard := n.disk.synced; hard.Vote != raft.None {
		j.voted(n, hard.Term, hard.Vote)
	}
}

// voted: a server votes for at most one candidate in a given term (§5.2).
func (j *judge) voted(n *node, term, candidate uint64) {
	v := vote{n.id, term}
	if other, ok := j.votes[v]; ok && other != candidate {
		j.s.fail("node %d votes for %d and for %d in term %d", n.id, other, candidate, term)
	}
	j.votes[v] = candidate
}

// committedBefore is the last index that was committed in a term before this one.
func (j *judge) committedBefore(term uint64) uint64 {
	index := j.committedTo
	for index > 0 && j.committed[index] >= term {
		index--
	}
	return index
}

// promisedEarly: with asynchronous storage writes a promise never leaves before
// the log writer is done.
func (j *judge) promisedEarly(n *node, m *pb.Message) {
	switch m.Type {
	case pb.MsgAppResp, pb.MsgVoteResp, pb.MsgPreVoteResp:
		j.s.fail("node %d lets a %v leave without waiting for the disk", n.id, m.Type)
	}
}
