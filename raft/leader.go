// Leaders: what a leader does with each message.
//
//	§5.3, Figure 2 "Leaders" · diss. §3.5, §6.2 (check-quorum)
//
// Start at stepLeader, the index.

package raft

import pb "example.com/raftexample/raft/raftpb"

// stepLeader is everything a leader does with a message. Step has checked the
// term.
func (r *raft) stepLeader(m pb.Message) error {
	switch m.Type {
	case pb.MsgProp:
		return r.propose(m) // propose.go
	case pb.MsgBeat:
		r.broadcastHeartbeat() // replicate.go
	case pb.MsgCheckQuorum:
		r.stepDownWithoutQuorum() // clock.go
	case pb.MsgReadIndex:
		r.readIndex(m) // read.go
	case pb.MsgAppResp, pb.MsgHeartbeatResp, pb.MsgSnapStatus, pb.MsgUnreachable, pb.MsgTransferLeader:
		r.stepPeer(&m) // below
	}
	return nil // the rest is addressed to a role we no longer have
}

// stepPeer is the same switch for what speaks of one member.
func (r *raft) stepPeer(m *pb.Message) {
	pr := r.trk.Progress[m.From]
	if pr == nil {
		r.logger.Debugf("node %x has no member %x: ignored %v", r.id, m.From, m.Type)
		return
	}
	p := peer{id: m.From, pr: pr}

	switch m.Type {
	case pb.MsgAppResp:
		r.handleAppendResp(p, m) // acks.go
	case pb.MsgHeartbeatResp:
		r.handleHeartbeatResp(p, m) // acks.go
	case pb.MsgUnreachable:
		r.handleUnreachable(p) // acks.go
	case pb.MsgSnapStatus:
		r.handleSnapshotStatus(p, m) // snapshot.go
	case pb.MsgTransferLeader:
		r.handleTransfer(p) // transfer.go
	}
}
