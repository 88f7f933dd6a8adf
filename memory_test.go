// Memory: the limit follows the size of the data, and that size is right.

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

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
