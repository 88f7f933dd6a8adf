// The receiving side: who may speak, and taking a stream apart.
//
// Start at Handler, then serveStream.

package rafthttp

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// Handler returns what serves the peer URL.
func (t *Transport) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /raft", t.serveStream)
	mux.HandleFunc("POST /raft/snapshot", t.serveSnapshot)
	mux.HandleFunc("GET /raft/status", t.serveStatus)
	return mux
}

func (t *Transport) serveStatus(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(t.Raft.Status())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	setAnswerDeadline(w)
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(append(body, '\n')); err != nil {
		t.Logger.Debug("status not sent", "node", t.ID, "err", err)
	}
}

// inbound is an open stream from a sender.
type inbound struct {
	control *http.ResponseController

	mu    sync.Mutex
	ended bool // nothing more is to be read
}

// end makes the stream's reads fail, the one under way too.
func (in *inbound) end() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	if err := in.control.SetReadDeadline(time.Now()); err != nil {
		return // it has ended by itself
	}
}

// extend gives reads until deadline, unless the stream was ended.
func (in *inbound) extend(deadline time.Time) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return os.ErrDeadlineExceeded
	}
	return in.control.SetReadDeadline(deadline)
}

// serveStream steps each message of a POST as it arrives, and answers at the
// end: 204 if all were taken.
func (t *Transport) serveStream(w http.ResponseWriter, req *http.Request) {
	from, ok := t.admit(w, req)
	if !ok {
		return
	}
	in := &inbound{control: http.NewResponseController(w)}
	if !t.enter(from, in) {
		end(w, "shutting down", http.StatusServiceUnavailable)
		return
	}
	defer t.leave(from, in)
	if _, ok := t.admit(w, req); !ok { // again: if it was removed meanwhile, there was no stream to end
		return
	}

	err := t.stepAll(req, from, in)
	switch {
	case err == nil:
		taken(w)
	case errors.Is(err, errMessage):
		t.logRefusal(req, err)
		end(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, io.ErrUnexpectedEOF):
		// The connection broke, mostly, and nobody is there to read this.
		t.Logger.Debug("stream cut off", "node", t.ID, "peer", from)
		end(w, "the last message is cut off", http.StatusBadRequest)
	default:
		// This node stops, or the stream was idle or replaced by another.
		t.Logger.Debug("stream ended", "node", t.ID, "peer", from, "err", err)
		end(w, "the stream ends here", http.StatusServiceUnavailable)
	}
}

// enter registers a stream, in place of an older one of the same sender: that
// one is dead, or it would not have begun another.
func (t *Transport) enter(from uint64, in *inbound) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	if old := t.inbound[from]; old != nil {
		old.end()
	}
	t.inbound[from] = in
	return true
}

func (t *Transport) leave(from uint64, in *inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inbound[from] == in {
		delete(t.inbound, from)
	}
}

// errMessage is wrapped by what is wrong with a message.
var errMessage = errors.New("refused message")

// stepAll steps the messages in a request's body.
func (t *Transport) stepAll(req *http.Request, from uint64, in *inbound) error {
	messages := messageReader{r: bufio.NewReaderSize(req.Body, 64<<10)}
	var deadline time.Time
	for {
		// Renewing the deadline for each message would cost more than the message.
		if now := time.Now(); deadline.Sub(now) < readTimeout-time.Second {
			deadline = now.Add(readTimeout)
			if err := in.extend(deadline); err != nil {
				return err
			}
		}
		m, err := messages.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := check(&m, from, t.ID); err != nil {
			return fmt.Errorf("%w: %w", errMessage, err)
		}
		if m.Type == pb.MsgSnap {
			return fmt.Errorf("%w: a snapshot goes to /raft/snapshot", errMessage)
		}
		if t.OnReceived != nil {
			t.OnReceived(m.Type)
		}
		if err := t.Raft.Process(req.Context(), m); err != nil {
			return err
		}
	}
}

// messageReader reads messages, each after its length.
type messageReader struct {
	r   *bufio.Reader
	buf []byte
}

// next returns the next message, or io.EOF where the body properly ends.
func (mr *messageReader) next() (pb.Message, error) {
	size, err := binary.ReadUvarint(mr.r)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isNetError(err) {
			return pb.Message{}, err
		}
		return pb.Message{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	if size > maxMessageBytes {
		return pb.Message{}, fmt.Errorf("%w: %d bytes are more than %d", errMessage, size, maxMessageBytes)
	}
	if err := mr.fill(int(size)); err != nil {
		return pb.Message{}, err
	}
	var m pb.Message
	if err := m.Unmarshal(mr.buf); err != nil { // copies what it keeps
		return pb.Message{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	if cap(mr.buf) > 4*maxChunkBytes {
		mr.buf = nil // a rare giant need not stay
	}
	return m, nil
}

// fill reads size bytes. A length is only a claim: the buffer grows as the
// bytes come.
func (mr *messageReader) fill(size int) error {
	mr.buf = mr.buf[:0]
	for len(mr.buf) < size {
		have := len(mr.buf)
		step := min(size-have, maxChunkBytes)
		if cap(mr.buf) < have+step {
			mr.buf = append(make([]byte, 0, max(have+step, min(size, 2*cap(mr.buf)))), mr.buf...)
		}
		mr.buf = mr.buf[:have+step]
		if _, err := io.ReadFull(mr.r, mr.buf[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

func isNetError(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout)
}

// Admit checks a request that another handler serves as those of a Transport are
// checked: by the headers that Sign sets it must come from a member of our cluster and
// mean us. It answers the request if not. They prove nothing: who may connect at all is
// for TLS to say.
func (t *Transport) Admit(w http.ResponseWriter, req *http.Request) bool {
	_, ok := t.admit(w, req)
	return ok
}

// admit checks who sends a request: it must be of our cluster and mean us, and
// Raft must know of nothing against the sender. It answers the request if not.
func (t *Transport) admit(w http.ResponseWriter, req *http.Request) (from uint64, ok bool) {
	// Without this net/http holds an answer back until the request has ended, and
	// a stream that is refused would go on as if it were not.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return 0, false
	}
	from, err := t.identify(req)
	if err == nil {
		t.meetStranger(from, req.Header.Get(headerFromURL))
		return from, true
	}
	status := http.StatusForbidden
	var malformed *strconv.NumError
	switch {
	case errors.Is(err, ErrRemoved):
		t.RemovePeer(from) // if it was met just when it was removed
		status = http.StatusGone
	case errors.Is(err, ErrReplaced):
		w.Header().Set(headerRefused, "incarnation")
	case errors.As(err, &malformed):
		status = http.StatusBadRequest
	}
	t.logRefusal(req, err)
	end(w, err.Error(), status)
	return 0, false
}

// taken answers a request all of whose messages were taken.
func taken(w http.ResponseWriter) {
	setAnswerDeadline(w)
	w.WriteHeader(http.StatusNoContent)
}

// end answers a request whose body may go on, and ends the connection with it.
func end(w http.ResponseWriter, reason string, status int) {
	setAnswerDeadline(w)
	w.Header().Set("Connection", "close")
	http.Error(w, reason, status)
}

// setAnswerDeadline gives an answer its time. The server's own limit counts from the
// beginning of a request, which may be long ago.
func setAnswerDeadline(w http.ResponseWriter) {
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return // the connection has ended
	}
}

func (t *Transport) identify(req *http.Request) (from uint64, err error) {
	number := func(header string, base int) uint64 {
		v, e := strconv.ParseUint(req.Header.Get(header), base, 64)
		if e != nil && err == nil {
			err = fmt.Errorf("header %s: %w", header, e)
		}
		return v
	}
	cluster, incarnation := number(headerCluster, 16), number(headerIncarnation, 16)
	from, to := number(headerFrom, 10), number(headerTo, 10)
	switch {
	case err != nil:
		return 0, err
	case cluster != t.Cluster:
		return 0, fmt.Errorf("member %d of cluster %s spoke to member %d of cluster %s",
			from, FormatID(cluster), t.ID, FormatID(t.Cluster))
	case to != t.ID:
		return 0, fmt.Errorf("member %d spoke to member %d, but this is member %d", from, to, t.ID)
	case from == t.ID || from == 0:
		return 0, fmt.Errorf("member %d was spoken to by %d, in its own name or no one's", t.ID, from)
	}
	return from, t.Raft.CheckPeer(from, incarnation)
}

// maxRefusals is how many different refusals are logged.
const maxRefusals = 1000

// logRefusal logs why a sender was refused, once for each sender and reason. Both may be
// made up, without end and at any length: so neither the log nor what is remembered of
// it grows beyond a bound.
func (t *Transport) logRefusal(req *http.Request, err error) {
	reason := err.Error()
	if len(reason) > 300 {
		reason = reason[:300] + "..."
	}
	key := fmt.Sprintf("%.20s %s", req.Header.Get(headerFrom), reason)
	t.mu.Lock()
	told := t.refused[key] || len(t.refused) == maxRefusals
	if !told {
		t.refused[key] = true
	}
	last := len(t.refused) == maxRefusals
	t.mu.Unlock()
	if !told {
		t.Logger.Warn("refused a peer", "node", t.ID, "from", req.RemoteAddr, "err", reason)
		if last {
			t.Logger.Warn("no more refusals are logged", "node", t.ID)
		}
	}
}
