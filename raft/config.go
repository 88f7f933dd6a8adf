// Config: what the user of the library decides, and what is checked about it.
//
//	diss. §3.9 (timing), §9.6 (pre-vote), §6.4 (reads), §10.2 (batching and flow control)
//
// Start at Config; validate lists the rules.

package raft

import (
	"errors"
	"math"
)

const (
	// None is no node: the leader while none is known, the vote not yet given.
	None uint64 = 0

	// LocalAppendThread is the address of the node's own log writer, used for
	// messages when Config.AsyncStorageWrites is on.
	LocalAppendThread uint64 = math.MaxUint64

	// LocalApplyThread is the address of the node's own state machine, used for
	// messages when Config.AsyncStorageWrites is on.
	LocalApplyThread uint64 = math.MaxUint64 - 1
)

// noLimit stands for a size limit that was not set.
const noLimit = math.MaxUint64

// ReadOnlyOption says how a leader makes sure that a read is not stale.
type ReadOnlyOption int

const (
	// ReadOnlySafe confirms leadership with a round of heartbeats for each read
	// (diss. §6.4). It does not depend on clocks.
	ReadOnlySafe ReadOnlyOption = iota

	// ReadOnlyLeaseBased trusts the leader's lease and sends nothing (diss.
	// §6.4.1). Clocks that drift, or a paused process, can make reads stale.
	ReadOnlyLeaseBased
)

// Rand is where a node draws its election timeouts from. A simulator passes a
// seeded source and can then replay a run; *math/rand/v2.Rand satisfies it.
type Rand interface {
	// IntN returns a number in [0, n).
	IntN(n int) int
}

// Config holds the parameters of one node. The zero value is not usable: ID,
// ElectionTick, HeartbeatTick, Storage and MaxInflightMsgs must be set.
type Config struct {
	// ID is this node's identity. It must not be None, and must never be used
	// again by another node of the group, even after this one was removed.
	ID uint64

	// ElectionTick is how many ticks a follower waits for its leader before it
	// campaigns; the wait is drawn from [ElectionTick, 2*ElectionTick-1] (§5.2).
	// It must be greater than HeartbeatTick; ten times as much is usual.
	ElectionTick int

	// HeartbeatTick is how many ticks pass between two heartbeats of a leader.
	HeartbeatTick int

	// Storage is where the node reads what the user has stored for it: the log
	// before the unstable tail, the hard state at the start, the snapshot.
	Storage Storage

	// Applied is the last index that the user's state machine holds already;
	// entries up to it are not handed out again after a restart. 0 means that
	// everything after the snapshot is to be handed out.
	Applied uint64

	// AsyncStorageWrites turns storage work into messages to LocalAppendThread
	// and LocalApplyThread, so that the next Ready need not wait for it; Advance
	// is not used then. Send a MsgVote only when the MsgStorageAppend of the same
	// Ready is done, and everything else in Messages at once. See async.go.
	AsyncStorageWrites bool

	// MaxSizePerMsg limits the encoded entries of one MsgApp, in bytes. An entry
	// larger than that travels alone; 0 means one entry a message.
	MaxSizePerMsg uint64

	// MaxCommittedSizePerReady limits the encoded entries handed out for
	// applying in one Ready, in bytes; with AsyncStorageWrites it limits all that
	// were handed out and not yet acknowledged. 0 means MaxSizePerMsg.
	MaxCommittedSizePerReady uint64

	// MaxUncommittedEntriesSize limits the payload a leader accepts before it is
	// applied, in bytes; proposals beyond it get ErrProposalDropped. One proposal
	// is always accepted. 0 means no limit.
	MaxUncommittedEntriesSize uint64

	// MaxInflightMsgs limits how many MsgApp with entries are on their way to one
	// follower without an answer (diss. §10.2.2). It must be positive.
	MaxInflightMsgs int

	// MaxInflightBytes limits the payload of those messages, in bytes. It must not
	// be below MaxSizePerMsg; 0 means no limit.
	MaxInflightBytes uint64

	// CheckQuorum makes a leader step down when it has not heard from a quorum for
	// an election timeout, and a follower ignore candidates while it hears from
	// its leader (diss. §6.2, §4.2.3).
	CheckQuorum bool

	// PreVote makes a node ask whether it could win before it raises its term, so
	// that one that was cut off does not disturb the others (diss. §9.6).
	PreVote bool

	// ReadOnlyOption says how reads are confirmed. ReadOnlyLeaseBased needs
	// CheckQuorum.
	ReadOnlyOption ReadOnlyOption

	// Logger receives the node's log; nil means the package's logger.
	Logger Logger

	// DisableProposalForwarding makes a follower drop proposals instead of passing
	// them to its leader.
	DisableProposalForwarding bool

	// DisableConfChangeValidation lets a leader accept changes of membership that
	// it would refuse: the user vouches that they are valid when they are applied.
	DisableConfChangeValidation bool

	// StepDownOnRemoval makes a leader that is removed or demoted become a
	// follower as soon as it has applied that change.
	StepDownOnRemoval bool

	// TraceLogger is accepted so that programs compile; it has no effect.
	TraceLogger TraceLogger

	// Rand draws the election timeouts; nil means the global source of
	// math/rand/v2. It is this library's one addition to etcd's Config.
	Rand Rand
}

// validate checks the configuration and fills in the defaults.
func (c *Config) validate() error {
	switch {
	case c.ID == None:
		return errors.New("cannot use none as id")
	case IsLocalMsgTarget(c.ID):
		return errors.New("cannot use local target as id")
	case c.HeartbeatTick <= 0:
		return errors.New("heartbeat tick must be greater than 0")
	case c.ElectionTick <= c.HeartbeatTick:
		return errors.New("election tick must be greater than heartbeat tick")
	case c.Storage == nil:
		return errors.New("storage cannot be nil")
	case c.MaxInflightMsgs <= 0:
		return errors.New("max inflight messages must be greater than 0")
	case c.MaxInflightBytes != 0 && c.MaxInflightBytes < c.MaxSizePerMsg:
		return errors.New("max inflight bytes must be >= max message size")
	case c.ReadOnlyOption == ReadOnlyLeaseBased && !c.CheckQuorum:
		return errors.New("CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased")
	}

	if c.MaxUncommittedEntriesSize == 0 {
		c.MaxUncommittedEntriesSize = noLimit
	}
	if c.MaxInflightBytes == 0 {
		c.MaxInflightBytes = noLimit
	}
	if c.MaxCommittedSizePerReady == 0 {
		c.MaxCommittedSizePerReady = c.MaxSizePerMsg
	}
	if c.Logger == nil {
		c.Logger = getLogger()
	}
	return nil
}
