// Examples: counting for a group of three, and for one in transition.

package quorum_test

import (
	"fmt"

	"example.com/raftexample/raft/quorum"
)

// match is what the members of a group have acknowledged.
type match map[uint64]quorum.Index

func (m match) AckedIndex(id uint64) (quorum.Index, bool) {
	index, known := m[id]
	return index, known
}

// Three voters have got as far as 5, 8 and 12: two of them have entry 8.
func ExampleMajorityConfig_CommittedIndex() {
	voters := quorum.MajorityConfig{1: {}, 2: {}, 3: {}}
	fmt.Println(voters.CommittedIndex(match{1: 12, 2: 5, 3: 8}))

	// Who was not heard of has nothing.
	fmt.Println(voters.CommittedIndex(match{1: 12, 2: 5}))
	fmt.Println(voters.CommittedIndex(match{1: 12}))
	// Output:
	// 8
	// 5
	// 0
}

// An election among five is open until three agree, either way.
func ExampleMajorityConfig_VoteResult() {
	voters := quorum.MajorityConfig{1: {}, 2: {}, 3: {}, 4: {}, 5: {}}
	votes := map[uint64]bool{1: true, 2: true}
	fmt.Println(voters.VoteResult(votes))

	votes[4] = true
	fmt.Println(voters.VoteResult(votes))
	// Output:
	// VotePending
	// VoteWon
}

// While voter 1 gives its place to voter 4, the old and the new group must both
// have an entry (§6).
func ExampleJointConfig_CommittedIndex() {
	joint := quorum.JointConfig{
		{2: {}, 3: {}, 4: {}}, // new
		{1: {}, 2: {}, 3: {}}, // old
	}
	acked := match{1: 9, 2: 9, 3: 4}
	fmt.Println(joint, "has committed", joint.CommittedIndex(acked))

	acked[4] = 7
	fmt.Println("with voter 4", joint.CommittedIndex(acked))
	// Output:
	// (2 3 4)&&(1 2 3) has committed 4
	// with voter 4 7
}

func ExampleMajorityConfig_Describe() {
	voters := quorum.MajorityConfig{1: {}, 2: {}, 3: {}}
	fmt.Print(voters.Describe(match{1: 12, 3: 8}))
	// Output:
	//        idx
	// xx>     12    (id=1)
	// ?        0    (id=2)
	// x>       8    (id=3)
}
