// Benchmarks: saving without waiting for the disk, and recovery.

package wal

import (
	"fmt"
	"path/filepath"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

func BenchmarkSave(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d entries of 100 B", n), func(b *testing.B) {
			w, _ := mustOpen(b, filepath.Join(b.TempDir(), "wal"), Options{})
			ents := make([]pb.Entry, n)
			for i := range ents {
				ents[i] = pb.Entry{Term: 1, Index: uint64(i + 1), Data: make([]byte, 100)}
			}
			b.ReportAllocs()
			b.SetBytes(int64(100 * n))
			for b.Loop() {
				for i := range ents {
					ents[i].Index += uint64(n)
				}
				if err := w.Save(pb.HardState{}, ents, pb.SnapshotMetadata{}, false); err != nil {
					b.Fatal(err)
				}
			}
			mustClose(b, w)
		})
	}
}

// Saving takes no memory once the buffer has grown; new segments do.
func TestSaveDoesNotAllocate(t *testing.T) {
	w, _ := mustOpen(t, filepath.Join(t.TempDir(), "wal"), Options{})
	defer mustClose(t, w)
	ents := entries(1, 1, 8)
	save := func() {
		for i := range ents {
			ents[i].Index += uint64(len(ents))
		}
		hs := pb.HardState{Term: 1, Vote: 1, Commit: ents[0].Index}
		if err := w.Save(hs, ents, pb.SnapshotMetadata{}, false); err != nil {
			t.Fatal(err)
		}
	}
	save()
	if n := testing.AllocsPerRun(200, save); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkOpen recovers a log of many entries; ns/entry is what counts.
func BenchmarkOpen(b *testing.B) {
	const batches, batch = 2000, 50
	dir := filepath.Join(b.TempDir(), "wal")
	w, _ := mustOpen(b, dir, Options{})
	for i := range batches {
		if err := w.Save(pb.HardState{}, entries(1, uint64(i*batch+1), batch), pb.SnapshotMetadata{}, false); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, w)
	for b.Loop() {
		w, rec := mustOpen(b, dir, Options{})
		if len(rec.Entries) != batches*batch {
			b.Fatalf("%d entries", len(rec.Entries))
		}
		b.StopTimer()
		mustClose(b, w)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batches*batch), "ns/entry")
}
