// Engines: the two libraries behind one interface, so that one script can drive
// either.
//
// Values cross the interface in our types. What comes from etcd's library is
// encoded by it and decoded by ours, and the other way round; raftpb_test.go shows
// that nothing is lost on the way. Start at engine and node.

package interop

import (
	"fmt"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// engine makes storages and nodes of one library.
type engine interface {
	name() string
	newStore() store
	// newNode starts a node on a store of the same engine, with the Config's
	// Storage and Rand replaced by what s and o say.
	newNode(c raft.Config, s store, o *overrides) node
	describeReady(rd raft.Ready) string
	describeMessage(m pb.Message) string
}

// overrides is what the test decides on the storage's behalf.
type overrides struct {
	noSnapshot bool          // Snapshot is temporarily unavailable
	noEntries  bool          // Entries gives none, and no error
	confState  *pb.ConfState // what InitialState reports, unless nil
	draw       *drawer       // where the election timeouts come from
}

// drawer gives the election timeouts: the same number until it is changed, so
// that it does not matter how often a node draws.
type drawer struct{ next int }

// IntN implements raft.Rand.
func (d *drawer) IntN(n int) int { return d.next % n }

// node is a RawNode of either library.
type node interface {
	Bootstrap(peers []raft.Peer) error
	Tick()
	TickQuiesced()
	Campaign() error
	Propose(data []byte) error
	ProposeConfChange(cc pb.ConfChangeI) error
	ApplyConfChange(cc pb.ConfChangeI) *pb.ConfState
	Step(m pb.Message) error
	HasReady() bool
	Ready() raft.Ready
	Advance(rd raft.Ready)
	ReadIndex(rctx []byte)
	TransferLeader(to uint64)
	ForgetLeader() error
	ReportUnreachable(id uint64)
	ReportSnapshot(id uint64, status raft.SnapshotStatus)

	status() status
	// statusJSON is Status as JSON.
	statusJSON() string
	// visit is what WithProgress shows.
	visit() []string
}

// store is a MemoryStorage of either library.
type store interface {
	InitialState() (pb.HardState, pb.ConfState, error)
	SetHardState(hs pb.HardState) error
	Entries(lo, hi, maxSize uint64) ([]pb.Entry, error)
	Term(i uint64) (uint64, error)
	LastIndex() (uint64, error)
	FirstIndex() (uint64, error)
	Snapshot() (pb.Snapshot, error)
	ApplySnapshot(snap pb.Snapshot) error
	CreateSnapshot(i uint64, cs *pb.ConfState, data []byte) (pb.Snapshot, error)
	Compact(i uint64) error
	Append(entries []pb.Entry) error
}

// status is a Status in comparable form.
type status struct {
	id, term, vote, commit, lead, applied, transferee uint64

	role     string
	config   string
	progress map[uint64]string // nil unless there is one

	voters  int  // of both halves together
	joint   bool // whether there are two halves
	isVoter bool // whether the node itself is one of them
}

func (s *status) append(b []byte) []byte {
	b = fmt.Appendf(b, "%x %s term=%d vote=%d commit=%d lead=%x applied=%d transferee=%x %s",
		s.id, s.role, s.term, s.vote, s.commit, s.lead, s.applied, s.transferee, s.config)
	if s.progress == nil {
		return b
	}
	b = append(b, " progress:"...)
	for _, id := range sortedKeys(s.progress) {
		b = fmt.Appendf(b, " [%x %s]", id, s.progress[id])
	}
	return b
}

// silent is a Logger of both libraries that says nothing and panics when asked to.
type silent struct{}

func (silent) Debug(...any)            {}
func (silent) Debugf(string, ...any)   {}
func (silent) Info(...any)             {}
func (silent) Infof(string, ...any)    {}
func (silent) Warning(...any)          {}
func (silent) Warningf(string, ...any) {}
func (silent) Error(...any)            {}
func (silent) Errorf(string, ...any)   {}
func (silent) Fatal(v ...any)          { panic(fmt.Sprint(v...)) }
func (silent) Fatalf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
func (silent) Panic(v ...any) { panic(fmt.Sprint(v...)) }
func (silent) Panicf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
