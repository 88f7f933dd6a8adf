// What the tests stand on: a Raft that notes what it is told, and nodes of a
// Transport and a server on a loopback socket.

package rafthttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	pb "example.com/raftexample/raft/raftpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait: far beyond what anything takes.
const patience = 15 * time.Second

// notes is a Raft that notes what it is told.
type notes struct {
	removedBy  []uint64 // who says that this node was removed
	replacedBy []uint64 // who knows it under another incarnation
	mu         sync.Mutex
	changed    *sync.Cond
	messages   []pb.Message
	lost       map[uint64]int    // ReportUnreachable
	reports    map[uint64][]bool // ReportSnapshot
	dropped    []pb.Message
	states     []string // received with snapshots

	process func(ctx context.Context, m pb.Message) error      // nil: take it
	check   func(from, incarnation uint64) error               // nil: welcome
	open    func(m pb.Message) (io.ReadCloser, error)          // nil: an empty state
	receive func(m pb.Message, body io.Reader) (string, error) // nil: read it all
}

func newNotes() *notes {
	n := &notes{lost: map[uint64]int{}, reports: map[uint64][]bool{}}
	n.changed = sync.NewCond(&n.mu)
	return n
}

func (n *notes) note(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	n.changed.Broadcast()
}

func (n *notes) Process(ctx context.Context, m pb.Message) error {
	if n.process != nil {
		if err := n.process(ctx, m); err != nil {
			return err
		}
	}
	n.note(func() { n.messages = append(n.messages, m) })
	return nil
}

func (n *notes) ReportUnreachable(id uint64) { n.note(func() { n.lost[id]++ }) }

func (n *notes) ReportSnapshot(id uint64, ok bool) {
	n.note(func() { n.reports[id] = append(n.reports[id], ok) })
}

func (n *notes) Dropped(m pb.Message) { n.note(func() { n.dropped = append(n.dropped, m) }) }

func (n *notes) Replaced(by uint64, reason string) {
	n.note(func() { n.replacedBy = append(n.replacedBy, by) })
}

func (n *notes) Removed(by uint64) { n.note(func() { n.removedBy = append(n.removedBy, by) }) }

func (n *notes) CheckPeer(from, incarnation uint64) error {
	if n.check == nil {
		return nil
	}
	return n.check(from, incarnation)
}

func (n *notes) Status() any { return map[string]int{"term": 7} }

func (n *notes) OpenSnapshot(m pb.Message) (io.ReadCloser, error) {
	if n.open == nil {
		return io.NopCloser(strings.NewReader("")), nil
	}
	return n.open(m)
}

func (n *notes) ReceiveSnapshot(_ context.Context, m pb.Message, body io.Reader) error {
	receive := n.receive
	if receive == nil {
		receive = func(_ pb.Message, body io.Reader) (string, error) {
			state, err := io.ReadAll(body)
			return string(state), err
		}
	}
	state, err := receive(m, body)
	if err != nil {
		return err
	}
	n.note(func() { n.messages, n.states = append(n.messages, m), append(n.states, state) })
	return nil
}

// await waits until what holds.
func (n *notes) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	expired := false
	timer := time.AfterFunc(patience, func() { n.note(func() { expired = true }) })
	defer timer.Stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	for !holds() {
		if expired {
			t.Fatalf("waited in vain for %s: %d messages, lost %v, snapshots %v, %d dropped",
				what, len(n.messages), n.lost, n.reports, len(n.dropped))
		}
		n.changed.Wait()
	}
}

// eventually looks again and again until what holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// logbook is a slog.Handler that keeps the lines of Info and above.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logbook) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *logbook) WithGroup(string) slog.Handler                    { return l }

func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// count is how many lines contain text.
func (l *logbook) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// host is one node: its transport, its Raft and its server.
type host struct {
	*Transport
	raft   *notes
	log    *logbook
	addr   string
	limit  time.Duration // of the server for each request; 0 for none
	server *http.Server
}

const testCluster = 0xc1

// newHost returns a node that does not serve yet. It ends with the test.
func newHost(t *testing.T, id uint64) *host {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{raft: newNotes(), log: &logbook{}, addr: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	h.Transport = New(Config{
		ID: id, Cluster: testCluster, Incarnation: 100 + id, URL: "http://" + h.addr,
		Raft: h.raft, Logger: slog.New(h.log),
	})
	t.Cleanup(func() {
		h.Stop()
		h.down(t)
	})
	return h
}

// up makes the node serve at its address.
func (h *host) up(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	h.server = &http.Server{
		Handler: h.Handler(), ReadTimeout: h.limit, WriteTimeout: h.limit,
		ReadHeaderTimeout: 5 * time.Second, // a busy machine is no slow sender
	}
	go h.server.Serve(l) //nolint:errcheck // http.ErrServerClosed
}

// down cuts all connections to the node.
func (h *host) down(t *testing.T) {
	t.Helper()
	if h.server == nil {
		return
	}
	if err := h.server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	h.server = nil
}

// newHosts returns nodes 1..n that serve and know each other.
func newHosts(t *testing.T, n int) []*host {
	t.Helper()
	var hosts []*host
	for id := range uint64(n) {
		h := newHost(t, id+1)
		h.up(t)
		hosts = append(hosts, h)
	}
	for _, h := range hosts {
		for _, other := range hosts {
			h.SetPeer(other.ID, other.URL)
		}
	}
	return hosts
}

// heartbeat is a message from one node to another, told apart by n.
func heartbeat(from, to, n uint64) pb.Message {
	return pb.Message{Type: pb.MsgHeartbeat, From: from, To: to, Term: 1, Commit: n}
}

// proposal is a message whose loss somebody wants to hear of.
func proposal(from, to uint64, data string) pb.Message {
	return pb.Message{Type: pb.MsgProp, From: from, To: to, Entries: []pb.Entry{{Data: []byte(data)}}}
}

// snapshotTo is a MsgSnap.
func snapshotTo(from, to uint64) pb.Message {
	return pb.Message{Type: pb.MsgSnap, From: from, To: to, Term: 3, Snapshot: &pb.Snapshot{
		Metadata: pb.SnapshotMetadata{Index: 9, Term: 2, ConfState: pb.ConfState{Voters: []uint64{1, 2}}},
	}}
}
