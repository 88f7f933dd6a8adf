// Mutants: rules broken on purpose, one at a time. A rule whose loss no test notices
// is a rule that is not tested.
//
// go test's -overlay puts a broken file in place of a good one, so nothing in the
// tree changes. RAFT_LONG=1 go test -run Mutants -v ./raft lists who noticed what.

package raft_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// mutant replaces one text, which must be there exactly once, by another.
type mutant struct{ name, file, good, bad string }

var mutants = []mutant{
	// Terms and elections.
	{"vote twice in a term", "election.go", "return r.Vote == None && r.lead == None", "return true"},
	{"vote for anyone once a leader is known", "election.go", "return r.Vote == None && r.lead == None", "return r.Vote == None"},
	{"let a learner campaign", "election.go", "r.self != nil && !r.self.IsLearner &&", "r.self != nil &&"},
	{"campaign with the last change to apply", "election.go", "r.hasConfChange(r.log.applied+1, r.log.committed+1)", "r.hasConfChange(r.log.applied+1, r.log.committed)"},
	{"answer a refused poll in the term it is about", "election.go", "r.send(pb.Message{To: m.From, Term: r.Term, Type: voteReply(m.Type), Reject: true})", "r.send(pb.Message{To: m.From, Term: m.Term, Type: voteReply(m.Type), Reject: true})"},
	{"follow a granted poll into its term", "step.go", "\t\tif !m.Reject { // a grant carries the term we asked about, which is above ours\n\t\t\treturn\n\t\t}\n", ""},
	{"ask one half of a joint configuration who is there", "tracker/tracker.go", "p.Voters.VoteResult(active)", "p.Voters[0].VoteResult(active)"},
	{"skip the comparison of logs in an election", "election.go", "!r.voteIsFree(m) || !r.log.isUpToDate(last)", "!r.voteIsFree(m)"},
	{"let a pre-vote change the term", "step.go", "\tcase pb.MsgPreVote:\n\t\treturn\n\tcase pb.MsgPreVoteResp:", "\tcase pb.MsgPreVoteResp:"},
	{"keep the vote in a new term", "role.go", "\t\tr.Vote = None\n", ""},
	{"do not record the vote for oneself", "role.go", "\tr.Vote = r.id\n", ""},
	{"do not record a vote", "election.go", "\t\tr.Vote = m.From\n", ""},
	{"count one's own vote before it is stored", "election.go", "\t\t\tr.send(pb.Message{To: r.id, Term: term, Type: voteReply(request)})\n", "\t\t\tr.poll(r.id, true)\n"},
	{"let a new leader take a change at once", "role.go", "\tr.pendingConfIndex = r.log.lastIndex()\n", ""},
	{"campaign with a change to apply", "election.go", "case r.hasConfChange(r.log.applied+1, r.log.committed+1):", "case false:"},
	{"campaign with compacted entries to apply", "membership.go", "return found || err != nil", "_ = err\n\treturn found"},
	{"take back a vote to bootstrap", "bootstrap.go", "if rn.raft.Term == 0 {", "if true {"},
	{"listen to candidates while there is a leader", "election.go", "\tif !hasLeader || ", "\tif !hasLeader || m.Term > 0 || "},
	{"ignore a transfer for the sake of the old leader", "election.go", "if !hasLeader || string(m.Context) == string(campaignTransfer) {", "if !hasLeader {"},
	{"count a peer as active for ever", "clock.go", "p.pr.RecentActive = false", "p.pr.RecentActive = true"},
	{"never give up a transfer", "clock.go", "\t\tr.abortTransfer() // diss. §3.10: it has had an election timeout\n", ""},
	{"campaign with a snapshot to store", "election.go", " && !r.log.unstable.awaitsSnapshot()", ""},
	{"let a message without a term take a term back", "candidate.go", "r.becomeFollower(r.Term, m.From)", "r.becomeFollower(m.Term, m.From)"},
	{"take a half for a majority", "quorum/majority.go", "return acked[n-(n/2+1)]", "return acked[n/2]"},
	{"win with half of the votes", "quorum/majority.go", "majority := len(c)/2 + 1", "majority := (len(c) + 1) / 2"},
	{"leave a leader of an old term without an answer", "step.go", "if r.checkQuorum || r.preVote {", "if false {"},
	{"append nothing when elected", "role.go", "\tr.appendEntries(noEntry[:])\n", ""},
	{"keep what a leader had", "role.go", "\tr.leaderState = leaderState{}\n", ""},
	{"poll before a campaign that the leader asked for", "election.go", "\tif r.mayCampaign() {\n\t\tr.campaign(campaignTransfer)\n\t}\n", "\tr.campaignOnTimeout()\n"},
	{"campaign soon after voting for another", "election.go", "\t\tr.electionElapsed = 0 // a granted vote counts as hearing from a leader\n", ""},
	{"answer a poll in a term it is not about", "election.go", "r.send(pb.Message{To: m.From, Term: m.Term, Type: voteReply(m.Type)})", "r.send(pb.Message{To: m.From, Term: r.Term, Type: voteReply(m.Type)})"},
	{"lead on without a quorum", "clock.go", "\tif !active {\n", "\tif !active && r.Term == 0 {\n"},
	{"forget a leader whose lease reads rely on", "follower.go", "if r.readOnlyOption == ReadOnlyLeaseBased {", "if false {"},
	{"give way to a leader without listening to it", "candidate.go", "\t\treturn r.stepFollower(m)\n", "\t\treturn nil\n"},
	{"let the new half of a joint configuration alone campaign", "election.go", "return r.self != nil && !r.self.IsLearner &&", "_, incoming := r.trk.Voters[0][r.id]\n\treturn incoming && !r.self.IsLearner &&"},
	{"stop the clock of those who may not campaign", "clock.go", "\tr.electionElapsed++\n\tif r.electionElapsed >= r.randomizedElection && r.promotable() {", "\tif !r.promotable() {\n\t\treturn\n\t}\n\tr.electionElapsed++\n\tif r.electionElapsed >= r.randomizedElection {"},
	{"end a lease one tick too early", "election.go", "r.electionElapsed < r.electionTimeout", "r.electionElapsed+1 < r.electionTimeout"},
	{"hold a lease against an answer of a higher term", "step.go", "\tdefault:\n\t\tr.becomeFollower(m.Term, None)\n", "\tdefault:\n\t\tif r.checkQuorum && r.role == StateLeader {\n\t\t\treturn\n\t\t}\n\t\tr.becomeFollower(m.Term, None)\n"},

	// Logs and replication.
	{"compare the length of logs alone", "log.go", "return last.term > l.last.term || last.term == l.last.term && last.index >= l.last.index", "return last.index >= l.last.index"},
	{"skip the consistency check", "log.go", "\tif !l.matches(s.prev) {\n", "\tif s.prev.index > l.last.index {\n"},
	{"append what leaves a gap", "append.go", "if slice.hasGap() {", "if false {"},
	{"commit beyond the last new entry", "append.go", "r.log.commitTo(min(m.Commit, slice.lastIndex()))", "r.log.commitTo(min(m.Commit, r.log.lastIndex()))"},
	{"truncate on a late append", "log.go", "if id := idOf(&s.entries[i]); !l.matches(id) {", "if id := idOf(&s.entries[i]); true {"},
	{"commit by heartbeat what the peer may lack", "replicate.go", "commit := min(p.pr.Match, r.log.committed)", "commit := r.log.committed"},
	{"take a replaced entry for stored", "unstable.go", "\tif term != id.term {\n", "\tif false {\n"},
	{"write into entries that were handed out", "unstable.go", "u.entries = u.slice(u.offset, first) // without capacity: what follows is copied", "u.entries = u.entries[:first-u.offset]"},
	{"hand out for applying what is not stored", "log_read.go", "return min(l.committed, l.unstable.offset-1)", "return l.committed"},
	{"apply entries before the snapshot they follow", "log_read.go", "!l.unstable.awaitsSnapshot() && // it has to be applied before what follows it", "true &&"},
	{"send ahead without a limit", "tracker/inflights.go", "return in.count == in.size ||", "return in.count == in.size+1000 ||"},
	{"accept an old refusal", "tracker/progress.go", "if pr.Next-1 != rejected {", "if false {"},
	{"send entries while a snapshot is under way", "tracker/progress.go", "return pr.State == StateSnapshot || pr.MsgAppFlowPaused", "return pr.MsgAppFlowPaused"},
	{"end a snapshot where the log does not go on", "acks.go", "if p.pr.Match+1 >= r.log.firstIndex() {", "if true {"},
	{"probe one entry after the other", "acks.go", "\tif m.LogTerm > 0 {\n", "\tif false {\n"},
	{"hint one entry too low", "log_read.go", "\t\tif term <= at.term {\n", "\t\tif term < at.term {\n"},
	{"probe before what a peer is known to hold", "tracker/progress.go", "pr.Next = max(min(rejected, matchHint+1), pr.Match+1)", "pr.Next = max(min(rejected, matchHint+1), 1)"},
	{"keep a message's bytes in the window", "tracker/inflights.go", "\t\tin.bytes -= in.buffer[in.start].bytes\n", ""},
	{"lose the order of a window that grows", "tracker/inflights.go", "copy(bigger[n:], in.buffer[:in.start])", "copy(bigger[:n], in.buffer[:in.start])"},
	{"hand out what replaces entries that were handed out too late", "unstable.go", "u.inProgress = min(u.inProgress, first)", "u.inProgress = max(u.inProgress, first)"},
	{"hint at an entry that the leader cannot have", "append.go", "r.log.lastAtOrBelow(entryID{term: m.LogTerm, index: min(m.Index, r.log.lastIndex())})", "entryID{index: min(m.Index, r.log.lastIndex())}"},
	{"tell of a commit with the next heartbeat", "acks.go", "\t\tr.announceCommit()\n", "\t\tr.resumeReads()\n"},
	{"tell a peer that catches up no newer commit", "acks.go", "if !committed && p.pr.CanBumpCommit(r.log.committed) {", "if false {"},
	{"take lost messages for an answer that is late", "acks.go", "!p.pr.MaybeUpdate(m.Index) && !probed", "!p.pr.MaybeUpdate(m.Index) && (!probed || m.Index > 0)"},
	{"accept an old refusal while sending ahead", "tracker/progress.go", "if rejected <= pr.Match {", "if false {"},
	{"send ahead to one that cannot be reached", "acks.go", "func (r *raft) handleUnreachable(p peer) {\n\tif p.pr.State == tracker.StateReplicate {", "func (r *raft) handleUnreachable(p peer) {\n\tif false {"},
	{"limit each message to the state machine alone", "log.go", "l.applyingPaused = l.applyingSize >= l.maxApplyingSize || index < l.maxAppliable(allowUnstable)", "l.applyingPaused = false"},
	{"hand out entries again and again", "unstable.go", "\tu.inProgress = u.end()\n", ""},
	{"tell only of a commit that the append brings", "replicate.go", "Entries: entries, Commit: r.log.committed,", "Entries: entries, Commit: min(r.log.committed, prev.index+uint64(len(entries))),"},
	{"send nothing for what was compacted meanwhile", "replicate.go", "\t\t\treturn r.maybeSendSnapshot(p)\n\t\t}\n\t}\n", "\t\t\treturn false\n\t\t}\n\t}\n"},

	// The commit rule.
	{"commit by counting entries of earlier terms", "commit.go", "err != nil || term != r.Term {", "err != nil || term == 0 {"},
	{"ask one half of a joint configuration to commit", "quorum/joint.go", "return min(c[0].CommittedIndex(l), c[1].CommittedIndex(l))", "return c[0].CommittedIndex(l)"},
	{"ask one half of a joint configuration to elect", "quorum/joint.go", "case first == VoteWon && second == VoteWon:", "case first == VoteWon:"},

	// Proposals and membership.
	{"count one's own copy before it is stored", "propose.go", "\tr.send(pb.Message{To: r.id, Type: pb.MsgAppResp, Index: r.log.lastIndex()})\n", "\tr.self.MaybeUpdate(r.log.lastIndex())\n"},
	{"take a change while one is committed and not applied", "propose.go", "case pending > r.log.applied:", "case pending > r.log.committed:"},
	{"take two changes of membership at a time", "propose.go", "case pending > r.log.applied:", "case false:"},
	{"enter a joint configuration from one", "propose.go", "case joint && !leave:", "case false:"},
	{"accept any amount of proposals", "propose.go", "r.uncommittedSize > 0 && size > 0 && r.uncommittedSize+size > r.maxUncommittedSize", "false"},
	{"accept proposals while handing over", "propose.go", "case r.leadTransferee != None:", "case false:"},
	{"stay when removed, whatever was said", "membership.go", "if r.stepDownOnRemoval {", "if false {"},
	{"never leave a joint configuration by oneself", "membership.go", "r.role != StateLeader || !r.trk.AutoLeave ||", "r.role != StateLeader || r.trk.AutoLeave ||"},
	{"hand over to one that is no voter any more", "membership.go", "if r.leadTransferee != None && !r.isVoter(r.leadTransferee) {", "if false {"},
	{"let a new member wait for the next heartbeat", "membership.go", "\t\t\t\tr.maybeSendAppend(p, false)\n", ""},
	{"leave a joint configuration again and again", "membership.go", "!r.trk.AutoLeave || r.log.applied < r.pendingConfIndex", "!r.trk.AutoLeave"},
	{"promote a learner that stays one", "confchange/changer.go", "\t\tpr.IsLearner = false\n", ""},
	{"demote a voter that is known as one", "confchange/changer.go", "\t\tadd(&cfg.Learners, id)\n\t\tmembers[id].IsLearner = true\n", "\t\tadd(&cfg.Learners, id)\n"},
	{"give back encoded bytes for payload", "async.go", "r.release(payloadSize(entries))", "r.release(encodedSize(entries))"},
	{"let no empty entry through a full allowance", "propose.go", "r.uncommittedSize > 0 && size > 0 &&", "r.uncommittedSize > 0 &&"},
	{"append a change that cannot be read", "propose.go", "\tif err != nil {\n\t\treturn err.Error()\n\t}\n\tjoint", "\tif err != nil {\n\t\treturn \"\"\n\t}\n\tjoint"},
	{"take an entry of the user's own type for a change", "propose.go", "if !changesMembership(&entries[i]) {", "if entries[i].Type == pb.EntryNormal {"},
	{"wait to campaign for an entry of the user's own type", "membership.go", "found = found || changesMembership(&entries[i])", "found = found || entries[i].Type != pb.EntryNormal"},
	{"begin a group twice", "bootstrap.go", "if last != 0 || rn.raft.log.lastIndex() != 0 {", "if last != 0 {"},

	// Reads.
	{"count a learner's word for a read", "read.go", "if _, ok := voters[id]; ok {", "if _, ok := voters[id]; ok || id != 0 {"},
	{"read before the first commit of the term", "read.go", "\tif !r.committedInTerm() {\n", "\tif false {\n"},
	{"ask one half of a joint configuration to confirm a read", "read.go", "for _, voters := range r.trk.Voters {", "for _, voters := range r.trk.Voters[:1] {"},
	{"forget all reads before the first commit but the last", "read.go", "append(r.reads.postponed, readOf(&m))", "[]read{readOf(&m)}"},
	{"read without a quorum", "read.go", "\tif !r.isQuorum(round.acks) {\n", "\tif false {\n"},
	{"take two nodes' reads for one", "read.go", "return old.from == rd.from && bytes.Equal(old.context, rd.context)", "return bytes.Equal(old.context, rd.context)"},
	{"take a context that comes again for the same", "read.go", "looksNumbered(carries) || q.markCarried(carries)", "looksNumbered(carries)"},
	{"let a removed leader read alone", "read.go", "alone := r.trk.IsSingleton() && r.isVoter(r.id)", "alone := r.trk.IsSingleton()"},
	{"let a number meet another read's context", "read.go", "len(carries) == 0 || looksNumbered(carries) ||", "len(carries) == 0 ||"},
	{"answer a postponed read with each commit", "read.go", "\tr.reads.postponed = nil\n", ""},
	{"forget the reads before the one that is confirmed", "read.go", "for j := range r.reads.rounds[:i+1] {", "for j := i; j <= i; j++ {"},

	// Snapshots.
	{"take a snapshot of a group one is not in", "snapshot.go", "case !slices.Contains(cs.Voters, r.id) && !slices.Contains(cs.Learners, r.id) && !slices.Contains(cs.VotersOutgoing, r.id):", "case !slices.Contains(cs.Voters, cs.Voters[0]):"},
	{"take a snapshot that the log holds", "snapshot.go", "case r.log.matches(id):", "case false:"},
	{"take a snapshot while a change is being applied", "snapshot.go", "case r.hasConfChange(r.log.applied+1, r.log.applying+1):", "case false:"},
	{"take an old snapshot", "snapshot.go", "case id.index <= r.log.committed:", "case id.index == 0:"},
	{"ask a storage for a term that it need not know", "log_read.go", "if i+1 < l.firstIndex() {", "if l.unstable.replaces(i) {"},
	{"read from a storage that a snapshot has overtaken", "log_read.go", "if l.unstable.replaces(lo) {", "if false {"},
	{"go back to what was applied before a snapshot", "membership.go", "max(index, r.log.applied)", "index"},
	{"acknowledge more than a snapshot that was not taken", "snapshot.go", "\t\tcertain = r.log.committed\n", "\t\tcertain = r.log.lastIndex()\n"},
	{"probe one entry too far after a snapshot", "tracker/progress.go", "next = max(next, pr.PendingSnapshot+1)", "next = max(next, pr.PendingSnapshot+2)"},
	{"send a snapshot to a peer that is silent", "snapshot.go", "if !p.pr.RecentActive {", "if false {"},
	{"take a failed snapshot for one that arrived", "snapshot.go", "\t\tp.pr.PendingSnapshot = 0 // probe after what it is known to have\n", ""},
	{"probe after a snapshot before the peer is heard of", "snapshot.go", "\tp.pr.BecomeProbe()\n\tp.pr.MsgAppFlowPaused = true\n", "\tp.pr.BecomeProbe()\n"},
	{"take a snapshot whose configuration cannot be", "snapshot.go", "\tif err == nil {\n\t\trestored := tracker.ProgressTracker{Config: cfg}\n\t\terr = cs.Equivalent(restored.ConfState())\n\t}\n", ""},

	// Transfers.
	{"hand over to a learner", "transfer.go", "case p.pr.IsLearner:", "case false:"},
	{"hand over to one whose log is behind", "transfer.go", "if p.pr.Match == r.log.lastIndex() {", "if true {"},
	{"hand over before an answer shows that the log is complete", "acks.go", "p.id == r.leadTransferee && p.pr.Match == r.log.lastIndex()", "p.id == r.leadTransferee"},

	// Storage, and what may leave before it.
	{"answer before the disk", "outbox.go", "\t\tr.outbox.held.add(&m)\n", "\t\tif m.To != r.id {\n\t\t\tr.outbox.now.add(&m)\n\t\t} else {\n\t\t\tr.outbox.held.add(&m)\n\t\t}\n"},
	{"write into responses that were handed out", "ready.go", "\t\tr.outbox.held = nil //", "\t\tr.outbox.held = r.outbox.held[:0] //"},
	{"believe a word from an earlier term", "async.go", "if s.last.index != 0 && s.term == r.Term {", "if s.last.index != 0 {"},
	{"do not say that a vote must be synced", "ready.go", "return entsnum != 0 || st.Vote != prevst.Vote || st.Term != prevst.Term", "return entsnum != 0 || st.Term != prevst.Term"},
	{"never give an allowance back", "async.go", "\tr.release(payloadSize(entries))\n", ""},
	{"store a commit index without its term", "async.go", "m.Term, m.Vote, m.Commit = rd.Term, rd.Vote, rd.Commit", "m.Commit = rd.Commit"},
	{"apply again what was applied before a restart", "state.go", "\tif c.Applied > 0 {\n", "\tif false {\n"},
	{"start with a commit index beyond the log", "state.go", "hs.Commit < r.log.committed || hs.Commit > r.log.lastIndex()", "hs.Commit < r.log.committed"},
	{"write into entries that storage handed out", "memory_storage.go", "ms.ents = append(ms.ents[:kept:kept], entries...)", "ms.ents = append(ms.ents[:kept], entries...)"},
	{"let an append to entries reach the storage", "memory_storage.go", "return ents[:len(ents):len(ents)], nil", "return ents, nil"},
	{"store a snapshot twice", "memory_storage.go", "if snap.Metadata.Index <= ms.snapshot.Metadata.Index {", "if snap.Metadata.Index < ms.snapshot.Metadata.Index {"},
	{"let a peer say what is for the node's user", "rawnode.go", "case IsLocalMsg(m.Type):", "case false:"},
	{"apply before one's own acknowledgement is heard", "ready.go", "\tr, a := rn.raft, &rn.advance\n\tfor i := range a.promises {\n", "\tr, a := rn.raft, &rn.advance\n\tr.entriesApplied(a.applied)\n\ta.applied = nil\n\tfor i := range a.promises {\n"},
	{"read the storage without its lock", "memory_storage.go", "(pb.Snapshot, error) {\n\tms.Lock()\n\tdefer ms.Unlock()\n\treturn ms.snapshot, nil", "(pb.Snapshot, error) {\n\treturn ms.snapshot, nil"},

	// Node, and what it gathers.
	{"let entries gather however long a round takes", "gather.go", "(overdue || !r.roundUnderWay())", "!r.roundUnderWay()"},
	{"gather without telling of a commit", "gather.go", "p.pr.CanBumpCommit(r.log.committed)", "false"},
	{"start a round while one is under way", "gather.go", "return r.log.committed+1 < r.gathered.from", "return false"},
	{"let answers send what gathers", "gather.go", "return !r.gathers || p.pr.Next < r.gathered.from", "return true"},
	{"let answers wait for the round under way", "gather.go", " && !r.outbox.answersOthers(r.id)", ""},
	{"take proposals when removed", "node_loop.go", "\t\t\t\tfilled = nil // until the leader changes: it would all be dropped\n", ""},
	{"let a message overtake what gathers for the leader", "node_loop.go", "m.Type != pb.MsgApp && m.Type != pb.MsgHeartbeat {", "m.Type == pb.MsgApp {"},
	{"campaign before what gathers for the leader is sent", "node_loop.go", "\tn.forwardsFirst()\n\tn.rn.Tick()\n", "\tn.rn.Tick()\n"},
	{"forward more than a message may hold", "node.go", "min(maxBatchBytes, r.maxMsgSize, r.maxUncommittedSize/8)", "min(maxBatchBytes, r.maxUncommittedSize/8)"},
	{"forward more than a leader may take", "node.go", "min(maxBatchBytes, r.maxMsgSize, r.maxUncommittedSize/8)", "min(maxBatchBytes, r.maxMsgSize)"},
	{"forward a context with other proposals", "node_loop.go", "\tif p.context != nil {", "\tif false {"},
	{"keep proposals when stopped", "node.go", "\t\tn.inbox.withdraw(p) // a stopped node keeps nothing\n", ""},
	{"keep the words of the threads from a Node", "node.go", "case IsLocalMsg(m.Type) && !IsLocalMsgTarget(m.From):", "case IsLocalMsg(m.Type):"},
	{"stop over a proposal of nothing", "node.go", "case m.Type == pb.MsgProp && len(m.Entries) == 0: // a leader would stop over it", "case false:"},

	// The disk.
	{"begin a segment of the log without syncing its name", "wal/segment.go", "\treturn w.FS.SyncDir(w.dir)\n", "\treturn nil\n"},
	{"trust what was read from the log to be on disk", "wal/recover.go", "\treturn w.makeDurable(b)\n", "\tw.synced = w.offset\n\treturn nil\n"},
	{"name a snapshot without syncing its name", "snap/snap.go", "\treturn p.d.fs.SyncDir(p.d.path)\n", "\treturn nil\n"},
	{"mark a snapshot before its file has its name", "rafttest/files.go", "\t\tif err := in.Commit(); err != nil {\n\t\t\treturn err\n\t\t}\n", "\t\tdefer in.Commit()\n"},
}

// Every mutant is noticed.
func TestMutants(t *testing.T) {
	if os.Getenv("RAFT_MUTANT") != "" {
		t.Skip("this is a mutant")
	}
	for _, m := range mutants {
		m.source(t)
	}
	if os.Getenv("RAFT_LONG") == "" {
		t.Skip("takes minutes: set RAFT_LONG=1")
	}
	work := make(chan mutant)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for m := range work {
				t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) { m.test(t) })
			}
		})
	}
	for _, m := range mutants {
		work <- m
	}
	close(work)
	wg.Wait()
}

// failedTest finds who noticed, and suddenEnd, what ended all tests without a word of who
// it was; hung is no such word.
var (
	failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	suddenEnd  = regexp.MustCompile(`(?m)^(?:panic|fatal error): (.*)`)
	hung       = regexp.MustCompile(`(?m)^panic: test timed out`)
)

// runTests runs tests of what the overlay makes of the source, until one fails: those beside
// dir first, as most mutants need no simulator, and few one that runs long. Behind the first
// that fails others might hang, and so might examples, which go test runs all the same.
func runTests(dir, overlay string) (out []byte, err error) {
	for _, tests := range [][]string{
		{"-run=^(Test|Fuzz)", "-skip=^TestGathering", "./" + dir, "."},
		{"./quorum", "./tracker", ".", "./rafttest"},
		{"-run=^TestSeeds$", "./rafttest", "-args", "-seeds=20000"},
	} {
		cmd := exec.Command("go", append([]string{"test", "-vet=off", "-count=1", "-failfast", "-timeout=120s", "-overlay=" + overlay}, tests...)...)
		cmd.Env = append(os.Environ(), "RAFT_MUTANT=1", "RAFT_LONG=")
		if out, err = cmd.CombinedOutput(); err != nil {
			break
		}
	}
	return out, err
}

// source returns the path of the file to break, and its text.
func (m mutant) source(t *testing.T) (path, text string) {
	t.Helper()
	path, err := filepath.Abs(m.file)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.good); n != 1 {
		t.Fatalf("%s: %s has the text to break %d times: %s", m.name, m.file, n, m.good)
	}
	return path, string(source)
}

func (m mutant) test(t *testing.T) {
	path, source := m.source(t)
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(broken, []byte(strings.Replace(source, m.good, m.bad, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: broken}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}

	out, err := runTests(filepath.Dir(m.file), list)
	if err == nil {
		t.Fatal("no test noticed")
	}
	found := failedTest.FindAllStringSubmatch(string(out), -1)
	if len(found) == 0 && hung.Match(out) {
		t.Fatalf("no test failed, but one hung, or the machine is too slow:\n%s", out)
	}
	if len(found) == 0 {
		found = suddenEnd.FindAllStringSubmatch(string(out), -1)
	}
	if len(found) == 0 {
		t.Fatalf("the mutant is no program, or no test could run:\n%s", out)
	}
	var names []string
	for _, match := range found {
		names = append(names, match[1])
	}
	t.Logf("%s: noticed by %s", m.name, strings.Join(names, ", "))
}
