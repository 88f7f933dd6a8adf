// Snapshots: whole or not at all, and Raft hears of the outcome once.

package rafthttp

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// state is a snapshot on disk, as a reader that must not be closed while it is
// read, nor read when it is closed.
type state struct {
	t      *testing.T
	r      io.Reader
	closed *atomic.Bool
	busy   atomic.Bool
	delay  time.Duration
}

func (s *state) Read(b []byte) (int, error) {
	if !s.busy.CompareAndSwap(false, true) || s.closed.Load() {
		s.t.Error("the state is read when it is closed, or twice at a time")
	}
	defer s.busy.Store(false)
	time.Sleep(s.delay)
	return s.r.Read(b)
}

func (s *state) Close() error {
	if s.busy.Load() {
		s.t.Error("the state is closed while it is read")
	}
	if s.closed.Swap(true) {
		s.t.Error("the state is closed twice")
	}
	return nil
}

// content is n bytes that do not repeat.
func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// withState makes h send what r holds, and tells whether it was closed.
func withState(t *testing.T, h *host, r func() io.Reader, delay time.Duration) (closed *atomic.Bool) {
	closed = &atomic.Bool{}
	h.raft.open = func(pb.Message) (io.ReadCloser, error) {
		closed.Store(false)
		return &state{t: t, r: r(), closed: closed, delay: delay}, nil
	}
	return closed
}

// The state arrives as it was, with the message before it.
func TestSnapshotArrivesWhole(t *testing.T) {
	hosts := newHosts(t, 2)
	want := content(5 << 20)
	closed := withState(t, hosts[0], func() io.Reader { return bytes.NewReader(want) }, 0)
	m := snapshotTo(1, 2)
	hosts[0].Send([]pb.Message{m})

	r := hosts[0].raft
	r.await(t, "the report", func() bool { return len(r.reports[2]) > 0 })
	got := hosts[1].raft
	if len(got.states) != 1 || got.states[0] != string(want) {
		t.Errorf("%d states arrived", len(got.states))
	}
	if len(got.messages) != 1 || got.messages[0].Snapshot.Metadata.Index != m.Snapshot.Metadata.Index {
		t.Errorf("with %v", got.messages)
	}
	if !closed.Load() {
		t.Error("the state is still open")
	}
	mustReportOnce(t, hosts[0], true)
}

// mustReportOnce checks that Raft has heard of one outcome for peer 2, also after
// everything has ended.
func mustReportOnce(t *testing.T, h *host, ok bool) {
	t.Helper()
	h.Stop()
	h.raft.mu.Lock()
	defer h.raft.mu.Unlock()
	if got := h.raft.reports[2]; len(got) != 1 || got[0] != ok {
		t.Errorf("reported %v, not %t once", got, ok)
	}
}

// Whatever ends a transfer, it is reported once, and the state is closed.
func TestFailedSnapshotIsReportedOnce(t *testing.T) {
	endless := func() io.Reader { return rand.NewChaCha8([32]byte{2}) }
	refuse := func(m pb.Message, _ io.Reader) (string, error) { return "", errors.New("no space left") }
	for _, tt := range []struct {
		name    string
		receive func(m pb.Message, body io.Reader) (string, error)
		state   func() io.Reader
		meddle  func(t *testing.T, from, to *host) // when the state begins to arrive
	}{
		{name: "the receiver refuses at once", receive: refuse, state: endless},
		{name: "the receiver refuses half-way", state: endless, receive: func(m pb.Message, body io.Reader) (string, error) {
			_, err := io.CopyN(io.Discard, body, 1<<20)
			return "", errors.Join(err, errors.New("damaged"))
		}},
		{name: "the disk fails", state: func() io.Reader {
			return io.MultiReader(bytes.NewReader(content(1<<20)), errorReader{})
		}},
		{name: "the connection breaks", state: endless, meddle: func(t *testing.T, _, to *host) { to.down(t) }},
		{name: "the receiver is removed", state: endless, meddle: func(_ *testing.T, from, _ *host) { from.RemovePeer(2) }},
		{name: "the receiver moves", state: endless, meddle: func(_ *testing.T, from, _ *host) { from.SetPeer(2, "http://127.0.0.1:1") }},
		{name: "the sender stops", state: endless, meddle: func(_ *testing.T, from, _ *host) { from.Stop() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hosts := newHosts(t, 2)
			closed := withState(t, hosts[0], tt.state, time.Millisecond)
			arriving := make(chan struct{})
			hosts[1].raft.receive = func(m pb.Message, body io.Reader) (string, error) {
				if _, err := io.CopyN(io.Discard, body, 100<<10); err != nil {
					return "", err
				}
				close(arriving)
				if tt.receive != nil {
					return tt.receive(m, body)
				}
				_, err := io.Copy(io.Discard, body)
				return "", err
			}
			hosts[0].Send([]pb.Message{snapshotTo(1, 2)})
			<-arriving
			if tt.meddle != nil {
				tt.meddle(t, hosts[0], hosts[1])
			}
			r := hosts[0].raft
			r.await(t, "the report", func() bool { return len(r.reports[2]) > 0 })
			mustReportOnce(t, hosts[0], false)
			if !closed.Load() {
				t.Error("the state is still open")
			}
			if n := len(hosts[1].raft.states); n > 0 {
				t.Errorf("%d states arrived", n)
			}
		})
	}
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

// A snapshot that cannot be opened, or for a peer that is not there, fails.
func TestSnapshotThatCannotBeSent(t *testing.T) {
	t.Run("not there", func(t *testing.T) {
		hosts := newHosts(t, 2)
		hosts[0].raft.open = func(pb.Message) (io.ReadCloser, error) { return nil, errors.New("no such file") }
		hosts[0].Send([]pb.Message{snapshotTo(1, 2)})
		r := hosts[0].raft
		r.await(t, "the report", func() bool { return len(r.reports[2]) > 0 })
		mustReportOnce(t, hosts[0], false)
	})
	t.Run("nobody there", func(t *testing.T) {
		h := newHost(t, 1)
		closed := withState(t, h, func() io.Reader { return bytes.NewReader(content(1000)) }, 0)
		h.SetPeer(2, "http://127.0.0.1:1")
		h.Send([]pb.Message{snapshotTo(1, 2)})
		h.raft.await(t, "the report", func() bool { return len(h.raft.reports[2]) > 0 })
		mustReportOnce(t, h, false)
		if !closed.Load() {
			t.Error("the state is still open")
		}
	})
}

// One at a time to each peer: a second one fails at once, and messages pass by.
func TestOneSnapshotAtATime(t *testing.T) {
	hosts := newHosts(t, 2)
	withState(t, hosts[0], func() io.Reader { return bytes.NewReader(content(1 << 20)) }, 0)
	arriving, release := make(chan struct{}, 2), make(chan struct{})
	hosts[1].raft.receive = func(_ pb.Message, body io.Reader) (string, error) {
		arriving <- struct{}{}
		<-release
		_, err := io.Copy(io.Discard, body)
		return "", err
	}
	hosts[0].Send([]pb.Message{snapshotTo(1, 2)})
	<-arriving
	hosts[0].Send([]pb.Message{snapshotTo(1, 2), heartbeat(1, 2, 1)})
	r := hosts[0].raft
	r.await(t, "the second to be refused", func() bool { return len(r.reports[2]) == 1 && !r.reports[2][0] })
	hosts[1].raft.await(t, "the heartbeat", func() bool { return len(hosts[1].raft.messages) == 1 })
	close(release)
	r.await(t, "the first to arrive", func() bool { return len(r.reports[2]) == 2 && r.reports[2][1] })
	if len(arriving) > 0 {
		t.Error("the second was sent, too")
	}
}

// Raft tries again at once when it hears of a failure. So it hears of it after a while,
// and the log has each reason once.
func TestFailuresAreFewAndSaidOnce(t *testing.T) {
	t.Parallel()
	hosts := newHosts(t, 2)
	withState(t, hosts[0], func() io.Reader { return bytes.NewReader(content(1000)) }, 0)
	reason := "another is coming in"
	hosts[1].raft.receive = func(pb.Message, io.Reader) (string, error) {
		if reason == "" {
			return "", nil
		}
		return "", errors.New(reason)
	}
	r, began := hosts[0].raft, time.Now()
	send := func(n int) {
		t.Helper()
		hosts[0].Send([]pb.Message{snapshotTo(1, 2)})
		r.await(t, "the report", func() bool { return len(r.reports[2]) == n })
	}
	for n := 1; n <= 3; n++ {
		send(n)
	}
	if took := time.Since(began); took < 3*failurePause {
		t.Errorf("three failures took %v", took)
	}
	if n := hosts[0].log.count("snapshot not sent"); n != 1 || hosts[0].log.count(reason) != 1 {
		t.Errorf("%d lines say so: %q", n, hosts[0].log.lines)
	}
	reason = "no room"
	send(4)
	if n := hosts[0].log.count("snapshot not sent"); n != 2 || hosts[0].log.count(reason) != 1 {
		t.Errorf("%d lines, with another reason: %q", n, hosts[0].log.lines)
	}
	reason = ""
	send(5)
	if !r.reports[2][4] || hosts[0].log.count("snapshot sent") != 1 {
		t.Errorf("in the end: %v, %q", r.reports[2], hosts[0].log.lines)
	}
}

// What is no snapshot is refused on that path.
func TestNoSnapshotOnThePathOfSnapshots(t *testing.T) {
	h := newHosts(t, 1)[0]
	for name, body := range map[string][]byte{
		"a heartbeat":    encoded(heartbeat(2, 1, 1)),
		"nothing":        nil,
		"garbage":        []byte("\x03abc"),
		"another sender": encoded(snapshotTo(3, 1)),
	} {
		if resp := postTo(t, h, "/raft/snapshot", nil, body); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	if n := len(h.raft.messages); n > 0 {
		t.Errorf("%d messages were stepped", n)
	}
}

// deadlineWriter is a connection that notes until when it may be read.
type deadlineWriter struct {
	http.ResponseWriter
	until time.Time
}

func (d *deadlineWriter) SetReadDeadline(until time.Time) error {
	d.until = until
	return nil
}

// A transfer may take long, but not stand still: each read has its time.
func TestEachReadOfASnapshotHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &deadlineWriter{}
		r := &timedReader{r: bytes.NewReader([]byte("abc")), control: http.NewResponseController(conn)}
		for range 3 {
			time.Sleep(stallTimeout - time.Second)
			if _, err := r.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if want := time.Now().Add(stallTimeout); !conn.until.Equal(want) {
				t.Errorf("it may take until %v, want %v", conn.until, want)
			}
		}
	})
}
