// Leadership: who leads, as this node sees it, handing it on, and when its patience ends.
//
//	§5.2 · diss. §3.10 (transfer)

package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"example.com/raftexample/raft"
)

// noteState lets everyone know of a new term, leader, role or commit index.
func (n *raftNode) noteState(rd raft.Ready) {
	if !raft.IsEmptyHardState(rd.HardState) {
		n.term.Store(rd.HardState.Term)
		if n.committed.Swap(rd.HardState.Commit) != rd.HardState.Commit {
			n.events.publish("commit", map[string]uint64{"term": rd.HardState.Term, "commit": rd.HardState.Commit})
		}
	}
	if rd.SoftState == nil {
		return
	}
	if rd.RaftState != n.role {
		n.role = rd.RaftState
		if n.role == raft.StateCandidate {
			n.metrics.elections.Inc()
			n.events.publish("election", map[string]uint64{"candidate": n.cfg.id, "term": n.term.Load()})
		}
		n.events.publish("role", map[string]any{"node": n.cfg.id, "role": roleNames[n.role], "term": n.term.Load()})
	}
	if old := n.lead.Swap(rd.Lead); old != rd.Lead {
		n.metrics.leaderChanges.Inc()
		n.reads.leaderChanged()
		n.events.publish("leader", map[string]uint64{"leader": rd.Lead, "term": n.term.Load()})
		n.logLeader(old, rd.Lead)
	}
}

func (n *raftNode) logLeader(old, lead uint64) {
	switch {
	case lead == raft.None:
		n.logger.Warn("the cluster has no leader", "node", n.cfg.id, "lost", old, "term", n.term.Load())
	case !n.greeted:
		n.greeted = true
		n.logger.Info("the cluster has a leader, try it", "node", n.cfg.id, "leader", lead, "term", n.term.Load(),
			"try", fmt.Sprintf("curl -L http://%s/my-key -XPUT -d foo", n.cfg.clientAddr()))
	default:
		n.logger.Info("the cluster has a leader", "node", n.cfg.id, "leader", lead, "term", n.term.Load())
	}
}

// handOver gives leadership to the member that is furthest along, if we have it
// and a quorum is there, and waits a little for that.
func (n *raftNode) handOver(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	st := n.statusWhen(ctx, func(st raft.Status) bool {
		return st.RaftState != raft.StateLeader || alone(st) || successor(st) != raft.None
	})
	target := successor(st)
	if st.RaftState != raft.StateLeader || target == raft.None {
		return
	}
	n.node.TransferLeadership(ctx, st.ID, target)
	waitUntil(ctx, func() bool { return n.Leader() != st.ID && n.Leader() != raft.None })
}

// alone reports whether a leader is the only voter.
func alone(st raft.Status) bool {
	_, voter := st.Config.Voters[0][st.ID]
	return voter && len(st.Config.Voters[0]) == 1
}

// successor returns the voter that is furthest along of those that a leader hears
// from, or None if these and the leader are no quorum.
func successor(st raft.Status) uint64 {
	target, match, active := raft.None, uint64(0), 0
	if _, voter := st.Config.Voters[0][st.ID]; voter {
		active++
	}
	for id, pr := range st.Progress {
		if id == st.ID || pr.IsLearner || !pr.RecentActive {
			continue
		}
		active++
		if target == raft.None || pr.Match > match {
			target, match = id, pr.Match
		}
	}
	if active <= len(st.Config.Voters[0])/2 {
		return raft.None
	}
	return target
}

// transfer hands leadership to a member and waits until it is known to lead.
func (n *raftNode) transfer(ctx context.Context, id uint64) error {
	m, known := n.members.get(id)
	switch {
	case !known:
		return conflict("there is no member %d", id)
	case m.Learner:
		return conflict("member %d is a learner, and cannot lead", id)
	}
	follows := func(st raft.Status) bool { // the state by its name: the program imports no part of raft but raft itself
		pr := st.Progress[id]
		return id == st.ID || pr.RecentActive && pr.State.String() == "StateReplicate"
	}
	var st raft.Status
	patience, cancel := context.WithTimeout(ctx, electionTimeout) // a leader that has only begun knows little of the others
	defer cancel()
	waitUntil(patience, func() bool {
		st = n.node.Status()
		return st.RaftState != raft.StateLeader || follows(st)
	})
	switch {
	case st.RaftState != raft.StateLeader:
		return errLeaderChanging
	case !follows(st): // no write would be taken until it is given up
		return conflict("member %d is not heard from, or has to catch up first", id)
	}
	n.node.TransferLeadership(ctx, n.cfg.id, id)
	ctx, cancel = context.WithTimeout(ctx, 2*electionTimeout)
	defer cancel()
	if waitUntil(ctx, func() bool { return n.Leader() == id }) {
		return nil
	}
	return &apiError{status: http.StatusGatewayTimeout, reason: fmt.Sprintf("member %d did not become the leader in time", id)}
}

// waitUntil waits for something that happens seldom enough to look for it. It
// returns false if ctx ends first.
func waitUntil(ctx context.Context, is func() bool) bool {
	for ctx.Err() == nil {
		if is() {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

// untilTick is how long it is until the moment at which a member's ticks begin. Each
// has one of its own within a tickInterval, spread by the golden ratio. So the patience
// of two followers does not end at the same moment, which would split their votes
// (§5.2): drawn in whole ticks, it is the same one time in ten. Where the machines'
// clocks do not agree it is a matter of luck again, and no harm.
func untilTick(id uint64, now time.Time) time.Duration {
	const goldenRatio = 0.6180339887498949
	_, turn := math.Modf(float64(id) * goldenRatio)
	own := time.Duration(turn * float64(tickInterval))
	since := time.Duration(now.UnixNano()) % tickInterval
	return (own - since + tickInterval) % tickInterval
}
