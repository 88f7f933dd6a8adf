// A leader's record of one peer.
//
// Start at TestSentEntries, which is the pace of sending in each state.

package tracker

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// newProgress returns a record with a window for size messages.
func newProgress(state StateType, match, next uint64, size int) *Progress {
	return &Progress{State: state, Match: match, Next: next, Inflights: NewInflights(size, 0)}
}

// diss. §3.5: after an election, or a loss, the leader finds out first where the
// logs agree. After a snapshot that is right behind it, if it arrived.
func TestBecomeProbe(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from     *Progress
		wantNext uint64
	}{
		{"from replicating", newProgress(StateReplicate, 4, 9, 8), 5},
		{"from probing", newProgress(StateProbe, 4, 9, 8), 5},
		{"after a snapshot", &Progress{State: StateSnapshot, Match: 4, Next: 11, PendingSnapshot: 10, Inflights: NewInflights(8, 0)}, 11},
		{"after a snapshot that failed", &Progress{State: StateSnapshot, Match: 4, Next: 11, Inflights: NewInflights(8, 0)}, 5},
		{"after a snapshot that was overtaken", &Progress{State: StateSnapshot, Match: 12, Next: 13, PendingSnapshot: 10, Inflights: NewInflights(8, 0)}, 13},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pr := tt.from
			match := pr.Match
			pr.Inflights.Add(9, 1)
			pr.MsgAppFlowPaused = true
			pr.BecomeProbe()
			if pr.State != StateProbe || pr.Match != match || pr.Next != tt.wantNext {
				t.Errorf("%v, want next=%d", pr, tt.wantNext)
			}
			checkNothingUnderWay(t, pr)
		})
	}
}

func TestBecomeReplicate(t *testing.T) {
	pr := newProgress(StateProbe, 4, 2, 8)
	pr.Inflights.Add(9, 1)
	pr.MsgAppFlowPaused, pr.PendingSnapshot = true, 3
	pr.BecomeReplicate()
	if pr.State != StateReplicate || pr.Match != 4 || pr.Next != 5 {
		t.Errorf("%v", pr)
	}
	checkNothingUnderWay(t, pr)
}

// §7: while a snapshot is under way nothing else is sent.
func TestBecomeSnapshot(t *testing.T) {
	pr := newProgress(StateReplicate, 4, 9, 8)
	pr.Inflights.Add(8, 1)
	pr.MsgAppFlowPaused = true
	pr.BecomeSnapshot(20)
	if pr.State != StateSnapshot || pr.Match != 4 || pr.Next != 21 || pr.PendingSnapshot != 20 {
		t.Errorf("%v", pr)
	}
	if pr.MsgAppFlowPaused || pr.Inflights.Count() != 0 {
		t.Errorf("%v: something is still under way", pr)
	}
	if !pr.IsPaused() {
		t.Error("appends do not wait for the snapshot")
	}
}

func checkNothingUnderWay(t *testing.T, pr *Progress) {
	t.Helper()
	if pr.MsgAppFlowPaused || pr.PendingSnapshot != 0 || pr.Inflights.Count() != 0 || pr.IsPaused() {
		t.Errorf("%v: something is still under way", pr)
	}
}

// Probing, one append with entries is sent and then waited for. Replicating,
// Next moves ahead until the window is full. Empty appends change neither.
func TestSentEntries(t *testing.T) {
	for _, tt := range []struct {
		name    string
		from    *Progress
		entries int
		next    uint64
		paused  bool
		count   int
	}{
		{"probing", newProgress(StateProbe, 0, 5, 3), 2, 5, true, 0},
		{"probing, empty", newProgress(StateProbe, 0, 5, 3), 0, 5, false, 0},
		{"replicating", newProgress(StateReplicate, 4, 5, 3), 2, 7, false, 1},
		{"replicating, empty", newProgress(StateReplicate, 4, 5, 3), 0, 5, false, 0},
		{"replicating, the last place", newProgress(StateReplicate, 4, 5, 1), 2, 7, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pr := tt.from
			pr.SentEntries(tt.entries, 100)
			if pr.Next != tt.next || pr.IsPaused() != tt.paused || pr.Inflights.Count() != tt.count {
				t.Errorf("%v, paused %t", pr, pr.IsPaused())
			}
		})
	}
}

// With a full window a heartbeat's answer lets one empty append through, which
// finds out whether what is under way got lost.
func TestFullWindowPausesAgainAfterEmptyAppend(t *testing.T) {
	pr := newProgress(StateReplicate, 4, 5, 1)
	pr.SentEntries(1, 1)
	pr.MsgAppFlowPaused = false // the heartbeat's answer
	if pr.IsPaused() {
		t.Fatal("nothing may be sent")
	}
	if pr.SentEntries(0, 0); !pr.IsPaused() || pr.Next != 6 {
		t.Errorf("%v", pr)
	}
}

func TestSentEntriesInStateSnapshotPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	newProgress(StateSnapshot, 1, 5, 3).SentEntries(1, 1)
}

func TestIsPaused(t *testing.T) {
	for _, tt := range []struct {
		state        StateType
		flow, paused bool
	}{
		{StateProbe, false, false},
		{StateProbe, true, true},
		{StateReplicate, false, false},
		{StateReplicate, true, true},
		{StateSnapshot, false, true},
		{StateSnapshot, true, true},
	} {
		pr := &Progress{State: tt.state, MsgAppFlowPaused: tt.flow}
		if pr.IsPaused() != tt.paused {
			t.Errorf("%v, flow paused %t: %t", tt.state, tt.flow, pr.IsPaused())
		}
	}
}

// §5.3: the answer to an append moves matchIndex forward, and nextIndex if it is
// behind. A late answer moves nothing.
func TestMaybeUpdate(t *testing.T) {
	for _, tt := range []struct {
		acked       uint64
		news        bool
		match, next uint64
	}{
		{2, false, 3, 7},
		{3, false, 3, 7},
		{4, true, 4, 7},
		{6, true, 6, 7},
		{7, true, 7, 8},
		{9, true, 9, 10},
	} {
		pr := newProgress(StateProbe, 3, 7, 8)
		pr.MsgAppFlowPaused = true
		news := pr.MaybeUpdate(tt.acked)
		if news != tt.news || pr.Match != tt.match || pr.Next != tt.next || pr.MsgAppFlowPaused == news {
			t.Errorf("%d: %t, %v", tt.acked, news, pr)
		}
	}
}

// §5.3: when a follower refuses, the leader decrements nextIndex and tries again;
// by its hint as far as that helps, and never behind what it is known to hold.
func TestMaybeDecrTo(t *testing.T) {
	for _, tt := range []struct {
		name           string
		state          StateType
		match, next    uint64
		rejected, hint uint64
		moved          bool
		wantNext       uint64
	}{
		{"replicating: rejected is held", StateReplicate, 5, 10, 5, 5, false, 10},
		{"replicating: rejected is behind", StateReplicate, 5, 10, 4, 4, false, 10},
		{"replicating: back to what is held", StateReplicate, 5, 10, 9, 9, true, 6},
		{"replicating: whatever the hint", StateReplicate, 5, 10, 9, 2, true, 6},
		{"probing: not what was asked", StateProbe, 0, 10, 8, 8, false, 10},
		{"probing: nor this", StateProbe, 0, 10, 10, 10, false, 10},
		{"probing: one back", StateProbe, 0, 10, 9, 9, true, 9},
		{"probing: behind the hint", StateProbe, 0, 10, 9, 2, true, 3},
		{"probing: a hint ahead does not help", StateProbe, 0, 10, 9, 30, true, 9},
		{"probing: nothing agrees", StateProbe, 0, 10, 9, 0, true, 1},
		{"probing: not behind what is held", StateProbe, 4, 10, 9, 1, true, 5},
		{"probing: the first entry", StateProbe, 0, 1, 0, 0, true, 1},
		{"a snapshot is under way", StateSnapshot, 0, 10, 7, 2, false, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pr := newProgress(tt.state, tt.match, tt.next, 8)
			pr.MsgAppFlowPaused = true
			moved := pr.MaybeDecrTo(tt.rejected, tt.hint)
			if moved != tt.moved || pr.Next != tt.wantNext || pr.Match != tt.match {
				t.Errorf("%t, %v; want %t, next=%d", moved, pr, tt.moved, tt.wantNext)
			}
			if unpaused := !pr.MsgAppFlowPaused; unpaused != (moved && tt.state != StateReplicate) {
				t.Errorf("flow paused: %t", pr.MsgAppFlowPaused)
			}
		})
	}
}

// A commit index is news to a peer if it is more than it was told, and if it was
// sent entries beyond what it was told: others it cannot commit.
func TestCanBumpCommit(t *testing.T) {
	pr := newProgress(StateReplicate, 4, 8, 8)
	for _, tt := range []struct {
		told, commit uint64
		can          bool
	}{
		{0, 0, false},
		{0, 1, true},
		{5, 5, false},
		{5, 4, false},
		{5, 6, true},
		{6, 9, true}, // it may commit 7
		{7, 9, false},
		{9, 10, false},
	} {
		pr.SentCommit(tt.told)
		if got := pr.CanBumpCommit(tt.commit); got != tt.can {
			t.Errorf("told %d, commit %d: %t", tt.told, tt.commit, got)
		}
	}
}

// What a peer was told about entries that it may not have got, it must be told
// again: the note goes back with Next.
func TestSentCommitFallsBackWithNext(t *testing.T) {
	for _, tt := range []struct {
		name string
		move func(*Progress)
		next uint64
	}{
		{"to probing", func(pr *Progress) { pr.BecomeProbe() }, 5},
		{"a rejection while replicating", func(pr *Progress) { pr.MaybeDecrTo(9, 9) }, 5},
		{"a rejection while probing", func(pr *Progress) { pr.State = StateProbe; pr.MaybeDecrTo(9, 6) }, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pr := newProgress(StateReplicate, 4, 10, 8)
			pr.SentCommit(8)
			tt.move(pr)
			if pr.Next != tt.next {
				t.Fatalf("%v", pr)
			}
			if pr.CanBumpCommit(8) {
				t.Error("it can use a commit index beyond what it was sent")
			}
			if pr.Next++; !pr.CanBumpCommit(8) {
				t.Error("it is thought to know what it may not have got")
			}
		})
	}

	pr := newProgress(StateProbe, 4, 5, 8)
	pr.SentCommit(30)
	pr.BecomeSnapshot(20) // which tells that 20 is committed
	pr.Next = 40
	if pr.CanBumpCommit(20) || !pr.CanBumpCommit(21) {
		t.Error("after a snapshot at 20, 21 is news and 20 is not")
	}
}

// diss. §3.5: the log only ever matches further, and what is sent next is behind
// it. Here a leader and a peer do whatever they may, in any order.
func TestProgressInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pr := newProgress(StateProbe, 0, 1, rapid.IntRange(1, 5).Draw(t, "size"))
		match := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				if pr.IsPaused() {
					t.Skip("paused")
				}
				n := rapid.IntRange(0, 3).Draw(t, "entries")
				if pr.Inflights.Full() {
					n = 0
				}
				pr.SentEntries(n, uint64(n))
			},
			"acknowledge": func(t *rapid.T) {
				index := rapid.Uint64Range(0, pr.Next-1).Draw(t, "index")
				if pr.MaybeUpdate(index) && pr.State == StateReplicate {
					pr.Inflights.FreeLE(index)
				}
			},
			"reject": func(t *rapid.T) {
				rejected := rapid.Uint64Range(0, pr.Next).Draw(t, "rejected")
				hint := rapid.Uint64Range(0, pr.Next+2).Draw(t, "hint")
				if next := pr.Next; !pr.MaybeDecrTo(rejected, hint) && pr.Next != next {
					t.Fatalf("moved without saying so: %v", pr)
				}
			},
			"heartbeat answered": func(*rapid.T) { pr.MsgAppFlowPaused = false },
			"probe":              func(*rapid.T) { pr.BecomeProbe() },
			"replicate":          func(*rapid.T) { pr.BecomeReplicate() },
			"snapshot": func(t *rapid.T) {
				pr.BecomeSnapshot(pr.Match + rapid.Uint64Range(0, 9).Draw(t, "ahead"))
			},
			"told": func(t *rapid.T) { pr.SentCommit(rapid.Uint64Range(0, pr.Next+5).Draw(t, "commit")) },
			"": func(t *rapid.T) {
				switch {
				case pr.Match < match:
					t.Fatalf("match went back from %d: %v", match, pr)
				case pr.Match >= pr.Next:
					t.Fatalf("next is not behind match: %v", pr)
				case pr.State != StateReplicate && pr.Inflights.Count() != 0:
					t.Fatalf("a window in use: %v", pr)
				case pr.State != StateSnapshot && pr.PendingSnapshot != 0:
					t.Fatalf("a snapshot under way: %v", pr)
				}
				match = pr.Match
			},
		})
	})
}

func TestProgressString(t *testing.T) {
	full := newProgress(StateReplicate, 4, 5, 2)
	full.SentEntries(1, 1)
	two := *full
	two.Inflights = full.Inflights.Clone()
	two.SentEntries(1, 1)
	two.MsgAppFlowPaused = false

	for _, tt := range []struct {
		pr   *Progress
		want string
	}{
		{&Progress{State: StateReplicate, Match: 4, Next: 5, RecentActive: true, Inflights: NewInflights(1, 0)}, "StateReplicate match=4 next=5"},
		{&Progress{Next: 1, IsLearner: true, MsgAppFlowPaused: true, Inflights: NewInflights(1, 0)}, "StateProbe match=0 next=1 learner paused inactive"},
		{&Progress{State: StateSnapshot, Next: 8, PendingSnapshot: 7, RecentActive: true, Inflights: NewInflights(1, 0)}, "StateSnapshot match=0 next=8 paused pendingSnap=7"},
		{full, "StateReplicate match=4 next=6 inactive inflight=1"},
		{&two, "StateReplicate match=4 next=7 inactive inflight=2[full]"},
	} {
		if got := tt.pr.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}

	m := ProgressMap{10: full, 2: &two}
	if got, want := m.String(), fmt.Sprintf("2: %v\n10: %v\n", &two, full); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if StateProbe.String() != "StateProbe" || StateSnapshot.String() != "StateSnapshot" || StateType(3).String() != "StateType(3)" {
		t.Error("names of states")
	}
	if StateProbe != 0 || StateReplicate != 1 || StateSnapshot != 2 {
		t.Error("the constants have moved")
	}
}

// Nothing that happens for every message takes memory.
func TestProgressDoesNotAllocate(t *testing.T) {
	pr := newProgress(StateReplicate, 0, 1, 8)
	for range 8 {
		pr.SentEntries(1, 1)
	}
	if n := testing.AllocsPerRun(1000, func() {
		pr.MaybeUpdate(pr.Match + 1)
		pr.Inflights.FreeLE(pr.Match)
		if pr.IsPaused() {
			t.Fatal("paused")
		}
		pr.SentEntries(1, 1)
		pr.SentCommit(pr.Match)
		pr.CanBumpCommit(pr.Match)
		pr.MaybeDecrTo(0, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
