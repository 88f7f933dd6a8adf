// etcd's library as an engine.
//
// Its election timeouts come from crypto/rand, whose Reader is a variable: init
// puts one in its place that answers with what the node at work is to draw. So
// elections by timeout are compared too, tick by tick.

package interop

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	theirs "go.etcd.io/raft/v3"
	theirpb "go.etcd.io/raft/v3/raftpb"
	theirtracker "go.etcd.io/raft/v3/tracker"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// dice answers the reads of crypto/rand with the number that was set.
type dice struct {
	mu   sync.Mutex // held while a node of etcd's is at work
	next int
}

var loaded = &dice{}

func init() {
	rand.Reader = loaded
	theirs.SetLogger(silent{}) // MemoryStorage has no other
	raft.SetLogger(silent{})
}

// Read fills p with the big-endian next.
func (d *dice) Read(p []byte) (int, error) {
	clear(p)
	if len(p) > 0 {
		p[len(p)-1] = byte(d.next)
	}
	return len(p), nil
}

type etcd struct{}

func (etcd) name() string    { return "etcd" }
func (etcd) newStore() store { return etcdStore{theirs.NewMemoryStorage()} }

func (etcd) newNode(c raft.Config, s store, o *overrides) node {
	loaded.mu.Lock()
	defer loaded.mu.Unlock()
	loaded.next = o.draw.IntN(c.ElectionTick)
	n, err := theirs.NewRawNode(theirConfig(c, etcdStorage{s.(etcdStore).MemoryStorage, o}))
	if err != nil {
		panic(err)
	}
	return &etcdNode{n: n, o: o, electionTick: c.ElectionTick}
}

func theirConfig(c raft.Config, s theirs.Storage) *theirs.Config {
	return &theirs.Config{
		ID: c.ID, ElectionTick: c.ElectionTick, HeartbeatTick: c.HeartbeatTick,
		Storage: s, Applied: c.Applied, AsyncStorageWrites: c.AsyncStorageWrites,
		MaxSizePerMsg:               c.MaxSizePerMsg,
		MaxCommittedSizePerReady:    c.MaxCommittedSizePerReady,
		MaxUncommittedEntriesSize:   c.MaxUncommittedEntriesSize,
		MaxInflightMsgs:             c.MaxInflightMsgs,
		MaxInflightBytes:            c.MaxInflightBytes,
		CheckQuorum:                 c.CheckQuorum,
		PreVote:                     c.PreVote,
		ReadOnlyOption:              theirs.ReadOnlyOption(c.ReadOnlyOption),
		Logger:                      silent{},
		DisableProposalForwarding:   c.DisableProposalForwarding,
		DisableConfChangeValidation: c.DisableConfChangeValidation,
		StepDownOnRemoval:           c.StepDownOnRemoval,
	}
}

func (etcd) describeReady(rd raft.Ready) string { return theirs.DescribeReady(toReady(rd), nil) }

func (etcd) describeMessage(m pb.Message) string {
	return theirs.DescribeMessage(toMessage(m), nil)
}

// etcdStorage is etcd's MemoryStorage with the overrides applied.
type etcdStorage struct {
	*theirs.MemoryStorage
	o *overrides
}

func (s etcdStorage) Entries(lo, hi, maxSize uint64) ([]theirpb.Entry, error) {
	if s.o.noEntries {
		return nil, nil
	}
	return s.MemoryStorage.Entries(lo, hi, maxSize)
}

func (s etcdStorage) InitialState() (theirpb.HardState, theirpb.ConfState, error) {
	hs, cs, err := s.MemoryStorage.InitialState()
	if s.o.confState != nil {
		cs = theirpb.ConfState(*s.o.confState)
	}
	return hs, cs, err
}

func (s etcdStorage) Snapshot() (theirpb.Snapshot, error) {
	if s.o.noSnapshot {
		return theirpb.Snapshot{}, theirs.ErrSnapshotTemporarilyUnavailable
	}
	return s.MemoryStorage.Snapshot()
}

// etcdNode is a RawNode of etcd's.
type etcdNode struct {
	n            *theirs.RawNode
	o            *overrides
	electionTick int
}

// load makes the node's draws come from its drawer until the returned function
// is called.
func (n *etcdNode) load() (unload func()) {
	loaded.mu.Lock()
	loaded.next = n.o.draw.IntN(n.electionTick)
	return loaded.mu.Unlock
}

func (n *etcdNode) Bootstrap(peers []raft.Peer) error {
	defer n.load()()
	var to []theirs.Peer
	for _, p := range peers {
		to = append(to, theirs.Peer(p))
	}
	return n.n.Bootstrap(to)
}

func (n *etcdNode) Tick() {
	defer n.load()()
	n.n.Tick()
}

func (n *etcdNode) TickQuiesced() {
	defer n.load()()
	n.n.TickQuiesced()
}

func (n *etcdNode) Campaign() error {
	defer n.load()()
	return n.n.Campaign()
}

func (n *etcdNode) Propose(data []byte) error {
	defer n.load()()
	return n.n.Propose(data)
}

func (n *etcdNode) ProposeConfChange(cc pb.ConfChangeI) error {
	defer n.load()()
	return n.n.ProposeConfChange(toConfChange(cc))
}

func (n *etcdNode) ApplyConfChange(cc pb.ConfChangeI) *pb.ConfState {
	defer n.load()()
	cs := pb.ConfState(*n.n.ApplyConfChange(toConfChange(cc)))
	return &cs
}

func (n *etcdNode) Step(m pb.Message) error {
	defer n.load()()
	return n.n.Step(toMessage(m))
}

func (n *etcdNode) HasReady() bool { return n.n.HasReady() }

func (n *etcdNode) Ready() raft.Ready {
	defer n.load()()
	return fromReady(n.n.Ready())
}

func (n *etcdNode) Advance(raft.Ready) {
	defer n.load()()
	n.n.Advance(theirs.Ready{})
}

func (n *etcdNode) ReadIndex(rctx []byte) {
	defer n.load()()
	n.n.ReadIndex(rctx)
}

func (n *etcdNode) TransferLeader(to uint64) {
	defer n.load()()
	n.n.TransferLeader(to)
}

func (n *etcdNode) ForgetLeader() error {
	defer n.load()()
	return n.n.ForgetLeader()
}

func (n *etcdNode) ReportUnreachable(id uint64) {
	defer n.load()()
	n.n.ReportUnreachable(id)
}

func (n *etcdNode) ReportSnapshot(id uint64, s raft.SnapshotStatus) {
	defer n.load()()
	n.n.ReportSnapshot(id, theirs.SnapshotStatus(s))
}

func (n *etcdNode) status() status {
	st := n.n.Status()
	s := status{
		id: st.ID, term: st.Term, vote: st.Vote, commit: st.Commit, lead: st.Lead,
		applied: st.Applied, transferee: st.LeadTransferee,
		role: st.RaftState.String(), config: st.Config.String(),
		voters: len(st.Config.Voters.IDs()), joint: len(st.Config.Voters[1]) > 0,
	}
	_, s.isVoter = st.Config.Voters.IDs()[st.ID]
	if st.Progress != nil {
		s.progress = make(map[uint64]string, len(st.Progress))
		for id, pr := range st.Progress {
			s.progress[id] = theirProgress(&pr)
		}
	}
	return s
}

func theirProgress(pr *theirtracker.Progress) string {
	return fmt.Sprintf("%s flow=%t active=%t pending=%d", pr, pr.MsgAppFlowPaused, pr.RecentActive, pr.PendingSnapshot)
}

func (n *etcdNode) statusJSON() string { return n.n.Status().String() }

func (n *etcdNode) visit() []string {
	var seen []string
	n.n.WithProgress(func(id uint64, typ theirs.ProgressType, pr theirtracker.Progress) {
		if pr.Inflights != nil {
			seen = append(seen, "inflights were shown")
		}
		pr.Inflights = theirtracker.NewInflights(1, 0) // String needs one
		seen = append(seen, fmt.Sprintf("%d type=%d %s", id, typ, theirProgress(&pr)))
	})
	return seen
}

// etcdStore is a MemoryStorage of etcd's that speaks our types.
type etcdStore struct{ *theirs.MemoryStorage }

func (s etcdStore) InitialState() (pb.HardState, pb.ConfState, error) {
	hs, cs, err := s.MemoryStorage.InitialState()
	return pb.HardState(hs), pb.ConfState(cs), ourError(err)
}

func (s etcdStore) SetHardState(hs pb.HardState) error {
	return ourError(s.MemoryStorage.SetHardState(theirpb.HardState(hs)))
}

func (s etcdStore) Entries(lo, hi, maxSize uint64) ([]pb.Entry, error) {
	entries, err := s.MemoryStorage.Entries(lo, hi, maxSize)
	return fromEntries(entries), ourError(err)
}

func (s etcdStore) Term(i uint64) (uint64, error) {
	term, err := s.MemoryStorage.Term(i)
	return term, ourError(err)
}

func (s etcdStore) Snapshot() (pb.Snapshot, error) {
	snap, err := s.MemoryStorage.Snapshot()
	return fromSnapshot(snap), ourError(err)
}

func (s etcdStore) ApplySnapshot(snap pb.Snapshot) error {
	return ourError(s.MemoryStorage.ApplySnapshot(toSnapshot(snap)))
}

func (s etcdStore) CreateSnapshot(i uint64, cs *pb.ConfState, data []byte) (pb.Snapshot, error) {
	var to *theirpb.ConfState
	if cs != nil {
		c := theirpb.ConfState(*cs)
		to = &c
	}
	snap, err := s.MemoryStorage.CreateSnapshot(i, to, data)
	return fromSnapshot(snap), ourError(err)
}

func (s etcdStore) Compact(i uint64) error { return ourError(s.MemoryStorage.Compact(i)) }

func (s etcdStore) Append(entries []pb.Entry) error {
	return ourError(s.MemoryStorage.Append(toEntries(entries)))
}

// ourError is our sentinel for one of etcd's, and any other error as it is.
func ourError(err error) error {
	for _, same := range [][2]error{
		{theirs.ErrCompacted, raft.ErrCompacted},
		{theirs.ErrSnapOutOfDate, raft.ErrSnapOutOfDate},
		{theirs.ErrUnavailable, raft.ErrUnavailable},
		{theirs.ErrSnapshotTemporarilyUnavailable, raft.ErrSnapshotTemporarilyUnavailable},
	} {
		if errors.Is(err, same[0]) {
			return same[1]
		}
	}
	return err
}

// Conversions: through the encoding where the structs nest.

type encoder interface{ Marshal() ([]byte, error) }

type decoder interface{ Unmarshal([]byte) error }

// recode encodes from in one library and decodes it in the other.
func recode(from encoder, to decoder) {
	data, err := from.Marshal()
	if err != nil {
		panic(err)
	}
	if err := to.Unmarshal(data); err != nil {
		panic(fmt.Sprintf("%x: %v", data, err))
	}
}

func toMessage(m pb.Message) (to theirpb.Message) {
	recode(&m, &to)
	return to
}

func fromMessage(m theirpb.Message) (to pb.Message) {
	recode(&m, &to)
	return to
}

func toSnapshot(s pb.Snapshot) theirpb.Snapshot {
	return theirpb.Snapshot{Data: s.Data, Metadata: theirpb.SnapshotMetadata{
		ConfState: theirpb.ConfState(s.Metadata.ConfState), Index: s.Metadata.Index, Term: s.Metadata.Term,
	}}
}

func fromSnapshot(s theirpb.Snapshot) pb.Snapshot {
	return pb.Snapshot{Data: s.Data, Metadata: pb.SnapshotMetadata{
		ConfState: pb.ConfState(s.Metadata.ConfState), Index: s.Metadata.Index, Term: s.Metadata.Term,
	}}
}

func toEntries(entries []pb.Entry) []theirpb.Entry {
	if entries == nil {
		return nil
	}
	to := make([]theirpb.Entry, len(entries))
	for i, e := range entries {
		to[i] = theirpb.Entry{Term: e.Term, Index: e.Index, Type: theirpb.EntryType(e.Type), Data: e.Data}
	}
	return to
}

func fromEntries(entries []theirpb.Entry) []pb.Entry {
	if entries == nil {
		return nil
	}
	to := make([]pb.Entry, len(entries))
	for i, e := range entries {
		to[i] = pb.Entry{Term: e.Term, Index: e.Index, Type: pb.EntryType(e.Type), Data: e.Data}
	}
	return to
}

func toConfChange(cc pb.ConfChangeI) theirpb.ConfChangeI {
	if v1, ok := cc.AsV1(); ok {
		return theirpb.ConfChange{
			Type: theirpb.ConfChangeType(v1.Type), NodeID: v1.NodeID, Context: v1.Context, ID: v1.ID,
		}
	}
	v2 := cc.AsV2()
	to := theirpb.ConfChangeV2{Transition: theirpb.ConfChangeTransition(v2.Transition), Context: v2.Context}
	for _, c := range v2.Changes {
		to.Changes = append(to.Changes, theirpb.ConfChangeSingle{Type: theirpb.ConfChangeType(c.Type), NodeID: c.NodeID})
	}
	return to
}

func fromReady(rd theirs.Ready) raft.Ready {
	from := raft.Ready{
		HardState:        pb.HardState(rd.HardState),
		Entries:          fromEntries(rd.Entries),
		Snapshot:         fromSnapshot(rd.Snapshot),
		CommittedEntries: fromEntries(rd.CommittedEntries),
		MustSync:         rd.MustSync,
	}
	if rd.SoftState != nil {
		from.SoftState = &raft.SoftState{Lead: rd.Lead, RaftState: raft.StateType(rd.RaftState)}
	}
	for _, rs := range rd.ReadStates {
		from.ReadStates = append(from.ReadStates, raft.ReadState(rs))
	}
	for _, m := range rd.Messages {
		from.Messages = append(from.Messages, fromMessage(m))
	}
	return from
}

func toReady(rd raft.Ready) theirs.Ready {
	to := theirs.Ready{
		HardState:        theirpb.HardState(rd.HardState),
		Entries:          toEntries(rd.Entries),
		Snapshot:         toSnapshot(rd.Snapshot),
		CommittedEntries: toEntries(rd.CommittedEntries),
		MustSync:         rd.MustSync,
	}
	if rd.SoftState != nil {
		to.SoftState = &theirs.SoftState{Lead: rd.Lead, RaftState: theirs.StateType(rd.RaftState)}
	}
	for _, rs := range rd.ReadStates {
		to.ReadStates = append(to.ReadStates, theirs.ReadState(rs))
	}
	for _, m := range rd.Messages {
		to.Messages = append(to.Messages, toMessage(m))
	}
	return to
}
