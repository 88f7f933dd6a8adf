// The commit channel's overflow, and what a single node does when its store or a
// change of the membership goes wrong.

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs"
	"example.com/raftexample/raft/vfs/crashfs"
)

// Every batch reaches the store once, in order, also when the channel is full
// just as the backlog runs out.
func TestBacklogPassesOnEachBatchOnce(t *testing.T) {
	t.Parallel()
	const batches = 200_000
	var b backlog
	c := make(chan *commit, 1)
	go func() {
		for i := range uint64(batches) {
			b.push(c, &commit{restoreIndex: i})
		}
	}()
	for i := range uint64(batches) {
		select {
		case got := <-c:
			if got.restoreIndex != i {
				t.Fatalf("batch %d came in place of %d", got.restoreIndex, i)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("batch %d never came", i)
		}
	}
}

// loneNode is a cluster of one without servers, which leads.
func loneNode(t *testing.T, more ...string) *raftNode {
	t.Helper()
	dataDir := t.TempDir()
	args := append([]string{"--data-dir", dataDir, "--cluster", "http://127.0.0.1:" + freePorts(t, 1)[0]}, more...)
	cfg, err := parseFlags(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := openDataDir(vfs.OS, dataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.claim(identity{ID: cfg.id, Cluster: hexID(clusterID(cfg.cluster)), Founders: cfg.cluster}); err != nil {
		t.Fatal(err)
	}
	n := newRaftNode(cfg, dir, nil, slog.New(slog.DiscardHandler))
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed := make(chan error, 1)
		go func() { closed <- n.close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Errorf("the node closed with %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the node does not close")
		}
		if err := dir.close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.node.Campaign(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 10*time.Second, "a leader", func() bool { return n.Leader() == cfg.id && n.lag() == 0 })
	return n
}

// §5.3: entries that were never committed can be overwritten. A change of the
// membership among them stands in nobody's way any more.
func TestOverwrittenChangeIsNotUnderWay(t *testing.T) {
	t.Parallel()
	n := loneNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	last, err := n.storage.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	n.noteEntries([]raftpb.Entry{{Index: last + 1, Type: raftpb.EntryConfChange}})
	learner := raftpb.ConfChange{Type: raftpb.ConfChangeAddLearnerNode, NodeID: 2, Context: []byte("http://127.0.0.1:1")}
	if err := n.changeMember(ctx, learner); err == nil {
		t.Fatal("a second change was taken while one was in the log and not applied")
	}
	if _, err := n.store.put(ctx, "key", "in its place", always, 0); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 10*time.Second, "Advance", func() bool { return n.node.Status().Applied > last })
	if err := n.changeMember(ctx, learner); err != nil {
		t.Fatalf("an overwritten change is still in the way: %v", err)
	}
}

// What is committed and waits for the store is bounded: above that new writes are refused,
// until it has caught up.
func TestWritesWaitForTheStore(t *testing.T) {
	t.Parallel()
	l, err := startLone(t.Context(), crashfs.New())
	if err != nil {
		t.Fatal(err)
	}
	n := l.node
	write := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_, err := n.store.put(ctx, "k", strings.Repeat("v", 1<<20), always, 0)
		return err
	}
	n.store.mu.Lock() // it stands still
	for taken := 0; !n.Overloaded(); taken++ {
		ctx, giveUp := context.WithCancel(l.ctx)
		result := make(chan error, 1)
		before := n.unapplied.Load()
		go func() { result <- write(ctx) }()
		waitFor(t, 10*time.Second, "a write to be committed", func() bool {
			return n.unapplied.Load() > before || len(result) > 0
		})
		giveUp()
		if err := <-result; err != errUnknown {
			t.Fatalf("a write that the store has not applied ended with %v", err)
		}
		if taken<<20 > maxUnapplied {
			t.Fatalf("%d MiB were taken, and none applied", taken)
		}
	}
	err = write(l.ctx)
	n.store.mu.Unlock()
	if err != errBusy {
		t.Errorf("a write too many ended with %v", err)
	}
	waitFor(t, 10*time.Second, "a write to be taken again", func() bool { return write(l.ctx) == nil })
	waitFor(t, 10*time.Second, "nothing to wait", func() bool { return n.unapplied.Load() == 0 })
	if err := l.close(); err != nil {
		t.Error(err)
	}
}

// A store that cannot go on does not keep the node from ending, though a snapshot
// was asked of it.
func TestNodeClosesAfterItsStoreFailed(t *testing.T) {
	t.Parallel()
	n := loneNode(t, "--snapshot-entries", "1")
	if err := n.node.Propose(t.Context(), []byte{commandVersion + 1, 0, 0}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-n.errorC:
		t.Log(err)
	case <-time.After(10 * time.Second):
		t.Fatal("the store took a command of a version that it does not know")
	}
}

// §5.4.3 (State Machine Safety): entries are applied in order, each once. A store that
// is given something else stops before it becomes another than the rest.
func TestEntriesAreAppliedOnce(t *testing.T) {
	entries := func(indexes ...uint64) (all []raftpb.Entry) {
		for _, index := range indexes {
			c := command{op: opPut, term: 1, key: "k", value: "v"}
			all = append(all, raftpb.Entry{Term: 1, Index: index, Data: c.encode()})
		}
		return all
	}
	for name, wrong := range map[string][]raftpb.Entry{
		"the last one again": entries(3), "all again": entries(1, 2, 3), "a gap": entries(5), "a gap in a batch": entries(4, 6),
	} {
		s := newKVStore(nil, 1, 1, nil)
		if err := errors.Join(s.apply(entries(1)), s.apply(entries(2, 3))); err != nil {
			t.Fatal(err)
		}
		if err := s.apply(wrong); err == nil {
			t.Errorf("%s was applied", name)
		}
	}
}
