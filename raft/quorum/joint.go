// Joint configurations: two majorities, and both must agree.
//
//	§6 · diss. §4.3

package quorum

// JointConfig is a configuration in transition: its new voters, and its old
// ones, of whom there are none when it is not in transition.
type JointConfig [2]MajorityConfig

// String shows both halves, (1 2 3)&&(2 3 4), or the first alone.
func (c JointConfig) String() string {
	if len(c[1]) > 0 {
		return c[0].String() + "&&" + c[1].String()
	}
	return c[0].String()
}

// IDs returns the voters of both halves, as a new set.
func (c JointConfig) IDs() map[uint64]struct{} {
	ids := make(map[uint64]struct{}, len(c[0])+len(c[1]))
	for _, half := range c {
		for id := range half {
			ids[id] = struct{}{}
		}
	}
	return ids
}

// CommittedIndex returns the largest index that both majorities have
// acknowledged.
func (c JointConfig) CommittedIndex(l AckedIndexer) Index {
	return min(c[0].CommittedIndex(l), c[1].CommittedIndex(l))
}

// VoteResult says how an election stands that both majorities must grant.
func (c JointConfig) VoteResult(votes map[uint64]bool) VoteResult {
	first, second := c[0].VoteResult(votes), c[1].VoteResult(votes)
	switch {
	case first == VoteLost || second == VoteLost:
		return VoteLost
	case first == VoteWon && second == VoteWon:
		return VoteWon
	}
	return VotePending
}
