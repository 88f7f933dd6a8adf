// What the library says in words, and how it refuses a Config: the exact texts.

package interop

import (
	"fmt"
	"testing"

	theirs "go.etcd.io/raft/v3"
	theirpb "go.etcd.io/raft/v3/raftpb"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// Values of all types are described in the same words.
func TestDescriptionsAgree(t *testing.T) {
	quoted := func(data []byte) string { return fmt.Sprintf("<%s>", data) }
	seeds(t, 1000, 100_000, func(seed uint64) {
		s := source{newRand(seed)}
		m, snap, cs, hs := s.messageOf(0), s.snapshot(), s.confState(), s.hardState()
		if s.IntN(2) == 0 {
			m.From, m.To = raft.LocalAppendThread-s.Uint64N(3), s.Uint64N(2)
		}
		m.Responses = many(s, func() pb.Message { return pb.Message{Type: pb.MsgAppResp, To: s.number(), Index: s.number()} })
		for i := range m.Entries { // also well-formed changes
			typ, data, err := pb.MarshalConfChange(drawChange(s))
			must(err)
			if m.Entries[i].Type != pb.EntryNormal { // what does not decode has no set text
				m.Entries[i].Type, m.Entries[i].Data = typ, data
			}
		}
		soft := raft.SoftState{Lead: s.number(), RaftState: raft.StateType(s.IntN(4))}
		rd := raft.Ready{HardState: hs, Entries: m.Entries, Snapshot: snap, CommittedEntries: m.Entries, MustSync: s.IntN(2) == 0}
		if s.IntN(2) == 0 {
			rd.SoftState = &soft
			rd.ReadStates = []raft.ReadState{{Index: 3, RequestCtx: s.bytes()}}
			rd.Messages = append(rd.Messages, m, m)
		}
		if s.IntN(6) == 0 {
			rd = raft.Ready{}
		}

		for _, pair := range [][2]string{
			{raft.DescribeMessage(m, nil), theirs.DescribeMessage(toMessage(m), nil)},
			{raft.DescribeMessage(m, quoted), theirs.DescribeMessage(toMessage(m), quoted)},
			{raft.DescribeEntries(m.Entries, nil), theirs.DescribeEntries(toEntries(m.Entries), nil)},
			{raft.DescribeSnapshot(snap), theirs.DescribeSnapshot(toSnapshot(snap))},
			{raft.DescribeConfState(cs), theirs.DescribeConfState(theirpb.ConfState(cs))},
			{raft.DescribeHardState(hs), theirs.DescribeHardState(theirpb.HardState(hs))},
			{raft.DescribeSoftState(soft), theirs.DescribeSoftState(theirs.SoftState{Lead: soft.Lead, RaftState: theirs.StateType(soft.RaftState)})},
			{raft.DescribeReady(rd, nil), theirs.DescribeReady(toReady(rd), nil)},
			{raft.DescribeReady(rd, quoted), theirs.DescribeReady(toReady(rd), quoted)},
		} {
			if pair[0] != pair[1] {
				t.Fatalf("seed %d\nours:\n%s\netcd's:\n%s", seed, pair[0], pair[1])
			}
		}
	})
}

func drawChange(s source) pb.ConfChangeI {
	if s.IntN(2) == 0 {
		return s.confChange()
	}
	return s.confChangeV2()
}

// What kind of message a type is, what needs a sync, what is empty.
func TestPredicatesAgree(t *testing.T) {
	for typ := range int32(30) {
		if a, b := raft.IsLocalMsg(pb.MessageType(typ)), theirs.IsLocalMsg(theirpb.MessageType(typ)); a != b {
			t.Errorf("IsLocalMsg(%v) is %t, etcd's %t", pb.MessageType(typ), a, b)
		}
		if a, b := raft.IsResponseMsg(pb.MessageType(typ)), theirs.IsResponseMsg(theirpb.MessageType(typ)); a != b {
			t.Errorf("IsResponseMsg(%v) is %t, etcd's %t", pb.MessageType(typ), a, b)
		}
	}
	seeds(t, 2000, 10_000, func(seed uint64) {
		s := source{newRand(seed)}
		draw := func() pb.HardState {
			return pb.HardState{Term: s.Uint64N(2), Vote: s.Uint64N(2), Commit: s.Uint64N(2)}
		}
		a, b, n := draw(), draw(), s.IntN(2)
		if our, their := raft.MustSync(a, b, n), theirs.MustSync(theirpb.HardState(a), theirpb.HardState(b), n); our != their {
			t.Errorf("MustSync(%v, %v, %d) is %t, etcd's %t", a, b, n, our, their)
		}
		if our, their := raft.IsEmptyHardState(a), theirs.IsEmptyHardState(theirpb.HardState(a)); our != their {
			t.Errorf("IsEmptyHardState(%v) is %t, etcd's %t", a, our, their)
		}
		snap := s.snapshot()
		if our, their := raft.IsEmptySnap(snap), theirs.IsEmptySnap(toSnapshot(snap)); our != their {
			t.Errorf("IsEmptySnap(%v) is %t, etcd's %t", snap, our, their)
		}
		id := s.number()
		if our, their := raft.IsLocalMsgTarget(id), theirs.IsLocalMsgTarget(id); our != their {
			t.Errorf("IsLocalMsgTarget(%d) is %t, etcd's %t", id, our, their)
		}
	})
}

// Sentinels say the same, and states have the same names.
func TestTextsAgree(t *testing.T) {
	for _, pair := range [][2]error{
		{raft.ErrCompacted, theirs.ErrCompacted},
		{raft.ErrSnapOutOfDate, theirs.ErrSnapOutOfDate},
		{raft.ErrUnavailable, theirs.ErrUnavailable},
		{raft.ErrSnapshotTemporarilyUnavailable, theirs.ErrSnapshotTemporarilyUnavailable},
		{raft.ErrProposalDropped, theirs.ErrProposalDropped},
		{raft.ErrStepLocalMsg, theirs.ErrStepLocalMsg},
		{raft.ErrStepPeerNotFound, theirs.ErrStepPeerNotFound},
		{raft.ErrStopped, theirs.ErrStopped},
	} {
		if pair[0].Error() != pair[1].Error() {
			t.Errorf("%q, etcd's %q", pair[0], pair[1])
		}
	}
	for v := range uint64(4) {
		ourJSON, err1 := raft.StateType(v).MarshalJSON()
		theirJSON, err2 := theirs.StateType(v).MarshalJSON()
		if string(ourJSON) != string(theirJSON) || err1 != nil || err2 != nil ||
			raft.StateType(v).String() != theirs.StateType(v).String() {
			t.Errorf("StateType(%d) is %s (%v), etcd's %s (%v)", v, ourJSON, err1, theirJSON, err2)
		}
	}
}

// An invalid Config is refused with the same words, in the same order of rules;
// a valid one gets the same defaults.
func TestConfigsAreRefusedAlike(t *testing.T) {
	seeds(t, 1000, 50_000, func(seed uint64) {
		s := source{newRand(seed)}
		c := raft.Config{
			ID: 1, ElectionTick: 10, HeartbeatTick: 1, MaxInflightMsgs: 4,
			MaxSizePerMsg:               []uint64{0, 10, 1 << 20}[s.IntN(3)],
			MaxInflightBytes:            []uint64{0, 5, 1 << 21}[s.IntN(3)],
			MaxCommittedSizePerReady:    []uint64{0, 7}[s.IntN(2)],
			MaxUncommittedEntriesSize:   []uint64{0, 7}[s.IntN(2)],
			CheckQuorum:                 s.IntN(2) == 0,
			ReadOnlyOption:              raft.ReadOnlyOption(s.IntN(2)),
			DisableProposalForwarding:   s.IntN(2) == 0,
			DisableConfChangeValidation: s.IntN(2) == 0,
		}
		rare := func(f func()) {
			if s.IntN(6) == 0 {
				f()
			}
		}
		rare(func() { c.ID = []uint64{0, raft.LocalAppendThread, raft.LocalApplyThread}[s.IntN(3)] })
		rare(func() { c.HeartbeatTick = s.IntN(3) - 1 })
		rare(func() { c.ElectionTick = s.IntN(3) - 1 })
		rare(func() { c.MaxInflightMsgs = s.IntN(3) - 1 })
		withStorage := s.IntN(8) > 0

		their := theirConfig(c, nil)
		c.Logger = silent{}
		if withStorage {
			c.Storage, their.Storage = raft.NewMemoryStorage(), theirs.NewMemoryStorage()
		}
		a := refusal(func() { _, err := raft.NewRawNode(&c); must(err) })
		b := refusal(func() { _, err := theirs.NewRawNode(their); must(err) })
		if a != b {
			t.Fatalf("seed %d: %+v is refused with %s, etcd's with %s", seed, c, a, b)
		}
		if b != "<nil>" {
			return
		}
		if c.MaxUncommittedEntriesSize != their.MaxUncommittedEntriesSize || c.MaxInflightBytes != their.MaxInflightBytes ||
			c.MaxCommittedSizePerReady != their.MaxCommittedSizePerReady {
			t.Fatalf("seed %d: defaults %+v, etcd's %+v", seed, c, their)
		}
	})
}

// refusal is the value f panics with, its type too.
func refusal(f func()) (text string) {
	defer func() { text = fmt.Sprintf("%#v", recover()) }()
	f()
	return ""
}
