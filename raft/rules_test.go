// Rules: which test stands for which sentence of the paper and of the dissertation.
//
// Read it beside Figure 2: each line there is a line here, and the tests named show
// what we make of it.

package raft

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// rule is a sentence, and the tests that show it.
type rule struct{ says, tests string }

// figure2 is the paper's Figure 2, box by box.
var figure2 = map[string][]rule{
	"State": {
		{"updated on stable storage before responding to RPCs", "TestMustSync TestOneVotePerTerm TestPromisesWaitForTheLogWriter TestPromisesComeLast"},
		{"currentTerm: initialized to 0, increases monotonically", "TestEmptyStorage TestHigherTermMakesAFollower TestRestartKeepsWhatIsPersistent"},
		{"votedFor: candidate that received vote in current term, or null", "TestOneVotePerTerm TestVoteSurvivesARestart TestEveryRoleStartsAfresh"},
		{"log[]: command, and term when received by leader (first index is 1)", "TestEmptyStorage TestProposalsAreAppendedInOrder TestRestartKeepsWhatIsPersistent"},
		{"commitIndex: initialized to 0, increases monotonically", "TestCommitIndexOnlyRises TestRestartFromASnapshot"},
		{"lastApplied: initialized to 0, increases monotonically", "TestAppliedStaysBehindCommitted TestFirstReadyAfterARestart"},
		{"nextIndex[]: initialized to leader last log index + 1", "TestNewLeaderKnowsNothing TestNewLeaderOpensItsTerm"},
		{"matchIndex[]: initialized to 0, increases monotonically", "TestNewLeaderKnowsNothing TestMaybeUpdate TestProgressInvariants"},
	},
	"AppendEntries RPC": {
		{"1. reply false if term < currentTerm", "TestLowerTermIsIgnored"},
		{"2. reply false if log doesn't contain an entry at prevLogIndex whose term matches prevLogTerm", "TestAppend TestRefusalHints"},
		{"3. if an existing entry conflicts with a new one, delete it and all that follow it", "TestAppend TestConflictWithCommittedPanics TestStorageAppend"},
		{"4. append any new entries not already in the log", "TestAppend TestLateAppendTruncatesNothing"},
		{"5. if leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)", "TestAppend TestHeartbeat"},
	},
	"RequestVote RPC": {
		{"1. reply false if term < currentTerm", "TestStaleVoteRequestsGetNothing"},
		{"2. if votedFor is null or candidateId", "TestOneVotePerTerm TestVoteIsFree TestNoVoteAgainstAKnownLeader"},
		{"2. and candidate's log is at least as up-to-date as receiver's log, grant vote", "TestVoteNeedsUpToDateLog TestUpToDate"},
	},
	"Rules for Servers: all": {
		{"if commitIndex > lastApplied: increment lastApplied, apply log[lastApplied]", "TestAppliedInPortions TestEntriesToStoreMayBeCommitted TestApplyingWaitsForOurOwnDisk"},
		{"if RPC request or response contains term T > currentTerm: set currentTerm = T, convert to follower", "TestHigherTermMakesAFollower TestTermsOfMessages"},
	},
	"Rules for Servers: followers": {
		{"respond to RPCs from candidates and leaders", "TestOneVotePerTerm TestAppend TestHeartbeat TestJoiningNodeAnswers TestLearnersAndStrangersVote"},
		{"if election timeout elapses without AppendEntries from current leader: convert to candidate", "TestTimeoutCampaigns TestLeaderIsHeardOf"},
		{"... or granting vote to candidate", "TestVoteIsFree"},
	},
	"Rules for Servers: candidates": {
		{"increment currentTerm, vote for self, reset election timer, send RequestVote to all others", "TestCampaign TestTimeoutCampaigns TestElectionTimeoutIsRandom"},
		{"if votes received from majority of servers: become leader", "TestMajorityWins TestVoteResult TestFirstVoteStands"},
		{"if AppendEntries received from new leader: convert to follower", "TestCandidateGivesWayToALeader"},
		{"if election timeout elapses: start new election", "TestTimeoutCampaigns"},
	},
	"Rules for Servers: leaders": {
		{"upon election: send initial empty AppendEntries to each server", "TestNewLeaderOpensItsTerm"},
		{"repeat during idle periods to prevent election timeouts", "TestHeartbeatInterval TestHeartbeatsGoToAll"},
		{"if command received from client: append entry to local log", "TestProposalsAreAppendedInOrder TestDroppedProposals"},
		{"respond after entry applied to state machine", "TestSingleVoterStepByStep TestEntriesToStoreMayBeCommitted"},
		{"if last log index >= nextIndex: send AppendEntries with entries starting at nextIndex", "TestAnswersMoveTheRecord TestPipelining TestHeartbeatAnswered"},
		{"if successful: update nextIndex and matchIndex", "TestAnswersMoveTheRecord TestMaybeUpdate"},
		{"if AppendEntries fails because of log inconsistency: decrement nextIndex and retry", "TestBackingUp TestMaybeDecrTo"},
		{"if N > commitIndex, a majority of matchIndex[i] >= N, and log[N].term == currentTerm: set commitIndex = N", "TestCommitRule TestCommittedIndex"},
	},
}

// dissertation is what we have of Ongaro's dissertation beyond Figure 2, by section.
var dissertation = map[string][]rule{
	"3.4, 3.9 elections": {
		{"timeouts are drawn at random from a fixed interval", "TestElectionTimeoutIsRandom"},
	},
	"3.6.1 election restriction": {
		{"the voter denies its vote if its own log is more up-to-date than that of the candidate", "TestVoteNeedsUpToDateLog TestUpToDate"},
	},
	"3.6.2 committing entries from previous terms": {
		{"only entries from the leader's current term are committed by counting replicas", "TestCommitRule TestStories"},
	},
	"3.8 persisted state": {
		{"a server persists its term and vote, and new entries before they are counted", "TestMustSync TestCampaign TestSnapshotIsAcknowledgedWhenStored"},
	},
	"3.10 leadership transfer": {
		{"the prior leader stops accepting new client requests", "TestTransfer TestDroppedProposals"},
		{"it fully updates the target server's log to match its own", "TestTransferBringsTheTargetUpToDate"},
		{"it sends a TimeoutNow request; the target starts a new election at once", "TestTransfer TestTransferElection"},
		{"after about an election timeout the prior leader aborts, and resumes accepting requests", "TestTransfer TestTransferEnds"},
	},
	"4.1 single-server changes": {
		{"one server at a time, so that any two majorities overlap", "TestSimple TestRefusedChanges"},
		{"no further change before the last one is committed (here: applied)", "TestOneChangeAtATime TestRefusedChanges TestChangeBehindOtherEntries"},
		{"a new configuration is used as soon as it is in the log: here, when it is applied", "TestChangeTakesEffectWhenApplied TestWhoDoesNotCampaign"},
	},
	"4.2.1 catching up new servers": {
		{"a new server joins as a non-voting member", "TestLearnersDoNotCount TestOnlyVotersCampaign TestNewMembers"},
	},
	"4.2.2 removing the current leader": {
		{"it manages the cluster without counting itself", "TestRemovedLeader TestLeaderThatIsNoVoter"},
	},
	"4.2.3 disruptive servers": {
		{"a server that hears from a current leader within an election timeout does not grant its vote", "TestStickyLeader TestLease"},
		{"a leadership transfer tells it to, all the same", "TestStickyLeader TestTransferElection"},
	},
	"4.3 joint consensus": {
		{"agreement requires majorities from both the old and new configurations", "TestJointQuorums TestJointElection TestJointNeedsBothMajorities TestReadNeedsAQuorum TestQuorumActive"},
		{"then the system transitions to the new configuration", "TestAutoLeave TestNewLeaderLeavesJointConfiguration TestJoint"},
	},
	"4.4 bootstrapping": {
		{"the first server's log begins with a configuration", "TestBootstrap TestBootstrapRefuses"},
	},
	"5 log compaction": {
		{"each server discards its log up to its snapshot's index, and keeps that one's term", "TestCompact TestCreateSnapshot TestNoSnapshotAtTheEdge"},
		{"the leader sends a snapshot to a follower whose next entry it has discarded", "TestLaggingPeerGetsASnapshot TestReportSnapshot"},
		{"a follower discards its log, unless it has the snapshot's last entry", "TestSnapshot TestSnapshotReplacesTheLog"},
	},
	"6.2 routing requests": {
		{"a leader steps down if an election timeout elapses without a round of heartbeats to a majority", "TestCheckQuorum TestWhoIsHeardOf TestQuorumActive"},
	},
	"6.4 read-only queries": {
		{"1. wait until an entry of the current term is committed", "TestReadIndex TestReadOfASingleVoter"},
		{"2. save the current commit index as readIndex", "TestReadsAreConfirmedInOrder"},
		{"3. a round of heartbeats, acknowledged by a majority, sent after the query came", "TestReadNeedsAQuorum TestReadContextUsedAgain TestNumberedContextIsNobodyElses"},
		{"followers ask the leader", "TestReadAtAFollower TestReadOfAFollower"},
	},
	"6.4.1 clocks": {
		{"with a lease the leader replies without communication", "TestLeaseRead"},
	},
	"9.6 pre-vote": {
		{"a candidate increments its term only if a majority would vote for it", "TestPreVote TestPreVoteChangesNoTerm TestVotesOfTheOtherKindDoNotCount"},
	},
	"10.2.1 writing to the leader's disk in parallel": {
		{"the leader may replicate before it has stored; it counts itself only then", "TestCommitRule TestNewLeaderOpensItsTerm"},
		{"entries may even be committed before the leader has written them to its own disk", "TestApplyingWaitsForOurOwnDisk"},
	},
	"10.2.2 batching and pipelining": {
		{"nextIndex is updated right after sending; lost entries are found by the next refusal", "TestPipelining TestFullWindowIsProbed TestUnreachable"},
		{"requests that arrive together become one append", "TestProposalsGather TestNodeGathersProposals"},
	},
}

// Each sentence has tests, they exist, and each says which section it is about.
func TestRulesHaveTests(t *testing.T) {
	comments := testComments(t)
	section := regexp.MustCompile(`§|Figure|diss\.`)
	for _, text := range []map[string][]rule{figure2, dissertation} {
		for where, rules := range text {
			for _, r := range rules {
				named := false
				for _, name := range strings.Fields(r.tests) {
					comment, ok := comments[name]
					if !ok {
						t.Errorf("%s: %s: there is no %s", where, r.says, name)
					}
					named = named || section.MatchString(comment)
				}
				if !named {
					t.Errorf("%s: %s: none of %s names a section", where, r.says, r.tests)
				}
			}
		}
	}
}

// testComments returns the comments of all tests here and in the packages below.
func testComments(t *testing.T) map[string]string {
	t.Helper()
	comments := map[string]string{"TestStories": "§5.4.2"} // its scripts say it
	for _, pattern := range []string{"*_test.go", "tracker/*_test.go", "quorum/*_test.go", "confchange/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") && comments[f.Name.Name] == "" {
					comments[f.Name.Name] = f.Doc.Text()
				}
			}
		}
	}
	return comments
}
