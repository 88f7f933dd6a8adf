// Package tracker holds who is a member of the group and what a leader, or a
// candidate, knows of each.
//
//	Figure 2, "Volatile state on leaders", §5.2 (votes), §6 (configurations) · diss. ch. 4
//
// Start at ProgressTracker, then Progress, the record of one member.
package tracker

import (
	"maps"
	"slices"
	"strings"

	"example.com/raftexample/raft/quorum"
	pb "example.com/raftexample/raft/raftpb"
)

// Config is a configuration: who votes, and who only listens.
type Config struct {
	// Voters are the voters; while the configuration is joint, those of its new
	// half, then those of its old one.
	Voters quorum.JointConfig

	// AutoLeave says that the leader leaves the joint configuration by itself.
	AutoLeave bool

	// Learners receive the log and have no vote. Nobody is a learner and a voter
	// in either half: see LearnersNext.
	Learners map[uint64]struct{}

	// LearnersNext are voters of the old half who are to be learners. They become
	// that when the joint configuration is left; until then they vote.
	LearnersNext map[uint64]struct{}
}

// String describes the configuration in a line.
func (c Config) String() string {
	var b strings.Builder
	b.WriteString("voters=" + c.Voters.String())
	if c.Learners != nil {
		b.WriteString(" learners=" + quorum.MajorityConfig(c.Learners).String())
	}
	if c.LearnersNext != nil {
		b.WriteString(" learners_next=" + quorum.MajorityConfig(c.LearnersNext).String())
	}
	if c.AutoLeave {
		b.WriteString(" autoleave")
	}
	return b.String()
}

// Clone returns a copy that shares nothing. AutoLeave is left out, as in the
// library that this one stands in for: a copy is made to show the members.
func (c *Config) Clone() Config {
	return Config{
		Voters:       quorum.JointConfig{maps.Clone(c.Voters[0]), maps.Clone(c.Voters[1])},
		Learners:     maps.Clone(c.Learners),
		LearnersNext: maps.Clone(c.LearnersNext),
	}
}

// ProgressTracker is the configuration in force, with what is known of each
// member: its Progress for a leader, its vote for a candidate.
type ProgressTracker struct {
	Config

	// Progress has a record for every member.
	Progress ProgressMap

	// Votes are the answers to the last campaign.
	Votes map[uint64]bool

	// MaxInflight and MaxInflightBytes are the window of each member's Inflights.
	MaxInflight      int
	MaxInflightBytes uint64
}

// MakeProgressTracker returns a tracker without members.
func MakeProgressTracker(maxInflight int, maxBytes uint64) ProgressTracker {
	return ProgressTracker{
		Config:           Config{Voters: quorum.JointConfig{quorum.MajorityConfig{}, nil}},
		Progress:         ProgressMap{},
		Votes:            map[uint64]bool{},
		MaxInflight:      maxInflight,
		MaxInflightBytes: maxBytes,
	}
}

// ConfState returns the configuration as it is stored.
func (p *ProgressTracker) ConfState() pb.ConfState {
	return pb.ConfState{
		Voters:         p.Voters[0].Slice(),
		VotersOutgoing: p.Voters[1].Slice(),
		Learners:       quorum.MajorityConfig(p.Learners).Slice(),
		LearnersNext:   quorum.MajorityConfig(p.LearnersNext).Slice(),
		AutoLeave:      p.AutoLeave,
	}
}

// IsSingleton reports whether one voter decides alone.
func (p *ProgressTracker) IsSingleton() bool {
	return len(p.Voters[0]) == 1 && len(p.Voters[1]) == 0
}

// Committed returns the largest index that a quorum holds (§5.3).
func (p *ProgressTracker) Committed() uint64 {
	return uint64(p.Voters.CommittedIndex(matchIndexes(p.Progress)))
}

// matchIndexes shows a ProgressMap as what its members have acknowledged.
type matchIndexes ProgressMap

func (m matchIndexes) AckedIndex(id uint64) (quorum.Index, bool) {
	pr, ok := m[id]
	if !ok {
		return 0, false
	}
	return quorum.Index(pr.Match), true
}

// Visit calls f for each member in ascending order of ids.
func (p *ProgressTracker) Visit(f func(id uint64, pr *Progress)) {
	var room [7]uint64 // enough for most groups, and not on the heap
	ids := room[:0]
	if len(p.Progress) > len(room) {
		ids = make([]uint64, 0, len(p.Progress))
	}
	for id := range p.Progress {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		f(id, p.Progress[id])
	}
}

// QuorumActive reports whether the members that were heard of make a quorum.
func (p *ProgressTracker) QuorumActive() bool {
	active := make(map[uint64]bool, len(p.Progress))
	for id, pr := range p.Progress {
		active[id] = pr.RecentActive && !pr.IsLearner
	}
	return p.Voters.VoteResult(active) == quorum.VoteWon // as if being heard of were a vote
}

// VoterNodes returns the voters of both halves in ascending order.
func (p *ProgressTracker) VoterNodes() []uint64 { return sortedKeys(p.Voters.IDs()) }

// LearnerNodes returns the learners in ascending order, nil if there are none.
func (p *ProgressTracker) LearnerNodes() []uint64 { return quorum.MajorityConfig(p.Learners).Slice() }

// ResetVotes forgets all votes, before a campaign.
func (p *ProgressTracker) ResetVotes() {
	p.Votes = map[uint64]bool{}
}

// RecordVote notes what id answered; its first answer stands.
func (p *ProgressTracker) RecordVote(id uint64, granted bool) {
	if _, voted := p.Votes[id]; !voted {
		p.Votes[id] = granted
	}
}

// TallyVotes counts the members' answers, and says how the election stands.
func (p *ProgressTracker) TallyVotes() (granted, rejected int, result quorum.VoteResult) {
	for id, pr := range p.Progress {
		if pr.IsLearner {
			continue
		}
		switch yes, voted := p.Votes[id]; {
		case !voted:
		case yes:
			granted++
		default:
			rejected++
		}
	}
	return granted, rejected, p.Voters.VoteResult(p.Votes)
}
