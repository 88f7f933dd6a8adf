// Joint configurations: both majorities, and what that means.

package quorum

import (
	"math"
	"reflect"
	"testing"
)

// §6: agreement takes a majority of the old and a majority of the new voters.
func TestJointNeedsBothMajorities(t *testing.T) {
	c := JointConfig{majority(3, 4, 5), majority(1, 2, 3)}
	for _, tt := range []struct {
		name string
		acks acks
		want Index
	}{
		{"all of the new, none of the old", acks{3: 9, 4: 9, 5: 9}, 0},
		{"all of the old, none of the new", acks{1: 9, 2: 9, 3: 9}, 0},
		{"the slower half decides", acks{1: 4, 2: 4, 4: 7, 5: 7}, 4},
		{"the common voter counts in both", acks{1: 5, 3: 9, 4: 6}, 5},
	} {
		if got := c.CommittedIndex(tt.acks); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := (JointConfig{}).CommittedIndex(acks{}); got != math.MaxUint64 {
		t.Errorf("nobody: %v", got)
	}

	for _, tt := range []struct {
		name  string
		votes map[uint64]bool
		want  VoteResult
	}{
		{"the new alone", map[uint64]bool{3: true, 4: true, 5: true}, VotePending},
		{"both", map[uint64]bool{3: true, 4: true, 1: true}, VoteWon},
		{"the old refuse", map[uint64]bool{3: true, 4: true, 1: false, 2: false}, VoteLost},
		{"both still open", map[uint64]bool{1: true, 4: true}, VotePending},
		{"the new refuse, the old have not voted", map[uint64]bool{4: false, 5: false}, VoteLost},
	} {
		if got := c.VoteResult(tt.votes); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestIDsAreANewSet(t *testing.T) {
	c := JointConfig{majority(1, 2), majority(2, 3)}
	ids := c.IDs()
	if want := map[uint64]struct{}{1: {}, 2: {}, 3: {}}; !reflect.DeepEqual(ids, want) {
		t.Errorf("%v", ids)
	}
	delete(ids, 1)
	ids[9] = struct{}{}
	if len(c[0]) != 2 || len(c[1]) != 2 {
		t.Errorf("changing the set has changed the configuration: %v", c)
	}
	if ids := (JointConfig{}).IDs(); ids == nil || len(ids) != 0 {
		t.Errorf("of nobody: %#v", ids)
	}
}
