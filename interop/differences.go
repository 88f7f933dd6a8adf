// Differences: all that our library does otherwise than etcd's v3.6.0, on purpose.

package interop

// Difference is one thing that programs can notice, and why it is so.
type Difference struct {
	Name  string // what it is about
	Etcd  string // what go.etcd.io/raft/v3 v3.6.0 does
	Ours  string // what we do
	Why   string // the reason
	Shown string // the test that shows it
}

// Differences lists them all. Whatever else differs is a bug.
var Differences = []Difference{
	{
		Name: "reads of a single voter that has not committed in its term",
		Etcd: "are answered at once, from the commit index it started with",
		Ours: "wait until an entry of its term is committed, like those of any other leader",
		Why: "A commit index is not synced. After a power cut the one on disk can be older than what " +
			"the node had acknowledged, and a read answered from it would be stale (diss. §6.4, step 1).",
		Shown: "TestSingleVoterPostponesReads",
	},
	{
		Name: "a read whose context is already waiting",
		Etcd: "is not queued again: the answer is the commit index of the first request, and " +
			"may be confirmed by heartbeats that were sent before the second",
		Ours: "is a new read, with the commit index of now, confirmed only by heartbeats sent after it",
		Why: "A program that sends a read again, after a timeout, may have seen newer writes in between; " +
			"the old answer would hide them. etcd's library does the same since v3.7.",
		Shown: "TestReadSentAgainIsNewRead",
	},
	{
		Name: "reads that wait for the first commit of a term, when leadership is lost",
		Etcd: "wait on, and are taken up should the node lead again",
		Ours: "are lost with the leadership, like all reads under way",
		Why: "All that only a leader has is dropped in one place when it stops leading; a program " +
			"has to send reads again anyway, since those under way are lost in both.",
		Shown: "TestPostponedReadsEndWithLeadership",
	},
	{
		Name:  "a read without a context",
		Etcd:  "is not answered where it takes heartbeats: answers to them that carry nothing count for no read",
		Ours:  "is answered like any, by heartbeats with a context of our own",
		Why:   "A caller of ReadIndex is promised no less because it has no need to tell its reads apart.",
		Shown: "TestReadWithoutContextIsAnswered",
	},
	{
		Name:  "reads of a leader that is no voter any more, when there is a single voter",
		Etcd:  "are answered at once",
		Ours:  "are answered when the voter has confirmed that this node leads",
		Why:   "The voter may have elected itself meanwhile, and have committed newer writes (diss. §6.4, step 3).",
		Shown: "TestRemovedLeaderAsksTheSingleVoter",
	},
	{
		Name:  "Bootstrap of a node that has voted, and has no log yet",
		Etcd:  "takes it back to term 1, without a vote",
		Ours:  "leaves it its term and its vote",
		Why:   "A vote is a promise: given again to another in the same term, it could elect two leaders (Figure 2).",
		Shown: "TestBootstrapKeepsTheVote",
	},
	{
		Name: "a snapshot from a peer while the program holds a committed change that it has not applied",
		Etcd: "is taken: the older change is then applied on top of the snapshot's configuration",
		Ours: "is ignored, with an answer that says how far our log is certain; the leader sends it again. So is one that comes " +
			"while entries are applied that an earlier snapshot hides from us: there may be a change among them",
		Why: "The snapshot's configuration has the change already. Applied twice it panics (a joint one is entered " +
			"twice) or leaves a configuration that no other node has.",
		Shown: "TestSnapshotWaitsForTheChangeBeforeIt",
	},
	{
		Name:  "campaigning while the log was compacted up to what the program has applied, but not yet advanced",
		Etcd:  "panics, for want of the entries among which it looks for a change of membership",
		Ours:  "waits for Advance, as it does for such a change",
		Why:   "What is compacted was applied, but whether the configuration has followed is not known before Advance.",
		Shown: "TestCompactedBeforeAdvanceWaits",
	},
	{
		Name:  "a snapshot from a peer with a configuration that cannot be",
		Etcd:  "panics",
		Ours:  "is ignored",
		Why:   "No message of a peer may stop a node.",
		Shown: "TestImpossibleSnapshotIsIgnored",
	},
	{
		Name:  "a change of membership that MaxUncommittedEntriesSize does not admit",
		Etcd:  "is dropped, but counts as pending: the next change is refused until something later is applied",
		Ours:  "is dropped without a trace",
		Why:   "What is not in the log cannot be pending.",
		Shown: "TestDroppedChangeLeavesNoTrace",
	},
	{
		Name:  "a MsgTransferLeader that was passed on and reaches a follower, or a MsgProp or MsgReadIndex with a term",
		Etcd:  "panics there",
		Ours:  "is passed on",
		Why:   "No message of a peer, however late, may stop a node.",
		Shown: "TestTransferIsPassedOnTwice",
	},
	{
		Name: "requests that no library sends: a change of membership that does not decode, a read without an entry, " +
			"or whose entry has more than data",
		Etcd:  "panic when a leader gets them; the last is answered with the entry as it is",
		Ours:  "become an empty entry, are ignored, and are answered with the data",
		Why:   "No message of a peer may stop a node.",
		Shown: "TestMalformedRequestsStopNobody",
	},
	{
		Name:  "a MsgProp without entries that a Node gets from a peer",
		Etcd:  "panics when the node leads, like in a RawNode",
		Ours:  "is ignored; in a RawNode it panics",
		Why:   "A Node's user passes on what peers send as it comes; a RawNode's own proposals are its user's to check.",
		Shown: "TestNodeIgnoresAProposalOfNothing",
	},
	{
		Name: "what a Node's leader sends",
		Etcd: "is an append to each peer for every proposal, and for every change of the commit index",
		Ours: "gathers while the last Ready is at the disk or entries are on their way, for a tick at most: one append " +
			"to each peer for all of it. A RawNode sends like etcd's",
		Why: "Proposals come to a Node from many goroutines, and its user has no place at which to make batches of " +
			"them. The entries, their order and what is committed are the same.",
		Shown: "TestNodeGathers",
	},
	{
		Name: "what a Node's follower passes on",
		Etcd: "is a MsgProp for each proposal",
		Ours: "gathers while the last Ready is at the disk, until something else is asked for or a tick passes: one MsgProp for " +
			"all of it, of at most MaxSizePerMsg and an eighth of MaxUncommittedEntriesSize unless one proposal is larger. " +
			"A RawNode sends like etcd's",
		Why:   "As above; and a leader that gets them one by one sends an append for each.",
		Shown: "TestNodeGathersForwards",
	},
	{
		Name:  "a leader's message without a term that reaches a candidate",
		Etcd:  "takes it back to term 0, and takes its vote back",
		Ours:  "is taken for one of the candidate's term",
		Why:   "Terms only rise, and a vote is a promise (Figure 2).",
		Shown: "TestTermNeverFalls",
	},
	{
		Name:  "a MsgApp whose entries do not follow its index one by one",
		Etcd:  "panics, or leaves a gap in the log over which the storage panics",
		Ours:  "is ignored",
		Why:   "No message of a peer may stop a node.",
		Shown: "TestEntriesWithAGapAreIgnored",
	},
	{
		Name:  "Bootstrap, called again before what it began is stored",
		Etcd:  "panics",
		Ours:  "returns an error, as when it is stored",
		Why:   "The method returns an error; this is what it is for.",
		Shown: "TestSecondBootstrapIsAnError",
	},
	{
		Name:  "reads that wait for the first commit of a term, which comes by a change of membership",
		Etcd:  "wait on until the next commit",
		Ours:  "are taken up at once",
		Why:   "The reason for their waiting is gone, whatever has moved the commit index.",
		Shown: "TestChangeReleasesReads",
	},
	{
		Name:  "panics over what must not be, such as a commit index beyond the log",
		Etcd:  "are mostly left to the logger's Panicf: with one that does not panic the node goes on",
		Ours:  "do not pass through the logger, which has Panic and Panicf for its own users",
		Why:   "A node that knows that it is wrong must stop, whatever its logger does.",
		Shown: "TestPanicsNeedNoLogger",
	},
	{
		Name:  "a Storage that gives no entries and no error",
		Etcd:  "makes empty Readys without end",
		Ours:  "panics",
		Why:   "Storage promises one entry at least; whoever waits for the rest of a log must not wait for ever.",
		Shown: "TestStorageThatGivesNothingIsNoticed",
	},
	{
		Name:  "encodings that protobuf itself calls malformed: a varint above 64 bits, a field number above 2^29-1; and messages nested 1000 deep",
		Etcd:  "are accepted here and there, cut to fit",
		Ours:  "are refused",
		Why:   "No encoder writes them; bytes that were damaged should not pass.",
		Shown: "TestMalformedFieldsAreRefused",
	},
	{
		Name:  "the source of election timeouts",
		Etcd:  "is crypto/rand",
		Ours:  "is Config.Rand, a field that etcd's has not; nil means math/rand/v2's global source",
		Why:   "Simulations need to be repeatable, and this draw is the only chance in the library.",
		Shown: "TestRandDecidesTimeouts",
	},
	{
		Name:  "encoding into a buffer that is too small",
		Etcd:  "panics, in MarshalTo and MarshalToSizedBuffer",
		Ours:  "returns io.ErrShortBuffer",
		Why:   "The methods return an error; this is what it is for.",
		Shown: "TestTooSmallABufferIsAnError",
	},
	{
		Name:  "MaxSizePerMsg 0 together with MaxCommittedSizePerReady 0",
		Etcd:  "panics once an entry is committed",
		Ours:  "means one entry per Ready",
		Why:   "Each alone is legal and means one entry at a time; so should both.",
		Shown: "TestZeroSizesMeanOneEntry",
	},
}
