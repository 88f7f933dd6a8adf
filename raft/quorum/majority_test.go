// Majorities: what they have acknowledged, and how they vote.
//
// Start at TestCommittedIndex.

package quorum

import (
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// acks says how much of the log each voter has acknowledged.
type acks map[uint64]Index

func (a acks) AckedIndex(id uint64) (Index, bool) {
	index, known := a[id]
	return index, known
}

// majority is the configuration of these voters.
func majority(ids ...uint64) MajorityConfig {
	c := MajorityConfig{}
	for _, id := range ids {
		c[id] = struct{}{}
	}
	return c
}

// §5.3: an entry is committed once a majority has it. Who was not heard of has
// nothing.
func TestCommittedIndex(t *testing.T) {
	for _, tt := range []struct {
		name   string
		voters MajorityConfig
		acks   acks
		want   Index
	}{
		{"nobody: no limit", nil, acks{1: 5}, math.MaxUint64},
		{"an empty set: no limit", MajorityConfig{}, nil, math.MaxUint64},
		{"one", majority(1), acks{1: 5}, 5},
		{"one, not heard of", majority(1), nil, 0},
		{"two: the slower", majority(1, 2), acks{1: 5, 2: 3}, 3},
		{"two, one not heard of", majority(1, 2), acks{1: 5}, 0},
		{"three: the middle one", majority(1, 2, 3), acks{1: 5, 2: 3, 3: 9}, 5},
		{"three, one not heard of", majority(1, 2, 3), acks{1: 5, 3: 9}, 5},
		{"three, two not heard of", majority(1, 2, 3), acks{3: 9}, 0},
		{"four: three must have it", majority(1, 2, 3, 4), acks{1: 5, 2: 3, 3: 9, 4: 7}, 5},
		{"five: the middle one", majority(1, 2, 3, 4, 5), acks{1: 1, 2: 2, 3: 3, 4: 4, 5: 5}, 3},
		{"others do not count", majority(1, 2, 3), acks{1: 2, 2: 2, 3: 2, 4: 9, 5: 9, 6: 9}, 2},
		{"id 0 is a voter like any", majority(0, 1, 2), acks{0: 4, 1: 6, 2: 8}, 6},
		{
			"nine, more than there is room for", majority(1, 2, 3, 4, 5, 6, 7, 8, 9),
			acks{1: 9, 2: 8, 3: 7, 4: 6, 5: 5, 6: 4, 7: 3, 8: 2, 9: 1},
			5,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.voters.CommittedIndex(tt.acks); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// guesses gives an index for voters of whom nothing is known.
type guesses map[uint64]Index

func (g guesses) AckedIndex(id uint64) (Index, bool) { return g[id], false }

// §5.3: what is not known to be acknowledged is not, whatever number comes with it.
func TestGuessesCountForNothing(t *testing.T) {
	for _, c := range []interface{ CommittedIndex(AckedIndexer) Index }{majority(1, 2, 3), JointConfig{majority(1), majority(2)}} {
		if got := c.CommittedIndex(guesses{1: 5, 2: 5, 3: 5}); got != 0 {
			t.Errorf("%v has committed %v", c, got)
		}
	}
}

// §5.2: a candidate wins with the votes of a majority, and has lost as soon as
// there can be none.
func TestVoteResult(t *testing.T) {
	for _, tt := range []struct {
		name   string
		voters MajorityConfig
		votes  map[uint64]bool
		want   VoteResult
	}{
		{"nobody: won", nil, nil, VoteWon},
		{"nobody, and a stranger's no", nil, map[uint64]bool{1: false}, VoteWon},
		{"one, pending", majority(1), nil, VotePending},
		{"one, yes", majority(1), map[uint64]bool{1: true}, VoteWon},
		{"one, no", majority(1), map[uint64]bool{1: false}, VoteLost},
		{"two, one yes", majority(1, 2), map[uint64]bool{1: true}, VotePending},
		{"two, one no", majority(1, 2), map[uint64]bool{1: false}, VoteLost},
		{"two, a tie", majority(1, 2), map[uint64]bool{1: true, 2: false}, VoteLost},
		{"three, two yes", majority(1, 2, 3), map[uint64]bool{1: true, 3: true}, VoteWon},
		{"three, two no", majority(1, 2, 3), map[uint64]bool{1: false, 3: false}, VoteLost},
		{"three, one each", majority(1, 2, 3), map[uint64]bool{1: false, 3: true}, VotePending},
		{"four, two yes", majority(1, 2, 3, 4), map[uint64]bool{1: true, 2: true}, VotePending},
		{"four, two no", majority(1, 2, 3, 4), map[uint64]bool{1: false, 2: false}, VoteLost},
		{"strangers do not count", majority(1, 2, 3), map[uint64]bool{4: true, 5: true}, VotePending},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.voters.VoteResult(tt.votes); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestSlice(t *testing.T) {
	if got := majority(30, 1, 200, 7).Slice(); !slices.Equal(got, []uint64{1, 7, 30, 200}) {
		t.Errorf("%v", got)
	}
	if got := (MajorityConfig{}).Slice(); got != nil {
		t.Errorf("of nobody: %#v", got)
	}
}

func TestNames(t *testing.T) {
	for want, got := range map[string]string{
		"7": Index(7).String(), "0": Index(0).String(), "∞": Index(math.MaxUint64).String(),
		"18446744073709551614": Index(math.MaxUint64 - 1).String(),
		"VotePending":          VotePending.String(),
		"VoteLost":             VoteLost.String(),
		"VoteWon":              VoteWon.String(),
		"VoteResult(9)":        VoteResult(9).String(),
		"VoteResult(0)":        VoteResult(0).String(),
		"()":                   MajorityConfig(nil).String(),
		"(7)":                  majority(7).String(),
		"(1 2 3)":              majority(3, 1, 2).String(),
		"(1)":                  JointConfig{majority(1), nil}.String(),
		"(1 2 3)&&(2 3 4)":     JointConfig{majority(1, 2, 3), majority(2, 3, 4)}.String(),
		"()&&(5)":              JointConfig{nil, majority(5)}.String(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if VotePending != 1 || VoteLost != 2 || VoteWon != 3 {
		t.Error("the constants have moved")
	}
}

// Counting takes no memory in groups of the usual size.
func TestCountingDoesNotAllocate(t *testing.T) {
	var l AckedIndexer = acks{1: 5, 2: 3, 3: 9, 4: 7, 5: 5, 6: 1, 7: 2}
	votes := map[uint64]bool{1: true, 2: false, 3: true, 4: true, 5: false}
	joint := JointConfig{majority(1, 2, 3, 4, 5, 6, 7), majority(1, 2, 3)}
	if n := testing.AllocsPerRun(100, func() {
		joint.CommittedIndex(l)
		joint.VoteResult(votes)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Models: the same answers, found by trying everything.

// slowCommittedIndex counts for every index that was acknowledged how many have it.
func slowCommittedIndex(c MajorityConfig, a acks) Index {
	if len(c) == 0 {
		return math.MaxUint64
	}
	best := Index(0)
	for _, candidate := range a {
		have := 0
		for id := range c {
			if index, known := a[id]; known && index >= candidate {
				have++
			}
		}
		if 2*have > len(c) {
			best = max(best, candidate)
		}
	}
	return best
}

// slowVoteResult lets those who have not voted vote in every possible way.
func slowVoteResult(won func(map[uint64]bool) bool, voters map[uint64]struct{}, votes map[uint64]bool) VoteResult {
	var open []uint64
	for id := range voters {
		if _, voted := votes[id]; !voted {
			open = append(open, id)
		}
	}
	wins, losses := 0, 0
	for ways := range 1 << len(open) {
		all := maps.Clone(votes)
		for i, id := range open {
			all[id] = ways>>i&1 == 1
		}
		if won(all) {
			wins++
		} else {
			losses++
		}
	}
	switch {
	case losses == 0:
		return VoteWon
	case wins == 0:
		return VoteLost
	}
	return VotePending
}

func granted(c MajorityConfig, votes map[uint64]bool) bool {
	yes := 0
	for id := range c {
		if votes[id] {
			yes++
		}
	}
	return len(c) == 0 || 2*yes > len(c)
}

// jointlyGranted is how an election ends in which all have voted.
func jointlyGranted(c JointConfig, votes map[uint64]bool) bool {
	return granted(c[0], votes) && granted(c[1], votes)
}

func TestCountingAgreesWithTheModel(t *testing.T) {
	voters := rapid.MapOfN(rapid.Uint64Range(0, 9), rapid.Just(struct{}{}), 0, 9)
	indexes := rapid.MapOf(rapid.Uint64Range(0, 12), rapid.Map(rapid.Uint64Range(0, 8), func(v uint64) Index { return Index(v) }))
	ballots := rapid.MapOf(rapid.Uint64Range(0, 12), rapid.Bool())
	rapid.Check(t, func(t *rapid.T) {
		c := JointConfig{voters.Draw(t, "new"), voters.Draw(t, "old")}
		a := acks(indexes.Draw(t, "acks"))
		votes := ballots.Draw(t, "votes")

		for _, half := range c {
			if got, want := half.CommittedIndex(a), slowCommittedIndex(half, a); got != want {
				t.Fatalf("%v has committed %v, want %v", half, got, want)
			}
			won := func(all map[uint64]bool) bool { return granted(half, all) }
			if got, want := half.VoteResult(votes), slowVoteResult(won, half, votes); got != want {
				t.Fatalf("%v: %v, want %v", half, got, want)
			}
		}
		want := min(slowCommittedIndex(c[0], a), slowCommittedIndex(c[1], a))
		if got := c.CommittedIndex(a); got != want {
			t.Fatalf("%v has committed %v, want %v", c, got, want)
		}
		// A yes never hurts in either half, so counting them apart misses nothing
		// even if they share voters.
		won := func(all map[uint64]bool) bool { return jointlyGranted(c, all) }
		if got, want := c.VoteResult(votes), slowVoteResult(won, c.IDs(), votes); got != want {
			t.Fatalf("%v: %v, want %v", c, got, want)
		}
	})
}

// A joint configuration whose second half is empty or the same is like the first.
func TestJointWithItselfIsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := MajorityConfig(rapid.MapOfN(rapid.Uint64Range(1, 9), rapid.Just(struct{}{}), 0, 9).Draw(t, "voters"))
		votes := rapid.MapOf(rapid.Uint64Range(1, 9), rapid.Bool()).Draw(t, "votes")
		a := acks{}
		for id := range c {
			if rapid.Bool().Draw(t, "known") {
				a[id] = Index(rapid.Uint64().Draw(t, "index"))
			}
		}
		for _, joint := range []JointConfig{{c, nil}, {nil, c}, {c, MajorityConfig{}}, {c, maps.Clone(c)}} {
			if joint.CommittedIndex(a) != c.CommittedIndex(a) || joint.VoteResult(votes) != c.VoteResult(votes) {
				t.Fatalf("%v is not %v", joint, c)
			}
		}
	})
}
