// The Raft node: replay, then the loop that does what Raft asks for.
//
//	Figure 2 · diss. §3.8, §10.2.1
//
// Start at run and handleReady: the order of its lines is the safety argument.
// start says how a node comes back; snapshotter.go keeps the log short; members.go
// changes who belongs.

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/rafthttp"
	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/snap"
	"example.com/raftexample/raft/wal"
)

// Time. An election timeout is 1 to 2 s, drawn by Raft.
const (
	tickInterval    = 100 * time.Millisecond
	heartbeatTicks  = 1
	electionTicks   = 10
	electionTimeout = electionTicks * tickInterval
)

// maxUnapplied is how much may be committed and not yet applied, in bytes, before
// new writes are refused.
const maxUnapplied = 64 << 20

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

// raftNode drives one raft.Node.
type raftNode struct {
	cfg     config
	dir     *dataDir
	logger  *slog.Logger
	metrics *metrics
	events  *eventHub

	node      raft.Node
	storage   *raft.MemoryStorage
	wal       *wal.WAL
	snaps     *snap.Dir
	transport *rafthttp.Transport
	members   *membership
	store     *kvStore
	reads     *reads

	commitC   chan *commit
	backlog   backlog
	forwarded chan raftpb.Message // proposals from peers
	errorC    chan error          // gets the one reason to end the process

	// As of the last Ready, for all goroutines.
	term      atomic.Uint64
	lead      atomic.Uint64
	committed atomic.Uint64
	saving    atomic.Int64 // when the save under way began, in Unix nanoseconds; 0 if none is
	unapplied atomic.Int64 // bytes committed and not yet applied

	peerClient *http.Client // for requests that the leader has to serve

	role        raft.StateType
	confState   raftpb.ConfState
	confIndex   atomic.Uint64 // the last entry of the log that changes the membership
	confApplied atomic.Uint64 // the last one that is applied
	changes     changeWaiters
	snapshots   snapshotter
	greeted     bool
	early       []raftpb.Message // the loop's own: messages that may go before the disk
	late        []raftpb.Message
	stop        context.CancelFunc
	done        chan struct{} // closed when the loop has ended
	stored      chan struct{} // closed when the store's goroutine has
}

// Term, Leader, Overloaded and Propose are what the store needs: see consensus.
func (n *raftNode) Term() uint64     { return n.term.Load() }
func (n *raftNode) Leader() uint64   { return n.lead.Load() }
func (n *raftNode) Overloaded() bool { return n.unapplied.Load() > maxUnapplied }

// Propose puts data on its way into the log.
func (n *raftNode) Propose(ctx context.Context, data []byte) error { return n.node.Propose(ctx, data) }

// ReadIndex asks for an index to read at.
func (n *raftNode) ReadIndex(ctx context.Context, rctx []byte) error {
	return n.node.ReadIndex(ctx, rctx)
}

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
		if err := n.publishSnapshot(rec.Snapshot); err != nil {
			return err
		}
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

// raftConfig is how this program uses Raft.
func (n *raftNode) raftConfig() *raft.Config {
	return &raft.Config{
		ID: n.cfg.id, ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks, Storage: n.storage,
		MaxSizePerMsg:             1 << 20,
		MaxCommittedSizePerReady:  16 << 20,
		MaxUncommittedEntriesSize: 64 << 20,
		MaxInflightMsgs:           256,
		MaxInflightBytes:          16 << 20,
		CheckQuorum:               true,
		PreVote:                   true,
		Logger:                    raftLogger{n.logger},
	}
}

// start replays the log and starts Raft: anew with the members the cluster is
// founded with, or where the log ends.
func (n *raftNode) start() error {
	go n.applyCommits()
	restarted, err := n.replay()
	if err != nil {
		return err
	}
	if restarted || n.dir.Joined {
		n.node = raft.RestartNode(n.raftConfig())
	} else {
		peers := make([]raft.Peer, len(n.dir.Founders))
		for i, m := range n.dir.Founders {
			peers[i] = raft.Peer{ID: m.ID, Context: []byte(m.URL)}
		}
		n.node = raft.StartNode(n.raftConfig(), peers)
	}
	for _, m := range append(n.cfg.cluster, n.members.list()...) { // what is stored wins
		n.transport.SetPeer(m.ID, m.URL)
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop // close ends it: a node that shuts down has things to do first
	go n.run(ctx)
	go n.stepForwarded(ctx)
	go n.reads.run(ctx)
	return nil
}

// applyCommits runs the store, and ends the process if it cannot go on.
func (n *raftNode) applyCommits() {
	defer close(n.stored)
	if err := n.store.run(n.commitC); err != nil {
		n.fail(err)
	}
}

// fail ends the process with a reason; the first one counts.
func (n *raftNode) fail(err error) {
	select {
	case n.errorC <- err:
	default:
	}
}

// run is the loop: time, and what Raft wants done.
func (n *raftNode) run(ctx context.Context) {
	defer close(n.done)
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			n.node.Tick()
		case rd := <-n.node.Ready():
			if err := n.handleReady(rd); err != nil {
				n.fail(err)
				return
			}
		case taken := <-n.snapshots.taken:
			if err := n.adoptSnapshot(taken); err != nil {
				n.fail(err)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// handleReady takes one batch on its one-way trip: disk, network, store.
//
// Disk comes first because messages are promises: a vote or an acknowledgement
// that leaves before it is durable can be forgotten in a crash and given again
// to someone else (diss. §3.8). The exception is a leader's MsgApp: it promises
// nothing, as the leader counts its own copy only after Advance. Sending it first
// lets followers write while we do (diss. §10.2.1).
func (n *raftNode) handleReady(rd raft.Ready) error {
	if n.cfg.trace {
		n.traceState(rd)
	}
	n.noteState(rd)
	early, late := n.splitMessages(rd.Messages)
	n.transport.Send(early)
	n.publishDurable(&rd)
	runtime.Gosched()

	if err := n.save(rd); err != nil {
		return err
	}
	n.transport.Send(late)
	n.reads.deliver(rd.ReadStates)

	// Hands the batch to the store's channel; never waits for the store to apply it.
	changed, err := n.publish(rd)
	if err != nil {
		return err
	}
	n.node.Advance()
	n.changes.answer(changed) // only now does Raft take the next one
	clear(n.early)
	clear(n.late)
	return nil
}

// splitMessages separates the messages that may leave before the disk is done.
func (n *raftNode) splitMessages(messages []raftpb.Message) (early, late []raftpb.Message) {
	n.early, n.late = n.early[:0], n.late[:0]
	for i := range messages {
		if n.cfg.trace {
			n.traceMessage(messages[i])
		}
		if messages[i].Type == raftpb.MsgApp {
			n.early = append(n.early, messages[i])
		} else {
			n.late = append(n.late, messages[i])
		}
	}
	return n.early, n.late
}

// save makes durable what the batch says must be: first the file of a snapshot
// from the leader, then, in one frame of the log, its marker with the entries and
// the hard state. In the other order a crash in between would leave a log that
// refers to a snapshot which does not exist, or a commit index beyond the log.
func (n *raftNode) save(rd raft.Ready) error {
	n.saving.Store(time.Now().UnixNano())
	defer n.saving.Store(0)

	marker := raftpb.SnapshotMetadata{}
	if !raft.IsEmptySnap(rd.Snapshot) {
		marker = rd.Snapshot.Metadata
		if err := n.snapshots.commitIncoming(marker); err != nil {
			return err
		}
	}
	if err := n.wal.Save(rd.HardState, rd.Entries, marker, rd.MustSync || marker.Index > 0); err != nil {
		return fmt.Errorf("save %d entries: %w", len(rd.Entries), err)
	}
	if !n.dir.Started && len(rd.Entries)+int(marker.Index) > 0 {
		if err := n.dir.change(func(id *identity) { id.Started = true }); err != nil {
			return fmt.Errorf("note that the log has begun: %w", err)
		}
	}

	// The same into memory, where Raft reads it.
	if marker.Index > 0 {
		if err := n.storage.ApplySnapshot(raftpb.Snapshot{Metadata: marker}); err != nil {
			return fmt.Errorf("take over snapshot %d: %w", marker.Index, err)
		}
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		if err := n.storage.SetHardState(rd.HardState); err != nil {
			return err
		}
	}
	n.noteEntries(rd.Entries)
	return n.storage.Append(rd.Entries)
}

// noteEntries remembers where the log changes the membership.
func (n *raftNode) noteEntries(entries []raftpb.Entry) {
	for i := range entries {
		if entries[i].Type != raftpb.EntryNormal {
			n.confIndex.Store(entries[i].Index)
		}
	}
}

// noteState lets everyone know of a new term, leader, role or commit index.
func (n *raftNode) noteState(rd raft.Ready) {
	if !raft.IsEmptyHardState(rd.HardState) {
		n.term.Store(rd.HardState.Term)
		n.committed.Store(rd.HardState.Commit)
		n.events.publish("commit", map[string]uint64{"term": rd.HardState.Term, "commit": rd.HardState.Commit})
	}
	if rd.SoftState == nil {
		return
	}
	if rd.RaftState != n.role {
		n.role = rd.RaftState
		if n.role == raft.StateCandidate {
			n.metrics.elections.Inc()
		}
		n.events.publish("role", map[string]any{"node": n.cfg.id, "role": roleNames[n.role], "term": n.term.Load()})
	}
	if old := n.lead.Swap(rd.Lead); old != rd.Lead {
		n.metrics.leaderChanges.Inc()
		n.reads.leaderChanged()
		n.events.publish("leader", map[string]uint64{"leader": rd.Lead, "term": n.term.Load()})
		n.logLeader(old, rd.Lead)
	}
}

func (n *raftNode) logLeader(old, lead uint64) {
	switch {
	case lead == raft.None:
		n.logger.Warn("the cluster has no leader", "node", n.cfg.id, "lost", old, "term", n.term.Load())
	case !n.greeted:
		n.greeted = true
		n.logger.Info("the cluster has a leader, try it", "node", n.cfg.id, "leader", lead, "term", n.term.Load(),
			"try", fmt.Sprintf("curl -L http://%s/my-key -XPUT -d foo", n.cfg.clientAddr()))
	default:
		n.logger.Info("the cluster has a leader", "node", n.cfg.id, "leader", lead, "term", n.term.Load())
	}
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
		if err := n.snaps.Keep(rd.Snapshot.Metadata); err != nil {
			return nil, err
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
	n.confApplied.Store(e.Index)
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
	time.AfterFunc(3*tickInterval, func() { n.fail(errRemoved) })
	return nil
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
		for _, member := range n.members.list() {
			n.transport.SetPeer(member.ID, member.URL)
		}
	}
	n.snapshots.applied(m.Index)
	n.backlog.push(n.commitC, &commit{
		restore: readCloser{state, file}, restoreIndex: m.Index, restoreTerm: m.Term,
	})
	return nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// stuck says why the node cannot do its work, or "". A save that takes longer
// than an election timeout is a disk that hangs. The leader's heartbeats wait
// for it like everything else, so the others elect another.
func (n *raftNode) stuck() string {
	if since := n.saving.Load(); since != 0 {
		if took := time.Since(time.Unix(0, since)); took > electionTimeout {
			return fmt.Sprintf("the disk has not finished a write for %v", took.Round(100*time.Millisecond))
		}
	}
	return ""
}

// lag is how many entries are committed, as far as this node knows, and not
// applied.
func (n *raftNode) lag() uint64 {
	committed, applied := n.committed.Load(), n.store.applied.Load()
	return committed - min(applied, committed)
}

// handOver gives leadership to the member that is furthest along, if we have it
// and a quorum is there, and waits a little for that.
func (n *raftNode) handOver(limit time.Duration) {
	st := n.node.Status()
	if st.RaftState != raft.StateLeader {
		return
	}
	target, match, active := raft.None, uint64(0), 1
	for id, pr := range st.Progress {
		if id == st.ID || pr.IsLearner || !pr.RecentActive {
			continue
		}
		active++
		if target == raft.None || pr.Match > match {
			target, match = id, pr.Match
		}
	}
	voters := len(st.Config.Voters[0])
	if target == raft.None || active <= voters/2 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	n.node.TransferLeadership(ctx, st.ID, target)
	waitUntil(ctx, func() bool { return n.Leader() != st.ID && n.Leader() != raft.None })
}

// newRaftNode returns a node that is not started yet.
func newRaftNode(cfg config, dir *dataDir, tlsClient *tls.Config, logger *slog.Logger) *raftNode {
	n := &raftNode{
		cfg: cfg, dir: dir, logger: logger, events: newEventHub(),
		storage: raft.NewMemoryStorage(), members: newMembership(),
		commitC: make(chan *commit, 64), forwarded: make(chan raftpb.Message, 1024), errorC: make(chan error, 1),
		done: make(chan struct{}), stored: make(chan struct{}),
		peerClient: rafthttp.NewClient(tlsClient, cfg.dial),
	}
	n.snapshots.taken = make(chan takenSnapshot, 1)
	n.metrics = newMetrics(n.status)
	incarnation := uint64(dir.Incarnation)
	n.store = newKVStore(n, cfg.id, incarnation, n.metrics)
	n.reads = newReads(n, n.store, cfg.id, incarnation)
	n.transport = rafthttp.New(rafthttp.Config{
		ID: cfg.id, Cluster: uint64(dir.Cluster), Incarnation: incarnation, URL: cfg.ownURL(),
		Raft: n, Logger: logger, TLS: tlsClient, Dial: cfg.dial,
		OnSent: n.metrics.messageSent, OnReceived: n.metrics.messageReceived,
	})
	return n
}

// close stops the loop, the network, Raft, and the disk last.
func (n *raftNode) close() error {
	if n.stop != nil {
		n.stop()
		select {
		case <-n.done:
		case <-time.After(500 * time.Millisecond):
			n.transport.Stop()
			return errors.New("the disk has not finished a write: stopped without waiting for it")
		}
		n.node.Stop()
	}
	n.transport.Stop()
	n.backlog.push(n.commitC, nil)
	<-n.stored
	n.snapshots.wait()
	if n.wal == nil {
		return nil
	}
	return n.wal.Close()
}
