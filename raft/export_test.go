// What the simulator needs of gather.go, and a user does not.

package raft

// Gathering does with a RawNode what the loop of a Node does.
type Gathering struct{}

func (Gathering) Begin(n *RawNode)              { n.raft.gathers = true }
func (Gathering) Send(n *RawNode, overdue bool) { n.raft.sendGathered(overdue) }
func (Gathering) Waits(n *RawNode) bool         { return n.onlyGathers() }
