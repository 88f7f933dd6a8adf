// quorum beside quorum: random configurations, votes and acknowledgements.

package interop

import (
	"fmt"
	"testing"

	theirquorum "go.etcd.io/raft/v3/quorum"

	"example.com/raftexample/raft/quorum"
)

type ourAcks map[uint64]quorum.Index

func (a ourAcks) AckedIndex(id uint64) (quorum.Index, bool) {
	index, ok := a[id]
	return index, ok
}

type theirAcks map[uint64]theirquorum.Index

func (a theirAcks) AckedIndex(id uint64) (theirquorum.Index, bool) {
	index, ok := a[id]
	return index, ok
}

func (s source) ids(most int) map[uint64]struct{} {
	if s.IntN(8) == 0 {
		return nil
	}
	ids := map[uint64]struct{}{}
	for range s.IntN(most + 1) {
		ids[1+s.Uint64N(uint64(most)+3)] = struct{}{}
	}
	return ids
}

// Commit index, outcome of votes and texts agree, joint or not.
func TestQuorumsAgree(t *testing.T) {
	seeds(t, 8000, 1_000_000, func(seed uint64) {
		s := source{newRand(seed)}
		most := []int{3, 7, 12}[s.IntN(3)]
		first, second := s.ids(most), s.ids(most)
		our := quorum.JointConfig{first, second}
		their := theirquorum.JointConfig{first, second}

		ourAck, theirAck, votes := ourAcks{}, theirAcks{}, map[uint64]bool{}
		for id := range uint64(most + 4) {
			if s.IntN(5) > 0 {
				index := s.Uint64N(6)
				if s.IntN(10) == 0 {
					index = s.number()
				}
				ourAck[id], theirAck[id] = quorum.Index(index), theirquorum.Index(index)
			}
			if s.IntN(4) > 0 {
				votes[id] = s.IntN(2) == 0
			}
		}

		a := fmt.Sprint(our.CommittedIndex(ourAck), our.VoteResult(votes), our, our.IDs(),
			our[0].CommittedIndex(ourAck), our[0].VoteResult(votes), our[0], fmt.Sprintf("%#v", our[0].Slice()),
			"\n"+our[0].Describe(ourAck), "\n"+our.Describe(ourAck))
		b := fmt.Sprint(their.CommittedIndex(theirAck), their.VoteResult(votes), their, their.IDs(),
			their[0].CommittedIndex(theirAck), their[0].VoteResult(votes), their[0], fmt.Sprintf("%#v", their[0].Slice()),
			"\n"+their[0].Describe(theirAck), "\n"+their.Describe(theirAck))
		if a != b {
			t.Fatalf("seed %d: %v with %v and votes %v\nours:\n%s\netcd's:\n%s", seed, their, theirAck, votes, a, b)
		}
	})
}

// Indexes and results of votes print alike, those without a name too.
func TestQuorumTextsAgree(t *testing.T) {
	for v := range 256 {
		if a, b := quorum.VoteResult(v).String(), theirquorum.VoteResult(v).String(); a != b {
			t.Errorf("VoteResult(%d) is %q, etcd's %q", v, a, b)
		}
	}
	for _, v := range []uint64{0, 1, 1<<64 - 2, 1<<64 - 1} {
		if a, b := quorum.Index(v).String(), theirquorum.Index(v).String(); a != b {
			t.Errorf("Index(%d) is %q, etcd's %q", v, a, b)
		}
	}
}
