// Starting: from nothing, from what was stored, and as a new group.
//
//	Figure 2 "Persistent state" · diss. §3.8, §4.4 (bootstrapping)

package raft

import (
	"bytes"
	"errors"
	"log"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "example.com/raftexample/raft/raftpb"
)

// restart starts a node from a storage.
func restart(t testing.TB, s *MemoryStorage, change func(*Config)) *member {
	t.Helper()
	c := testConfig(1, s)
	if change != nil {
		change(c)
	}
	rn, err := NewRawNode(c)
	if err != nil {
		t.Fatal(err)
	}
	return &member{RawNode: rn, storage: s}
}

// stored returns a storage of a group of three with these entries and this state.
func stored(t testing.TB, hs pb.HardState, terms ...uint64) *MemoryStorage {
	t.Helper()
	s := storageWith(1, 2, 3)
	if err := s.Append(entriesFrom(1, terms...)); err != nil {
		t.Fatal(err)
	}
	if err := s.SetHardState(hs); err != nil {
		t.Fatal(err)
	}
	return s
}

// Figure 2: term, vote and log survive a restart; role and leader do not, and what is
// applied is what the user says.
func TestRestartKeepsWhatIsPersistent(t *testing.T) {
	n := restart(t, stored(t, pb.HardState{Term: 3, Vote: 2, Commit: 2}, 1, 2, 3), func(c *Config) { c.Applied = 1 })
	want := BasicStatus{
		ID: 1, HardState: pb.HardState{Term: 3, Vote: 2, Commit: 2},
		SoftState: SoftState{Lead: None, RaftState: StateFollower}, Applied: 1,
	}
	if got := n.BasicStatus(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if last := n.raft.log.last; last != (entryID{term: 3, index: 3}) {
		t.Errorf("the last entry is %v", last)
	}
}

// What was stored counts as seen. The first Ready after a restart has nothing but the
// entries that wait to be applied, and none is due if there are none.
func TestFirstReadyAfterARestart(t *testing.T) {
	state := pb.HardState{Term: 3, Vote: 2, Commit: 2}
	for _, tt := range []struct {
		name    string
		applied uint64
		want    []uint64
	}{
		{"applied 0: all is handed out again", 0, []uint64{1, 2}},
		{"applied in part: the rest", 1, []uint64{2}},
		{"all applied: nothing", 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := restart(t, stored(t, state, 1, 2, 3), func(c *Config) { c.Applied = tt.applied })
			if n.HasReady() != (len(tt.want) > 0) {
				t.Errorf("HasReady is %t", n.HasReady())
			}
			rd := n.Ready()
			var got []uint64
			for _, e := range rd.CommittedEntries {
				got = append(got, e.Index)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("to be applied: %v, want %v", got, tt.want)
			}
			rd.CommittedEntries = nil
			if text := DescribeReady(rd, nil); text != "<empty Ready>" || rd.MustSync {
				t.Errorf("beside them: %s", text)
			}
		})
	}
}

// A log that starts after a snapshot has everything up to that committed and applied.
func TestRestartFromASnapshot(t *testing.T) {
	s := storedFrom(t, entryID{term: 2, index: 5}, 3, 3)
	n := restart(t, s, nil)
	if l := n.raft.log; l.committed != 5 || l.applied != 5 || l.lastIndex() != 7 {
		t.Errorf("committed %d, applied %d, last %d", l.committed, l.applied, l.lastIndex())
	}
	if n.HasReady() {
		t.Errorf("there is nothing to do: %s", DescribeReady(n.Ready(), nil))
	}
}

// A storage that contradicts itself, or what the user has applied, is a bug or a lost
// disk: the node does not start.
func TestContradictoryStoragePanics(t *testing.T) {
	for name, start := range map[string]func(){
		"a commit index beyond the log": func() {
			restart(t, stored(t, pb.HardState{Term: 1, Commit: 3}, 1, 1), nil)
		},
		"a commit index below the snapshot": func() {
			s := storedFrom(t, entryID{term: 2, index: 5}, 3)
			if err := s.SetHardState(pb.HardState{Term: 3, Commit: 4}); err != nil {
				t.Error(err)
				return
			}
			restart(t, s, nil)
		},
		"applied beyond the commit index": func() {
			restart(t, stored(t, pb.HardState{Term: 1, Commit: 1}, 1, 1), func(c *Config) { c.Applied = 2 })
		},
		"applied below the snapshot": func() {
			restart(t, storedFrom(t, entryID{term: 2, index: 5}, 3), func(c *Config) { c.Applied = 4 })
		},
		"a configuration that cannot be": func() {
			s := NewMemoryStorage()
			s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{1}, Learners: []uint64{1}}
			restart(t, s, nil)
		},
		"a configuration that would become another": func() {
			s := NewMemoryStorage()
			s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{1, 2}, LearnersNext: []uint64{2}}
			restart(t, s, nil)
		},
	} {
		mustPanic(t, name, start)
	}
}

// A storage that cannot be read does not say what this node has promised: it does not
// start, nor become the member of a new group.
func TestUnreadableStoragePanics(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, s := range map[string]*brokenStorage{
		"the initial state":     {state: broken},
		"the first index":       {first: broken},
		"the last index":        {last: broken},
		"the last entry's term": {term: broken},
	} {
		s.MemoryStorage = stored(t, pb.HardState{Term: 1, Commit: 1}, 1)
		err, is := mustPanic(t, name, func() { restart(t, s.MemoryStorage, func(c *Config) { c.Storage = s }) }).(error)
		if !is || !errors.Is(err, broken) {
			t.Errorf("%s: the panic does not say what the storage did", name)
		}
	}

	s := &brokenStorage{MemoryStorage: NewMemoryStorage()}
	n := restart(t, s.MemoryStorage, func(c *Config) { c.Storage = s })
	s.last = broken
	if err := n.Bootstrap([]Peer{{ID: 1}}); !errors.Is(err, broken) || n.HasReady() {
		t.Errorf("Bootstrap: %v", err)
	}
}

// The configuration is the storage's, joint or with learners as it may be; changes in
// the log between the snapshot and what was applied are the user's to have in it.
func TestConfigurationComesFromStorage(t *testing.T) {
	want := pb.ConfState{
		Voters: []uint64{1, 2}, VotersOutgoing: []uint64{1, 3}, Learners: []uint64{4}, LearnersNext: []uint64{3}, AutoLeave: true,
	}
	s := NewMemoryStorage()
	s.snapshot.Metadata.ConfState = want
	kind, data := marshalled(t, pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 2})
	if err := s.Append([]pb.Entry{{Term: 1, Index: 1, Type: kind, Data: data}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetHardState(pb.HardState{Term: 1, Commit: 1}); err != nil {
		t.Fatal(err)
	}
	n := restart(t, s, func(c *Config) { c.Applied = 1 })
	if diff := cmp.Diff(want, n.raft.trk.ConfState()); diff != "" {
		t.Error(diff)
	}
}

// diss. §4.4: a new group begins with a log that adds each of its members, committed in
// term 1 and in force at once.
func TestBootstrap(t *testing.T) {
	s := NewMemoryStorage()
	n := restart(t, s, nil)
	peers := []Peer{{ID: 2, Context: []byte("b")}, {ID: 1, Context: []byte("a")}}
	if err := n.Bootstrap(peers); err != nil {
		t.Fatal(err)
	}
	if st := n.Status(); st.Config.String() != "voters=(1 2)" || st.Applied != 0 {
		t.Errorf("configuration %v, applied %d", st.Config, st.Applied)
	}
	if err := n.Campaign(); err != nil || n.raft.role != StateFollower { // they are changes to apply, like any
		t.Errorf("campaigning at once: %v, %v", n.raft.role, err)
	}

	rd := n.Ready()
	var entries []pb.Entry
	for i, p := range peers {
		kind, data := marshalled(t, pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: p.ID, Context: p.Context})
		entries = append(entries, pb.Entry{Type: kind, Term: 1, Index: uint64(i + 1), Data: data})
	}
	want := Ready{HardState: pb.HardState{Term: 1, Commit: 2}, Entries: entries, CommittedEntries: entries, MustSync: true}
	if diff := cmp.Diff(want, rd); diff != "" {
		t.Error(diff)
	}

	// Applying them again changes nothing, and then the node may campaign.
	for _, e := range rd.CommittedEntries {
		var change pb.ConfChange
		if err := change.Unmarshal(e.Data); err != nil {
			t.Fatal(err)
		}
		if cs := n.ApplyConfChange(change); !slices.Equal(cs.Voters, []uint64{1, 2}) {
			t.Errorf("voters %v", cs.Voters)
		}
	}
	if err := s.Append(rd.Entries); err != nil {
		t.Fatal(err)
	}
	n.Advance(rd)
	if err := n.Campaign(); err != nil || n.raft.role != StateCandidate || n.raft.Term != 2 {
		t.Errorf("campaigning: %v in term %d, %v", n.raft.role, n.raft.Term, err)
	}
}

// diss. §3.8: a node that has voted before it was bootstrapped keeps its term and vote. Its
// first Ready has all there is to store, as for any other.
func TestBootstrapKeepsTheVote(t *testing.T) {
	n := restart(t, stored(t, pb.HardState{Term: 3, Vote: 2}), nil)
	if err := n.Bootstrap([]Peer{{ID: 1}, {ID: 2}}); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	if want := (pb.HardState{Term: 3, Vote: 2, Commit: 2}); rd.HardState != want || len(rd.Entries) != 2 || rd.Entries[1].Term != 1 {
		t.Errorf("%s", DescribeReady(rd, nil))
	}
}

// A group without members, or on a storage with a log, is not made.
func TestBootstrapRefuses(t *testing.T) {
	if err := restart(t, NewMemoryStorage(), nil).Bootstrap(nil); err == nil || err.Error() != "must provide at least one peer to Bootstrap" {
		t.Errorf("without members: %v", err)
	}
	full := restart(t, stored(t, pb.HardState{Term: 1}, 1), nil)
	if err := full.Bootstrap([]Peer{{ID: 1}}); err == nil || err.Error() != "can't bootstrap a nonempty Storage" {
		t.Errorf("on a storage with a log: %v", err)
	}
	got := mustPanic(t, "StartNode without members", func() { StartNode(testConfig(1, NewMemoryStorage()), nil) })
	if got != "no peers given; use RestartNode instead" {
		t.Errorf("StartNode without members: %v", got)
	}
	var out bytes.Buffer
	c := testConfig(1, stored(t, pb.HardState{Term: 4}, 4))
	c.Logger = &DefaultLogger{Logger: log.New(&out, "", 0)}
	n := StartNode(c, []Peer{{ID: 9}}) // goes on with what is stored
	if warned := strings.Contains(out.String(), "WARN: node 1 was not bootstrapped: can't bootstrap a nonempty Storage"); !warned {
		t.Errorf("StartNode on a storage with a log says %q", out.String())
	}
	defer n.Stop()
	if st := n.Status(); st.Term != 4 || st.Config.String() != "voters=(1 2 3)" {
		t.Errorf("StartNode on a storage with a log: %v", st)
	}
}

// diss. §4.4: a node that joins knows no configuration. It does not campaign; it
// answers whoever speaks to it, and learns the rest from the leader.
func TestJoiningNodeAnswers(t *testing.T) {
	n := restart(t, NewMemoryStorage(), nil)
	for range 100 {
		n.Tick()
	}
	if err := n.Campaign(); err != nil || n.raft.role != StateFollower || n.raft.Term != 0 || n.HasReady() {
		t.Fatalf("it became %v in term %d, %v", n.raft.role, n.raft.Term, err)
	}
	for _, tt := range []struct {
		name string
		m    pb.Message
		want string
	}{
		{"a vote", pb.Message{Type: pb.MsgVote, Term: 1}, "1->2 MsgVoteResp Term:1 Log:0/0"},
		{"a heartbeat", pb.Message{Type: pb.MsgHeartbeat, Term: 2}, "1->2 MsgHeartbeatResp Term:2 Log:0/0"},
		{"an append", pb.Message{Type: pb.MsgApp, Term: 2, Entries: entriesFrom(1, 2)}, "1->2 MsgAppResp Term:2 Log:0/1"},
		{"a snapshot", pb.Message{Type: pb.MsgSnap, Term: 2, Snapshot: ptr(snapshotAt(2, 9, 1, 2))}, "1->2 MsgAppResp Term:2 Log:0/9"},
	} {
		tt.m.From, tt.m.To = 2, 1
		if got := DescribeMessage(one(t, n.step(t, tt.m)), nil); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := n.raft.trk.ConfState().Voters; !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("voters %v after the snapshot", got)
	}
}

func ptr[T any](v T) *T { return &v }

// diss. §4.4: a group is begun once. What the first call began need not be stored yet.
func TestBootstrapTwice(t *testing.T) {
	n := restart(t, NewMemoryStorage(), nil)
	if err := n.Bootstrap([]Peer{{ID: 1}, {ID: 2}}); err != nil {
		t.Fatal(err)
	}
	before := DescribeReady(n.readyWithoutAccept(), nil)
	if err := n.Bootstrap([]Peer{{ID: 1}, {ID: 3}}); err == nil || !strings.Contains(err.Error(), "nonempty") {
		t.Errorf("the second time: %v", err)
	}
	if after := DescribeReady(n.readyWithoutAccept(), nil); after != before || n.raft.trk.Progress[3] != nil {
		t.Errorf("the second time it changed\n%s to\n%s", before, after)
	}
}
