// The window of appends under way.

package tracker

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// diss. §10.2.2: the window bounds how much is under way, in messages and in
// bytes. The message that reaches the bound in bytes may go beyond it.
func TestInflightsAreFullAtEitherBound(t *testing.T) {
	for _, tt := range []struct {
		name     string
		size     int
		maxBytes uint64
		add      []uint64 // bytes of the messages, one by one
		full     bool
	}{
		{"empty", 3, 100, nil, false},
		{"room for one more", 3, 100, []uint64{10, 10}, false},
		{"full in messages", 3, 100, []uint64{10, 10, 10}, true},
		{"one byte short", 3, 100, []uint64{50, 49}, false},
		{"full in bytes", 3, 100, []uint64{50, 50}, true},
		{"beyond the bytes", 3, 100, []uint64{99, 500}, true},
		{"one large message", 3, 100, []uint64{1 << 40}, true},
		{"no bound in bytes", 3, 0, []uint64{1 << 40, 1 << 40}, false},
		{"no room at all", 0, 0, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := NewInflights(tt.size, tt.maxBytes)
			for i, bytes := range tt.add {
				in.Add(uint64(i+1), bytes)
			}
			if in.Full() != tt.full || in.Count() != len(tt.add) {
				t.Errorf("full %t, count %d", in.Full(), in.Count())
			}
		})
	}
}

func TestAddToFullInflightsPanics(t *testing.T) {
	for name, in := range map[string]*Inflights{"messages": NewInflights(1, 0), "bytes": NewInflights(9, 5)} {
		in.Add(1, 5)
		func() {
			defer func() {
				if got := recover(); got != "cannot add into a Full inflights" {
					t.Errorf("full in %s: %v", name, got)
				}
			}()
			in.Add(2, 0)
		}()
	}
}

func TestFreeLE(t *testing.T) {
	for _, tt := range []struct {
		to    uint64
		count int
		full  bool // of 40 bytes
	}{
		{0, 4, true},
		{9, 4, true}, // before the first
		{10, 3, false},
		{15, 3, false}, // between two
		{39, 1, false},
		{40, 0, false},
		{1000, 0, false},
	} {
		in := NewInflights(10, 40)
		for index := uint64(10); index <= 40; index += 10 {
			in.Add(index, 10)
		}
		if in.FreeLE(tt.to); in.Count() != tt.count || in.Full() != tt.full {
			t.Errorf("up to %d: count %d, full %t", tt.to, in.Count(), in.Full())
		}
	}
}

func TestCloneOfInflightsSharesNothing(t *testing.T) {
	in := NewInflights(3, 0)
	in.Add(1, 1)
	in.Add(2, 1)
	c := in.Clone()

	in.FreeLE(2)
	in.Add(7, 1)
	if c.Count() != 2 {
		t.Errorf("count %d", c.Count())
	}
	c.Add(3, 1)
	if c.FreeLE(2); c.Count() != 1 { // were the ring shared, 7 would be in here
		t.Errorf("count %d", c.Count())
	}
	if in.Count() != 1 || in.Full() {
		t.Errorf("the original has %d", in.Count())
	}
}

// A window is as small as what is in it: a node that leads many groups must not
// pay for windows of hundreds of messages that are never used.
func TestInflightsGrowAsNeeded(t *testing.T) {
	in := NewInflights(1<<40, 0)
	if in.Add(1, 1); len(in.buffer) > 16 {
		t.Errorf("room for %d messages with one in it", len(in.buffer))
	}

	in = NewInflights(256, 0)
	for index := range uint64(256) {
		in.Add(index, 1)
	}
	next := uint64(256)
	if n := testing.AllocsPerRun(1000, func() {
		in.FreeLE(next - 256)
		in.Add(next, 1)
		next++
	}); n != 0 {
		t.Errorf("%v allocations once it has grown", n)
	}
}

// The ring may begin anywhere in its buffer when it has to grow: the oldest message is
// still the first to go, with its bytes.
func TestInflightsGrowInOrder(t *testing.T) {
	for start := range uint64(8) {
		in := NewInflights(20, 0)
		next := uint64(1)
		for ; next <= 8; next++ {
			in.Add(next, next)
		}
		in.FreeLE(start)
		for ; in.Count() < 9; next++ { // one more than there is room for
			in.Add(next, next)
		}
		for index := start + 1; index < next; index++ {
			if in.FreeLE(index); in.Count() != int(next-1-index) {
				t.Fatalf("after %d were freed in front and it has grown: %d left behind %d, of %d", start, in.Count(), index, next-1)
			}
		}
		if in.bytes != 0 {
			t.Errorf("%d bytes left", in.bytes)
		}
	}
}

// window is what Inflights should be: a list.
type window struct {
	size     int
	maxBytes uint64
	list     []inflight
}

func (w *window) full() bool {
	sum := uint64(0)
	for _, m := range w.list {
		sum += m.bytes
	}
	return len(w.list) == w.size || w.maxBytes != 0 && sum >= w.maxBytes
}

func TestInflightsAreAQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &window{size: rapid.IntRange(1, 40).Draw(t, "size"), maxBytes: rapid.Uint64Range(0, 200).Draw(t, "bytes")}
		got := NewInflights(want.size, want.maxBytes)
		last := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				if want.full() {
					t.Skip("full")
				}
				last += rapid.Uint64Range(1, 3).Draw(t, "step")
				bytes := rapid.Uint64Range(0, 20).Draw(t, "bytes")
				got.Add(last, bytes)
				want.list = append(want.list, inflight{index: last, bytes: bytes})
			},
			"free": func(t *rapid.T) {
				to := rapid.Uint64Range(last-min(last, 20), last+2).Draw(t, "to")
				got.FreeLE(to)
				for len(want.list) > 0 && want.list[0].index <= to {
					want.list = want.list[1:]
				}
			},
			"clone": func(t *rapid.T) { got = got.Clone() },
			"reset": func(t *rapid.T) {
				got.reset()
				want.list = nil
			},
			"": func(t *rapid.T) {
				if got.Count() != len(want.list) || got.Full() != want.full() {
					t.Fatalf("count %d, full %t; want %+v", got.Count(), got.Full(), want)
				}
			},
		})
	})
}

func BenchmarkInflights(b *testing.B) {
	for _, size := range []int{8, 256} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			in := NewInflights(size, 0)
			b.ReportAllocs()
			index := uint64(0)
			for b.Loop() {
				for !in.Full() {
					index++
					in.Add(index, 1)
				}
				in.FreeLE(index - uint64(size)/2)
			}
		})
	}
}
