// Restoring a configuration from a snapshot.
//
//	§7 (snapshots hold the latest configuration)

package confchange

import (
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// Restore returns the configuration that cs describes, reached by changes from
// that of chg, which must be empty. So whatever is restored has passed the same
// checks as if it had come about step by step.
func Restore(chg Changer, cs pb.ConfState) (tracker.Config, tracker.ProgressMap, error) {
	outgoing, incoming := changesTo(cs)

	// The old half first, voter by voter: it is not joint.
	for _, cc := range outgoing {
		cfg, members, err := chg.Simple(cc)
		if err != nil {
			return fail(err)
		}
		chg.Tracker.Config, chg.Tracker.Progress = cfg, members
	}
	if len(outgoing) > 0 {
		return chg.EnterJoint(cs.AutoLeave, incoming...)
	}
	for _, cc := range incoming {
		cfg, members, err := chg.Simple(cc)
		if err != nil {
			return fail(err)
		}
		chg.Tracker.Config, chg.Tracker.Progress = cfg, members
	}
	return checked(chg.Tracker.Config, chg.Tracker.Progress)
}

// changesTo returns the changes that lead from nothing to the old half of cs,
// and from there to the whole of it.
func changesTo(cs pb.ConfState) (outgoing, incoming []pb.ConfChangeSingle) {
	list := func(to *[]pb.ConfChangeSingle, t pb.ConfChangeType, ids []uint64) {
		for _, id := range ids {
			*to = append(*to, pb.ConfChangeSingle{Type: t, NodeID: id})
		}
	}
	list(&outgoing, pb.ConfChangeAddNode, cs.VotersOutgoing)

	// Out with the old voters, in with the new; who is in both keeps its place. Who
	// is to become a learner is demoted from the old half.
	list(&incoming, pb.ConfChangeRemoveNode, cs.VotersOutgoing)
	list(&incoming, pb.ConfChangeAddNode, cs.Voters)
	list(&incoming, pb.ConfChangeAddLearnerNode, cs.Learners)
	list(&incoming, pb.ConfChangeAddLearnerNode, cs.LearnersNext)
	return outgoing, incoming
}
