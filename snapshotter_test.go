// Snapshots are written without getting in anybody's way: slowly, and a little at
// a time in memory.

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/snap"
)

// A snapshot leaves three quarters of the time to others, unless it must hurry.
func TestSnapshotIsWrittenGently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		write := func(hurry bool) time.Duration {
			g := gently{w: io.Discard, hurry: new(atomic.Bool), rested: time.Now()}
			g.hurry.Store(hurry)
			start := time.Now()
			for range 64 { // each takes 1 ms of a MiB's 16
				time.Sleep(time.Millisecond)
				if _, err := g.Write(make([]byte, 64<<10)); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(start)
		}
		if took := write(true); took != 64*time.Millisecond {
			t.Errorf("in a hurry, 64 ms of work took %v", took)
		}
		if took := write(false); took < 200*time.Millisecond || took > 260*time.Millisecond {
			t.Errorf("64 ms of work took %v", took)
		}
	})
}

// largeStore is a store whose keys share one value, so that it is large to write
// and takes no memory.
func largeStore(keys int) *kvStore {
	s, value := newKVStore(nil, 1, 1, nil), strings.Repeat("v", 64<<10)
	for i := range keys {
		s.items.Set(fmt.Sprintf("key%08d", i), item{value: value, revision: 1})
	}
	return s
}

// heapWhile returns by how much the heap in use grew, at most, while do ran.
func heapWhile(do func()) (grown uint64) {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	for {
		select {
		case <-done:
			return grown
		case <-time.After(10 * time.Millisecond):
			runtime.ReadMemStats(&now)
			grown = max(grown, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
		}
	}
}

// Writing and passing on a snapshot of a large store takes 16 MiB at most, however
// large it is (§7: it is written and sent in chunks).
func TestLargeSnapshotTakesLittleMemory(t *testing.T) {
	keys := 2 << 10 // 128 MiB
	if os.Getenv("RAFT_LONG") != "" {
		keys = 16 << 10 // 1 GiB
	}
	from, err := snap.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	to, err := snap.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	node, store := &raftNode{snaps: from}, largeStore(keys)
	node.snapshots.hurry.Store(true)
	meta := raftpb.SnapshotMetadata{Index: 9, Term: 1}
	var size int64
	grown := heapWhile(func() {
		if size, err = node.writeSnapshot(meta, nil, store.snapshot()); err != nil {
			t.Error(err)
			return
		}
		file, err := node.OpenSnapshot(raftpb.Message{Snapshot: &raftpb.Snapshot{Metadata: meta}})
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		in, err := to.Receive(meta, file)
		if err != nil {
			t.Error(err)
			return
		}
		if err := in.Commit(); err != nil {
			t.Error(err)
		}
	})
	if size < int64(keys)<<16 {
		t.Fatalf("a snapshot of %d bytes", size)
	}
	t.Logf("%d MiB, with %d KiB of memory", size>>20, grown>>10)
	if grown > 16<<20 {
		t.Errorf("a snapshot of %d MiB took %d MiB of memory", size>>20, grown>>20)
	}
}

// diss. §5.1.3: a snapshot is due, too, when the log since the last one is larger than that
// one, however few entries that are; and not before.
func TestLogThatHasOutgrownItsSnapshot(t *testing.T) {
	t.Parallel()
	n := loneNode(t)
	write := func(key, mebibytes int) {
		t.Helper()
		for range mebibytes {
			if _, err := n.store.put(t.Context(), strconv.Itoa(key), strings.Repeat("v", 1<<20), always, 0); err != nil {
				t.Fatal(err)
			}
			key++
		}
	}
	snapshot := func() uint64 { return n.status().SnapshotIndex }
	write(0, 14)
	if index := snapshot(); index != 0 {
		t.Errorf("snapshot %d of a log of 14 MiB", index)
	}
	write(14, 12)
	waitFor(t, 20*time.Second, "a snapshot of a log of 26 MiB", func() bool { return snapshot() > 0 })
	first := snapshot()
	write(0, 2) // 12 MiB since then, at most
	if index := snapshot(); index != first {
		t.Errorf("snapshot %d came soon after %d", index, first)
	}
}
