// Package quorum counts: which index has enough of a group acknowledged, and
// has enough of it voted.
//
//	§5.2, §5.3 (majorities), §6 (joint consensus) · diss. §4.3
//
// Start at MajorityConfig; JointConfig asks two of them and takes the lesser
// answer. Nothing in here knows what is being acknowledged or voted on.
package quorum

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Index is a position in the log.
type Index uint64

// String returns the number, or ∞ for the largest one, which stands for "no
// limit from here".
func (i Index) String() string {
	if i == math.MaxUint64 {
		return "∞"
	}
	return strconv.FormatUint(uint64(i), 10)
}

// AckedIndexer tells how much of the log a voter has acknowledged, if anything
// is known of it.
type AckedIndexer interface {
	AckedIndex(voterID uint64) (idx Index, found bool)
}

// VoteResult is how an election stands.
type VoteResult uint8

// How an election can stand.
const (
	VotePending VoteResult = 1 + iota // neither is certain yet
	VoteLost                          // a majority is out of reach
	VoteWon                           // a majority said yes
)

// String returns the constant's name.
func (r VoteResult) String() string {
	switch r {
	case VotePending:
		return "VotePending"
	case VoteLost:
		return "VoteLost"
	case VoteWon:
		return "VoteWon"
	}
	return fmt.Sprintf("VoteResult(%d)", uint8(r))
}

// MajorityConfig is a set of voters of whom more than half decide.
type MajorityConfig map[uint64]struct{}

// String lists the voters in ascending order: (1 2 3).
func (c MajorityConfig) String() string {
	var b strings.Builder
	b.WriteByte('(')
	for i, id := range c.Slice() {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatUint(id, 10))
	}
	b.WriteByte(')')
	return b.String()
}

// Slice returns the voters in ascending order, nil if there are none.
func (c MajorityConfig) Slice() []uint64 {
	if len(c) == 0 {
		return nil
	}
	ids := make([]uint64, 0, len(c))
	for id := range c {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// CommittedIndex returns the largest index that a majority has acknowledged.
// Without voters nothing stands in the way of any index, so that the empty half
// of a joint configuration leaves the decision to the other.
func (c MajorityConfig) CommittedIndex(l AckedIndexer) Index {
	n := len(c)
	if n == 0 {
		return math.MaxUint64
	}

	// What each has acknowledged, 0 if nothing is known, in ascending order: then
	// the majority has reached the one in the middle, or rather the left of two.
	var room [7]Index // enough for most groups, and not on the heap
	acked := room[:0]
	if n > len(room) {
		acked = make([]Index, 0, n)
	}
	for id := range c {
		index, found := l.AckedIndex(id)
		if !found {
			index = 0 // whatever came with it
		}
		acked = append(acked, index)
	}
	slices.Sort(acked)
	return acked[n-(n/2+1)]
}

// VoteResult says how an election stands in which the voters in votes have said
// yes or no, and the others nothing yet. Without voters it is won.
func (c MajorityConfig) VoteResult(votes map[uint64]bool) VoteResult {
	if len(c) == 0 {
		return VoteWon
	}
	yes, missing := 0, 0
	for id := range c {
		switch granted, voted := votes[id]; {
		case !voted:
			missing++
		case granted:
			yes++
		}
	}
	majority := len(c)/2 + 1
	switch {
	case yes >= majority:
		return VoteWon
	case yes+missing >= majority:
		return VotePending
	}
	return VoteLost
}
