// Properties: whatever the history, a configuration is sound, quorums before and
// after a change overlap, and what is stored is restored.

package confchange

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"example.com/raftexample/raft/quorum"
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// model is a group as a list of who is what: two halves of voters, learners, and
// those of the old half who become learners.
type model struct {
	incoming, outgoing, learners, next map[uint64]bool
}

// change makes one change in the new half.
func (m *model) change(cc pb.ConfChangeSingle) {
	id := cc.NodeID
	if id == 0 || cc.Type == pb.ConfChangeUpdateNode {
		return
	}
	if cc.Type == pb.ConfChangeAddLearnerNode && m.learners[id] {
		return
	}
	delete(m.incoming, id)
	delete(m.learners, id)
	delete(m.next, id)
	switch {
	case cc.Type == pb.ConfChangeAddNode:
		m.incoming[id] = true
	case cc.Type == pb.ConfChangeAddLearnerNode && m.outgoing[id]:
		m.next[id] = true
	case cc.Type == pb.ConfChangeAddLearnerNode:
		m.learners[id] = true
	}
}

func (m *model) clone() *model {
	return &model{maps.Clone(m.incoming), maps.Clone(m.outgoing), maps.Clone(m.learners), maps.Clone(m.next)}
}

func (m *model) confState(autoLeave bool) pb.ConfState {
	ids := func(set map[uint64]bool) []uint64 { return slices.Sorted(maps.Keys(set)) }
	return pb.ConfState{
		Voters: ids(m.incoming), VotersOutgoing: ids(m.outgoing), Learners: ids(m.learners),
		LearnersNext: ids(m.next), AutoLeave: autoLeave,
	}
}

func drawChanges(t *rapid.T) []pb.ConfChangeSingle {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pb.ConfChangeSingle {
		return pb.ConfChangeSingle{
			Type:   pb.ConfChangeType(rapid.Int32Range(0, 3).Draw(t, "type")),
			NodeID: rapid.Uint64Range(0, 5).Draw(t, "node"),
		}
	}), 0, 4).Draw(t, "changes")
}

// comparison is the same changes, made to a Changer and to the model.
type comparison struct {
	c         Changer
	m         *model
	autoLeave bool
}

// The two have the same outcome, whatever is changed, and every refusal has its reason.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &comparison{c: empty(), m: &model{map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}}}
		t.Repeat(map[string]func(*rapid.T){"simple": h.simple, "enter": h.enter, "leave": h.leave, "": h.check})
	})
}

// accept compares the outcome of a change, and puts it into force.
func (h *comparison) accept(t *rapid.T, after *model, cfg tracker.Config, members tracker.ProgressMap, err error, refused bool) bool {
	if (err != nil) != refused {
		t.Fatalf("error %v, expected one: %t", err, refused)
	}
	if err != nil {
		return false
	}
	checkQuorumsOverlap(t, h.c.Tracker.Voters, cfg.Voters)
	h.c.Tracker.Config, h.c.Tracker.Progress = cfg, members
	h.m = after
	return true
}

func (h *comparison) simple(t *rapid.T) {
	ccs := drawChanges(t)
	after := h.m.clone()
	for _, cc := range ccs {
		after.change(cc)
	}
	moved := 0
	for id := range uint64(6) {
		if h.m.incoming[id] != after.incoming[id] {
			moved++
		}
	}
	cfg, members, err := h.c.Simple(ccs...)
	h.accept(t, after, cfg, members, err, len(h.m.outgoing) > 0 || len(after.incoming) == 0 || moved > 1)
}

func (h *comparison) enter(t *rapid.T) {
	ccs := drawChanges(t)
	auto := rapid.Bool().Draw(t, "auto")
	after := h.m.clone()
	after.outgoing = maps.Clone(h.m.incoming)
	for _, cc := range ccs {
		after.change(cc)
	}
	cfg, members, err := h.c.EnterJoint(auto, ccs...)
	refused := len(h.m.outgoing) > 0 || len(h.m.incoming) == 0 || len(after.incoming) == 0
	if h.accept(t, after, cfg, members, err, refused) {
		h.autoLeave = auto
	}
}

func (h *comparison) leave(t *rapid.T) {
	after := h.m.clone()
	maps.Copy(after.learners, after.next)
	after.next, after.outgoing = map[uint64]bool{}, map[uint64]bool{}
	cfg, members, err := h.c.LeaveJoint()
	if h.accept(t, after, cfg, members, err, len(h.m.outgoing) == 0) {
		h.autoLeave = false
	}
}

func (h *comparison) check(t *rapid.T) {
	want := h.m.confState(h.autoLeave)
	if got := h.c.Tracker.ConfState(); got.Equivalent(want) != nil {
		t.Fatalf("%+v, want %+v", got, want)
	}
	checkMembers(t, h.m, h.c.Tracker.Progress)
	checkRestore(t, want, h.c.Tracker.Config)
}

// checkMembers checks that there is a record of each member and of nobody else.
func checkMembers(t *rapid.T, m *model, members tracker.ProgressMap) {
	want := maps.Clone(m.incoming)
	maps.Copy(want, m.outgoing)
	maps.Copy(want, m.learners)
	if len(members) != len(want) {
		t.Fatalf("members %v, want %v", members, want)
	}
	for id, pr := range members {
		if !want[id] || pr.IsLearner != m.learners[id] {
			t.Fatalf("member %d: %v", id, pr)
		}
	}
}

// checkRestore checks that the stored form leads back to the configuration.
func checkRestore(t *rapid.T, cs pb.ConfState, want tracker.Config) {
	if len(cs.Voters) == 0 {
		return
	}
	cfg, _, err := Restore(empty(), cs)
	if err != nil {
		t.Fatalf("restoring %+v: %v", cs, err)
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Fatalf("restored %v, want %v", cfg, want)
	}
}

// checkQuorumsOverlap checks that no two quorums, one of each configuration,
// have no voter in common: else two leaders could be elected in one term, or an
// entry be committed that the next leader does not have (§6).
func checkQuorumsOverlap(t *rapid.T, before, after quorum.JointConfig) {
	if len(before[0]) == 0 {
		return // the first configuration has no predecessor to disagree with
	}
	ids := before.IDs()
	maps.Copy(ids, after.IDs())
	all := slices.Sorted(maps.Keys(ids))
	for camps := range 1 << len(all) {
		one, other := map[uint64]bool{}, map[uint64]bool{}
		for i, id := range all {
			one[id] = camps>>i&1 == 1
			other[id] = !one[id]
		}
		if before.VoteResult(one) == quorum.VoteWon && after.VoteResult(other) == quorum.VoteWon {
			t.Fatalf("%v and %v can decide without each other: %v", before, after, one)
		}
	}
}

// No method changes what it was given, whether it succeeds or not.
func TestChangerLeavesItsInputAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := empty()
		for range rapid.IntRange(0, 5).Draw(t, "steps") {
			var cfg tracker.Config
			var members tracker.ProgressMap
			var err error
			before := snapshotOf(&c.Tracker)
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				cfg, members, err = c.Simple(drawChanges(t)...)
			case 1:
				cfg, members, err = c.EnterJoint(true, drawChanges(t)...)
			case 2:
				cfg, members, err = c.LeaveJoint()
			}
			if after := snapshotOf(&c.Tracker); after != before {
				t.Fatalf("was\n%s, is\n%s", before, after)
			}
			if err != nil {
				continue
			}
			for id, pr := range members { // nor does the result share records or sets with it
				pr.Match = 77
				cfg.Voters[0][id+100] = struct{}{}
			}
			if after := snapshotOf(&c.Tracker); after != before {
				t.Fatalf("shared: was\n%s, is\n%s", before, after)
			}
			for id, pr := range members {
				pr.Match = 0
				delete(cfg.Voters[0], id+100)
			}
			c.Tracker.Config, c.Tracker.Progress = cfg, members
		}
	})
}

func snapshotOf(p *tracker.ProgressTracker) string {
	return fmt.Sprintf("%v %+v\n%v", p.Config, p.ConfState(), p.Progress)
}
