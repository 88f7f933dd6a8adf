// The Raft node: its parts, then the loop that does what Raft asks for.
//
//	Figure 2 · diss. §3.8, §10.2.1
//
// Start at run and handleReady: the order of its lines is the safety argument.
// recovery.go says how a node comes back, publishing.go what becomes of committed
// entries; snapshotter.go keeps the log short; memberchange.go changes who belongs.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
	outgoing  outgoing            // and to the leader
	errorC    chan error          // gets the one reason to end the process

	// As of the last Ready, for all goroutines.
	term      atomic.Uint64
	lead      atomic.Uint64
	committed atomic.Uint64
	working   atomic.Int64  // when the round under way began, in Unix nanoseconds; 0 if none is
	rounds    atomic.Uint64 // that have ended
	unapplied atomic.Int64  // bytes committed and not yet applied

	peerClient *http.Client // for requests that the leader has to serve

	role      raft.StateType
	confState raftpb.ConfState
	confIndex atomic.Uint64 // the last entry stored that changes the membership
	changes   changeWaiters
	snapshots snapshotter
	greeted   bool
	elsewhere string           // where the cluster was last known to look for this member
	early     []raftpb.Message // the loop's own: messages that may go before the disk
	late      []raftpb.Message
	stop      context.CancelFunc
	done      chan struct{} // closed when the loop has ended
	stored    chan struct{} // closed when the store's goroutine has
}

// Term, Leader, Overloaded and Propose are what the store needs: see consensus.
func (n *raftNode) Term() uint64     { return n.term.Load() }
func (n *raftNode) Leader() uint64   { return n.lead.Load() }
func (n *raftNode) Overloaded() bool { return n.unapplied.Load() > maxUnapplied }

// Propose puts data on its way into the log, here or at the leader.
func (n *raftNode) Propose(ctx context.Context, data []byte) error {
	if lead := n.Leader(); lead != n.cfg.id && lead != raft.None {
		return n.outgoing.put(data)
	}
	return n.node.Propose(ctx, data)
}

// ReadIndex asks for an index to read at.
func (n *raftNode) ReadIndex(ctx context.Context, rctx []byte) error {
	return n.node.ReadIndex(ctx, rctx)
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
		if !n.members.isRemoved(m.ID) {
			n.transport.SetPeer(m.ID, m.URL)
		}
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
	time.AfterFunc(untilTick(n.cfg.id, time.Now()), func() { ticker.Reset(tickInterval) })
	for {
		select {
		case <-ticker.C:
			n.node.Tick()
		case <-n.outgoing.filled:
			runtime.Gosched() // who is about to propose may come along
			n.forwardProposals()
		case rd := <-n.node.Ready():
			if !n.round(func() error { return n.handleReady(rd) }) {
				return
			}
		case taken := <-n.snapshots.taken:
			if !n.round(func() error { return n.adoptSnapshot(taken) }) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// round does what the loop has to do at the disk. It returns false when the node
// cannot go on after that.
func (n *raftNode) round(do func() error) bool {
	n.working.Store(time.Now().UnixNano())
	err := do()
	n.working.Store(0)
	n.rounds.Add(1)
	if err != nil {
		n.fail(err)
	}
	return err == nil
}

// handleReady takes one batch on its one-way trip: disk, network, store.
//
// Disk comes first because messages are promises: a vote or an acknowledgement
// that leaves before it is durable can be forgotten in a crash and given again
// to someone else (diss. §3.8). The exception is a leader's MsgApp: it promises
// nothing, as the leader counts its own copy only after Advance. Sending it first
// lets followers write while we do (diss. §10.2.1). What reads wait for, and what
// an earlier batch has made durable, need not wait for this one's disk either.
func (n *raftNode) handleReady(rd raft.Ready) error {
	if n.cfg.trace {
		n.traceState(rd)
	}
	n.noteState(rd)
	early, late := n.splitMessages(rd.Messages)
	n.transport.Send(early)
	n.reads.deliver(rd.ReadStates)
	n.publishDurable(&rd)
	runtime.Gosched() // or all of these start only when the runtime finds us blocked at the disk

	if err := n.save(rd); err != nil {
		return err
	}
	n.forwardProposals() // before the answer that lets the leader begin the next round
	n.transport.Send(late)

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
	if !n.dir.Started && (len(rd.Entries) > 0 || marker.Index > 0 || !raft.IsEmptyHardState(rd.HardState)) {
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

// stuck says why the node cannot do its work, or "". A round that takes longer
// than an election timeout waits for a disk that hangs. The leader's heartbeats wait
// for it like everything else, so the others elect another.
func (n *raftNode) stuck() string {
	if since := n.working.Load(); since != 0 {
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
	n.outgoing.filled = make(chan struct{}, 1)
	n.metrics = newMetrics(n.status)
	incarnation := uint64(dir.Incarnation)
	n.store = newKVStore(n, cfg.id, incarnation, n.metrics)
	n.store.progress = restoreProgress(&n.cfg, logger)
	if cfg.limitMemory != nil {
		n.store.resized = memoryLimiter(cfg.limitMemory)
	}
	n.reads = newReads(n, n.store, cfg.id, incarnation)
	n.transport = rafthttp.New(rafthttp.Config{
		ID: cfg.id, Cluster: uint64(dir.Cluster), Incarnation: incarnation, URL: cfg.ownURL(),
		Raft: n, Logger: logger, TLS: tlsClient, Dial: cfg.dial,
		OnSent: n.metrics.messageSent, OnReceived: n.metrics.messageReceived,
	})
	return n
}

// close stops the loop, the network, Raft, and the disk last, unless it hangs.
func (n *raftNode) close() error {
	hangs := errors.New("the disk has not finished a write: stopped without waiting for it")
	if n.stop != nil {
		n.stop()
		if !within(500*time.Millisecond, func() { <-n.done }) {
			n.transport.Stop()
			return hangs
		}
		n.node.Stop()
	}
	n.transport.Stop()
	n.backlog.push(n.commitC, nil)
	<-n.stored
	var err error
	ended := within(2*time.Second, func() {
		n.snapshots.wait()
		if n.wal != nil {
			err = n.wal.Close()
		}
	})
	if !ended {
		return hangs
	}
	return err
}

// within waits for something, up to a limit, and reports whether it came to its end.
func within(limit time.Duration, wait func()) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wait()
	}()
	select {
	case <-ended:
		return true
	case <-time.After(limit):
		return false
	}
}
