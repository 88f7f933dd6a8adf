// Changes of membership: what follows from each, and what is refused.
//
// Start at TestSimple and TestJoint, which read like a group's history;
// TestAnyHistory makes them up.

package confchange

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"example.com/raftexample/raft/quorum"
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// changes reads changes in their text form: "v1 l2 r3".
func changes(t testing.TB, text string) []pb.ConfChangeSingle {
	t.Helper()
	ccs, err := pb.ConfChangesFromString(text)
	if err != nil {
		t.Fatal(err)
	}
	return ccs
}

// empty returns a changer of nobody, with ten entries in the log.
func empty() Changer {
	return Changer{Tracker: tracker.MakeProgressTracker(8, 0), LastIndex: 10}
}

// history makes changes one after the other, each in a word of steps: "simple v1",
// "joint v2 r1", "auto v2 r1" (joint, to be left automatically), "leave".
func history(t testing.TB, c *Changer, steps ...string) error {
	t.Helper()
	for _, step := range steps {
		word, rest, _ := strings.Cut(step, " ")
		ccs := changes(t, rest)
		var cfg tracker.Config
		var members tracker.ProgressMap
		var err error
		switch word {
		case "simple":
			cfg, members, err = c.Simple(ccs...)
		case "joint", "auto":
			cfg, members, err = c.EnterJoint(word == "auto", ccs...)
		case "leave":
			cfg, members, err = c.LeaveJoint()
		default:
			t.Fatalf("no step %q", word)
		}
		if err != nil {
			if !reflect.DeepEqual(cfg, tracker.Config{}) || members != nil {
				t.Errorf("%q: an error and a result: %v %v", step, cfg, members)
			}
			return err
		}
		c.Tracker.Config, c.Tracker.Progress = cfg, members
	}
	return nil
}

// outcome is a case of a table: what the last of steps leads to.
type outcome struct {
	name    string
	steps   []string
	want    string // the configuration
	members string // every record, * marks learners
}

func (o outcome) check(t *testing.T) {
	t.Helper()
	c := empty()
	if err := history(t, &c, o.steps...); err != nil {
		t.Fatal(err)
	}
	if got := c.Tracker.Config.String(); got != o.want {
		t.Errorf("%s, want %s", got, o.want)
	}
	if got := membersOf(c.Tracker.Progress); got != o.members {
		t.Errorf("members %s, want %s", got, o.members)
	}
}

func membersOf(m tracker.ProgressMap) string {
	var list []string
	for id := range uint64(20) {
		if pr := m[id]; pr != nil {
			mark := ""
			if pr.IsLearner {
				mark = "*"
			}
			list = append(list, fmt.Sprint(id, mark))
		}
	}
	return strings.ReplaceAll(strings.Join(list, ","), " ", "")
}

// diss. §4.1: one server at a time needs no joint configuration, because any two
// majorities overlap.
func TestSimple(t *testing.T) {
	for _, o := range []outcome{
		{"the first voter", []string{"simple v1"}, "voters=(1)", "1"},
		{"another", []string{"simple v1", "simple v2"}, "voters=(1 2)", "1,2"},
		{"the same again", []string{"simple v1", "simple v1"}, "voters=(1)", "1"},
		{"a learner", []string{"simple v1", "simple l2"}, "voters=(1) learners=(2)", "1,2*"},
		{"the same learner again", []string{"simple v1", "simple l2", "simple l2"}, "voters=(1) learners=(2)", "1,2*"},
		{"a learner is promoted", []string{"simple v1", "simple l2", "simple v2"}, "voters=(1 2)", "1,2"},
		{"a voter is demoted", []string{"simple v1", "simple v2", "simple l2"}, "voters=(1) learners=(2)", "1,2*"},
		{"a voter leaves", []string{"simple v1", "simple v2", "simple r1"}, "voters=(2)", "2"},
		{"a learner leaves", []string{"simple v1", "simple l2", "simple r2"}, "voters=(1)", "1"},
		{"a stranger leaves", []string{"simple v1", "simple r9"}, "voters=(1)", "1"},
		{"an update changes nothing", []string{"simple v1", "simple u1", "simple u7"}, "voters=(1)", "1"},
		{"node 0 is skipped", []string{"simple v1", "simple v0 l0 r0 u0"}, "voters=(1)", "1"},
		{"many learners at once", []string{"simple v1", "simple l2 l3 l4 r3"}, "voters=(1) learners=(2 4)", "1,2*,4*"},
		{"one voter and learners", []string{"simple v1", "simple v2 l3 u9"}, "voters=(1 2) learners=(3)", "1,2,3*"},
		{"no more changes than there is a difference", []string{"simple v1", "simple v2 r2 v3 r3 v2"}, "voters=(1 2)", "1,2"},
		{"nothing", []string{"simple v1", "simple"}, "voters=(1)", "1"},
	} {
		t.Run(o.name, o.check)
	}
}

// diss. §4.3: any other change goes through a configuration in which both the
// old and the new majority are needed.
func TestJoint(t *testing.T) {
	three := "simple v1"
	for _, o := range []outcome{
		{"a copy", []string{three, "joint"}, "voters=(1)&&(1)", "1"},
		{"left by itself", []string{three, "auto v2"}, "voters=(1 2)&&(1) autoleave", "1,2"},
		{"a replacement", []string{three, "joint v2 r1"}, "voters=(2)&&(1)", "1,2"},
		{"and left", []string{three, "auto v2 r1", "leave"}, "voters=(2)", "2"},
		{"a learner joins at once", []string{three, "joint l2"}, "voters=(1)&&(1) learners=(2)", "1,2*"},
		{
			"a voter votes in the old half until it is a learner",
			[]string{three, "simple v2", "joint l2"},
			"voters=(1)&&(1 2) learners_next=(2)", "1,2",
		},
		{"and then is one", []string{three, "simple v2", "joint l2", "leave"}, "voters=(1) learners=(2)", "1,2*"},
		{
			"told twice to become a learner",
			[]string{three, "simple v2", "joint l2 l2"},
			"voters=(1)&&(1 2) learners_next=(2)", "1,2",
		},
		{
			"and taken back", []string{three, "simple v2", "joint l2 v2"}, "voters=(1 2)&&(1 2)", "1,2",
		},
		{
			"or removed after all", []string{three, "simple v2", "joint l2 r2"}, "voters=(1)&&(1 2)", "1,2",
		},
		{"which it then is", []string{three, "simple v2", "joint l2 r2", "leave"}, "voters=(1)", "1"},
		{
			"removed, and a learner after all",
			[]string{three, "simple v2", "joint r2 l2", "leave"},
			"voters=(1) learners=(2)", "1,2*",
		},
		{"a learner is promoted", []string{three, "simple l2", "joint v2"}, "voters=(1 2)&&(1)", "1,2"},
		{
			"who comes and goes was never there",
			[]string{three, "joint v2 r2 l3 r3"},
			"voters=(1)&&(1)", "1",
		},
		{"all at once", []string{three, "simple v2", "simple v3", "auto v4 v5 l6 l1 r2"}, "voters=(3 4 5)&&(1 2 3) learners=(6) learners_next=(1) autoleave", "1,2,3,4,5,6*"},
		{"and left, too", []string{three, "simple v2", "simple v3", "auto v4 v5 l6 l1 r2", "leave"}, "voters=(3 4 5) learners=(1 6)", "1*,3,4,5,6*"},
		{"simple again afterwards", []string{three, "joint v2 r1", "leave", "simple v1"}, "voters=(1 2)", "1,2"},
	} {
		t.Run(o.name, o.check)
	}
}

// A tracker of nothing, without even a set to put voters into, is an empty group.
func TestZeroTrackerIsEmpty(t *testing.T) {
	cfg, members, err := Changer{}.Simple(changes(t, "v1")...)
	if err != nil || cfg.String() != "voters=(1)" || members[1] == nil {
		t.Errorf("%v, %v, %v", cfg, members, err)
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []string // the last is refused
		want  string
	}{
		{"two new voters", []string{"simple v1", "simple v2 v3"}, "more than one voter changed without entering joint config"},
		{"a voter for another", []string{"simple v1", "simple v2 r1"}, "more than one voter changed without entering joint config"},
		{"two voters of an empty group", []string{"simple v1 v2"}, "more than one voter changed without entering joint config"},
		{"the last voter leaves", []string{"simple v1", "simple r1"}, "removed all voters"},
		{"the last voter becomes a learner", []string{"simple v1", "simple l1"}, "removed all voters"},
		{"learners alone", []string{"simple l1"}, "removed all voters"},
		{"nobody", []string{"simple"}, "removed all voters"},
		{"all leave jointly", []string{"simple v1", "joint r1"}, "removed all voters"},
		{"a joint group of nobody", []string{"joint v1"}, "can't make a zero-voter config joint"},
		{"joint twice", []string{"simple v1", "joint v2", "joint v3"}, "config is already joint"},
		{"simple while joint", []string{"simple v1", "auto v2", "simple v3"}, "can't apply simple config change in joint config"},
		{"leaving what is not joint", []string{"simple v1", "leave"}, "can't leave a non-joint config"},
		{"leaving nobody", []string{"leave"}, "can't leave a non-joint config"},
		{"leaving twice", []string{"simple v1", "joint v2", "leave", "leave"}, "can't leave a non-joint config"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := empty()
			last := len(tt.steps) - 1
			if err := history(t, &c, tt.steps[:last]...); err != nil {
				t.Fatal(err)
			}
			before := c.Tracker.Config.String()
			if err := history(t, &c, tt.steps[last]); err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if after := c.Tracker.Config.String(); after != before {
				t.Errorf("a refusal has changed %s to %s", before, after)
			}
		})
	}

	c := empty()
	for _, change := range []func(...pb.ConfChangeSingle) (tracker.Config, tracker.ProgressMap, error){
		c.Simple,
		func(ccs ...pb.ConfChangeSingle) (tracker.Config, tracker.ProgressMap, error) {
			joint := empty()
			if err := history(t, &joint, "simple v1"); err != nil {
				t.Fatal(err)
			}
			return joint.EnterJoint(false, ccs...)
		},
	} {
		_, _, err := change(pb.ConfChangeSingle{Type: 7, NodeID: 1})
		if err == nil || err.Error() != "unexpected conf type 7" {
			t.Errorf("an unknown change: %v", err)
		}
	}
}

// A configuration that contradicts itself is neither accepted nor built upon.
func TestContradictionsAreRefused(t *testing.T) {
	set := func(ids ...uint64) map[uint64]struct{} {
		s := map[uint64]struct{}{}
		for _, id := range ids {
			s[id] = struct{}{}
		}
		return s
	}
	for _, tt := range []struct {
		name string
		make func(*tracker.ProgressTracker)
	}{
		{"a voter without a record", func(p *tracker.ProgressTracker) { p.Voters[0][9] = struct{}{} }},
		{"an old voter without a record", func(p *tracker.ProgressTracker) { p.Voters[1] = set(9) }},
		{"a learner without a record", func(p *tracker.ProgressTracker) { p.Learners[9] = struct{}{} }},
		{"a coming learner without a record", func(p *tracker.ProgressTracker) { p.Voters[1] = set(1); p.LearnersNext = set(9) }},
		{"a coming learner that is not an old voter", func(p *tracker.ProgressTracker) { p.Voters[1] = set(1); p.LearnersNext = set(2) }},
		{"a coming learner that is one", func(p *tracker.ProgressTracker) {
			p.Voters[1] = set(1, 2)
			p.LearnersNext = set(2)
			p.Progress[2].IsLearner = true
		}},
		{"a learner that votes", func(p *tracker.ProgressTracker) { p.Voters[0][3] = struct{}{} }},
		{"a learner that votes in the old half", func(p *tracker.ProgressTracker) { p.Voters[1] = set(3) }},
		{"a learner not marked as one", func(p *tracker.ProgressTracker) { p.Progress[3].IsLearner = false }},
		{"an empty old half", func(p *tracker.ProgressTracker) { p.Voters[1] = set() }},
		{"coming learners without an old half", func(p *tracker.ProgressTracker) { p.LearnersNext = set() }},
		{"to be left though not joint", func(p *tracker.ProgressTracker) { p.AutoLeave = true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := empty()
			if err := history(t, &c, "simple v1", "simple v2", "simple l3"); err != nil {
				t.Fatal(err)
			}
			tt.make(&c.Tracker)
			for _, step := range []string{"simple", "joint", "leave"} {
				err := history(t, &c, step)
				if err == nil {
					t.Errorf("%s: no error", step)
				} else if strings.Contains(err.Error(), "joint config") {
					t.Errorf("%s was refused for another reason: %v", step, err)
				}
			}
		})
	}
}

// A new member begins as a probe from the end of the log, and counts as active:
// a leader must not step down over somebody it could not yet have heard of.
func TestNewMembers(t *testing.T) {
	for _, tt := range []struct{ lastIndex, next uint64 }{{0, 1}, {1, 1}, {10, 10}} {
		c := Changer{Tracker: tracker.MakeProgressTracker(3, 100), LastIndex: tt.lastIndex}
		if err := history(t, &c, "simple v1", "simple l2"); err != nil {
			t.Fatal(err)
		}
		for id, pr := range c.Tracker.Progress {
			if pr.State != tracker.StateProbe || pr.Match != 0 || pr.Next != tt.next || !pr.RecentActive {
				t.Errorf("last index %d, member %d: %v", tt.lastIndex, id, pr)
			}
			if pr.Inflights.Add(1, 100); !pr.Inflights.Full() {
				t.Errorf("its window is not that of the tracker")
			}
		}
		if c.Tracker.Progress[1].Inflights == c.Tracker.Progress[2].Inflights {
			t.Error("two members share a window")
		}
	}
}

// What a leader knows of a member survives whatever the member becomes.
func TestProgressIsKept(t *testing.T) {
	c := empty()
	if err := history(t, &c, "simple v1", "simple v2"); err != nil {
		t.Fatal(err)
	}
	c.Tracker.Progress[2].Match, c.Tracker.Progress[2].Next = 7, 8
	for _, step := range []string{"simple l2", "simple v2", "joint l2", "leave", "joint v2", "leave", "joint r2 l2", "leave"} {
		if err := history(t, &c, step); err != nil {
			t.Fatal(err)
		}
		if pr := c.Tracker.Progress[2]; pr.Match != 7 || pr.Next != 8 {
			t.Errorf("%s: %v", step, pr)
		}
	}
	// Who leaves and comes back may have lost its disk in between.
	if err := history(t, &c, "simple r2", "simple v2"); err != nil {
		t.Fatal(err)
	}
	if pr := c.Tracker.Progress[2]; pr.Match != 0 {
		t.Errorf("known from an earlier life: %v", pr)
	}
}

// Sets are nil when empty, so that equal configurations are deeply equal.
func TestEmptySetsAreNil(t *testing.T) {
	c := empty()
	if err := history(t, &c, "simple v1", "simple l2", "simple v2", "joint l2 v2", "leave"); err != nil {
		t.Fatal(err)
	}
	want := tracker.Config{Voters: quorum.JointConfig{{1: {}, 2: {}}, nil}}
	if !reflect.DeepEqual(c.Tracker.Config, want) {
		t.Errorf("%#v", c.Tracker.Config)
	}
}

func TestDescribe(t *testing.T) {
	for _, tt := range []struct{ changes, want string }{
		{"", ""},
		{"v1", "ConfChangeAddNode(1)"},
		{"v1 r2 l3 u4", "ConfChangeAddNode(1) ConfChangeRemoveNode(2) ConfChangeAddLearnerNode(3) ConfChangeUpdateNode(4)"},
	} {
		if got := Describe(changes(t, tt.changes)...); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if got := Describe(pb.ConfChangeSingle{Type: 9, NodeID: 1}); got != "9(1)" {
		t.Errorf("%q", got)
	}
}
