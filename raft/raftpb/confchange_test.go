// Changes of membership: their two forms, and what they ask for.

package raftpb

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A change of the older form is a change of the newer one with a single node;
// only its ID, which Raft has no use for, is lost.
func TestConfChangeForms(t *testing.T) {
	v1 := ConfChange{ID: 9, Type: ConfChangeRemoveNode, NodeID: 3, Context: []byte("why")}
	v2 := ConfChangeV2{Changes: []ConfChangeSingle{{ConfChangeRemoveNode, 3}}, Context: []byte("why")}

	for _, c := range []ConfChangeI{v1, &v1} {
		if got := c.AsV2(); !reflect.DeepEqual(got, v2) {
			t.Errorf("AsV2 of %T: %+v", c, got)
		}
		if got, ok := c.AsV1(); !ok || !reflect.DeepEqual(got, v1) {
			t.Errorf("AsV1 of %T: %+v, %t", c, got, ok)
		}
	}
	for _, c := range []ConfChangeI{v2, &v2} {
		if got := c.AsV2(); !reflect.DeepEqual(got, v2) {
			t.Errorf("AsV2 of %T: %+v", c, got)
		}
		if got, ok := c.AsV1(); ok || !reflect.DeepEqual(got, ConfChange{}) {
			t.Errorf("AsV1 of %T: %+v, %t", c, got, ok)
		}
	}
}

// diss. §4.3: a change goes through a joint configuration if it concerns more
// than one node, or if it asks to.
func TestEnterJoint(t *testing.T) {
	one := []ConfChangeSingle{{ConfChangeAddNode, 1}}
	two := append(one, ConfChangeSingle{ConfChangeRemoveNode, 2})
	for _, tt := range []struct {
		name                string
		change              ConfChangeV2
		autoLeave, useJoint bool
	}{
		{"nothing", ConfChangeV2{}, false, false},
		{"one node", ConfChangeV2{Changes: one}, false, false},
		{"two nodes", ConfChangeV2{Changes: two}, true, true},
		{"one node, implicit", ConfChangeV2{Transition: ConfChangeTransitionJointImplicit, Changes: one}, true, true},
		{"two nodes, implicit", ConfChangeV2{Transition: ConfChangeTransitionJointImplicit, Changes: two}, true, true},
		{"nothing, explicit", ConfChangeV2{Transition: ConfChangeTransitionJointExplicit}, false, true},
		{"two nodes, explicit", ConfChangeV2{Transition: ConfChangeTransitionJointExplicit, Changes: two}, false, true},
	} {
		if autoLeave, useJoint := tt.change.EnterJoint(); autoLeave != tt.autoLeave || useJoint != tt.useJoint {
			t.Errorf("%s: autoLeave %t, useJoint %t", tt.name, autoLeave, useJoint)
		}
	}

	defer func() {
		if recover() == nil {
			t.Error("an unknown transition does not panic")
		}
	}()
	ConfChangeV2{Transition: 7, Changes: two}.EnterJoint()
}

// A change that says nothing leaves a joint configuration. One of the older form
// never does, whatever it says.
func TestLeaveJoint(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change ConfChangeV2
		leaves bool
	}{
		{"zero", ConfChangeV2{}, true},
		{"zero but for its context", ConfChangeV2{Context: []byte("bye")}, true},
		{"an empty list", ConfChangeV2{Changes: []ConfChangeSingle{}}, true},
		{"one node", ConfChangeV2{Changes: []ConfChangeSingle{{ConfChangeAddNode, 1}}}, false},
		{"a transition", ConfChangeV2{Transition: ConfChangeTransitionJointImplicit}, false},
		{"zero, of the older form", ConfChange{}.AsV2(), false},
	} {
		if got := tt.change.LeaveJoint(); got != tt.leaves {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestMarshalConfChange(t *testing.T) {
	v1 := ConfChange{ID: 9, Type: ConfChangeAddLearnerNode, NodeID: 3}
	v2 := ConfChangeV2{Changes: []ConfChangeSingle{{ConfChangeAddNode, 4}}}
	for _, tt := range []struct {
		name   string
		change ConfChangeI
		kind   EntryType
		data   []byte
	}{
		{"the older form", v1, EntryConfChange, encode(t, &v1)},
		{"a pointer to it", &v1, EntryConfChange, encode(t, &v1)},
		{"the newer form", v2, EntryConfChangeV2, encode(t, &v2)},
		{"a zero change", ConfChangeV2{}, EntryConfChangeV2, []byte{0x08, 0}},
		{"no change", nil, EntryConfChangeV2, nil},
	} {
		kind, data, err := MarshalConfChange(tt.change)
		if err != nil || kind != tt.kind || !reflect.DeepEqual(data, tt.data) {
			t.Errorf("%s: %v %x, %v", tt.name, kind, data, err)
		}
	}

	// No data decodes to the change that leaves a joint configuration.
	var left ConfChangeV2
	if err := left.Unmarshal(nil); err != nil || !left.LeaveJoint() {
		t.Errorf("nil data: %+v, %v", left, err)
	}
}

func TestConfChangesFromString(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []ConfChangeSingle
	}{
		{"", nil},
		{"  ", nil},
		{"v1", []ConfChangeSingle{{ConfChangeAddNode, 1}}},
		{
			" v1 l2 r3 u18446744073709551615 ",
			[]ConfChangeSingle{
				{ConfChangeAddNode, 1},
				{ConfChangeAddLearnerNode, 2},
				{ConfChangeRemoveNode, 3},
				{ConfChangeUpdateNode, 1<<64 - 1},
			},
		},
	} {
		if got, err := ConfChangesFromString(tt.text); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %v, %v", tt.text, got, err)
		}
	}
	for _, text := range []string{"v", "1", "x1", "v1x", "v-1", "v18446744073709551616", "v1,l2", "vv1", "V1", "v1 l"} {
		if got, err := ConfChangesFromString(text); err == nil {
			t.Errorf("%q: %v, no error", text, got)
		}
	}
}

func TestConfChangesToStringIsTheInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := lists(rapid.Custom(func(t *rapid.T) ConfChangeSingle {
			return ConfChangeSingle{
				Type:   ConfChangeType(rapid.Int32Range(0, 3).Draw(t, "type")),
				NodeID: numbers().Draw(t, "node"),
			}
		})).Draw(t, "changes")
		text := ConfChangesToString(want)
		if got, err := ConfChangesFromString(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %v, %v, want %v", text, got, err, want)
		}
		if strings.TrimSpace(text) != text || strings.Contains(text, "  ") {
			t.Fatalf("%q has needless blanks", text)
		}
	})
	if got := ConfChangesToString([]ConfChangeSingle{{9, 1}}); got != "unknown1" {
		t.Errorf("a change without a letter: %q", got)
	}
}

// Two configurations are the same if they have the same members in the same
// roles, in whatever order they are listed.
func TestEquivalent(t *testing.T) {
	full := ConfState{
		Voters: []uint64{1, 2, 3}, Learners: []uint64{5, 4}, VotersOutgoing: []uint64{3, 1},
		LearnersNext: []uint64{1, 3}, AutoLeave: true,
	}
	other := func(change func(*ConfState)) ConfState {
		cs := ConfState{
			Voters: []uint64{3, 1, 2}, Learners: []uint64{4, 5}, VotersOutgoing: []uint64{1, 3},
			LearnersNext: []uint64{3, 1}, AutoLeave: true,
		}
		change(&cs)
		return cs
	}
	for _, tt := range []struct {
		name string
		a, b ConfState
		same bool
	}{
		{"another order", full, other(func(*ConfState) {}), true},
		{"nil and empty", ConfState{}, ConfState{Voters: []uint64{}, Learners: []uint64{}}, true},
		{"another voter", full, other(func(cs *ConfState) { cs.Voters[0] = 9 }), false},
		{"a voter less", full, other(func(cs *ConfState) { cs.Voters = cs.Voters[:2] }), false},
		{"another learner", full, other(func(cs *ConfState) { cs.Learners[0] = 9 }), false},
		{"another old voter", full, other(func(cs *ConfState) { cs.VotersOutgoing[0] = 9 }), false},
		{"another coming learner", full, other(func(cs *ConfState) { cs.LearnersNext[0] = 9 }), false},
		{"not left automatically", full, other(func(cs *ConfState) { cs.AutoLeave = false }), false},
		{"twice the same voter", ConfState{Voters: []uint64{1, 1, 2}}, ConfState{Voters: []uint64{1, 2, 2}}, false},
	} {
		for _, pair := range [][2]ConfState{{tt.a, tt.b}, {tt.b, tt.a}} {
			err := pair[0].Equivalent(pair[1])
			if (err == nil) != tt.same {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}

	if !slices.Equal(full.Learners, []uint64{5, 4}) {
		t.Errorf("comparing has sorted what was compared: %v", full)
	}
	err := ConfState{Voters: []uint64{71}}.Equivalent(ConfState{Voters: []uint64{82}})
	if err == nil || !strings.Contains(err.Error(), "71") || !strings.Contains(err.Error(), "82") {
		t.Errorf("the error does not show both sides: %v", err)
	}
}
