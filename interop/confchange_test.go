// confchange beside confchange: random changes, valid and not, to random
// configurations.

package interop

import (
	"fmt"
	"strings"
	"testing"

	theirchange "go.etcd.io/raft/v3/confchange"
	theirpb "go.etcd.io/raft/v3/raftpb"
	theirtracker "go.etcd.io/raft/v3/tracker"

	"example.com/raftexample/raft/confchange"
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// changers are a Changer of each library, with the same members.
type changers struct {
	our   confchange.Changer
	their theirchange.Changer
}

func newChangers(last uint64) *changers {
	return &changers{
		our:   confchange.Changer{Tracker: tracker.MakeProgressTracker(8, 0), LastIndex: last},
		their: theirchange.Changer{Tracker: theirtracker.MakeProgressTracker(8, 0), LastIndex: last},
	}
}

// change makes the same change to both, returns what came of it, and keeps it if
// it was allowed.
func (c *changers) change(kind int, auto bool, changes []pb.ConfChangeSingle) (ours, theirs string) {
	their := toConfChange(pb.ConfChangeV2{Changes: changes}).AsV2().Changes
	before := c.our.Tracker.Config.String() + c.our.Tracker.Progress.String()

	ours = outcome(func() any {
		var cfg tracker.Config
		var trk tracker.ProgressMap
		var err error
		switch kind {
		case 0:
			cfg, trk, err = c.our.Simple(changes...)
		case 1:
			cfg, trk, err = c.our.EnterJoint(auto, changes...)
		default:
			cfg, trk, err = c.our.LeaveJoint()
		}
		if now := c.our.Tracker.Config.String() + c.our.Tracker.Progress.String(); now != before {
			return "changed its input: " + before + " became " + now
		}
		if err == nil {
			c.our.Tracker.Config, c.our.Tracker.Progress = cfg, trk
		}
		return describeOurs(cfg, trk, err)
	})
	theirs = outcome(func() any {
		var cfg theirtracker.Config
		var trk theirtracker.ProgressMap
		var err error
		switch kind {
		case 0:
			cfg, trk, err = c.their.Simple(their...)
		case 1:
			cfg, trk, err = c.their.EnterJoint(auto, their...)
		default:
			cfg, trk, err = c.their.LeaveJoint()
		}
		if err == nil {
			c.their.Tracker.Config, c.their.Tracker.Progress = cfg, trk
		}
		return describeTheirs(cfg, trk, err)
	})
	return ours, theirs
}

func describeOurs(cfg tracker.Config, trk tracker.ProgressMap, err error) string {
	if err != nil {
		return fmt.Sprintf("%v, %t %t", err, cfg.Voters[0] == nil && cfg.Voters[1] == nil, trk == nil)
	}
	return fmt.Sprintf("%s nil: %t %t %t auto=%t\n%s", cfg.String(),
		cfg.Voters[1] == nil, cfg.Learners == nil, cfg.LearnersNext == nil, cfg.AutoLeave, trk)
}

func describeTheirs(cfg theirtracker.Config, trk theirtracker.ProgressMap, err error) string {
	if err != nil {
		return fmt.Sprintf("%v, %t %t", err, cfg.Voters[0] == nil && cfg.Voters[1] == nil, trk == nil)
	}
	return fmt.Sprintf("%s nil: %t %t %t auto=%t\n%s", cfg.String(),
		cfg.Voters[1] == nil, cfg.Learners == nil, cfg.LearnersNext == nil, cfg.AutoLeave, trk)
}

// Any sequence of changes leads to the same configurations and the same errors.
func TestChangesAgree(t *testing.T) {
	seeds(t, 2000, 200_000, func(seed uint64) {
		s := source{newRand(seed)}
		c := newChangers(s.Uint64N(20))
		var story []string
		for range 30 {
			kind, auto := s.IntN(3), s.IntN(2) == 0
			var changes []pb.ConfChangeSingle
			for range s.IntN(4) {
				changes = append(changes, pb.ConfChangeSingle{
					Type: pb.ConfChangeType(s.IntN(4)), NodeID: s.Uint64N(6),
				})
				if s.IntN(50) == 0 {
					changes[0].Type = 77
				}
			}
			ours, theirs := c.change(kind, auto, changes)
			story = append(story, fmt.Sprintf("%s %t %v\n  -> %s", []string{"Simple", "EnterJoint", "LeaveJoint"}[kind], auto, changes, theirs))
			if ours != theirs {
				t.Fatalf("seed %d:\n%s\nours: %s", seed, strings.Join(story, "\n"), ours)
			}
			if a, b := confchange.Describe(changes...), theirchange.Describe(toConfChange(pb.ConfChangeV2{Changes: changes}).AsV2().Changes...); a != b {
				t.Fatalf("Describe(%v): %q, etcd's %q", changes, a, b)
			}
		}
	})
}

// Any ConfState, also an impossible one, is restored alike.
func TestRestoreAgrees(t *testing.T) {
	seeds(t, 4000, 300_000, func(seed uint64) {
		s := source{newRand(seed)}
		few := func() []uint64 { return many(s, func() uint64 { return s.Uint64N(6) }) }
		cs := pb.ConfState{Voters: few(), Learners: few(), VotersOutgoing: few(), LearnersNext: few(), AutoLeave: s.IntN(2) == 0}
		if s.IntN(2) == 0 {
			cs.VotersOutgoing, cs.LearnersNext = nil, nil
		}
		c := newChangers(s.Uint64N(20))
		ours := outcome(func() any {
			cfg, trk, err := confchange.Restore(c.our, cs)
			return describeOurs(cfg, trk, err)
		})
		theirs := outcome(func() any {
			cfg, trk, err := theirchange.Restore(c.their, theirpb.ConfState(cs))
			return describeTheirs(cfg, trk, err)
		})
		if ours != theirs {
			t.Fatalf("seed %d: %+v\nours   %s\netcd's %s", seed, cs, ours, theirs)
		}
	})
}
