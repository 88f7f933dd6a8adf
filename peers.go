// Peers: what the transport asks of a node. See rafthttp.Raft.
//
// Start at Process. OpenSnapshot and ReceiveSnapshot are in snapshotter.go, Status is
// in status.go.

package main

import (
	"context"
	"errors"
	"fmt"

	"example.com/raftexample/raft/rafthttp"
	"example.com/raftexample/raft/raftpb"
)

// Process implements rafthttp.Raft: it passes on a peer's message.
func (n *raftNode) Process(ctx context.Context, m raftpb.Message) error {
	if n.cfg.trace {
		n.traceMessage(m)
	}
	if m.Type == raftpb.MsgHeartbeat && m.Term >= n.term.Load() {
		// A leader commits by heartbeat what we have acknowledged, which was durable.
		last, err := n.storage.LastIndex()
		if err != nil {
			return err
		}
		if m.Commit > last {
			err := fmt.Errorf("the log of member %d ends at %d, but it has acknowledged entry %d: its data was lost or replaced; %s",
				n.cfg.id, last, m.Commit, wipedRecipe(n.cfg.id))
			n.fail(err)
			return err
		}
	}
	if m.Type == raftpb.MsgProp {
		// Step waits while no leader is known, and the word of who leads may be next on
		// this very stream. What does not fit is lost, as messages may be.
		select {
		case n.forwarded <- m:
		default:
		}
		return nil
	}
	return n.node.Step(ctx, m)
}

// stepForwarded steps the proposals that peers have passed on to us.
func (n *raftNode) stepForwarded(ctx context.Context) {
	for {
		select {
		case m := <-n.forwarded:
			if err := n.node.Step(ctx, m); err != nil {
				return // the node has stopped
			}
		case <-ctx.Done():
			return
		}
	}
}

// ReportUnreachable implements rafthttp.Raft.
func (n *raftNode) ReportUnreachable(id uint64) { n.node.ReportUnreachable(id) }

// Dropped implements rafthttp.Raft.
func (n *raftNode) Dropped(m raftpb.Message) {
	if m.Type != raftpb.MsgProp {
		return // a read is asked for again
	}
	for i := range m.Entries {
		n.store.dropped(m.Entries[i].Data)
	}
}

// Removed implements rafthttp.Raft. A leader tells a member nothing after it has
// removed it, so the member may have to hear it this way.
func (n *raftNode) Removed(by uint64) {
	n.logger.Warn("a member says that this one was removed", "node", n.cfg.id, "peer", by)
	if err := n.leave(); err != nil {
		n.fail(err)
	}
}

// Replaced implements rafthttp.Raft. This member has lost its data, and with it the
// memory of its votes, and nobody could tell it so when it started.
func (n *raftNode) Replaced(by uint64, reason string) {
	n.fail(fmt.Errorf("member %d refuses this one: %s", by, reason))
}

// CheckPeer implements rafthttp.Raft.
func (n *raftNode) CheckPeer(from, incarnation uint64) error {
	if n.members.isRemoved(from) {
		return fmt.Errorf("member %d was %w", from, rafthttp.ErrRemoved)
	}
	var stranger error
	err := n.dir.meet(from, incarnation, func() error {
		stranger = n.oneTooMany(from)
		return stranger
	})
	if err != nil && err != stranger && !errors.Is(err, rafthttp.ErrReplaced) {
		n.fail(fmt.Errorf("note that member %d was met: %w", from, err))
	}
	return err
}

// maxStrangers is how many senders may be met, each for ever, that no configuration which
// we know names: there are few, of changes that we have yet to hear of.
const maxStrangers = 64

// oneTooMany says that a sender would be a stranger beyond that, if it would be.
func (n *raftNode) oneTooMany(from uint64) error {
	strange := func(id uint64) bool {
		_, is := n.members.get(id)
		return !is && id != n.cfg.id && !n.members.isRemoved(id)
	}
	if !strange(from) {
		return nil
	}
	strangers := 0
	for id := range n.dir.incarnations() {
		if strange(id) {
			strangers++
		}
	}
	if strangers < maxStrangers {
		return nil
	}
	return fmt.Errorf("member %d has not been heard of, and %d others have not either", from, strangers)
}
