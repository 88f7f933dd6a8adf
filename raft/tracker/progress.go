// Progress: a leader's record of one peer.
//
//	Figure 2, "Volatile state on leaders" · diss. §3.5, §10.2.2
//
// Start at Progress; its three states say how appends are sent.

package tracker

import (
	"fmt"
	"slices"
	"strings"
)

// StateType is how a leader sends entries to a peer.
type StateType uint64

// How entries are sent.
const (
	// StateProbe sends one append at a time: where the logs agree is not known.
	StateProbe StateType = iota

	// StateReplicate sends ahead without waiting for answers, as far as the
	// window of messages under way allows.
	StateReplicate

	// StateSnapshot sends nothing: a snapshot is under way.
	StateSnapshot
)

var stateNames = [...]string{"StateProbe", "StateReplicate", "StateSnapshot"}

// String returns the constant's name.
func (st StateType) String() string {
	if st < StateType(len(stateNames)) {
		return stateNames[st]
	}
	return fmt.Sprintf("StateType(%d)", uint64(st))
}

// Progress is what a leader knows of one peer. Match < Next always.
type Progress struct {
	// Match is the last index the peer is known to hold: matchIndex of Figure 2.
	Match uint64

	// Next is the first index to send next: nextIndex. In StateReplicate it runs
	// ahead of what was acknowledged.
	Next uint64

	// sentCommit is the commit index the peer was last told, as far as it could
	// use it: see CanBumpCommit.
	sentCommit uint64

	// State is how entries are sent.
	State StateType

	// PendingSnapshot is the index of the snapshot under way in StateSnapshot.
	PendingSnapshot uint64

	// RecentActive says that the peer was heard of since it was last set to false.
	RecentActive bool

	// MsgAppFlowPaused says that appends wait: in StateProbe for the answer to
	// the last one, in StateReplicate for the window. A heartbeat's answer ends it.
	MsgAppFlowPaused bool

	// Inflights is the window of appends under way in StateReplicate.
	Inflights *Inflights

	// IsLearner says that the peer does not vote.
	IsLearner bool
}

// ResetState enters a state with nothing under way.
func (pr *Progress) ResetState(state StateType) {
	pr.MsgAppFlowPaused = false
	pr.PendingSnapshot = 0
	pr.State = state
	pr.Inflights.reset()
}

// BecomeProbe looks for where the logs agree: after a snapshot right behind it,
// if it arrived, otherwise behind what the peer is known to hold.
func (pr *Progress) BecomeProbe() {
	next := pr.Match + 1
	if pr.State == StateSnapshot {
		next = max(next, pr.PendingSnapshot+1)
	}
	pr.ResetState(StateProbe)
	pr.Next = next
	pr.sentCommit = min(pr.sentCommit, next-1)
}

// BecomeReplicate begins to send ahead, from what the peer is known to hold.
func (pr *Progress) BecomeReplicate() {
	pr.ResetState(StateReplicate)
	pr.Next = pr.Match + 1
}

// BecomeSnapshot notes that a snapshot at index is under way.
func (pr *Progress) BecomeSnapshot(index uint64) {
	pr.ResetState(StateSnapshot)
	pr.PendingSnapshot = index
	pr.Next = index + 1
	pr.sentCommit = index
}

// SentEntries notes that an append was sent with so many entries, which have
// bytes of payload. It panics in StateSnapshot.
func (pr *Progress) SentEntries(entries int, bytes uint64) {
	switch pr.State {
	case StateReplicate:
		if entries > 0 {
			pr.Next += uint64(entries)
			pr.Inflights.Add(pr.Next-1, bytes)
		}
		// Full, we wait for room; even an empty append may show that what is under
		// way was lost, but one until the next heartbeat's answer is enough.
		pr.MsgAppFlowPaused = pr.Inflights.Full()
	case StateProbe:
		if entries > 0 {
			pr.MsgAppFlowPaused = true
		}
	default:
		panic(fmt.Sprintf("sending append in unhandled state %v", pr.State))
	}
}

// CanBumpCommit reports whether telling the peer the commit index would let it
// commit more: more than it was told, of what it was sent.
func (pr *Progress) CanBumpCommit(index uint64) bool {
	return index > pr.sentCommit && pr.sentCommit < pr.Next-1
}

// SentCommit notes which commit index the peer was told.
func (pr *Progress) SentCommit(commit uint64) { pr.sentCommit = commit }

// MaybeUpdate notes that the peer holds everything up to index n, and reports
// whether that is news. A late answer is not.
func (pr *Progress) MaybeUpdate(n uint64) bool {
	if n <= pr.Match {
		return false
	}
	pr.Match = n
	pr.Next = max(pr.Next, n+1)
	pr.MsgAppFlowPaused = false
	return true
}

// MaybeDecrTo moves Next back because the peer refused the append after index
// rejected, hinting that its log may agree up to matchHint. It reports whether
// it did: a late answer does nothing.
func (pr *Progress) MaybeDecrTo(rejected, matchHint uint64) bool {
	if pr.State == StateReplicate {
		if rejected <= pr.Match {
			return false
		}
		// What the peer holds for certain is a better guess than any hint.
		pr.Next = pr.Match + 1
		pr.sentCommit = min(pr.sentCommit, pr.Next-1)
		return true
	}
	if pr.Next-1 != rejected { // a probe asks about Next-1 and nothing else
		return false
	}
	pr.Next = max(min(rejected, matchHint+1), pr.Match+1)
	pr.sentCommit = min(pr.sentCommit, pr.Next-1)
	pr.MsgAppFlowPaused = false
	return true
}

// IsPaused reports whether appends are to wait.
func (pr *Progress) IsPaused() bool {
	return pr.State == StateSnapshot || pr.MsgAppFlowPaused
}

// String describes the record in a line.
func (pr *Progress) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s match=%d next=%d", pr.State, pr.Match, pr.Next)
	if pr.IsLearner {
		b.WriteString(" learner")
	}
	if pr.IsPaused() {
		b.WriteString(" paused")
	}
	if pr.PendingSnapshot > 0 {
		fmt.Fprintf(&b, " pendingSnap=%d", pr.PendingSnapshot)
	}
	if !pr.RecentActive {
		b.WriteString(" inactive")
	}
	if n := pr.Inflights.Count(); n > 0 {
		fmt.Fprintf(&b, " inflight=%d", n)
		if pr.Inflights.Full() {
			b.WriteString("[full]")
		}
	}
	return b.String()
}

// ProgressMap is a leader's record of every member, by id.
type ProgressMap map[uint64]*Progress

// String lists the records in ascending order of ids, a line each.
func (m ProgressMap) String() string {
	var b strings.Builder
	for _, id := range sortedKeys(m) {
		fmt.Fprintf(&b, "%d: %s\n", id, m[id])
	}
	return b.String()
}

func sortedKeys[V any](m map[uint64]V) []uint64 {
	ids := make([]uint64, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
