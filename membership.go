// Membership: who belongs to the cluster, and where they listen.
//
//	§6 · diss. ch. 4
//
// Raft knows ids and who votes. Addresses are the program's: they travel in the
// Context of the change that adds a member, so every node learns them in log
// order, and in snapshots.

package main

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"example.com/raftexample/raft/raftpb"
)

// member is one node of the cluster.
type member struct {
	ID      uint64 `json:"id"`
	URL     string `json:"url"`
	Learner bool   `json:"learner"`
}

// maxID is the highest id of a member: two higher ones are Raft's own.
const maxID = math.MaxInt64

func validID(id uint64) bool { return id > 0 && id <= maxID }

// membership is the replicated list of members.
type membership struct {
	mu      sync.RWMutex
	members map[uint64]member
	removed map[uint64]bool // ids that may never come back
}

func newMembership() *membership {
	return &membership{members: map[uint64]member{}, removed: map[uint64]bool{}}
}

// apply takes a committed change, and cs, the configuration after it.
func (ms *membership) apply(cc raftpb.ConfChange, cs *raftpb.ConfState) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m, known := ms.members[cc.NodeID]
	switch cc.Type {
	case raftpb.ConfChangeRemoveNode:
		delete(ms.members, cc.NodeID)
		ms.removed[cc.NodeID] = true
		return
	case raftpb.ConfChangeUpdateNode:
		if !known {
			return
		}
	}
	m.ID = cc.NodeID
	if len(cc.Context) > 0 { // a promotion has none
		m.URL = string(cc.Context)
	}
	m.Learner = slices.Contains(cs.Learners, cc.NodeID)
	ms.members[cc.NodeID] = m
}

// list returns the members in ascending order of their ids.
func (ms *membership) list() []member {
	ms.mu.RLock()
	defer ms.mu.RUnlock()
	list := make([]member, 0, len(ms.members))
	for _, m := range ms.members {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b member) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func (ms *membership) get(id uint64) (member, bool) {
	ms.mu.RLock()
	defer ms.mu.RUnlock()
	m, ok := ms.members[id]
	return m, ok
}

func (ms *membership) isRemoved(id uint64) bool {
	ms.mu.RLock()
	defer ms.mu.RUnlock()
	return ms.removed[id]
}

func (ms *membership) removedIDs() []uint64 {
	ms.mu.RLock()
	defer ms.mu.RUnlock()
	ids := make([]uint64, 0, len(ms.removed))
	for id := range ms.removed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// savedMembership is the membership at the head of a snapshot's state: its
// length as a uvarint, then JSON.
type savedMembership struct {
	Members []member `json:"members"`
	Removed []uint64 `json:"removed"`
}

const maxSavedMembership = 1 << 20

func (ms *membership) save() []byte {
	body, err := json.Marshal(savedMembership{Members: ms.list(), Removed: ms.removedIDs()})
	if err != nil {
		panic(fmt.Sprintf("a list of members cannot be written as JSON: %v", err))
	}
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}

// load replaces the membership by that at the head of a snapshot's state.
func (ms *membership) load(r *bufio.Reader) error {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return err
	}
	if size > maxSavedMembership {
		return fmt.Errorf("a list of members of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	var saved savedMembership
	if err := json.Unmarshal(body, &saved); err != nil {
		return err
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	clear(ms.members)
	clear(ms.removed)
	for _, m := range saved.Members {
		ms.members[m.ID] = m
	}
	for _, id := range saved.Removed {
		ms.removed[id] = true
	}
	return nil
}
