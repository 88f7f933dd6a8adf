// Snapshots between peers: what the receiver does with one, whatever its disk does
// meanwhile, and what becomes of transfers that are cut, slow, or refused.
//
// Start at TestCrashWhileASnapshotComes.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/snap"
	"example.com/raftexample/raft/vfs"
	"example.com/raftexample/raft/vfs/crashfs"
)

// leadersSnapshot is a snapshot of entry 20 as a leader sends it, to node 1.
func leadersSnapshot(t *testing.T) (m raftpb.Message, file []byte) {
	t.Helper()
	dir, err := snap.Open("/leader", crashfs.New())
	if err != nil {
		t.Fatal(err)
	}
	leader, store := &raftNode{snaps: dir}, newKVStore(nil, 2, 1, nil)
	store.set("k", item{value: "the leader's", revision: 20})
	members := newMembership()
	for id := range uint64(3) {
		members.members[id+1] = member{ID: id + 1, URL: fmt.Sprintf("http://127.0.0.1:%d", id+1)}
	}
	meta := raftpb.SnapshotMetadata{Index: 20, Term: 2, ConfState: raftpb.ConfState{Voters: []uint64{1, 2, 3}}}
	if _, err := leader.writeSnapshot(meta, members.save(), store.snapshot()); err != nil {
		t.Fatal(err)
	}
	m = raftpb.Message{Type: raftpb.MsgSnap, From: 2, To: 1, Term: 2, Snapshot: &raftpb.Snapshot{Metadata: meta}}
	r, err := leader.OpenSnapshot(m)
	if err != nil {
		t.Fatal(err)
	}
	file, err = io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return m, file
}

// follower is a node whose log was opened, and whose loop does not run.
func follower(t *testing.T, disk vfs.FS) (*raftNode, error) {
	t.Helper()
	cfg, err := parseFlags([]string{"--data-dir", "/data/n1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := openDataDir(disk, cfg.dataDir)
	if err != nil {
		return nil, err
	}
	if dir.isNew() {
		if err := dir.claim(identity{ID: 1, Cluster: 7, Joined: true, Founders: cfg.cluster}); err != nil {
			return nil, errors.Join(err, dir.close())
		}
	}
	n := newRaftNode(cfg, dir, nil, slog.New(slog.DiscardHandler))
	go n.applyCommits()
	if _, err := n.replay(); err != nil {
		return nil, errors.Join(err, n.close(), n.dir.close())
	}
	return n, nil
}

// takeSnapshot is what the loop and the transport do with a leader's snapshot, and with
// an append that came with it, once begun was called; stored says whether that counts as
// durable.
func takeSnapshot(t *testing.T, disk vfs.FS, m raftpb.Message, file []byte, begun func()) (stored bool, err error) {
	t.Helper()
	n, err := follower(t, disk)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, n.close(), n.dir.close()) }()
	old := raft.Ready{
		HardState: raftpb.HardState{Term: 1, Vote: 1, Commit: 3}, MustSync: true,
		Entries: []raftpb.Entry{{Term: 1, Index: 1}, {Term: 1, Index: 2}, {Term: 1, Index: 3}, {Term: 1, Index: 4}},
	}
	if err := n.save(old); err != nil {
		return false, err
	}
	begun()
	in, err := n.snaps.Receive(m.Snapshot.Metadata, bytes.NewReader(file))
	if err != nil {
		return false, err
	}
	n.snapshots.incoming, n.snapshots.meta, n.snapshots.adopted = in, m.Snapshot.Metadata, make(chan struct{})
	rd := raft.Ready{
		HardState: raftpb.HardState{Term: 2, Commit: 20}, Snapshot: *m.Snapshot, MustSync: true,
		Entries: []raftpb.Entry{{Term: 2, Index: 21}, {Term: 2, Index: 22}},
	}
	if err := n.save(rd); err != nil {
		return false, err
	}
	_, err = n.publish(rd)
	return true, err
}

// checkTaken opens a node's directory anew: it holds what was before the snapshot, or
// all that came with it, and the latter if that counted as durable.
func checkTaken(t *testing.T, what string, disk vfs.FS, stored bool) {
	t.Helper()
	n, err := follower(t, disk)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer func() {
		if err := errors.Join(n.close(), n.dir.close()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}()
	hard, _, err := n.storage.InitialState()
	if err != nil {
		t.Fatal(err)
	}
	last, err := n.storage.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	files, err := disk.List("/data/n1/snap")
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case last == 22 && hard.Term == 2 && hard.Commit == 20 && len(files) == 1:
		waitFor(t, 10*time.Second, "the store to have the snapshot", func() bool { return n.store.applied.Load() == 20 })
		if it, err := n.store.get("k"); err != nil || it.value != "the leader's" {
			t.Errorf("%s: the store has %q, %v", what, it.value, err)
		}
		if got := n.members.list(); len(got) != 3 {
			t.Errorf("%s: members %v", what, got)
		}
	case stored:
		t.Errorf("%s: the log ends at %d, with %v and files %v, and the snapshot was stored", what, last, hard, files)
	case last != 4 && last != 0 || hard.Commit > 3 || len(files) != 0:
		t.Errorf("%s: the log ends at %d, with %v and files %v", what, last, hard, files)
	}
}

// §7: a crash, or an error of the disk, at any step of taking over a leader's snapshot
// leaves what was before, or the snapshot with the hard state and the entries that came
// with it; nothing in between.
func TestCrashWhileASnapshotComes(t *testing.T) {
	t.Parallel()
	m, file := leadersSnapshot(t)
	seeds := uint64(1)
	if os.Getenv("RAFT_LONG") != "" {
		seeds = 20
	}
	for step := int64(1); ; step++ {
		var reached atomic.Bool
		for _, failure := range []error{crashfs.ErrCrashed, []error{syscall.EIO, syscall.ENOSPC}[step%2]} {
			disk := crashfs.New()
			var begun atomic.Bool
			var count atomic.Int64
			disk.Fault = func(op crashfs.Op) error {
				if strings.HasSuffix(op.Name, "spare") || !begun.Load() || count.Add(1) != step {
					return nil // spares are made in the background, at any time
				}
				reached.Store(true)
				return failure
			}
			what := fmt.Sprintf("step %d: %v", step, failure)
			stored, err := takeSnapshot(t, disk, m, file, func() { begun.Store(true) })
			if err != nil && !errors.Is(err, failure) {
				t.Errorf("%s: %v", what, err)
			}
			begun.Store(false)
			if failure != crashfs.ErrCrashed {
				checkTaken(t, what, disk, stored)
				continue
			}
			for seed := range seeds {
				checkTaken(t, fmt.Sprint(what, ", seed ", seed), disk.Restart(uint64(step)+seed), stored)
			}
		}
		if !reached.Load() {
			if step < 10 {
				t.Errorf("there were %d steps", step-1)
			}
			break
		}
	}
}

// §7: a leader's snapshot is acknowledged like entries, and so is durable first, though the
// term, the vote and the entries, which Raft asks to sync for, are as they were.
func TestSnapshotIsSyncedByItself(t *testing.T) {
	t.Parallel()
	m, file := leadersSnapshot(t)
	disk := crashfs.New()
	n, err := follower(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.save(raft.Ready{HardState: raftpb.HardState{Term: 2}, MustSync: true}); err != nil {
		t.Fatal(err)
	}
	in, err := n.snaps.Receive(m.Snapshot.Metadata, bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	n.snapshots.incoming, n.snapshots.meta, n.snapshots.adopted = in, m.Snapshot.Metadata, make(chan struct{})
	if err := n.save(raft.Ready{HardState: raftpb.HardState{Term: 2, Commit: 20}, Snapshot: *m.Snapshot}); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(8) {
		after, err := follower(t, disk.Restart(seed))
		if err != nil {
			t.Fatal(err)
		}
		if last, err := after.storage.LastIndex(); err != nil || last != 20 {
			t.Errorf("seed %d: the log ends at %d, %v", seed, last, err)
		}
		if err := errors.Join(after.close(), after.dir.close()); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(n.close(), n.dir.close()); err != nil {
		t.Error(err)
	}
}

// steppedNode is a raft.Node that a test steps for.
type steppedNode struct {
	raft.Node
	step func()
}

func (s *steppedNode) Step(context.Context, raftpb.Message) error {
	s.step()
	return nil
}

// receiver returns a node that receives snapshots; step is what Raft does with one.
func receiver(t *testing.T, step func(n *raftNode)) *raftNode {
	t.Helper()
	n, err := follower(t, crashfs.New())
	if err != nil {
		t.Fatal(err)
	}
	n.node = &steppedNode{step: func() { step(n) }}
	t.Cleanup(func() {
		if err := errors.Join(n.close(), n.dir.close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *raftNode) snapshotFiles(t *testing.T) int {
	t.Helper()
	names, err := n.dir.fs.List(n.dir.snapDir())
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// A snapshot that Raft ignores is deleted soon.
func TestUnwantedSnapshotIsDeleted(t *testing.T) {
	t.Parallel()
	m, file := leadersSnapshot(t)
	n := receiver(t, func(n *raftNode) {
		time.AfterFunc(adoptTimeout/2, func() { n.rounds.Add(3) })
	})
	began := time.Now()
	if err := n.ReceiveSnapshot(t.Context(), m, bytes.NewReader(file)); err == nil {
		t.Error("it was taken")
	}
	if took := time.Since(began); took > 5*adoptTimeout {
		t.Errorf("it took %v", took)
	}
	if n := n.snapshotFiles(t); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// A snapshot that Raft may have taken stays, however long the disk hangs before the
// Ready that carries it is handled.
func TestSnapshotWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	m, file := leadersSnapshot(t)
	n := receiver(t, func(n *raftNode) {
		time.AfterFunc(adoptTimeout/2, func() { n.rounds.Add(2) })
		time.AfterFunc(5*adoptTimeout/2, func() {
			if err := n.snapshots.commitIncoming(m.Snapshot.Metadata); err != nil {
				t.Error(err)
			}
		})
	})
	if err := n.ReceiveSnapshot(t.Context(), m, bytes.NewReader(file)); err != nil {
		t.Error(err)
	}
	if n := n.snapshotFiles(t); n != 1 {
		t.Errorf("%d files are there", n)
	}
}

// A snapshot of what this node has committed anyway is not even read: Raft answers how far
// it is, and the sender need not try again.
func TestSnapshotOfWhatIsHere(t *testing.T) {
	t.Parallel()
	m, _ := leadersSnapshot(t)
	stepped := 0
	n := receiver(t, func(*raftNode) { stepped++ })
	n.committed.Store(m.Snapshot.Metadata.Index)
	if err := n.ReceiveSnapshot(t.Context(), m, iotest.ErrReader(errors.New("it was read"))); err != nil || stepped != 1 {
		t.Errorf("stepped %d times: %v", stepped, err)
	}
	if n := n.snapshotFiles(t); n != 0 {
		t.Errorf("%d files are there", n)
	}
}

// A snapshot of our own that was being written while a newer one came from the leader is
// too late: the log begins behind that.
func TestOlderSnapshotIsNotAdopted(t *testing.T) {
	t.Parallel()
	disk := crashfs.New()
	m, file := leadersSnapshot(t)
	begun := func() {}
	if _, err := takeSnapshot(t, disk, m, file, begun); err != nil {
		t.Fatal(err)
	}
	n, err := follower(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	n.snapshots.busy = true
	if err := n.adoptSnapshot(takenSnapshot{meta: raftpb.SnapshotMetadata{Index: 4, Term: 1}}); err != nil || n.snapshots.busy {
		t.Errorf("an older one: %v, busy %t", err, n.snapshots.busy)
	}
	if err := errors.Join(n.close(), n.dir.close()); err != nil {
		t.Fatal(err)
	}
	checkTaken(t, "afterwards", disk, true)
}

// Of two snapshots that come at the same time, one is refused; a later one is taken.
func TestOneSnapshotComesAtATime(t *testing.T) {
	t.Parallel()
	m, file := leadersSnapshot(t)
	n := receiver(t, func(n *raftNode) {
		if err := n.snapshots.commitIncoming(m.Snapshot.Metadata); err != nil {
			t.Error(err)
		}
	})
	body, w := io.Pipe()
	first := make(chan error, 1)
	go func() { first <- n.ReceiveSnapshot(t.Context(), m, body) }()
	if _, err := w.Write(file[:len(file)/2]); err != nil {
		t.Fatal(err)
	}
	if err := n.ReceiveSnapshot(t.Context(), m, bytes.NewReader(file)); err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("a second one: %v", err)
	}
	w.CloseWithError(errors.New("the line is broken"))
	if err := <-first; err == nil || !strings.Contains(err.Error(), "the line is broken") {
		t.Errorf("the first one: %v", err)
	}
	if err := n.ReceiveSnapshot(t.Context(), m, bytes.NewReader(file)); err != nil {
		t.Errorf("a third one: %v", err)
	}
}

// leaveBehind makes a node need a snapshot: it is stopped, and much is written.
func (c *testCluster) leaveBehind(away int) {
	c.t.Helper()
	c.end(away)
	lead := away
	waitFor(c.t, 20*time.Second, "another leader", func() bool {
		lead = c.leader((away + 1) % 3)
		return lead != away
	})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 30 { // 12 MiB, of which the log keeps 8
				tryPut(c.t.Context(), c.url(lead, fmt.Sprintf("/k%d", i%10)), strings.Repeat(fmt.Sprint(w), 100<<10))
			}
		})
	}
	wg.Wait()
	waitFor(c.t, 20*time.Second, "the log to be cut", func() bool { return c.status(lead).FirstIndex > 20 })
}

func (c *testCluster) status(i int) nodeStatus {
	c.t.Helper()
	var st nodeStatus
	if err := json.Unmarshal([]byte(do(c.t, "GET", c.url(i, "/-/status"), "").body), &st); err != nil {
		c.t.Fatal(err)
	}
	return st
}

// snapshots returns how many snapshots of a kind a node counts.
func (c *testCluster) snapshots(i int, kind string) (count int) {
	c.t.Helper()
	name := fmt.Sprintf("raftexample_snapshots_total{kind=%q} ", kind)
	_, rest, found := strings.Cut(do(c.t, "GET", c.url(i, "/-/metrics"), "").body, name)
	if !found {
		return 0
	}
	if _, err := fmt.Sscan(rest, &count); err != nil {
		c.t.Fatal(err)
	}
	return count
}

// snapshotLinks are connections over which snapshots do not go as others do.
type snapshotLinks struct {
	cuts atomic.Int64 // so many transfers are cut, each after 300 KiB
	rate atomic.Int64 // bytes per second; 0 for no limit
}

func (s *snapshotLinks) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &snapshotConn{Conn: conn, links: s}, nil
}

type snapshotConn struct {
	net.Conn
	links    *snapshotLinks
	snapshot bool
	sent     int
}

func (c *snapshotConn) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("POST ")) {
		c.snapshot, c.sent = bytes.HasPrefix(b, []byte("POST /raft/snapshot ")), 0
	}
	if !c.snapshot {
		return c.Conn.Write(b)
	}
	c.sent += len(b)
	if c.sent > 300<<10 && c.links.cuts.Load() > 0 {
		c.links.cuts.Add(-1)
		return 0, errors.Join(errors.New("cut"), c.Conn.Close())
	}
	if rate := c.links.rate.Load(); rate > 0 {
		time.Sleep(time.Duration(len(b)) * time.Second / time.Duration(rate))
	}
	return c.Conn.Write(b)
}

// A transfer that is cut is tried again, as often as it takes: the receiver is never
// left without.
func TestCutTransferIsTriedAgain(t *testing.T) {
	t.Parallel()
	var links snapshotLinks
	links.cuts.Store(3)
	on := map[int]machine{}
	for i := range 3 {
		on[i] = machine{fs: vfs.OS, dial: links.dial}
	}
	c := newTestClusterWith(t, 3, on, "http", "--snapshot-entries", "20")
	c.leaveBehind(0)
	c.start(0)
	put(t, c.url(1, "/after"), "x", 20*time.Second)
	if got := get(t, c.url(0, "/after")); got != "x" {
		t.Errorf("it has %q", got)
	}
	sent, failed := 0, 0
	for i := range 3 {
		sent += c.snapshots(i, "sent")
		failed += c.snapshots(i, "failed")
	}
	if sent < 1 || failed != 3 {
		t.Errorf("%d snapshots were sent, %d failed", sent, failed)
	}
}

// A snapshot that takes long to send, while many writes go on, is not in vain: the log
// behind it stays until the receiver has it.
func TestSlowTransferUnderLoad(t *testing.T) {
	t.Parallel()
	var links snapshotLinks
	on := map[int]machine{}
	for i := range 3 {
		on[i] = machine{fs: vfs.OS, dial: links.dial}
	}
	c := newTestClusterWith(t, 3, on, "http", "--snapshot-entries", "20")
	c.leaveBehind(0)
	links.rate.Store(200 << 10) // 5 s for a snapshot of 1 MiB
	c.start(0)
	lead := c.leader(1)
	first := c.status(lead).SnapshotIndex
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for w := range 2 {
		wg.Go(func() {
			for ctx.Err() == nil { // 12 MiB in that time, more than the log's tail, and six snapshots
				tryPut(ctx, c.url(lead, fmt.Sprintf("/k%d", w)), strings.Repeat("x", 100<<10))
				time.Sleep(80 * time.Millisecond)
			}
		})
	}
	waitFor(t, 30*time.Second, "the node that was away to be ready", func() bool { return tryGetStatus(c.url(0, "/-/ready")) == 200 })
	if applied := c.status(0).Applied; applied <= first {
		t.Errorf("it was ready when it had applied %d, and lacked the snapshot at %d", applied, first)
	}
	if n := c.snapshots(lead, "sent"); n != 1 {
		t.Errorf("it took %d snapshots", n)
	}
	if taken := c.status(lead).SnapshotIndex; taken <= first+20 {
		t.Errorf("snapshots went on from %d to %d only", first, taken)
	}
}

// A follower whose disk fails, at whatever it does for its peers, ends and says why; the
// others go on, and once the disk is well so does the follower.
func TestDiskOfAFollowerFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ kind, ending string }{
		{"WriteAt", ".incoming"}, {"Sync", ".incoming"}, {"WriteAt", ".wal"}, {"Sync", ".tmp"},
	} {
		t.Run(tt.kind+tt.ending, func(t *testing.T) {
			t.Parallel()
			disk := crashfs.New()
			var fails atomic.Bool
			var later atomic.Int64
			disk.Fault = func(op crashfs.Op) error {
				if !fails.Load() || op.Kind != tt.kind || !strings.HasSuffix(op.Name, tt.ending) {
					return nil
				}
				later.Add(1)
				return syscall.ENOSPC
			}
			c := newTestClusterWith(t, 3, map[int]machine{0: {fs: disk}}, "http", "--snapshot-entries", "20")
			put(t, c.url(0, "/before"), "x", 20*time.Second)
			c.leaveBehind(0)
			fails.Store(true)

			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- run(ctx, c.args(0), c.on[0], io.Discard, &c.logs) }()
			for i := 0; ctx.Err() == nil && len(ended) == 0; i++ {
				put(t, c.url(1, "/meanwhile"), fmt.Sprint(i), 20*time.Second)
			}
			if err := <-ended; !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "\n") {
				t.Errorf("it ended with %v", err)
			}
			fails.Store(false)
			if n := later.Load(); tt.kind == "Sync" && n != 1 {
				t.Errorf("%d syncs failed: the first was to be the last", n)
			}
			c.start(0)
			put(t, c.url(1, "/after"), "x", 20*time.Second)
			if got := get(t, c.url(0, "/after")); got != "x" {
				t.Errorf("afterwards it has %q", got)
			}
		})
	}
}

// A node that cannot note whom it has met ends: it could forget them.
func TestMeetingIsNoted(t *testing.T) {
	t.Parallel()
	disk := crashfs.New()
	var fails atomic.Bool
	disk.Fault = func(crashfs.Op) error {
		if fails.Load() {
			return syscall.EIO
		}
		return nil
	}
	n, err := follower(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.CheckPeer(2, 5), n.CheckPeer(2, 5)); err != nil {
		t.Error(err)
	}
	if err := n.CheckPeer(2, 6); err == nil || len(n.errorC) > 0 {
		t.Errorf("another incarnation: %v, and the node ends: %t", err, len(n.errorC) > 0)
	}
	fails.Store(true)
	if err := n.CheckPeer(3, 5); !errors.Is(err, syscall.EIO) {
		t.Errorf("it cannot be noted: %v", err)
	}
	if len(n.errorC) == 0 {
		t.Error("the node goes on")
	}
	fails.Store(false)
	if err := errors.Join(n.close(), n.dir.close()); err != nil {
		t.Error(err)
	}
}

// What is remembered of senders is for ever: so of those that no configuration names there
// are not many. Members are met all the same, and so is who was met before.
func TestStrangersMetAreBounded(t *testing.T) {
	t.Parallel()
	n, err := follower(t, crashfs.New())
	if err != nil {
		t.Fatal(err)
	}
	n.members.members[1000] = member{ID: 1000}
	n.members.removed[2] = true
	if err := n.dir.meet(2, 5, func() error { return nil }); err != nil { // before it was removed
		t.Fatal(err)
	}
	var met atomic.Int64
	var wg sync.WaitGroup
	for id := range uint64(2 * maxStrangers) {
		if id == 0 {
			met.Add(1)
			if err := n.CheckPeer(100, 5); err != nil {
				t.Error(err)
			}
			continue
		}
		wg.Go(func() {
			if n.CheckPeer(100+id, 5) == nil {
				met.Add(1)
			}
		})
	}
	wg.Wait()
	if met.Load() != maxStrangers {
		t.Errorf("%d strangers were met, want %d", met.Load(), maxStrangers)
	}
	if err := errors.Join(n.CheckPeer(100, 5), n.CheckPeer(1000, 5), n.CheckPeer(1000, 5)); err != nil {
		t.Error(err)
	}
	if err := errors.Join(n.close(), n.dir.close()); err != nil {
		t.Error(err)
	}
}

// A snapshot that was written and never marked is no part of the state, and goes; what
// the log says is replayed from the marked one, each entry once.
func TestOrphanedSnapshotIsIgnored(t *testing.T) {
	t.Parallel()
	disk := crashfs.New()
	var c chain
	l, err := startLone(t.Context(), disk)
	if err != nil {
		t.Fatal(err)
	}
	var st nodeStatus
	waitFor(t, 10*time.Second, "a log behind a snapshot", func() bool {
		if err := c.write(l, 1); err != nil {
			t.Fatal(err)
		}
		st = l.node.status()
		behind := st.Applied - st.SnapshotIndex
		return st.SnapshotIndex > 0 && behind >= 3 && behind < l.node.cfg.snapshotEntries // and no other is under way
	})
	other := newKVStore(nil, 1, 1, nil)
	other.set("chain", item{value: "never", revision: 1})
	orphan := raftpb.SnapshotMetadata{Index: st.Applied - 1, Term: st.Term, ConfState: raftpb.ConfState{Voters: []uint64{1}}}
	if _, err := l.node.writeSnapshot(orphan, l.node.members.save(), other.snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	l, err = startLone(t.Context(), disk)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.check(l), c.write(l, 5)); err != nil {
		t.Error(err)
	}
	names, err := disk.List(l.node.dir.snapDir()) // with the next one, if that is being written
	if err != nil || slices.Contains(names, fmt.Sprintf("%016x-%016x.snap", orphan.Term, orphan.Index)) {
		t.Errorf("the files are %v, %v", names, err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
}

// The files of a node are few, however long it lives: what snapshots cover goes.
func TestDiskUseIsBounded(t *testing.T) {
	t.Parallel()
	disk := crashfs.New()
	var c chain
	for range 2 {
		l, err := startLone(t.Context(), disk)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.check(l), c.write(l, 400)); err != nil { // more than 50 snapshots
			t.Fatal(err)
		}
		for i := range 40 { // and 40 MiB of log, of 2 MiB of data
			if _, err := l.node.store.put(l.ctx, fmt.Sprint(i%2), strings.Repeat("v", 1<<20), always, 0); err != nil {
				t.Fatal(err)
			}
		}
		// A snapshot that is still being written has a file, and has not replaced any.
		asked := uint64(1<<64 - 1)
		waitFor(t, 10*time.Second, "the last snapshot to be taken", func() bool {
			st := l.node.status()
			if st.SnapshotIndex != asked { // one was taken: whether the next is due, a write decides
				asked = st.SnapshotIndex
				if err := c.write(l, 1); err != nil {
					t.Fatal(err)
				}
			}
			return st.Applied < st.SnapshotIndex+l.node.cfg.snapshotEntries
		})
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		logs, err := disk.List("/data/n1/wal")
		if err != nil {
			t.Fatal(err)
		}
		snaps, err := disk.List("/data/n1/snap")
		if err != nil {
			t.Fatal(err)
		}
		if len(logs) > 4 || len(snaps) != 1 {
			t.Errorf("the log is %v, the snapshots are %v", logs, snaps)
		}
	}
}
