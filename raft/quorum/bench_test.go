// Benchmarks: counting in groups of several sizes.

package quorum

import (
	"fmt"
	"testing"
)

func BenchmarkCommittedIndex(b *testing.B) {
	for _, n := range []int{1, 3, 5, 7, 9, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, a := MajorityConfig{}, acks{}
			for id := range uint64(n) {
				c[id] = struct{}{}
				a[id] = Index(id * 7919 % 101)
			}
			b.ReportAllocs()
			for b.Loop() {
				c.CommittedIndex(a)
			}
		})
	}
}

func BenchmarkVoteResult(b *testing.B) {
	for _, n := range []int{3, 7, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, votes := MajorityConfig{}, map[uint64]bool{}
			for id := range uint64(n) {
				c[id] = struct{}{}
				votes[id] = id%3 != 0
			}
			b.ReportAllocs()
			for b.Loop() {
				c.VoteResult(votes)
			}
		})
	}
}
