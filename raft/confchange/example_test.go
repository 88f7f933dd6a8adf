// Examples: a change of one voter, and of several through a joint configuration.

package confchange_test

import (
	"fmt"

	"example.com/raftexample/raft/confchange"
	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// group returns a changer of voters 1, 2 and 3.
func group() (confchange.Changer, error) {
	c := confchange.Changer{Tracker: tracker.MakeProgressTracker(256, 0), LastIndex: 10}
	var err error
	c.Tracker.Config, c.Tracker.Progress, err = confchange.Restore(c, raftpb.ConfState{Voters: []uint64{1, 2, 3}})
	return c, err
}

func ExampleChanger_Simple() {
	c, err := group()
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, _, err := c.Simple(raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddNode, NodeID: 4})
	fmt.Println(cfg, err)

	// Two at once could let two majorities decide without each other.
	_, _, err = c.Simple(
		raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddNode, NodeID: 4},
		raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddNode, NodeID: 5},
	)
	fmt.Println(err)
	// Output:
	// voters=(1 2 3 4) <nil>
	// more than one voter changed without entering joint config
}

func ExampleChanger_EnterJoint() {
	c, err := group()
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, members, err := c.EnterJoint(true,
		raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddNode, NodeID: 4},
		raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddLearnerNode, NodeID: 1},
	)
	fmt.Println(cfg, err)

	c.Tracker.Config, c.Tracker.Progress = cfg, members
	cfg, _, err = c.LeaveJoint()
	fmt.Println(cfg, err)
	// Output:
	// voters=(2 3 4)&&(1 2 3) learners_next=(1) autoleave <nil>
	// voters=(2 3 4) learners=(1) <nil>
}
