// Examples: how values of this package are made, sent and compared.

package raftpb_test

import (
	"fmt"

	"example.com/raftexample/raft/raftpb"
)

func ExampleMessage() {
	sent := raftpb.Message{
		Type: raftpb.MsgApp, From: 1, To: 2, Term: 3,
		LogTerm: 2, Index: 10, Commit: 9,
		Entries: []raftpb.Entry{{Term: 3, Index: 11, Data: []byte("x=1")}},
	}
	data, err := sent.Marshal()
	if err != nil {
		fmt.Println(err)
		return
	}

	var received raftpb.Message
	if err := received.Unmarshal(data); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(data), "bytes:", received.String())
	// Output:
	// 33 bytes: type:MsgApp to:2 from:1 term:3 logTerm:2 index:10 entries:<Term:3 Index:11 Data:"x=1" > commit:9
}

func ExampleConfChangesFromString() {
	changes, err := raftpb.ConfChangesFromString("v4 l5 r1")
	if err != nil {
		fmt.Println(err)
		return
	}
	change := raftpb.ConfChangeV2{Changes: changes}
	autoLeave, joint := change.EnterJoint()
	fmt.Println(raftpb.ConfChangesToString(change.Changes))
	fmt.Println("joint:", joint, "left by itself:", autoLeave)
	// Output:
	// v4 l5 r1
	// joint: true left by itself: true
}

func ExampleConfState_Equivalent() {
	stored := raftpb.ConfState{Voters: []uint64{1, 2, 3}}
	fmt.Println(stored.Equivalent(raftpb.ConfState{Voters: []uint64{3, 2, 1}}))
	fmt.Println(stored.Equivalent(raftpb.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{3}}) != nil)
	// Output:
	// <nil>
	// true
}
