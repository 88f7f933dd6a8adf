// The configuration in force, and what its members have said.

package tracker

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"example.com/raftexample/raft/quorum"
	pb "example.com/raftexample/raft/raftpb"
	"pgregory.net/rapid"
)

func set(ids ...uint64) map[uint64]struct{} {
	s := map[uint64]struct{}{}
	for _, id := range ids {
		s[id] = struct{}{}
	}
	return s
}

// group returns a tracker of these voters and learners, each with a record.
func group(incoming, outgoing, learners []uint64) *ProgressTracker {
	p := MakeProgressTracker(8, 0)
	p.Voters[0] = set(incoming...)
	if outgoing != nil {
		p.Voters[1] = set(outgoing...)
	}
	for _, id := range slices.Concat(incoming, outgoing) {
		p.Progress[id] = newProgress(StateProbe, 0, 1, 8)
	}
	for _, id := range learners {
		if p.Learners == nil {
			p.Learners = set()
		}
		p.Learners[id] = struct{}{}
		p.Progress[id] = newProgress(StateProbe, 0, 1, 8)
		p.Progress[id].IsLearner = true
	}
	return &p
}

func TestMakeProgressTracker(t *testing.T) {
	p := MakeProgressTracker(7, 9)
	if p.MaxInflight != 7 || p.MaxInflightBytes != 9 || p.Progress == nil || p.Votes == nil {
		t.Errorf("%+v", p)
	}
	if p.Voters[0] == nil || p.Voters[1] != nil || p.Learners != nil || p.LearnersNext != nil {
		t.Errorf("configuration %v", p.Config)
	}
}

func TestConfigString(t *testing.T) {
	for _, tt := range []struct {
		config Config
		want   string
	}{
		{Config{}, "voters=()"},
		{Config{Voters: quorum.JointConfig{set(2, 1), nil}}, "voters=(1 2)"},
		{
			Config{Voters: quorum.JointConfig{set(1, 2), set(1)}, Learners: set(3), LearnersNext: set(2), AutoLeave: true},
			"voters=(1 2)&&(1) learners=(3) learners_next=(2) autoleave",
		},
		{Config{Voters: quorum.JointConfig{set(1), nil}, Learners: set()}, "voters=(1) learners=()"},
	} {
		if got := tt.config.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// A copy has the same members, and its own sets; AutoLeave it has not.
func TestCloneOfConfigSharesNothing(t *testing.T) {
	original := func() Config {
		return Config{
			Voters: quorum.JointConfig{set(1, 2), set(2, 3)}, Learners: set(4), LearnersNext: set(3), AutoLeave: true,
		}
	}
	c := original()
	got := c.Clone()
	want := original()
	want.AutoLeave = false
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	for _, s := range []map[uint64]struct{}{got.Voters[0], got.Voters[1], got.Learners, got.LearnersNext} {
		s[99] = struct{}{}
	}
	if !reflect.DeepEqual(c, original()) {
		t.Errorf("changing the copy has changed the original: %v", c)
	}

	empty := Config{}
	if got := empty.Clone(); !reflect.DeepEqual(got, Config{}) {
		t.Errorf("of nothing: %#v", got)
	}
}

func TestConfState(t *testing.T) {
	p := group([]uint64{3, 1, 2}, []uint64{9, 2}, []uint64{7, 4})
	p.LearnersNext = set(9)
	p.AutoLeave = true
	want := pb.ConfState{
		Voters: []uint64{1, 2, 3}, VotersOutgoing: []uint64{2, 9}, Learners: []uint64{4, 7},
		LearnersNext: []uint64{9}, AutoLeave: true,
	}
	if got := p.ConfState(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := group(nil, nil, nil).ConfState(); !reflect.DeepEqual(got, pb.ConfState{}) {
		t.Errorf("of nobody: %#v", got)
	}
}

func TestIsSingleton(t *testing.T) {
	for _, tt := range []struct {
		p    *ProgressTracker
		want bool
	}{
		{group([]uint64{1}, nil, nil), true},
		{group([]uint64{1}, nil, []uint64{2, 3}), true},
		{group([]uint64{1}, []uint64{}, nil), true},
		{group([]uint64{1, 2}, nil, nil), false},
		{group([]uint64{1}, []uint64{1}, nil), false},
		{group(nil, nil, []uint64{1}), false},
	} {
		if tt.p.IsSingleton() != tt.want {
			t.Errorf("%v: %t", tt.p.Config, !tt.want)
		}
	}
}

// §5.3: learners hold entries and commit none.
func TestCommittedIgnoresLearners(t *testing.T) {
	p := group([]uint64{1, 2, 3}, nil, []uint64{4, 5})
	for id, match := range map[uint64]uint64{1: 7, 2: 3, 3: 1, 4: 9, 5: 9} {
		p.Progress[id].Match = match
	}
	if got := p.Committed(); got != 3 {
		t.Errorf("%d", got)
	}
	delete(p.Progress, 2) // nothing is known of it
	if got := p.Committed(); got != 1 {
		t.Errorf("without a record: %d", got)
	}
}

func TestVisitGoesInOrder(t *testing.T) {
	for _, n := range []int{0, 1, 3, 7, 8, 100} {
		var ids []uint64
		for id := range uint64(n) {
			ids = append(ids, id*id*31+1)
		}
		p := group(ids, nil, []uint64{2})
		var got []uint64
		p.Visit(func(id uint64, pr *Progress) {
			if pr != p.Progress[id] {
				t.Errorf("%d has another's record", id)
			}
			got = append(got, id)
		})
		if want := slices.Sorted(slices.Values(append(ids, 2))); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestNodes(t *testing.T) {
	p := group([]uint64{3, 1}, []uint64{5, 3}, []uint64{9, 4})
	if got := p.VoterNodes(); !slices.Equal(got, []uint64{1, 3, 5}) {
		t.Errorf("voters %v", got)
	}
	if got := p.LearnerNodes(); !slices.Equal(got, []uint64{4, 9}) {
		t.Errorf("learners %v", got)
	}
	if got := group([]uint64{1}, nil, nil).LearnerNodes(); got != nil {
		t.Errorf("no learners: %#v", got)
	}
}

// §5.2: a server gives one vote in a term; what it says afterwards is a repeated
// message, or a broken one.
func TestFirstVoteStands(t *testing.T) {
	p := group([]uint64{1, 2, 3}, nil, nil)
	p.RecordVote(2, false)
	p.RecordVote(2, true)
	p.RecordVote(1, true)
	if want := map[uint64]bool{1: true, 2: false}; !maps.Equal(p.Votes, want) {
		t.Errorf("%v", p.Votes)
	}
	if p.ResetVotes(); len(p.Votes) != 0 {
		t.Errorf("after a reset: %v", p.Votes)
	}
	p.Votes = nil
	p.ResetVotes()
	p.RecordVote(1, true)
	if !p.Votes[1] {
		t.Error("after a reset without a map no vote is recorded")
	}
}

func TestTallyVotes(t *testing.T) {
	for _, tt := range []struct {
		name              string
		p                 *ProgressTracker
		votes             map[uint64]bool
		granted, rejected int
		result            quorum.VoteResult
	}{
		{"none yet", group([]uint64{1, 2, 3}, nil, nil), nil, 0, 0, quorum.VotePending},
		{"won", group([]uint64{1, 2, 3}, nil, nil), map[uint64]bool{1: true, 2: true}, 2, 0, quorum.VoteWon},
		{"lost", group([]uint64{1, 2, 3}, nil, nil), map[uint64]bool{1: true, 2: false, 3: false}, 1, 2, quorum.VoteLost},
		{
			"learners and strangers do not count", group([]uint64{1, 2, 3}, nil, []uint64{4}),
			map[uint64]bool{1: true, 4: true, 9: true, 8: false},
			1, 0, quorum.VotePending,
		},
		{
			"one half is not enough", group([]uint64{1, 2, 3}, []uint64{3, 4, 5}, nil),
			map[uint64]bool{1: true, 2: true, 3: true, 4: false},
			3, 1, quorum.VotePending,
		},
		{
			"both halves", group([]uint64{1, 2, 3}, []uint64{3, 4, 5}, nil),
			map[uint64]bool{1: true, 3: true, 4: true, 5: false},
			3, 1, quorum.VoteWon,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for id, granted := range tt.votes {
				tt.p.RecordVote(id, granted)
			}
			granted, rejected, result := tt.p.TallyVotes()
			if granted != tt.granted || rejected != tt.rejected || result != tt.result {
				t.Errorf("%d, %d, %v", granted, rejected, result)
			}
		})
	}
}

// diss. §6.2: a leader steps down if it has not heard of a quorum, of both
// halves if the configuration is joint. It would win an election in which those
// voted that it has heard of.
func TestQuorumActive(t *testing.T) {
	ids := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 9), 0, 9, rapid.ID)
	rapid.Check(t, func(t *rapid.T) {
		p := group(ids.Draw(t, "new"), ids.Draw(t, "old"), nil)
		learner := uint64(10)
		p.Learners = set(learner)
		p.Progress[learner] = newProgress(StateProbe, 0, 1, 1)
		p.Progress[learner].IsLearner, p.Progress[learner].RecentActive = true, true

		for id, pr := range p.Progress {
			if !pr.IsLearner {
				pr.RecentActive = rapid.Bool().Draw(t, fmt.Sprint("active ", id))
			}
		}
		want := true
		for _, half := range p.Voters {
			active := 0
			for id := range half {
				if p.Progress[id].RecentActive {
					active++
				}
			}
			want = want && (len(half) == 0 || 2*active > len(half))
		}
		if got := p.QuorumActive(); got != want {
			t.Fatalf("%v: %t\n%v", p.Config, got, p.Progress)
		}
	})
}

// A record says whether its member votes, whatever the configuration says.
func TestLearnersAreNotHeardOf(t *testing.T) {
	p := group([]uint64{1, 2, 3}, nil, nil)
	p.Progress[1].RecentActive, p.Progress[2].RecentActive = true, true
	if !p.QuorumActive() {
		t.Error("two of three are no quorum")
	}
	p.Progress[2].IsLearner = true
	if p.QuorumActive() {
		t.Error("a learner was counted")
	}
}

// Nothing that happens for every message takes memory in groups of the usual size.
func TestTrackerDoesNotAllocate(t *testing.T) {
	p := group([]uint64{1, 2, 3, 4, 5, 6, 7}, nil, nil)
	for id := range p.Progress {
		p.RecordVote(id, id%2 == 0)
	}
	visited := 0
	for name, f := range map[string]func(){
		"Committed":    func() { p.Committed() },
		"QuorumActive": func() { p.QuorumActive() },
		"TallyVotes":   func() { p.TallyVotes() },
		"Visit":        func() { p.Visit(func(uint64, *Progress) { visited++ }) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if visited == 0 {
		t.Error("nobody was visited")
	}
}

func BenchmarkTracker(b *testing.B) {
	for _, n := range []int{3, 7, 100} {
		var ids []uint64
		for id := range uint64(n) {
			ids = append(ids, id+1)
		}
		p := group(ids, nil, nil)
		visited := 0
		for _, bench := range []struct {
			name string
			f    func()
		}{
			{"Committed", func() { p.Committed() }},
			{"QuorumActive", func() { p.QuorumActive() }},
			{"TallyVotes", func() { p.TallyVotes() }},
			{"Visit", func() { p.Visit(func(uint64, *Progress) { visited++ }) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", bench.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					bench.f()
				}
			})
		}
	}
}
