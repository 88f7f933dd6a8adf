// Snapshots: from disk to disk, neither side holds one in memory.
//
//	§7 (InstallSnapshot)
//
// POST /raft/snapshot carries the MsgSnap, after its length, then the state as
// it lies on disk. 204 says that the receiver has it.

package rafthttp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// failurePause is how long after a failure Raft hears of it: it tries again at once.
const failurePause = 500 * time.Millisecond

// sendSnapshot sends a snapshot in the background, one at a time to each peer.
// Raft hears of the outcome exactly once.
func (t *Transport) sendSnapshot(p *peer, m pb.Message) {
	p.mu.Lock()
	busy := p.sending || p.finished
	p.sending = true
	p.mu.Unlock()
	if busy {
		go t.Raft.ReportSnapshot(p.id, false)
		return
	}

	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		err := t.postSnapshot(p, m)
		p.noteSnapshot(err, m.Snapshot.Metadata.Index)
		if err != nil {
			select {
			case <-time.After(failurePause):
			case <-p.snapshots.Done():
			}
		}
		p.mu.Lock()
		p.sending = false
		p.mu.Unlock()
		t.Raft.ReportSnapshot(p.id, err == nil)
	}()
}

// noteSnapshot logs the outcome of a transfer, a failure once for each reason.
func (p *peer) noteSnapshot(err error, index uint64) {
	text, is := "", true
	p.mu.Lock()
	if err != nil {
		text, is = news(err, p.noSnapshot)
	}
	if is {
		p.noSnapshot = text
	}
	p.mu.Unlock()
	switch {
	case err == nil:
		p.t.Logger.Info("snapshot sent", "node", p.t.ID, "peer", p.id, "index", index)
	case is:
		p.t.Logger.Warn("snapshot not sent", "node", p.t.ID, "peer", p.id, "index", index, "err", text)
	}
}

func (t *Transport) postSnapshot(p *peer, m pb.Message) error {
	state, err := t.Raft.OpenSnapshot(m)
	if err != nil {
		return err
	}
	prefix, err := appendMessage(nil, &m)
	if err != nil {
		return errors.Join(err, state.Close())
	}
	body := &snapshotBody{
		Reader: io.MultiReader(bytes.NewReader(prefix), state),
		state:  state, closed: make(chan error, 1),
	}
	req, err := t.newRequest(p.snapshots, p, "/raft/snapshot", body)
	if err != nil {
		return errors.Join(err, state.Close())
	}
	if t.OnSent != nil {
		t.OnSent(m.Type)
	}
	resp, err := t.client.Do(req)
	if err == nil {
		err = refusal(resp)
	}
	return errors.Join(err, <-body.closed)
}

// snapshotBody is a snapshot as the body of a request. net/http may read on after
// an early answer or an error, but always closes a body when it is done with it:
// only then the state may be closed.
type snapshotBody struct {
	io.Reader
	state  io.Closer
	once   sync.Once
	closed chan error // takes what closing the state gave
}

func (b *snapshotBody) Close() error {
	b.once.Do(func() { b.closed <- b.state.Close() })
	return nil
}

// serveSnapshot takes a snapshot.
func (t *Transport) serveSnapshot(w http.ResponseWriter, req *http.Request) {
	from, ok := t.admit(w, req)
	if !ok {
		return
	}
	body := bufio.NewReaderSize(&timedReader{
		r: req.Body, control: http.NewResponseController(w),
	}, 256<<10)
	m, err := (&messageReader{r: body}).next()
	if err == nil {
		err = check(&m, from, t.ID)
	}
	if err == nil && m.Type != pb.MsgSnap {
		err = fmt.Errorf("%w: /raft/snapshot takes a MsgSnap, not a %v", errMessage, m.Type)
	}
	if err != nil {
		t.logRefusal(req, err)
		end(w, err.Error(), http.StatusBadRequest)
		return
	}
	if t.OnReceived != nil {
		t.OnReceived(m.Type)
	}
	if err := t.Raft.ReceiveSnapshot(req.Context(), m, body); err != nil {
		t.Logger.Debug("snapshot not received", "node", t.ID, "peer", from, "index", m.Snapshot.Metadata.Index, "err", err) // the sender warns
		end(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	taken(w)
}

// timedReader gives each read a deadline: a transfer may take long, but must go
// on.
type timedReader struct {
	r       io.Reader
	control *http.ResponseController
}

func (t *timedReader) Read(b []byte) (int, error) {
	if err := t.control.SetReadDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	return t.r.Read(b)
}
