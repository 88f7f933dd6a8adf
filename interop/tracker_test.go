// tracker beside tracker: random calls on Inflights, Progress and ProgressTracker.

package interop

import (
	"fmt"
	"strings"
	"testing"

	theirtracker "go.etcd.io/raft/v3/tracker"

	"example.com/raftexample/raft/tracker"
)

// outcome calls f and returns what it gives; a panic is an outcome like another.
func outcome(f func() any) (result string) {
	defer func() {
		if recover() != nil {
			result = "panic"
		}
	}()
	return fmt.Sprint(f())
}

// inflights is what both Inflights can do.
type inflights interface {
	Add(index, bytes uint64)
	FreeLE(to uint64)
	Full() bool
	Count() int
}

func TestInflightsAgree(t *testing.T) {
	seeds(t, 1500, 100_000, func(seed uint64) {
		s := source{newRand(seed)}
		size, bytes := s.IntN(20), []uint64{0, 0, 10, 50}[s.IntN(4)]
		our, their := tracker.NewInflights(size, bytes), theirtracker.NewInflights(size, bytes)
		index := uint64(0)
		for step := range 100 {
			op, by, amount := s.IntN(5), s.Uint64N(3), s.Uint64N(12)
			do := func(in inflights) func() any {
				return func() any {
					switch op {
					case 0:
						in.FreeLE(index - min(index, amount))
					case 1:
						if step%40 != 1 && in.Full() {
							return "full"
						}
						in.Add(index+by, amount)
					default:
						if !in.Full() {
							in.Add(index+by, amount)
						}
					}
					return fmt.Sprint(in.Count(), in.Full())
				}
			}
			if op > 0 {
				index += by
			}
			if s.IntN(10) == 0 { // go on with copies; the originals must not notice
				our, their = our.Clone(), their.Clone()
			}
			if a, b := outcome(do(our)), outcome(do(their)); a != b {
				t.Fatalf("seed %d, step %d: %s, etcd's %s", seed, step, a, b)
			}
		}
	})
}

// progress is what both Progress types can do.
type progress interface {
	BecomeProbe()
	BecomeReplicate()
	BecomeSnapshot(i uint64)
	MaybeUpdate(n uint64) bool
	MaybeDecrTo(rejected, hint uint64) bool
	SentEntries(entries int, bytes uint64)
	SentCommit(commit uint64)
	CanBumpCommit(index uint64) bool
	IsPaused() bool
	String() string
}

func TestProgressAgrees(t *testing.T) {
	seeds(t, 2000, 200_000, func(seed uint64) {
		s := source{newRand(seed)}
		match, size := s.Uint64N(5), 1+s.IntN(4)
		next := match + 1 + s.Uint64N(3)
		our := &tracker.Progress{Match: match, Next: next, Inflights: tracker.NewInflights(size, 30)}
		their := &theirtracker.Progress{Match: match, Next: next, Inflights: theirtracker.NewInflights(size, 30)}
		var story []string
		for range 40 {
			call, name := drawProgressCall(s, match+s.Uint64N(12), s.Uint64N(12))
			a := outcome(func() any { return call(our) })
			b := outcome(func() any { return call(their) })
			story = append(story, name+" -> "+b)
			a += fmt.Sprint(" ", our, our.MsgAppFlowPaused, our.PendingSnapshot, our.RecentActive, our.IsLearner)
			b += fmt.Sprint(" ", their, their.MsgAppFlowPaused, their.PendingSnapshot, their.RecentActive, their.IsLearner)
			if a != b {
				t.Fatalf("seed %d:\n%s\nours   %s\netcd's %s", seed, strings.Join(story, "\n"), a, b)
			}
			if strings.HasPrefix(b, "panic") {
				return // in what state a panic leaves it is nobody's business
			}
		}
	})
}

func drawProgressCall(s source, x, y uint64) (call func(progress) any, name string) {
	kind := s.IntN(9)
	name = fmt.Sprint([]string{
		"BecomeProbe", "BecomeReplicate", "BecomeSnapshot", "MaybeUpdate", "MaybeDecrTo", "SentEntries",
		"SentCommit", "CanBumpCommit", "IsPaused",
	}[kind], "(", x, ",", y, ")")
	return func(p progress) any {
		switch kind {
		case 0:
			p.BecomeProbe()
		case 1:
			p.BecomeReplicate()
		case 2:
			if y > 8 { // rarely: nothing can be sent in this state
				p.BecomeSnapshot(x)
			}
		case 3:
			return p.MaybeUpdate(x)
		case 4:
			return p.MaybeDecrTo(x, y)
		case 5:
			if !p.IsPaused() {
				p.SentEntries(int(y%3), 3*y)
			}
		case 6:
			p.SentCommit(x)
		case 7:
			return p.CanBumpCommit(x)
		case 8:
			return p.IsPaused()
		}
		return nil
	}, name
}

// Who leads what: votes, commit index, activity and the order of visits agree.
func TestTrackersAgree(t *testing.T) {
	seeds(t, 1500, 100_000, func(seed uint64) {
		s := source{newRand(seed)}
		our, their := tracker.MakeProgressTracker(4, 0), theirtracker.MakeProgressTracker(4, 0)
		for half := range 2 {
			ids := s.ids(5)
			our.Voters[half], their.Voters[half] = ids, ids
		}
		if s.IntN(2) == 0 {
			our.Learners = s.ids(4)
			their.Learners = our.Learners
		}
		if s.IntN(3) == 0 {
			our.LearnersNext = s.ids(2)
			their.LearnersNext = our.LearnersNext
		}
		our.AutoLeave = s.IntN(2) == 0
		their.AutoLeave = our.AutoLeave
		for id := range uint64(10) {
			if s.IntN(4) == 0 {
				continue
			}
			match, active := s.Uint64N(9), s.IntN(2) == 0
			_, learner := our.Learners[id]
			our.Progress[id] = &tracker.Progress{
				Match: match, Next: match + 1, RecentActive: active, IsLearner: learner, Inflights: tracker.NewInflights(4, 0),
			}
			their.Progress[id] = &theirtracker.Progress{
				Match: match, Next: match + 1, RecentActive: active, IsLearner: learner, Inflights: theirtracker.NewInflights(4, 0),
			}
		}
		for range s.IntN(12) {
			id, yes := s.Uint64N(10), s.IntN(2) == 0
			our.RecordVote(id, yes)
			their.RecordVote(id, yes)
		}
		if a, b := lookAtOurs(&our), lookAtTheirs(&their); a != b {
			t.Fatalf("seed %d:\nours   %s\netcd's %s", seed, a, b)
		}
		our.ResetVotes()
		their.ResetVotes()
		if a, b := lookAtOurs(&our), lookAtTheirs(&their); a != b {
			t.Fatalf("seed %d, votes forgotten:\nours   %s\netcd's %s", seed, a, b)
		}
	})
}

func lookAtOurs(trk *tracker.ProgressTracker) string {
	var visited []string
	trk.Visit(func(id uint64, pr *tracker.Progress) { visited = append(visited, fmt.Sprint(id, pr)) })
	granted, rejected, result := trk.TallyVotes()
	clone := trk.Config.Clone()
	return fmt.Sprintf("%s\n%s\n%v %d %d %v\n%d %t %t\n%#v\n%#v %#v\n%s\n%v",
		trk.Config.String(), trk.Progress, visited, granted, rejected, result,
		trk.Committed(), trk.IsSingleton(), trk.QuorumActive(),
		trk.ConfState(), trk.VoterNodes(), trk.LearnerNodes(), clone.String(), trk.Votes)
}

func lookAtTheirs(trk *theirtracker.ProgressTracker) string {
	var visited []string
	trk.Visit(func(id uint64, pr *theirtracker.Progress) { visited = append(visited, fmt.Sprint(id, pr)) })
	granted, rejected, result := trk.TallyVotes()
	clone := trk.Config.Clone()
	return fmt.Sprintf("%s\n%s\n%v %d %d %v\n%d %t %t\n%#v\n%#v %#v\n%s\n%v",
		trk.Config.String(), trk.Progress, visited, granted, rejected, result,
		trk.Committed(), trk.IsSingleton(), trk.QuorumActive(),
		trk.ConfState(), trk.VoterNodes(), trk.LearnerNodes(), clone.String(), trk.Votes)
}

func TestTrackerStatesPrintAlike(t *testing.T) {
	for v := range uint64(3) {
		if a, b := tracker.StateType(v).String(), theirtracker.StateType(v).String(); a != b {
			t.Errorf("StateType(%d) is %q, etcd's %q", v, a, b)
		}
	}
}
