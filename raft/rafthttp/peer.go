// The sending side: one peer, its queue, its stream.
//
// Start at run. The stream's loop is WriteTo, which net/http calls to write the
// body of the request.

package rafthttp

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// How long to wait before the next try: short at first, so that a peer that
// comes back is reached well within an election timeout. Until the leader reaches it,
// a follower can answer no read.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 200 * time.Millisecond

	// settled is how long a stream must last before the peer counts as reachable:
	// refusals come sooner.
	settled = 300 * time.Millisecond

	maxChunkBytes = 1 << 20
)

// peer is another node and what waits for it.
type peer struct {
	t      *Transport
	id     uint64
	url    string
	ctx    context.Context
	cancel context.CancelFunc

	snapshots     context.Context // ends sooner, when the peer is removed
	stopSnapshots context.CancelFunc

	stranger bool // no member that we know of; guarded by t.mu

	mu       sync.Mutex
	queue    []pb.Message
	bytes    int           // what queue takes, about
	wake     chan struct{} // holds one token while queue may be non-empty
	finished bool          // nothing more will come
	lost     bool          // messages were dropped and Raft was not told yet
	up       bool          // the stream is open and has settled
	problem  string        // why it is not, as it was logged
	sending  bool          // a snapshot

	noSnapshot string // why it could not be sent, as it was logged
}

func newPeer(t *Transport, id uint64, url string, stranger bool) *peer {
	ctx, cancel := context.WithCancel(t.ctx)
	snapshots, stopSnapshots := context.WithCancel(ctx)
	return &peer{
		snapshots: snapshots, stopSnapshots: stopSnapshots,
		t: t, id: id, url: strings.TrimSuffix(url, "/"), ctx: ctx, cancel: cancel, stranger: stranger,
		wake: make(chan struct{}, 1),
	}
}

// stop ends the peer at once.
func (p *peer) stop() { p.cancel() }

// finish ends the peer when its queue is empty.
func (p *peer) finish() {
	p.mu.Lock()
	p.finished = true
	p.mu.Unlock()
	p.signal()
}

func (p *peer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *peer) isUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up
}

// enqueue adds a message, or drops it if too much waits already.
func (p *peer) enqueue(m *pb.Message) {
	size := weight(m)
	p.mu.Lock()
	full := p.finished || len(p.queue) >= maxQueueMessages || p.bytes+size > maxQueueBytes && len(p.queue) > 0
	if full {
		p.lost = true
	} else {
		p.queue = append(p.queue, *m)
		p.bytes += size
	}
	p.mu.Unlock()

	if full {
		p.t.dropped(m)
	}
	p.signal()
}

// weight is what a message takes in a queue, about.
func weight(m *pb.Message) int {
	size := 64 + len(m.Context)
	for i := range m.Entries {
		size += 16 + len(m.Entries[i].Data)
	}
	return size
}

// run keeps a stream open while there is something to send.
func (p *peer) run() {
	backoff := minBackoff
	for p.awaitWork() {
		began := time.Now()
		err := p.stream()
		if p.ctx.Err() != nil {
			break
		}
		if err == nil {
			backoff = minBackoff
			continue
		}

		p.noteFailure(err)
		if time.Since(began) > settled {
			backoff = minBackoff
		}
		select {
		case <-p.ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
	p.dropQueue()
}

// awaitWork waits until something is in the queue. It returns false when the
// peer is to end.
func (p *peer) awaitWork() bool {
	for {
		p.mu.Lock()
		waiting, finished := len(p.queue) > 0, p.finished
		p.mu.Unlock()
		switch {
		case p.ctx.Err() != nil:
			return false
		case waiting:
			return true
		case finished:
			return false
		}
		select {
		case <-p.wake:
		case <-p.ctx.Done():
		}
	}
}

// stream sends what is queued, and what comes, in one POST, until that fails or
// there has been nothing to send for a while.
func (p *peer) stream() error {
	// The request's own context lives on when the body is closed: net/http does
	// that first when there is an early answer, and the answer is what we want.
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	body := &stream{p: p, ctx: ctx, cancel: cancel, began: time.Now()}
	// A stream that has nothing to write would not notice that its peer is gone, and
	// would lose the next message, which may be a request for a vote.
	watched := httptrace.WithClientTrace(p.ctx, &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { endWith(ctx, c.Conn, cancel) },
	})
	req, err := p.t.newRequest(watched, p, "/raft", body)
	if err != nil {
		return err
	}
	resp, err := p.t.streams.Do(req)
	if err != nil {
		return err
	}
	cancel(nil)
	return refusal(resp)
}

// refusedError is what a peer said instead of 204.
type refusedError struct {
	status string // with its code, as in "410 Gone"
	code   int
	reason string

	replaced bool // the peer knows us under another incarnation
}

func (e *refusedError) Error() string { return e.status + ": " + e.reason }

// gone reports whether the peer knows us as a member that was removed.
func (e *refusedError) gone() bool { return e.code == http.StatusGone }

// refusal turns an answer other than 204 into a *refusedError.
func refusal(resp *http.Response) error {
	reason, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	err = errors.Join(err, resp.Body.Close())
	if resp.StatusCode == http.StatusNoContent {
		return err
	}
	return &refusedError{
		status: resp.Status, code: resp.StatusCode, reason: strings.TrimSpace(string(reason)),
		replaced: resp.Header.Get(headerRefused) != "",
	}
}

// noteFailure gives up what waits, tells Raft, and logs the reason if it is new.
func (p *peer) noteFailure(err error) {
	p.dropQueue()
	p.t.Raft.ReportUnreachable(p.id)

	var refused *refusedError
	if errors.As(err, &refused) {
		switch {
		case refused.gone():
			p.t.Raft.Removed(p.id)
		case refused.replaced:
			p.t.Raft.Replaced(p.id, refused.reason)
		}
	}
	p.mu.Lock()
	text, is := news(err, p.problem)
	p.up = false
	if is {
		p.problem = text
	}
	p.mu.Unlock()
	if is {
		p.t.Logger.Warn("peer unreachable", "node", p.t.ID, "peer", p.id, "url", p.url, "err", text)
	}
}

// news returns what an error says, and whether that is worth a line after what was
// told before. However a connection fails, it is the same news: the peer is not there.
// What a peer says is news each time that it says something else, and so is what is wrong
// with a certificate, which somebody has to mend.
func news(err error, before string) (text string, is bool) {
	var refused *refusedError
	var certificate *tls.CertificateVerificationError
	var remote *net.OpError
	switch {
	case errors.As(err, &refused):
		text = refused.Error()
		return text, text != before
	case errors.As(err, &certificate):
		text, _, _ = strings.Cut(certificate.Error(), ": current time") // of one that has expired: another each time
		return text, text != before
	case errors.As(err, &remote) && remote.Op == "remote error": // by which it ends a handshake
		text = "it refuses our certificate, or TLS: " + remote.Error()
		return text, text != before
	}
	text = err.Error()
	if i := strings.Index(text, "dial "); i >= 0 {
		text = text[i:] // without our own port, which is another each time
	}
	return text, before == ""
}

// noteSuccess marks the peer as reachable.
func (p *peer) noteSuccess() {
	p.mu.Lock()
	was, problem := p.up, p.problem
	p.up, p.problem = true, ""
	p.mu.Unlock()
	if !was && problem != "" {
		p.t.Logger.Info("peer reachable again", "node", p.t.ID, "peer", p.id, "url", p.url)
	}
}

// dropQueue drops everything that waits.
func (p *peer) dropQueue() {
	p.mu.Lock()
	queue := p.queue
	p.queue, p.bytes = nil, 0
	p.mu.Unlock()
	for i := range queue {
		p.t.dropped(&queue[i])
	}
}

// stream is the body of an open POST: messages, each after its length.
type stream struct {
	p      *peer
	ctx    context.Context
	cancel context.CancelCauseFunc
	began  time.Time

	taken []pb.Message // from the queue; the array goes back and forth
	chunk []byte       // encoded
	rest  []byte       // of chunk, for Read
}

// WriteTo writes chunks as messages come. net/http prefers it to Read, and its
// writer flushes after each chunk.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	var written int64
	for {
		chunk, err := s.next()
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(chunk)
		written += int64(n)
		if err != nil {
			return written, err
		}
		if time.Since(s.began) > settled {
			s.p.noteSuccess()
		}
	}
}

// Read is for the case that net/http does not use WriteTo.
func (s *stream) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		chunk, err := s.next()
		if err != nil {
			return 0, err
		}
		s.rest = chunk
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Close ends the stream: net/http is done with it.
func (s *stream) Close() error {
	s.cancel(nil)
	return nil
}

// next returns the next chunk: all that waits, up to a limit. It waits until
// there is something, and returns io.EOF when that takes too long.
func (s *stream) next() ([]byte, error) {
	idle := time.NewTimer(idleTimeout)
	defer idle.Stop()
	for {
		if s.ctx.Err() != nil {
			return nil, context.Cause(s.ctx) // before take: what comes now is for the next stream
		}
		if s.take(); len(s.taken) > 0 {
			break
		}
		s.p.mu.Lock()
		finished := s.p.finished
		s.p.mu.Unlock()
		if finished {
			return nil, io.EOF
		}
		select {
		case <-s.p.wake:
		case <-idle.C:
			return nil, io.EOF
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		}
	}

	s.chunk = s.chunk[:0]
	for i := range s.taken {
		m := &s.taken[i]
		var err error
		if s.chunk, err = appendMessage(s.chunk, m); err != nil {
			return nil, err
		}
		if s.p.t.OnSent != nil {
			s.p.t.OnSent(m.Type)
		}
	}
	chunk := s.chunk
	if cap(chunk) > 4*maxChunkBytes {
		s.chunk = nil // a rare giant need not stay
	}
	clear(s.taken)
	return chunk, nil
}

// appendMessage appends a message and, before it, its length.
func appendMessage(b []byte, m *pb.Message) ([]byte, error) {
	size := m.Size()
	b = binary.AppendUvarint(b, uint64(size))
	start := len(b)
	b = slices.Grow(b, size)[:start+size]
	_, err := m.MarshalTo(b[start:])
	return b, err
}

// take moves messages from the queue to s.taken.
func (s *stream) take() {
	p := s.p
	p.mu.Lock()
	lost := p.lost
	p.lost = false
	n, size := 0, 0
	for n < len(p.queue) && size < maxChunkBytes {
		size += weight(&p.queue[n])
		n++
	}
	if n == len(p.queue) {
		s.taken, p.queue = p.queue, s.taken[:0]
		p.bytes = 0
	} else {
		s.taken = append(s.taken[:0], p.queue[:n]...)
		p.queue = slices.Delete(p.queue, 0, n)
		p.bytes -= size
	}
	p.mu.Unlock()
	if lost {
		p.t.Raft.ReportUnreachable(p.id)
	}
}
