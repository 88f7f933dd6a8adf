// Snapshots: taking them without stopping anyone, and passing them between peers.
//
//	§7 · diss. ch. 5
//
// A snapshot is a copy of the store, the membership, the index and the
// configuration of one instant: the loop decides that one is due and notes the
// rest, the store's goroutine copies itself when it gets there, another goroutine
// writes the file, and the loop puts its marker into the log and lets the log's
// beginning go.
//
// Start at maybeCapture for taking one, ReceiveSnapshot for getting one.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/snap"
)

// What the log keeps behind a snapshot, so that a peer that is a little slow
// needs none.
const (
	tailEntries = 5000
	tailBytes   = 8 << 20

	// minLogBytes is how much log is never too much, however small the snapshot.
	minLogBytes = 16 << 20
)

// takenSnapshot is a snapshot whose file is durable.
type takenSnapshot struct {
	meta raftpb.SnapshotMetadata
	size int64
	err  error
}

// snapshotter is what the node remembers of snapshots.
type snapshotter struct {
	taken chan takenSnapshot // from the writing goroutine to the loop

	// The loop's own.
	busy      bool   // one is being taken
	wanted    bool   // one is due for another reason than the log's length
	lastIndex uint64 // of the newest snapshot
	lastSize  int64

	writing sync.WaitGroup // and removing
	tidying sync.Mutex
	hurry   atomic.Bool // for the writing goroutine: it must not rest

	receiving sync.Mutex // one comes in at a time
	mu        sync.Mutex
	incoming  *snap.Incoming // it has come in, and waits for Raft to want it
	meta      raftpb.SnapshotMetadata
	adopted   chan struct{} // closed when Raft did
}

func (s *snapshotter) applied(index uint64) { s.lastIndex = index }

func (s *snapshotter) wait() { s.writing.Wait() }

// maybeCapture asks for a copy of the state after a batch, if a snapshot is due:
// after so many entries, or when the log has outgrown the last snapshot.
func (n *raftNode) maybeCapture(c *commit, meta raftpb.SnapshotMetadata) {
	s := &n.snapshots
	outgrown := n.wal.SizeSinceSnapshot() > max(minLogBytes, s.lastSize)
	s.hurry.Store(outgrown)
	due := s.wanted || meta.Index-s.lastIndex >= n.cfg.snapshotEntries || outgrown
	if !due || s.busy || meta.Index <= s.lastIndex {
		return
	}
	s.busy, s.wanted = true, false
	members := n.members.save()
	c.capture = func(state io.WriterTo) {
		s.writing.Add(1) // here: a store that has failed captures nothing any more
		go func() {
			defer s.writing.Done()
			size, err := n.writeSnapshot(meta, members, state)
			s.taken <- takenSnapshot{meta: meta, size: size, err: err} // has room for the only one
		}()
	}
}

// writeSnapshot writes the file of a snapshot.
func (n *raftNode) writeSnapshot(meta raftpb.SnapshotMetadata, members []byte, state io.WriterTo) (int64, error) {
	w, err := n.snaps.Create(meta)
	if err != nil {
		return 0, err
	}
	if _, err := w.Write(members); err != nil {
		return 0, errors.Join(err, w.Abort())
	}
	if _, err := state.WriteTo(&gently{w: w, hurry: &n.snapshots.hurry, ended: n.done, rested: time.Now()}); err != nil {
		return 0, errors.Join(err, w.Abort())
	}
	return w.Size(), w.Commit()
}

// gently writes so that those who wait for an answer have disk and processor for
// themselves three quarters of the time: with 1,000,000 keys and 64 clients, the
// longest pause of writes is 60 ms rather than 200. A log that grows too long
// meanwhile would be worse than such pauses. When the node ends, so does this.
type gently struct {
	w       io.Writer
	hurry   *atomic.Bool
	ended   <-chan struct{}
	rested  time.Time // when the last rest was over
	written int       // since then
}

func (g *gently) Write(b []byte) (int, error) {
	if g.written >= 1<<20 {
		rest := min(3*time.Since(g.rested), 50*time.Millisecond)
		if g.hurry.Load() {
			rest = 0
		}
		select {
		case <-g.ended:
			return 0, raft.ErrStopped
		case <-time.After(rest):
		}
		g.rested, g.written = time.Now(), 0
	}
	n, err := g.w.Write(b)
	g.written += n
	return n, err
}

// adoptSnapshot makes a snapshot the one to restart from: its marker goes into
// the log, and what is before it can go.
func (n *raftNode) adoptSnapshot(t takenSnapshot) error {
	s := &n.snapshots
	s.busy = false
	if t.err != nil {
		return fmt.Errorf("take a snapshot: %w", t.err)
	}
	if t.meta.Index <= s.lastIndex {
		return nil // one from the leader has come in between
	}
	if err := n.wal.Save(raftpb.HardState{}, nil, t.meta, true); err != nil {
		return fmt.Errorf("mark snapshot %d: %w", t.meta.Index, err)
	}
	s.lastIndex, s.lastSize = t.meta.Index, t.size
	if _, err := n.storage.CreateSnapshot(t.meta.Index, &t.meta.ConfState, nil); err != nil {
		return fmt.Errorf("adopt snapshot %d: %w", t.meta.Index, err)
	}
	if err := n.compact(t.meta.Index); err != nil {
		return err
	}
	if err := n.tidyUp(t.meta); err != nil {
		return err
	}
	n.metrics.snapshots.WithLabelValues("taken").Inc()
	n.events.publish("snapshot", map[string]any{"taken": t.meta.Index, "bytes": t.size})
	n.logger.Debug("snapshot taken", "node", n.cfg.id, "index", t.meta.Index, "bytes", t.size)
	return nil
}

// tidyUp removes the files that a snapshot has made needless. The loop does not wait for
// that: the system can take a tenth of a second to give up the blocks of a large one.
func (n *raftNode) tidyUp(meta raftpb.SnapshotMetadata) error {
	removeSegments, err := n.wal.Compact()
	if err != nil {
		return err
	}
	s := &n.snapshots
	s.writing.Go(func() {
		s.tidying.Lock() // or two would remove the same files
		defer s.tidying.Unlock()
		if err := errors.Join(removeSegments(), n.snaps.RemoveBefore(meta)); err != nil {
			n.fail(fmt.Errorf("remove what snapshot %d has replaced: %w", meta.Index, err))
		}
	})
	return nil
}

// compact drops the log in memory up to a snapshot, but for a tail, and for what peers
// that are there still lack, unless that is more than a snapshot. Else one on a slow
// link would begin anew, with the next snapshot, as long as there are writes.
func (n *raftNode) compact(index uint64) error {
	first, err := n.storage.FirstIndex()
	if err != nil {
		return err
	}
	lacking := n.lacking()
	from := index + 1 - min(tailEntries, index)
	for next := range lacking {
		from = min(from, next)
	}
	from = max(first, from)
	entries, err := n.storage.Entries(from, index+1, 1<<62)
	if err != nil {
		return fmt.Errorf("read the log's tail: %w", err)
	}
	kept, size := index+1, int64(0) // the first that stays
	for i := len(entries) - 1; i >= 0; i-- {
		e := &entries[i]
		size += int64(e.Size())
		tail := index-e.Index < tailEntries && size <= tailBytes
		if tail || lacking[e.Index] && size <= max(minLogBytes, n.snapshots.lastSize) {
			kept = e.Index
		}
	}
	if kept <= first {
		return nil
	}
	if err := n.storage.Compact(kept - 1); err != nil && !errors.Is(err, raft.ErrCompacted) {
		return fmt.Errorf("compact the log to %d: %w", kept-1, err)
	}
	return nil
}

// lacking is the first entry that each peer lacks, as far as the leader knows, of
// those that are there. Who gets a snapshot needs what is behind that.
func (n *raftNode) lacking() map[uint64]bool {
	there, next := n.transport.Reachable(), map[uint64]bool{}
	for id, pr := range n.node.Status().Progress {
		if there[id] {
			next[max(pr.Match, pr.PendingSnapshot)+1] = true
		}
	}
	return next
}

// OpenSnapshot implements rafthttp.Raft: the file of a MsgSnap, as it lies on
// disk.
func (n *raftNode) OpenSnapshot(m raftpb.Message) (io.ReadCloser, error) {
	return n.snaps.OpenRaw(m.Snapshot.Metadata)
}

// ReportSnapshot implements rafthttp.Raft.
func (n *raftNode) ReportSnapshot(id uint64, ok bool) {
	status, kind := raft.SnapshotFinish, "sent"
	if !ok {
		status, kind = raft.SnapshotFailure, "failed"
	}
	n.metrics.snapshots.WithLabelValues(kind).Inc()
	n.node.ReportSnapshot(id, status)
}

// adoptTimeout is how long Raft may take to want a snapshot that has come in.
const adoptTimeout = time.Second

// ReceiveSnapshot implements rafthttp.Raft. The file is stored under a name of
// its own first; only the Ready that carries the snapshot gives it its proper
// name. If Raft ignores the message, the file goes.
func (n *raftNode) ReceiveSnapshot(ctx context.Context, m raftpb.Message, body io.Reader) error {
	s := &n.snapshots
	if !s.receiving.TryLock() {
		return errors.New("another snapshot is coming in")
	}
	defer s.receiving.Unlock()
	if n.cfg.trace {
		n.traceMessage(m)
	}
	meta := m.Snapshot.Metadata
	if meta.Index <= n.committed.Load() {
		return n.node.Step(ctx, m) // Raft answers what we have instead
	}
	in, err := n.snaps.Receive(meta, body)
	if err != nil {
		return n.mustWrite(err)
	}
	adopted := make(chan struct{})
	s.mu.Lock()
	s.incoming, s.meta, s.adopted = in, meta, adopted
	s.mu.Unlock()

	err = n.node.Step(ctx, m)
	if err == nil {
		err = n.awaitAdoption(adopted)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.incoming == nil { // adopted
		n.metrics.snapshots.WithLabelValues("received").Inc()
		n.events.publish("snapshot", map[string]any{"received": meta.Index, "from": m.From})
		n.logger.Info("snapshot received", "node", n.cfg.id, "peer", m.From, "index", meta.Index)
		return nil
	}
	s.incoming = nil
	return errors.Join(err, n.mustWrite(in.Abort()))
}

// mustWrite ends the node if it is our own disk that failed to take a snapshot.
func (n *raftNode) mustWrite(err error) error {
	if errors.Is(err, snap.ErrDisk) {
		n.fail(err)
	}
	return err
}

// awaitAdoption waits until a snapshot that has come in has its proper name. While
// the disk hangs, the Ready that carries it waits, too: Raft may have taken it, and
// then the node cannot do without the file. So rounds count as well as time: the one
// under way, one that Raft made before it had the message, and the one after that.
func (n *raftNode) awaitAdoption(adopted <-chan struct{}) error {
	before := n.rounds.Load()
	for {
		select {
		case <-adopted:
			return nil
		case <-n.done:
			return raft.ErrStopped
		case <-time.After(adoptTimeout):
			if n.rounds.Load() > before+2 {
				return errors.New("the snapshot was of no use")
			}
		}
	}
}

// commitIncoming gives the file of a snapshot that Raft has taken its name.
func (s *snapshotter) commitIncoming(meta raftpb.SnapshotMetadata) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.incoming == nil || s.meta.Index != meta.Index || s.meta.Term != meta.Term {
		return fmt.Errorf("the file of snapshot %d is not here", meta.Index)
	}
	err := s.incoming.Commit()
	s.incoming = nil
	close(s.adopted)
	return err
}
