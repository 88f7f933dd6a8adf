// Package confchange computes the configuration that follows from another by a
// change of membership. It computes only: the caller puts the result into force.
//
//	§6 · diss. §4.1 (one server at a time), §4.3 (joint consensus)
//
// Start at Changer. A simple change moves at most one voter, so that quorums
// before and after it overlap. Anything else goes through a joint
// configuration, in which the quorums of both sides are needed:
//
//	(1 2 3) ── EnterJoint(+4 -1) ──→ (2 3 4)&&(1 2 3) ── LeaveJoint ──→ (2 3 4)
package confchange

import (
	"errors"
	"fmt"
	"maps"

	"example.com/raftexample/raft/quorum"
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// Changer makes changes to the configuration in Tracker. Its methods return the
// outcome and leave Tracker as it is.
type Changer struct {
	Tracker   tracker.ProgressTracker
	LastIndex uint64 // of the log: where a new member's Progress begins
}

// EnterJoint returns the joint configuration between the present one and that
// with the changes made. autoLeave says whether the leader shall leave it by
// itself.
func (c Changer) EnterJoint(autoLeave bool, ccs ...pb.ConfChangeSingle) (tracker.Config, tracker.ProgressMap, error) {
	cfg, members, err := c.checkedCopy()
	if err != nil {
		return fail(err)
	}
	if isJoint(&cfg) {
		return fail(errors.New("config is already joint"))
	}
	if len(cfg.Voters[0]) == 0 {
		// Nothing could ever be committed to leave it again.
		return fail(errors.New("can't make a zero-voter config joint"))
	}

	cfg.Voters[1] = maps.Clone(cfg.Voters[0])
	if err := c.apply(&cfg, members, ccs); err != nil {
		return fail(err)
	}
	cfg.AutoLeave = autoLeave
	return checked(cfg, members)
}

// LeaveJoint returns the new half of the joint configuration, alone. Who was in
// the old half only is no member any more, unless it is to be a learner.
func (c Changer) LeaveJoint() (tracker.Config, tracker.ProgressMap, error) {
	cfg, members, err := c.checkedCopy()
	if err != nil {
		return fail(err)
	}
	if !isJoint(&cfg) {
		return fail(errors.New("can't leave a non-joint config"))
	}

	for id := range cfg.LearnersNext {
		add(&cfg.Learners, id)
		members[id].IsLearner = true
	}
	cfg.LearnersNext = nil
	for id := range cfg.Voters[1] {
		if !contains(cfg.Voters[0], id) && !contains(cfg.Learners, id) {
			delete(members, id)
		}
	}
	cfg.Voters[1] = nil
	cfg.AutoLeave = false
	return checked(cfg, members)
}

// Simple returns the configuration with the changes made, of which at most one
// may concern a voter.
func (c Changer) Simple(ccs ...pb.ConfChangeSingle) (tracker.Config, tracker.ProgressMap, error) {
	cfg, members, err := c.checkedCopy()
	if err != nil {
		return fail(err)
	}
	if isJoint(&cfg) {
		return fail(errors.New("can't apply simple config change in joint config"))
	}
	if err := c.apply(&cfg, members, ccs); err != nil {
		return fail(err)
	}
	if difference(c.Tracker.Voters[0], cfg.Voters[0]) > 1 {
		return fail(errors.New("more than one voter changed without entering joint config"))
	}
	return checked(cfg, members)
}

// apply makes the changes to the new half of cfg. The old half stays, which is
// what makes the outcome joint.
func (c Changer) apply(cfg *tracker.Config, members tracker.ProgressMap, ccs []pb.ConfChangeSingle) error {
	for _, cc := range ccs {
		if cc.NodeID == 0 {
			continue // the user has rejected this change after it was committed
		}
		switch cc.Type {
		case pb.ConfChangeAddNode:
			c.makeVoter(cfg, members, cc.NodeID)
		case pb.ConfChangeAddLearnerNode:
			c.makeLearner(cfg, members, cc.NodeID)
		case pb.ConfChangeRemoveNode:
			c.remove(cfg, members, cc.NodeID)
		case pb.ConfChangeUpdateNode: // concerns the user alone
		default:
			return fmt.Errorf("unexpected conf type %d", cc.Type)
		}
	}
	if len(cfg.Voters[0]) == 0 {
		return errors.New("removed all voters")
	}
	return nil
}

// makeVoter makes id a voter, whatever it was.
func (c Changer) makeVoter(cfg *tracker.Config, members tracker.ProgressMap, id uint64) {
	pr := members[id]
	if pr == nil {
		members[id] = c.newProgress(false)
	} else {
		pr.IsLearner = false
		remove(&cfg.Learners, id)
		remove(&cfg.LearnersNext, id)
	}
	cfg.Voters[0][id] = struct{}{}
}

// makeLearner makes id a learner: at once, unless it is a voter of the old half.
// It cannot be both, so then it becomes a learner on leaving.
func (c Changer) makeLearner(cfg *tracker.Config, members tracker.ProgressMap, id uint64) {
	pr := members[id]
	if pr == nil {
		members[id] = c.newProgress(true)
		add(&cfg.Learners, id)
		return
	}
	if pr.IsLearner {
		return
	}

	c.remove(cfg, members, id)
	members[id] = pr // what is known of it stays known
	if contains(cfg.Voters[1], id) {
		add(&cfg.LearnersNext, id)
	} else {
		pr.IsLearner = true
		add(&cfg.Learners, id)
	}
}

// remove makes id no member of the new half. Its Progress stays while it is a
// voter of the old one.
func (c Changer) remove(cfg *tracker.Config, members tracker.ProgressMap, id uint64) {
	if members[id] == nil {
		return
	}
	delete(cfg.Voters[0], id)
	remove(&cfg.Learners, id)
	remove(&cfg.LearnersNext, id)
	if !contains(cfg.Voters[1], id) {
		delete(members, id)
	}
}

// newProgress begins the record of a new member. It counts as active, so that a
// leader does not step down because a new member could not yet be heard of.
func (c Changer) newProgress(learner bool) *tracker.Progress {
	return &tracker.Progress{
		Next:         max(c.LastIndex, 1), // the first probe finds out where it is
		Inflights:    tracker.NewInflights(c.Tracker.MaxInflight, c.Tracker.MaxInflightBytes),
		IsLearner:    learner,
		RecentActive: true,
	}
}

// checkedCopy returns a copy of the configuration and its members that can be
// changed. Windows of messages are shared: no change here touches them.
func (c Changer) checkedCopy() (tracker.Config, tracker.ProgressMap, error) {
	cfg := c.Tracker.Config.Clone()
	cfg.AutoLeave = c.Tracker.AutoLeave
	if cfg.Voters[0] == nil {
		cfg.Voters[0] = quorum.MajorityConfig{}
	}
	members := make(tracker.ProgressMap, len(c.Tracker.Progress))
	for id, pr := range c.Tracker.Progress {
		record := *pr
		members[id] = &record
	}
	return checked(cfg, members)
}

// Describe lists changes in a line: ConfChangeAddNode(1) ConfChangeRemoveNode(2).
func Describe(ccs ...pb.ConfChangeSingle) string {
	s := ""
	for i, cc := range ccs {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("%s(%d)", cc.Type, cc.NodeID)
	}
	return s
}

// difference counts the ids that are in one set only.
func difference(a, b quorum.MajorityConfig) int {
	n := 0
	for id := range a {
		if !contains(b, id) {
			n++
		}
	}
	for id := range b {
		if !contains(a, id) {
			n++
		}
	}
	return n
}

func contains(set map[uint64]struct{}, id uint64) bool {
	_, ok := set[id]
	return ok
}

// add adds id to a set that is nil when empty.
func add(set *map[uint64]struct{}, id uint64) {
	if *set == nil {
		*set = map[uint64]struct{}{}
	}
	(*set)[id] = struct{}{}
}

// remove takes id out of a set that is nil when empty.
func remove(set *map[uint64]struct{}, id uint64) {
	delete(*set, id)
	if len(*set) == 0 {
		*set = nil
	}
}

func fail(err error) (tracker.Config, tracker.ProgressMap, error) {
	return tracker.Config{}, nil, err
}
