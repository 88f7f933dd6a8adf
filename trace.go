// Trace: every message of this node, in the notation of the scenario scripts.

package main

import (
	"fmt"
	"os"
	"strconv"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// traceMessage prints a message. Where it cannot be printed nobody reads it.
func (n *raftNode) traceMessage(m raftpb.Message) {
	fmt.Fprintln(os.Stderr, raft.DescribeMessage(m, describeCommand))
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
