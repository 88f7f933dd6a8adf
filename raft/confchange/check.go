// What is true of every configuration.

package confchange

import (
	"errors"
	"fmt"

	"example.com/raftexample/raft/tracker"
)

// checked returns its arguments, or an error if they contradict each other.
func checked(cfg tracker.Config, members tracker.ProgressMap) (tracker.Config, tracker.ProgressMap, error) {
	if err := check(&cfg, members); err != nil {
		return fail(err)
	}
	return cfg, members, nil
}

// check says what is wrong with a configuration, if anything.
func check(cfg *tracker.Config, members tracker.ProgressMap) error {
	for _, ids := range []map[uint64]struct{}{cfg.Voters[0], cfg.Voters[1], cfg.Learners, cfg.LearnersNext} {
		for id := range ids {
			if members[id] == nil {
				return fmt.Errorf("no progress for %d", id)
			}
		}
	}

	// Who is to become a learner votes in the old half until then.
	for id := range cfg.LearnersNext {
		if !contains(cfg.Voters[1], id) {
			return fmt.Errorf("%d is in LearnersNext, but not in Voters[1]", id)
		}
		if members[id].IsLearner {
			return fmt.Errorf("%d is in LearnersNext, but is already marked as learner", id)
		}
	}

	// Nobody is both a learner and a voter.
	for id := range cfg.Learners {
		for half := range cfg.Voters {
			if contains(cfg.Voters[half], id) {
				return fmt.Errorf("%d is in Learners and Voters[%d]", id, half)
			}
		}
		if !members[id].IsLearner {
			return fmt.Errorf("%d is in Learners, but is not marked as learner", id)
		}
	}

	if isJoint(cfg) {
		return nil
	}
	switch {
	case cfg.Voters[1] != nil:
		return errors.New("cfg.Voters[1] must be nil when not joint")
	case cfg.LearnersNext != nil:
		return errors.New("cfg.LearnersNext must be nil when not joint")
	case cfg.AutoLeave:
		return errors.New("AutoLeave must be false when not joint")
	}
	return nil
}

func isJoint(cfg *tracker.Config) bool { return len(cfg.Voters[1]) > 0 }
