// Trace: every message and change of state of this node, in the notation of the scenario scripts.

package main

import (
	"fmt"
	"strconv"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// traceMessage prints a message. Where it cannot be printed nobody reads it.
func (n *raftNode) traceMessage(m raftpb.Message) {
	fmt.Fprintln(n.cfg.stderr, raft.DescribeMessage(m, describeCommand))
}

// traceState prints what has changed of this node's own state.
func (n *raftNode) traceState(rd raft.Ready) {
	if rd.SoftState != nil {
		fmt.Fprintf(n.cfg.stderr, "%x %s\n", n.cfg.id, raft.DescribeSoftState(*rd.SoftState))
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		fmt.Fprintf(n.cfg.stderr, "%x HardState %s\n", n.cfg.id, raft.DescribeHardState(rd.HardState))
	}
}

// describeCommand shows a command in an entry.
func describeCommand(data []byte) string {
	c, err := decodeCommand(data)
	switch {
	case len(data) == 0:
		return `""`
	case err != nil:
		return strconv.Quote(string(data))
	case c.op == opDelete:
		return fmt.Sprintf("delete %q", c.key)
	}
	return fmt.Sprintf("put %q %d bytes", c.key, len(c.value))
}
