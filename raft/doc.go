// Package raft is the Raft consensus algorithm as a library: the protocol, and
// nothing that touches a network, a disk or a clock. Those are its user's.
//
// # Three layers
//
// Each is thinner than the one it stands on:
//
//	Node      node.go, node_loop.go   one goroutine and some channels around a
//	RawNode   rawnode.go, ready.go    state machine as an API around
//	raft      state.go and the rest   the state machine: Step and tick go in,
//	                                  messages and owed entries come out
//
// raft is deterministic: the same calls give the same results. Time enters only
// as ticks, chance only as the draw of the election timeout (Config.Rand).
//
// # The trip
//
// A write moves in one direction, and the files are named after its stops:
//
//	leader     step.go → leader.go → propose.go → log.go → ready.go
//	           replicate.go ──MsgApp──→
//	follower   step.go → follower.go → append.go → log.go → ready.go
//	           ←──MsgAppResp── outbox.go, once the entries are on disk
//	leader     acks.go → commit.go → ready.go (CommittedEntries)
//
// In between, the user does what each Ready says: stores, sends, applies, and
// calls Advance. Ready's own comment has the order, and the example of RawNode
// shows the loop.
//
// # Where the paper is
//
//	§5.1 terms                      step.go
//	§5.2 elections                  clock.go, election.go, candidate.go
//	§5.3 replication                propose.go, replicate.go, append.go, acks.go
//	§5.4 safety                     election.go (isUpToDate), commit.go (Figure 8)
//	§6 membership                   membership.go, package confchange, package quorum
//	§7 snapshots                    snapshot.go
//	§8 reads                        read.go
//	diss. §3.10 transfer            transfer.go
//	diss. §9.6 pre-vote             election.go
//	diss. §10.2.1 parallel writes   outbox.go, unstable.go, async.go
//	diss. §10.2.2 pipelining        replicate.go, gather.go, package tracker
//
// The scripts in testdata tell all of this as stories, with every message that is
// sent. They are numbered in the order in which to read them.
//
// # Glossary
//
//	paper                       here
//	server                      node
//	currentTerm                 raft.Term
//	votedFor                    raft.Vote
//	log[]                       raftLog: Storage, and behind it the unstable tail
//	commitIndex                 raftLog.committed
//	lastApplied                 raftLog.applied
//	nextIndex[]                 tracker.Progress.Next
//	matchIndex[]                tracker.Progress.Match
//	RequestVote RPC             MsgVote, MsgVoteResp; MsgPreVote, MsgPreVoteResp
//	AppendEntries RPC           MsgApp, MsgAppResp
//	  heartbeat                 MsgHeartbeat, MsgHeartbeatResp
//	InstallSnapshot RPC         MsgSnap, answered by MsgAppResp
//	TimeoutNow RPC              MsgTimeoutNow
//	prevLogIndex, prevLogTerm   Message.Index, Message.LogTerm
//	leaderCommit                Message.Commit
//	C-old,new                   a joint configuration
//	non-voting server           learner
//
// # Decisions
//
// Roles are files, an enum and one visible switch, not types: a type per role
// would have to carry term, vote and log through every change, and a table of
// functions would hide who calls whom.
//
// A change of membership takes effect when it is applied, not when it is
// appended as in the paper. The user learns of it at the same moment as Raft. The
// price is that a node must not campaign while it has a change to apply, and a
// leader must not propose one while another may be unapplied. And there is an end
// that only the user can mend: a leader that has applied its own removal may not
// campaign any more; if it has entries that the others lack, and they have not
// applied the removal, they need its vote and will not get it.
//
// Without Config.PreVote and Config.CheckQuorum, what a leader of a lower term says
// is not answered, where the paper answers with the higher term. The node with the
// higher term campaigns soon enough; but one that may not, a learner, stays out of
// reach if it alone remembers that term. Use both options.
//
// A Node gathers (gather.go): its leader sends what was proposed since the last
// Ready as one append, with the news of the last commit. A RawNode sends each at
// once and leaves batching to its user.
//
// Heartbeats are messages of their own rather than empty appends: they need no
// place in the log, so a leader can send one to anybody at any time; and they may
// commit only what the receiver is known to hold.
//
// An answer that promises something is held back until what it promises is
// durable, by the library (outbox.go), and not left to the user's care. A
// leader's vote for itself and its own acknowledgements are such answers: it
// counts itself when Advance, or the log writer, says that the disk is done. With
// Config.AsyncStorageWrites a request for votes is the user's to hold (async.go).
//
// A single voter that has not committed in its term postpones reads like any
// leader. Its commit index need not have been durable, so after a crash it may
// be behind what was answered before.
//
// A read whose context was used before is a new read. Answers to heartbeats are
// told apart by the context they carry, so such a read's heartbeats carry a
// number behind it (read.go). Otherwise a late answer to the earlier ones would
// confirm it.
//
// What a peer could send only by mistake is refused or ignored where it is cheap
// to see; entries that contradict committed ones, or a commit index beyond the
// log, panic: a node that knows that it is wrong must stop before it answers
// anyone.
package raft
