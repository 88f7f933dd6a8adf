// Names, lines for logs, and JSON.

package raftpb

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// Enums are printed by the names of their constants, and by number if they have
// none.
func TestEnumNames(t *testing.T) {
	for want, value := range map[string]fmt.Stringer{
		"EntryNormal": EntryNormal, "EntryConfChange": EntryConfChange, "EntryConfChangeV2": EntryConfChangeV2,
		"ConfChangeAddNode": ConfChangeAddNode, "ConfChangeRemoveNode": ConfChangeRemoveNode,
		"ConfChangeUpdateNode": ConfChangeUpdateNode, "ConfChangeAddLearnerNode": ConfChangeAddLearnerNode,
		"ConfChangeTransitionAuto":          ConfChangeTransitionAuto,
		"ConfChangeTransitionJointImplicit": ConfChangeTransitionJointImplicit,
		"ConfChangeTransitionJointExplicit": ConfChangeTransitionJointExplicit,
		"MsgHup":                            MsgHup, "MsgBeat": MsgBeat, "MsgProp": MsgProp, "MsgApp": MsgApp,
		"MsgAppResp": MsgAppResp, "MsgVote": MsgVote, "MsgVoteResp": MsgVoteResp, "MsgSnap": MsgSnap,
		"MsgHeartbeat": MsgHeartbeat, "MsgHeartbeatResp": MsgHeartbeatResp, "MsgUnreachable": MsgUnreachable,
		"MsgSnapStatus": MsgSnapStatus, "MsgCheckQuorum": MsgCheckQuorum, "MsgTransferLeader": MsgTransferLeader,
		"MsgTimeoutNow": MsgTimeoutNow, "MsgReadIndex": MsgReadIndex, "MsgReadIndexResp": MsgReadIndexResp,
		"MsgPreVote": MsgPreVote, "MsgPreVoteResp": MsgPreVoteResp, "MsgStorageAppend": MsgStorageAppend,
		"MsgStorageAppendResp": MsgStorageAppendResp, "MsgStorageApply": MsgStorageApply,
		"MsgStorageApplyResp": MsgStorageApplyResp, "MsgForgetLeader": MsgForgetLeader,
		"99": MessageType(99), "24": MessageType(24), "-1": MessageType(-1), "3": EntryType(3),
		"4": ConfChangeType(4), "-2147483648": ConfChangeTransition(math.MinInt32),
	} {
		if got := value.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The numbers of enums are what is stored and sent: they stay what they are.
func TestEnumNumbers(t *testing.T) {
	entries := []EntryType{EntryNormal, EntryConfChange, EntryConfChangeV2}
	changes := []ConfChangeType{ConfChangeAddNode, ConfChangeRemoveNode, ConfChangeUpdateNode, ConfChangeAddLearnerNode}
	transitions := []ConfChangeTransition{
		ConfChangeTransitionAuto, ConfChangeTransitionJointImplicit, ConfChangeTransitionJointExplicit,
	}
	messages := []MessageType{
		MsgHup, MsgBeat, MsgProp, MsgApp, MsgAppResp, MsgVote, MsgVoteResp, MsgSnap, MsgHeartbeat, MsgHeartbeatResp,
		MsgUnreachable, MsgSnapStatus, MsgCheckQuorum, MsgTransferLeader, MsgTimeoutNow, MsgReadIndex, MsgReadIndexResp,
		MsgPreVote, MsgPreVoteResp, MsgStorageAppend, MsgStorageAppendResp, MsgStorageApply, MsgStorageApplyResp, MsgForgetLeader,
	}
	wantNumbers(t, entries)
	wantNumbers(t, changes)
	wantNumbers(t, transitions)
	wantNumbers(t, messages)
}

// wantNumbers fails the test unless the constants count from 0 on.
func wantNumbers[E ~int32](t *testing.T, constants []E) {
	t.Helper()
	for i, c := range constants {
		if int(c) != i {
			t.Errorf("%v is %d, want %d", c, c, i)
		}
	}
}

// A struct as text is a line of the fields that are set.
func TestString(t *testing.T) {
	for _, tt := range []struct {
		value codec
		want  string
	}{
		{&Entry{}, ``},
		{&Entry{Term: 5, Index: 300, Data: []byte("abc")}, `Term:5 Index:300 Data:"abc" `},
		{&Entry{Type: EntryConfChange, Data: []byte("\x00\"\\\n~\x7f")}, `Type:EntryConfChange Data:"\000\"\\\n~\177" `},
		{&snapshotWithState, `data:"xy" metadata:<conf_state:<voters:1 > index:7 term:2 > `},
		{&HardState{Term: 3, Commit: 4}, `term:3 commit:4 `},
		{&ConfState{Voters: []uint64{1, 2}, Learners: []uint64{3}, VotersOutgoing: []uint64{4}, LearnersNext: []uint64{4}, AutoLeave: true}, `voters:1 voters:2 learners:3 voters_outgoing:4 learners_next:4 auto_leave:true `},
		{
			&Message{Type: MsgAppResp, To: 1, From: 2, Reject: true, RejectHint: 5, Responses: []Message{{Vote: 7}}},
			`type:MsgAppResp to:1 from:2 reject:true rejectHint:5 responses:<vote:7 > `,
		},
		{&Message{Entries: []Entry{{Index: 1}}, Context: []byte("c")}, `entries:<Index:1 > context:"c" `},
		{&ConfChange{ID: 1, Type: ConfChangeRemoveNode, NodeID: 2}, `type:ConfChangeRemoveNode node_id:2 id:1 `},
		{&ConfChangeV2{Transition: 1, Changes: []ConfChangeSingle{{3, 4}}}, `transition:ConfChangeTransitionJointImplicit changes:<type:ConfChangeAddLearnerNode node_id:4 > `},
	} {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("%T: %s, want %s", tt.value, got, tt.want)
		}
	}
}

// JSON has the names of the encoding; programs keep configurations as JSON.
func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		value codec
		want  string
	}{
		{&ConfState{}, `{"auto_leave":false}`},
		{&ConfState{Voters: []uint64{1, 2, 300}, Learners: []uint64{4}}, `{"voters":[1,2,300],"learners":[4],"auto_leave":false}`},
		{
			&ConfState{VotersOutgoing: []uint64{5}, LearnersNext: []uint64{6}, AutoLeave: true},
			`{"voters_outgoing":[5],"learners_next":[6],"auto_leave":true}`,
		},
		{&Entry{}, `{"Term":0,"Index":0,"Type":0}`},
		{&Entry{Type: EntryConfChangeV2, Term: 1, Index: 2, Data: []byte("abc")}, `{"Term":1,"Index":2,"Type":2,"Data":"YWJj"}`},
		{&HardState{Term: 3, Vote: 2, Commit: 1000}, `{"term":3,"vote":2,"commit":1000}`},
		{&Snapshot{}, `{"metadata":{"conf_state":{"auto_leave":false},"index":0,"term":0}}`},
		{
			&Message{},
			`{"type":0,"to":0,"from":0,"term":0,"logTerm":0,"index":0,"entries":null,"commit":0,"vote":0,` +
				`"reject":false,"rejectHint":0,"responses":null}`,
		},
		{&ConfChange{Type: 3, NodeID: 4, ID: 5, Context: []byte("c")}, `{"type":3,"node_id":4,"context":"Yw==","id":5}`},
		{&ConfChangeSingle{Type: 1, NodeID: 2}, `{"type":1,"node_id":2}`},
		{&ConfChangeV2{Transition: 2}, `{"transition":2,"changes":null}`},
	} {
		got, err := json.Marshal(tt.value)
		if err != nil || string(got) != tt.want {
			t.Errorf("%T: %s, %v, want %s", tt.value, got, err, tt.want)
		}
	}
}

// What is kept as JSON is read back as it was, but for what is empty.
func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := confStates().Draw(t, "configuration")
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got ConfState
		if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s became %+v, %v", data, got, err)
		}
	})
}

// Enums are written as numbers, and read as numbers or by name.
func TestEnumsInJSON(t *testing.T) {
	for data, want := range map[string]ConfChange{
		`{"type":"ConfChangeAddLearnerNode","node_id":3}`: {Type: ConfChangeAddLearnerNode, NodeID: 3},
		`{"type":2,"node_id":3}`:                          {Type: ConfChangeUpdateNode, NodeID: 3},
		`{"type":9}`:                                      {Type: 9},
	} {
		var got ConfChange
		if err := json.Unmarshal([]byte(data), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", data, got, err)
		}
	}
	var m Message
	var e Entry
	var cc ConfChangeV2
	if err := errors.Join(json.Unmarshal([]byte(`{"type":"MsgPreVote"}`), &m), json.Unmarshal([]byte(`{"Type":"EntryConfChangeV2"}`), &e),
		json.Unmarshal([]byte(`{"transition":"ConfChangeTransitionJointExplicit"}`), &cc)); err != nil {
		t.Fatal(err)
	}
	if m.Type != MsgPreVote || e.Type != EntryConfChangeV2 || cc.Transition != ConfChangeTransitionJointExplicit {
		t.Errorf("%v, %v, %v", m.Type, e.Type, cc.Transition)
	}
	for _, bad := range []string{`{"type":"MsgNone"}`, `{"type":""}`, `{"type":1.5}`, `{"type":true}`, `{"type":"MsgHup`} {
		if err := json.Unmarshal([]byte(bad), &m); err == nil {
			t.Errorf("%s: read as %v", bad, m.Type)
		}
	}
}
