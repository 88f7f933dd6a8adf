// Benchmarks: what encoding and decoding the usual messages takes.

package raftpb

import (
	"testing"
)

var benchmarks = []struct {
	name  string
	value codec
}{
	{"Heartbeat", &Message{Type: MsgHeartbeat, To: 2, From: 1, Term: 300, Commit: 100_000}},
	{"Append1", messageOf(1, 64)},
	{"Append64", messageOf(64, 64)},
	{"Append64x4KiB", messageOf(64, 4096)},
	{"Entry", &Entry{Term: 300, Index: 100_000, Data: make([]byte, 64)}},
	{"HardState", &HardState{Term: 300, Vote: 2, Commit: 100_000}},
	{"Snapshot", &Message{Type: MsgSnap, To: 2, From: 1, Term: 3, Snapshot: &Snapshot{
		Data: make([]byte, 4096),
		Metadata: SnapshotMetadata{
			ConfState: ConfState{Voters: []uint64{1, 2, 3, 4, 5}}, Index: 100_000, Term: 3,
		},
	}}},
	{"ConfChangeV2", &ConfChangeV2{Changes: []ConfChangeSingle{{ConfChangeAddNode, 4}, {ConfChangeRemoveNode, 1}}}},
}

func messageOf(n, size int) *Message {
	m := appendOf(n, size)
	return &m
}

func BenchmarkMarshal(b *testing.B) {
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(bench.value.Size()))
			for b.Loop() {
				if _, err := bench.value.Marshal(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			data := encode(b, bench.value)
			value := newLike(bench.value)
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				value.Reset()
				if err := value.Unmarshal(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
