// Restoring configurations; checkRestore of property_test.go does so after any
// history.

package confchange

import (
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

func TestRestore(t *testing.T) {
	for _, tt := range []struct {
		name string
		cs   pb.ConfState
		want string
	}{
		{"nobody", pb.ConfState{}, "voters=()"},
		{"one", pb.ConfState{Voters: []uint64{1}}, "voters=(1)"},
		{"in any order", pb.ConfState{Voters: []uint64{3, 1, 2}, Learners: []uint64{5, 4}}, "voters=(1 2 3) learners=(4 5)"},
		{
			"joint",
			pb.ConfState{Voters: []uint64{1, 2, 3}, VotersOutgoing: []uint64{1, 2, 4, 6}, Learners: []uint64{5}, LearnersNext: []uint64{4}},
			"voters=(1 2 3)&&(1 2 4 6) learners=(5) learners_next=(4)",
		},
		{
			"joint, to be left by itself",
			pb.ConfState{Voters: []uint64{1}, VotersOutgoing: []uint64{2}, AutoLeave: true},
			"voters=(1)&&(2) autoleave",
		},
		{"joint with itself", pb.ConfState{Voters: []uint64{1, 2}, VotersOutgoing: []uint64{2, 1}}, "voters=(1 2)&&(1 2)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := empty()
			cfg, members, err := Restore(c, tt.cs)
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if c.Tracker.Config.String() != "voters=()" || len(c.Tracker.Progress) != 0 {
				t.Errorf("the changer given has changed: %v", c.Tracker.Config)
			}
			c.Tracker.Config, c.Tracker.Progress = cfg, members
			if err := tt.cs.Equivalent(c.Tracker.ConfState()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRestoreRefusesContradictions(t *testing.T) {
	for name, cs := range map[string]pb.ConfState{
		"learners alone":           {Learners: []uint64{1}},
		"an old half without new":  {VotersOutgoing: []uint64{1}},
		"all are to be learners":   {VotersOutgoing: []uint64{1}, LearnersNext: []uint64{1}},
		"the only voter a learner": {Voters: []uint64{1}, Learners: []uint64{1}},
	} {
		if cfg, members, err := Restore(empty(), cs); err == nil {
			t.Errorf("%s: %v", name, cfg)
		} else if members != nil {
			t.Errorf("%s: members beside an error", name)
		}
	}
}
