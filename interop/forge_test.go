// Forged messages: what a confused, old or broken peer might send.

package interop

import (
	"encoding/json"
	"math"
	"math/rand/v2"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// forge makes a message for m: one on its way with something changed, or one
// made up from numbers near those that m has.
func (w *world) forge(m *member, o op) pb.Message {
	rnd := rand.New(rand.NewPCG(o.x, o.y))
	if len(w.net) > 0 && rnd.IntN(2) == 0 {
		msg := decode(w.net[rnd.IntN(len(w.net))])
		msg.To = m.id
		if msg.Type == pb.MsgReadIndex {
			msg.Entries = nil // a context sent again is one of the Differences
			msg.Type = pb.MsgHeartbeatResp
		}
		w.distort(&msg, rnd)
		if msg.Type == pb.MsgProp {
			msg.Term = 0
		} else if ofLeader(msg.Type) {
			msg.Term = max(msg.Term, 1) // without one is one of the Differences
		}
		return msg
	}

	st := m.node.status()
	near := func(v uint64) uint64 {
		switch rnd.IntN(12) {
		case 0:
			return 0
		case 1:
			return rnd.Uint64N(v + 10)
		case 2:
			return v + 1
		case 3:
			return v - min(v, 1)
		case 4:
			return v + rnd.Uint64N(4)
		}
		return v
	}
	last, err := m.store.LastIndex()
	must(err)
	msg := pb.Message{
		Type: pb.MessageType(rnd.IntN(25)), To: m.id, From: w.anyID(rnd.Uint64()),
		Term: near(st.term), Index: near(last), LogTerm: near(st.term), Commit: near(st.commit),
		RejectHint: near(last), Reject: rnd.IntN(3) == 0,
	}
	if msg.Type == pb.MsgApp && rnd.IntN(2) == 0 {
		msg.LogTerm, _ = m.store.Term(msg.Index) // 0 if it has none: then it is refused
	}
	switch msg.Type {
	case pb.MsgHup, pb.MsgBeat, pb.MsgUnreachable, pb.MsgSnapStatus, pb.MsgCheckQuorum:
		if rnd.IntN(2) == 0 { // then it passes; other threads' messages would be lies of our own disk
			msg.From = raft.LocalAppendThread - rnd.Uint64N(2)
		}
	}
	if ofLeader(msg.Type) {
		msg.Term = max(msg.Term, 1)
	}
	w.forgeContent(&msg, rnd, near)
	return msg
}

// ofLeader reports whether messages of this type come from leaders only.
func ofLeader(t pb.MessageType) bool {
	return t == pb.MsgApp || t == pb.MsgHeartbeat || t == pb.MsgSnap
}

// forgeContent fills in what the type of a made-up message asks for.
func (w *world) forgeContent(msg *pb.Message, rnd *rand.Rand, near func(uint64) uint64) {
	switch msg.Type {
	case pb.MsgApp:
		for i := range rnd.Uint64N(4) {
			msg.Entries = append(msg.Entries, pb.Entry{Term: msg.Term, Index: msg.Index + 1 + i, Data: []byte("forged")})
		}
	case pb.MsgProp:
		msg.Term = 0
		for range 1 + rnd.IntN(2) {
			msg.Entries = append(msg.Entries, pb.Entry{Data: []byte("forged")})
		}
	case pb.MsgReadIndexResp:
		for range rnd.IntN(3) {
			msg.Entries = append(msg.Entries, pb.Entry{Data: []byte("forged")})
		}
	case pb.MsgReadIndex:
		msg.Term = 0
		msg.Type = pb.MsgTransferLeader // contexts are not to come twice: see Differences
	case pb.MsgSnap, pb.MsgStorageAppendResp:
		if rnd.IntN(4) > 0 {
			cs := pb.ConfState{Voters: []uint64{1}}
			for id := 2; id <= w.plan.members; id++ {
				if rnd.IntN(3) > 0 {
					cs.Voters = append(cs.Voters, uint64(id))
				} else if rnd.IntN(2) == 0 {
					cs.Learners = append(cs.Learners, uint64(id))
				}
			}
			msg.Snapshot = &pb.Snapshot{Data: []byte("forged"), Metadata: pb.SnapshotMetadata{
				ConfState: cs, Index: near(msg.Index), Term: near(msg.LogTerm),
			}}
		}
	case pb.MsgVote, pb.MsgPreVote:
		if rnd.IntN(4) == 0 {
			msg.Context = []byte("CampaignTransfer")
		}
	case pb.MsgHeartbeat, pb.MsgHeartbeatResp:
		if rnd.IntN(3) == 0 {
			msg.Context = []byte("forged")
		}
	}
}

// distort changes one field.
func (w *world) distort(m *pb.Message, rnd *rand.Rand) {
	nudge := func(v *uint64) {
		switch rnd.IntN(5) {
		case 0:
			*v = 0
		case 1:
			*v++
		case 2:
			*v -= min(*v, 1)
		case 3:
			*v += rnd.Uint64N(5)
		case 4:
			if rnd.IntN(20) == 0 {
				*v = math.MaxUint64
			}
		}
	}
	switch rnd.IntN(9) {
	case 0:
		nudge(&m.Term)
	case 1:
		nudge(&m.Index)
	case 2:
		nudge(&m.LogTerm)
	case 3:
		nudge(&m.Commit)
	case 4:
		nudge(&m.RejectHint)
	case 5:
		m.Reject = !m.Reject
	case 6:
		m.From = w.anyID(rnd.Uint64())
	case 7:
		if len(m.Entries) > 0 {
			m.Entries = m.Entries[:rnd.IntN(len(m.Entries))]
		}
	case 8: // as it was: sent twice
	}
	for i := range m.Entries {
		if m.Type == pb.MsgApp {
			m.Entries[i].Index = m.Index + 1 + uint64(i) // entries always follow each other
		}
	}
}

// sortedJSON is the same JSON with its keys in order.
func sortedJSON(text string) string {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return "not JSON: " + text
	}
	sorted, err := json.Marshal(v)
	must(err)
	return string(sorted)
}
