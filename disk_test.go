// Bad disks under the whole program: crashes and errors at every step, and a disk
// that hangs.
//
// Start at TestCrashAtEveryStep. The log and the snapshots have such tests of
// their own; here it is the order in which the program uses them.

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs"
	"example.com/raftexample/raft/vfs/crashfs"
)

// lone is a cluster of one without servers, on a disk that may fail.
type lone struct {
	dir    *dataDir
	node   *raftNode
	ctx    context.Context // ends, with the reason as its cause, when the node stops
	cancel context.CancelCauseFunc
}

// startLone does what the program does at its start, and makes the node lead.
func startLone(ctx context.Context, fsys vfs.FS) (*lone, error) {
	cfg, err := parseFlags([]string{"--data-dir", "/data/n1", "--snapshot-entries", "7", "--log-level", "error"}, io.Discard)
	if err != nil {
		return nil, err
	}
	dir, err := openDataDir(fsys, cfg.dataDir)
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	if err := settleIdentity(ctx, &cfg, dir, nil); err != nil {
		return nil, errors.Join(err, dir.close())
	}
	l := &lone{dir: dir, node: newRaftNode(cfg, dir, nil, logger)}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	go func() {
		select {
		case err := <-l.node.errorC:
			l.cancel(err)
		case <-l.ctx.Done():
		}
	}()
	if err := l.node.start(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	leads := func() bool { // no need to wait for an election timeout
		return l.node.Leader() != 0 || l.node.node.Campaign(l.ctx) == nil && l.node.Leader() != 0
	}
	if !waitUntil(l.ctx, leads) {
		return nil, errors.Join(context.Cause(l.ctx), l.close())
	}
	return l, nil
}

func (l *lone) close() error {
	l.cancel(nil)
	return errors.Join(l.node.close(), l.dir.close())
}

// chain is a key that is written by compare-and-set, each value one more than the
// one before: lost, doubled or undone writes break it.
type chain struct {
	value    int // the last that was acknowledged
	revision uint64
	tried    int // the last that was proposed
}

// write continues the chain by n writes, or until one is not acknowledged.
func (c *chain) write(l *lone, n int) error {
	for range n {
		c.tried = c.value + 1
		cond, revision := ifRevised, c.revision
		if c.value == 0 {
			cond, revision = ifAbsent, 0
		}
		revision, err := l.node.store.put(l.ctx, "chain", strconv.Itoa(c.tried), cond, revision)
		if err != nil {
			return err
		}
		c.value, c.revision = c.tried, revision
	}
	return nil
}

// check compares what a node holds after a restart, once it leads and so has
// applied all that was committed, with what was acknowledged.
func (c *chain) check(l *lone) error {
	if err := l.node.reads.wait(l.ctx); err != nil {
		return err
	}
	it, _ := l.node.store.get("chain")
	value, err := strconv.Atoi("0" + it.value)
	switch {
	case err != nil:
		return err
	case value == c.value && it.revision == c.revision:
	case value == c.tried && it.revision > c.revision:
	default:
		return fmt.Errorf("the chain is at %d, revision %d; acknowledged was %d, revision %d, tried %d", value, it.revision, c.value, c.revision, c.tried)
	}
	c.value, c.revision = value, it.revision
	return nil
}

// life writes until the disk fails, or for two lives of 20 writes. It returns what
// went wrong.
func (c *chain) life(ctx context.Context, fsys vfs.FS) error {
	for range 2 {
		l, err := startLone(ctx, fsys)
		if err != nil {
			return err
		}
		if err = c.check(l); err == nil {
			err = c.write(l, 20)
		}
		if err != nil {
			// A write that is not acknowledged has one reason: the node stops.
			return errors.Join(err, context.Cause(l.ctx), l.close())
		}
		if err := l.close(); err != nil {
			return err
		}
	}
	return nil
}

// steps returns the steps of a life at which something is to happen.
func steps(t *testing.T) []int {
	t.Helper()
	disk := crashfs.New()
	var c chain
	if err := c.life(t.Context(), disk); err != nil {
		t.Fatal(err)
	}
	if c.value != 40 {
		t.Fatalf("the chain is at %d without a fault", c.value)
	}
	stride := 25 // which of the steps are tried, differs from day to day
	if os.Getenv("RAFT_LONG") != "" || disk.Ops() < 50 {
		stride = 1
	}
	var all []int
	for step := 1 + time.Now().YearDay()%stride; step <= disk.Ops(); step += stride {
		all = append(all, step)
	}
	return all
}

// A crash at any step of first start, write, snapshot, compaction, restart: what
// was acknowledged is there afterwards, and nothing happened twice.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, step := range steps(t) {
		t.Run(strconv.Itoa(step), func(t *testing.T) {
			t.Parallel()
			disk := crashfs.New()
			disk.CrashAt(step)
			var c chain
			err := c.life(t.Context(), disk)
			if err != nil && !errors.Is(err, crashfs.ErrCrashed) {
				t.Errorf("before the crash: %v", err)
			}
			for seed := range uint64(3) {
				after := c
				if err := after.life(t.Context(), disk.Restart(seed)); err != nil {
					t.Errorf("after the crash, seed %d: %v", seed, err)
				} else if after.value < c.value+40 {
					t.Errorf("after the crash, seed %d: the chain is at %d", seed, after.value)
				}
			}
		})
	}
}

// An error at any step stops the node, whatever the step was for; what was
// acknowledged is there when it starts again, with room on the disk or a new one.
func TestErrorAtEveryStep(t *testing.T) {
	t.Parallel()
	for i, step := range steps(t) {
		failure := []error{syscall.EIO, syscall.ENOSPC}[i%2]
		t.Run(fmt.Sprintf("%v %d", failure, step), func(t *testing.T) {
			t.Parallel()
			disk := crashfs.New()
			disk.FailAt(step, failure)
			var c chain
			err := c.life(t.Context(), disk)
			if err == nil {
				return // the step was one whose outcome nothing depends on: a file that is not needed any more
			}
			if !errors.Is(err, failure) {
				t.Errorf("the node stopped with: %v", err)
			}
			if err := c.life(t.Context(), disk); err != nil {
				t.Errorf("started again: %v", err)
			}
		})
	}
}

// A leader whose disk hangs loses its leadership, says so, and acknowledges
// nothing; the others go on. When the disk comes back, so does the node. This holds
// for whatever the disk has to do.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	for name, is := range map[string]func(crashfs.Op) bool{
		"a sync":  func(op crashfs.Op) bool { return op.Kind == "Sync" },
		"a write": func(op crashfs.Op) bool { return op.Kind == "WriteAt" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testHangingDisk(t, is)
		})
	}
}

func testHangingDisk(t *testing.T, is func(crashfs.Op) bool) {
	var hangs atomic.Bool
	released := make(chan struct{})
	disk := crashfs.New()
	disk.Fault = func(op crashfs.Op) error {
		if hangs.Load() && is(op) {
			<-released
		}
		return nil
	}
	c := newTestClusterWith(t, 3, map[int]machine{0: {fs: disk}}, "http", "--snapshot-entries", "20")
	c.leader(0)
	waitFor(t, 10*time.Second, "node 1 leading", func() bool {
		return do(t, "PUT", c.url(1, "/-/leader"), "1").status == 204
	})
	hangs.Store(true)
	refused := make(chan answer, 1)
	go func() {
		a := answer{status: 204}
		for a.status == 204 {
			a = do(t, "PUT", c.url(0, "/hung"), "x")
		}
		refused <- a
	}()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	syncs := make(chan time.Duration, 1)
	go func() { syncs <- slowestSync(ctx, t, c.dir) }() // of the others' disk
	began := time.Now()
	waitFor(t, 20*time.Second, "another leader", func() bool {
		lead := do(t, "GET", c.url(1, "/-/leader"), "")
		return lead.status == 200 && lead.body != "1\n"
	})
	took := time.Since(began)
	cancel()
	if limit := 4*electionTimeout + electionSyncs*<-syncs; took > limit {
		t.Errorf("the others took %v to elect another, more than %v", took, limit)
	}
	if a := do(t, "PUT", c.url(1, "/key"), "new"); a.status != 204 {
		t.Errorf("write to the others: %v", a)
	}
	for _, path := range []string{"/-/ready", "/-/healthy"} {
		waitFor(t, 5*time.Second, path, func() bool {
			a := do(t, "GET", c.url(0, path), "")
			return a.status == 503 && strings.Contains(a.body, "disk")
		})
	}
	if a := do(t, "GET", c.url(0, "/key"), ""); a.status != 503 {
		t.Errorf("a read of the node whose disk hangs: %v", a)
	}
	if a := <-refused; a.status != 504 && a.status != 503 {
		t.Errorf("a write to the node whose disk hangs: %v", a)
	}

	close(released)
	waitFor(t, 10*time.Second, "the node back", func() bool { return do(t, "GET", c.url(0, "/-/ready"), "").status == 200 })
	if a := do(t, "GET", c.url(0, "/key"), ""); a.body != "new" {
		t.Errorf("afterwards: %v", a)
	}
}

// messagesTo is a peer that notes the types of the messages that it gets.
func messagesTo(t *testing.T, got chan<- raftpb.Message) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body := bufio.NewReader(req.Body)
		for {
			size, err := binary.ReadUvarint(body)
			if err != nil {
				break // the end
			}
			var m raftpb.Message
			data := make([]byte, size)
			if _, err = io.ReadFull(body, data); err == nil {
				err = m.Unmarshal(data)
			}
			if err != nil {
				t.Error(err)
				break
			}
			got <- m
		}
		w.WriteHeader(http.StatusNoContent)
	}))
}

// diss. §3.8, §10.2.1: votes, acknowledgements and all else that promises something leave
// when the disk is done; a leader's MsgApp, which promises nothing, leaves before.
func TestPromisesWaitForTheDisk(t *testing.T) {
	t.Parallel()
	var hangs atomic.Bool
	released := make(chan struct{})
	disk := crashfs.New()
	disk.Fault = func(op crashfs.Op) error {
		if hangs.Load() && op.Kind == "Sync" {
			<-released
		}
		return nil
	}
	n, err := follower(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan raftpb.Message, 100)
	peer := messagesTo(t, got)
	defer peer.Close()
	n.transport.SetPeer(2, peer.URL)
	n.node = &advancingNode{advance: func() {}}
	rd := raft.Ready{HardState: raftpb.HardState{Term: 2, Vote: 1}, MustSync: true, Entries: []raftpb.Entry{{Term: 2, Index: 1}}}
	late := []raftpb.MessageType{
		raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgAppResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgReadIndexResp, raftpb.MsgTimeoutNow,
	}
	for _, kind := range append(late, raftpb.MsgApp) {
		rd.Messages = append(rd.Messages, raftpb.Message{Type: kind, From: 1, To: 2, Term: 2})
	}
	hangs.Store(true)
	handled := make(chan error, 1)
	go func() { handled <- n.handleReady(rd) }()
	next := func() raftpb.MessageType {
		select {
		case m := <-got:
			return m.Type
		case <-time.After(10 * time.Second):
			t.Error("a message did not come")
			return raftpb.MsgHup
		}
	}
	if kind := next(); kind != raftpb.MsgApp {
		t.Errorf("a %v came first", kind)
	}
	n.transport.Send([]raftpb.Message{{Type: raftpb.MsgTransferLeader, From: 1, To: 2, Term: 2}}) // behind what has left
	if kind := next(); kind != raftpb.MsgTransferLeader {
		t.Errorf("a %v did not wait for the disk", kind)
	}
	close(released)
	for _, want := range late {
		if kind := next(); kind != want {
			t.Errorf("then a %v came, want a %v", kind, want)
		}
	}
	if err := errors.Join(<-handled, n.close(), n.dir.close()); err != nil {
		t.Error(err)
	}
}

// A node whose disk hangs can be stopped all the same.
func TestStopWhileTheDiskHangs(t *testing.T) {
	t.Parallel()
	var hangs atomic.Bool
	released := make(chan struct{})
	disk := crashfs.New()
	disk.Fault = func(op crashfs.Op) error {
		if hangs.Load() && op.Kind == "Sync" {
			<-released
		}
		return nil
	}
	l, err := startLone(t.Context(), disk)
	if err != nil {
		t.Fatal(err)
	}
	hangs.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.node.store.put(ctx, "k", "v", always, 0); err == nil {
		t.Error("a write was acknowledged")
	}
	began := time.Now()
	err = l.node.close()
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("it ended with %v", err)
	}
	close(released)
}

// To remove a large file takes the system a while. Writes do not wait for that, nor does
// the node's end, if it never comes to one.
func TestRemovalHoldsUpNobody(t *testing.T) {
	t.Parallel()
	var removals atomic.Int64
	released := make(chan struct{})
	disk := crashfs.New()
	disk.Fault = func(op crashfs.Op) error {
		if op.Kind == "Remove" && strings.HasSuffix(op.Name, ".snap") {
			removals.Add(1)
			<-released
		}
		return nil
	}
	l, err := startLone(t.Context(), disk)
	if err != nil {
		t.Fatal(err)
	}
	var c chain
	waitFor(t, 10*time.Second, "a removal", func() bool {
		if err := c.write(l, 7); err != nil {
			t.Fatal(err)
		}
		return removals.Load() > 0
	})
	if err := c.write(l, 100); err != nil {
		t.Error(err)
	}
	if err := l.node.close(); err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("it ended with %v", err)
	}
	close(released)
	adopted := fmt.Sprintf("%016x.snap", l.node.snapshots.lastIndex)
	waitFor(t, 10*time.Second, "the files to be gone", func() bool {
		names, err := disk.List(l.node.dir.snapDir())
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(names, func(name string) bool {
			_, index, _ := strings.Cut(name, "-")
			return index < adopted // a newer one may have been written, and its news came too late
		})
	})
}

// A node that is writing or restoring a large snapshot can be stopped all the same:
// it does not wait for the end of that.
func TestStopDuringASnapshot(t *testing.T) { // not in parallel: it measures
	var slow atomic.Bool
	var writes, reads atomic.Int64
	disk := crashfs.New()
	disk.Fault = func(op crashfs.Op) error {
		switch {
		case !slow.Load():
		case op.Kind == "Sync" && strings.HasSuffix(op.Name, ".tmp"):
			writes.Add(1)
			time.Sleep(100 * time.Millisecond) // for a MiB
		case op.Kind == "ReadAt" && strings.HasSuffix(op.Name, ".snap"):
			reads.Add(1)
			time.Sleep(20 * time.Millisecond) // for 64 KiB
		}
		return nil
	}
	closeSoon := func(l *lone) {
		t.Helper()
		began := time.Now()
		if err := l.close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 900*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	}

	l, err := startLone(t.Context(), disk)
	if err != nil {
		t.Fatal(err)
	}
	put := func(i int) {
		t.Helper()
		if _, err := l.node.store.put(l.ctx, strconv.Itoa(i), strings.Repeat("v", 1<<20), always, 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 35 {
		put(i)
	}
	all := l.node.status().Applied
	waitFor(t, 10*time.Second, "a snapshot of 35 MiB", func() bool {
		put(0) // the one under way may be of less
		return l.node.status().SnapshotIndex >= all
	})
	slow.Store(true)
	waitFor(t, 10*time.Second, "the next one to be written", func() bool {
		put(0)
		return writes.Load() > 1
	})
	closeSoon(l)
	names, err := disk.List("/data/n1/snap")
	if err != nil || len(names) != 1 || !strings.HasSuffix(names[0], ".snap") {
		t.Errorf("snapshots: %v, %v", names, err)
	}

	// Not startLone, which waits until the node leads.
	cfg, err := parseFlags([]string{"--data-dir", "/data/n1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := openDataDir(disk, cfg.dataDir)
	if err != nil {
		t.Fatal(err)
	}
	l = &lone{dir: dir, node: newRaftNode(cfg, dir, nil, slog.New(slog.DiscardHandler)), cancel: func(error) {}}
	if err := l.node.start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 10*time.Second, "the snapshot to be read", func() bool { return reads.Load() > 1 })
	closeSoon(l)
}
