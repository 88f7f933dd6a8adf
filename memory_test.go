// Memory: the limit follows the size of the data, and that size is right.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"example.com/raftexample/raft/raftpb"
)

// A process stays within three times its data and 64 MiB; small changes of the data
// do not set the limit anew.
func TestMemoryLimitFollowsTheData(t *testing.T) {
	var limits []int64
	hear := memoryLimiter(func(limit int64) int64 {
		limits = append(limits, limit)
		return 0
	})
	const mib, gib = 1 << 20, 1 << 30
	check := func(data int64) {
		hear(data)
		now := limits[len(limits)-1]
		if most := 3*data + 64*mib; now > most*17/16 || now < most*11/16 {
			t.Fatalf("%d bytes of data: a limit of %d", data, now)
		}
	}
	for data := int64(0); data <= gib; data += mib {
		check(data)
	}
	for data := int64(gib); data >= 0; data -= mib {
		check(data)
	}
	if n := len(limits); n > 150 {
		t.Errorf("it was set %d times for 2,000 changes", n)
	}
}

// The size that a store tells is that of its items, whatever became of them, and
// whether it applied all of it or read it from a snapshot.
func TestStoreKnowsItsSize(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	s := newKVStore(nil, 1, 1, nil)
	check := func(s *kvStore) {
		t.Helper()
		want := int64(0)
		s.items.Scan(func(key string, it item) bool {
			want += int64(len(key) + len(it.value) + 64)
			return true
		})
		if s.size != want {
			t.Fatalf("it says %d, and has %d", s.size, want)
		}
	}
	for index := uint64(1); index <= 5000; index++ {
		c := command{
			op: opPut, cond: condition(random.IntN(4)), revision: index - 1, term: 1,
			key: fmt.Sprint(random.IntN(200)), value: strings.Repeat("v", random.IntN(50)),
		}
		if random.IntN(3) == 0 {
			c.op, c.value = opDelete, ""
		}
		if err := s.apply([]raftpb.Entry{{Term: 1, Index: index, Data: c.encode()}}); err != nil {
			t.Fatal(err)
		}
		check(s)
	}
	r, w := io.Pipe()
	go func() {
		_, err := s.snapshot().WriteTo(w)
		w.CloseWithError(err)
	}()
	restored := newKVStore(nil, 2, 1, nil)
	if err := restored.restore(&commit{restore: r, restoreIndex: 5000, restoreTerm: 1}); err != nil {
		t.Fatal(err)
	}
	check(restored)
	if restored.size != s.size || s.size == 0 {
		t.Errorf("%d became %d", s.size, restored.size)
	}
}

// While a store is restored, what it held before is not in memory any more, and
// nobody is told that a key does not exist.
func TestRestoreNeedsNotTwiceTheMemory(t *testing.T) {
	old := strings.Repeat("old", 1<<20)
	gone := make(chan struct{})
	runtime.AddCleanup(unsafe.StringData(old), func(struct{}) { close(gone) }, struct{}{})
	s, from := newKVStore(nil, 1, 1, nil), newKVStore(nil, 1, 1, nil)
	s.set("k", item{value: old, revision: 1})
	old = ""
	from.set("k", item{value: "new", revision: 2})
	var state bytes.Buffer
	if _, err := from.snapshot().WriteTo(&state); err != nil {
		t.Fatal(err)
	}

	r, w := io.Pipe()
	restored := make(chan error, 1)
	go func() { restored <- s.restore(&commit{restore: r, restoreIndex: 2, restoreTerm: 1}) }()
	if _, err := w.Write(state.Next(1)); err != nil { // restore has begun
		t.Fatal(err)
	}
	if _, err := s.get("k"); err != errRestoring {
		t.Errorf("get: %v", err)
	}
	if _, err := s.view(); err != errRestoring {
		t.Errorf("view: %v", err)
	}
	runtime.GC()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the old values are still in memory")
	}
	_, err := w.Write(state.Bytes())
	if err := errors.Join(err, w.Close(), <-restored); err != nil {
		t.Fatal(err)
	}
	if it, err := s.get("k"); err != nil || it.value != "new" {
		t.Errorf("afterwards: %q, %v", it.value, err)
	}
}
