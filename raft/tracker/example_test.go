// Examples: a leader's record of a peer, and a candidate's count of votes.

package tracker_test

import (
	"fmt"

	"example.com/raftexample/raft/quorum"
	"example.com/raftexample/raft/tracker"
)

// A new leader probes with one append; once the logs agree it sends ahead until
// the window is full.
func ExampleProgress() {
	pr := &tracker.Progress{Next: 11, RecentActive: true, Inflights: tracker.NewInflights(2, 0)}
	pr.SentEntries(1, 64)
	fmt.Println(pr)

	// The peer refuses: its log ends at 7. The next probe is accepted.
	pr.MaybeDecrTo(10, 7)
	fmt.Println(pr)
	pr.SentEntries(3, 192)
	if pr.MaybeUpdate(10) {
		pr.BecomeReplicate()
	}
	fmt.Println(pr)

	pr.SentEntries(1, 64)
	pr.SentEntries(1, 64)
	fmt.Println(pr)
	// Output:
	// StateProbe match=0 next=11 paused
	// StateProbe match=0 next=8
	// StateReplicate match=10 next=11
	// StateReplicate match=10 next=13 paused inflight=2[full]
}

func ExampleProgressTracker_TallyVotes() {
	p := tracker.MakeProgressTracker(256, 0)
	for id := uint64(1); id <= 3; id++ {
		p.Voters[0][id] = struct{}{}
		p.Progress[id] = &tracker.Progress{Next: 1, Inflights: tracker.NewInflights(256, 0)}
	}

	p.RecordVote(1, true)
	p.RecordVote(3, false)
	_, _, result := p.TallyVotes()
	fmt.Println(result)

	p.RecordVote(2, true)
	granted, rejected, result := p.TallyVotes()
	fmt.Println(granted, rejected, result, result == quorum.VoteWon)
	// Output:
	// VotePending
	// 2 1 VoteWon true
}
