// Streams: what is sent arrives, in order, and nobody waits for anybody else.

package rafthttp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// Messages to one peer keep their order and their content.
func TestMessagesKeepTheirOrder(t *testing.T) {
	hosts := newHosts(t, 2)
	const n = 3000
	for i := range uint64(n) {
		m := heartbeat(1, 2, i)
		if i%3 == 0 {
			m = pb.Message{
				Type: pb.MsgApp, From: 1, To: 2, Term: 4, LogTerm: 3, Index: i, Commit: i,
				Entries: []pb.Entry{{Term: 4, Index: i + 1, Data: bytes.Repeat([]byte{byte(i)}, int(i%500))}},
			}
		}
		hosts[0].Send([]pb.Message{m})
		if i%1000 == 999 { // within what a queue holds
			hosts[1].raft.await(t, "messages", func() bool { return len(hosts[1].raft.messages) == int(i)+1 })
		}
	}
	for i, m := range hosts[1].raft.messages {
		if m.Commit != uint64(i) || i%3 == 0 && len(m.Entries[0].Data) != i%500 {
			t.Fatalf("message %d is %v", i, &m)
		}
	}
}

// countingReader counts the reads, each of which is as much as has come.
type countingReader struct {
	io.Reader
	n *atomic.Int64
}

func (c countingReader) Read(b []byte) (int, error) {
	c.n.Add(1)
	return c.Reader.Read(b)
}

// Everything that waits goes out together.
func TestWhatWaitsGoesTogether(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := newHost(t, 1)
	var burst []pb.Message
	for i := range uint64(500) {
		burst = append(burst, heartbeat(1, 2, i))
	}
	h.SetPeer(2, "http://"+l.Addr().String())
	h.Send(burst)

	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var chunks atomic.Int64
	r := bufio.NewReader(countingReader{conn, &chunks})
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	messages := messageReader{r: bufio.NewReader(httputil.NewChunkedReader(r))}
	for i := range burst {
		if m, err := messages.next(); err != nil || m.Commit != uint64(i) {
			t.Fatalf("message %d: %v, %v", i, &m, err)
		}
	}
	// The first few may have left while the others were still being queued.
	if n := chunks.Load(); n > 5 {
		t.Errorf("%d messages came in %d writes", len(burst), n)
	}
}

// A single short POST, from whatever client, is a stream like another.
func TestShortPostIsAStream(t *testing.T) {
	h := newHosts(t, 1)[0]
	resp := post(t, h, nil, encoded(heartbeat(2, 1, 5), heartbeat(2, 1, 6)))
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("answer %s", resp.Status)
	}
	if got := h.raft.messages; len(got) != 2 || got[0].Commit != 5 || got[1].Commit != 6 {
		t.Errorf("received %v", got)
	}
}

// A server that gives each request a limited time gives a stream more, and a snapshot,
// as long as they go on; and both their answers.
func TestStreamOutlivesTheServersLimits(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	for path, messages := range map[string][]byte{
		"/raft":          encoded(heartbeat(2, 1, 1), heartbeat(2, 1, 2)),
		"/raft/snapshot": append(encoded(snapshotTo(2, 1)), content(1000)...),
	} {
		t.Run(path, func(t *testing.T) {
			h := newHost(t, 1)
			h.limit = limit
			h.up(t)
			body, w := io.Pipe()
			go func() {
				for part := range slices.Chunk(messages, len(messages)/3+1) {
					time.Sleep(2 * limit)
					if _, err := w.Write(part); err != nil {
						return // the answer says why
					}
				}
				w.Close()
			}()
			req, err := http.NewRequest(http.MethodPost, h.URL+path, body)
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range headers() {
				req.Header.Set(name, value)
			}
			req.Close = true
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusNoContent {
				t.Errorf("answer %s", resp.Status)
			}
		})
	}
}

// Who takes a stream to its end and does not answer is given up.
func TestAnswerIsNotAwaitedForEver(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	h := newHost(t, 1)
	h.SetPeer(2, "http://"+l.Addr().String())
	h.Send([]pb.Message{heartbeat(1, 2, 1)})
	h.RemovePeer(2) // what waits goes out, and then the stream ends
	h.raft.await(t, "the report", func() bool { return h.raft.lost[2] > 0 })
}

// encoded is messages as they stand in a body.
func encoded(messages ...pb.Message) []byte {
	var b []byte
	for i := range messages {
		data, err := messages[i].Marshal()
		if err != nil {
			panic(err)
		}
		b = append(appendUvarint(b, uint64(len(data))), data...)
	}
	return b
}

func appendUvarint(b []byte, v uint64) []byte {
	for ; v >= 1<<7; v >>= 7 {
		b = append(b, byte(v)|1<<7)
	}
	return append(b, byte(v))
}

// headers are those of a request from member 2 to member 1.
func headers() map[string]string {
	return map[string]string{
		headerCluster: FormatID(testCluster), headerFrom: "2", headerTo: "1", headerIncarnation: FormatID(7),
	}
}

// post sends a body as POST /raft, with some headers changed, and returns the
// answer, read.
func post(t *testing.T, h *host, change map[string]string, body []byte) *http.Response {
	t.Helper()
	return postTo(t, h, "/raft", change, body)
}

func postTo(t *testing.T, h *host, path string, change map[string]string, body []byte) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, h.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers() {
		req.Header.Set(name, value)
	}
	for name, value := range change {
		req.Header.Set(name, value)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := httputil.DumpResponse(resp, true)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp
}

// A peer that takes nothing holds up neither the others nor who sends; what does
// not fit its queue is dropped, Raft is told, and proposals are handed back.
func TestSlowPeerHoldsUpNobody(t *testing.T) {
	hosts := newHosts(t, 3)
	release := make(chan struct{})
	hosts[1].raft.process = func(context.Context, pb.Message) error {
		<-release
		return nil
	}
	defer close(release)

	large := proposal(1, 2, strings.Repeat("x", 1<<20))
	const n = 200 // 200 MiB, of which 64 fit
	began := time.Now()
	for i := range n {
		hosts[0].Send([]pb.Message{large, heartbeat(1, 3, uint64(i))})
	}
	if took := time.Since(began); took > patience/3 {
		t.Errorf("sending took %v", took)
	}
	hosts[0].mu.RLock()
	p := hosts[0].peers[2]
	hosts[0].mu.RUnlock()
	p.mu.Lock()
	bytesQueued, queued := p.bytes, len(p.queue)
	p.mu.Unlock()
	if bytesQueued > maxQueueBytes {
		t.Errorf("%d messages of %d bytes are queued", queued, bytesQueued)
	}
	hosts[2].raft.await(t, "the messages to the other peer", func() bool { return len(hosts[2].raft.messages) == n })
	r := hosts[0].raft
	r.await(t, "proposals to be handed back", func() bool { return len(r.dropped) >= n/2 })
}

// What waits for a peer is bounded in messages and in bytes, whatever was taken or dropped
// before; Raft hears once that some got lost, and a single message is never too large.
func TestQueueIsBounded(t *testing.T) {
	h := newHost(t, 1)
	p := newPeer(h.Transport, 2, "http://nowhere", false)
	s := &stream{p: p}
	waiting := func() (bytes int) {
		for i := range p.queue {
			bytes += weight(&p.queue[i])
		}
		return bytes
	}
	for round := range 3 {
		for name, tt := range map[string]struct {
			m    pb.Message
			sent int
			fit  int
		}{
			"small": {proposal(1, 2, strings.Repeat("x", 1000)), maxQueueMessages + 10, maxQueueMessages},
			"large": {proposal(1, 2, strings.Repeat("x", 1<<20)), 100, maxQueueBytes>>20 - 1},
			"giant": {proposal(1, 2, strings.Repeat("x", maxQueueBytes+1)), 2, 1},
		} {
			h.raft.dropped, h.raft.lost[2] = nil, 0
			for range tt.sent {
				p.enqueue(&tt.m)
			}
			if fit := len(p.queue); fit != tt.fit || len(h.raft.dropped) != tt.sent-fit {
				t.Fatalf("%s, round %d: %d of %d fit, want %d; %d handed back", name, round, fit, tt.sent, tt.fit, len(h.raft.dropped))
			}
			taken := 0
			for s.take(); len(s.taken) > 0; s.take() {
				taken += len(s.taken)
				size := 0
				for i := range s.taken[:len(s.taken)-1] {
					size += weight(&s.taken[i])
				}
				if size > maxChunkBytes {
					t.Fatalf("%s: a chunk of %d bytes, and a message", name, size)
				}
				if p.bytes != waiting() {
					t.Fatalf("%s, round %d: %d bytes wait, by its count %d", name, round, waiting(), p.bytes)
				}
				if round == 1 && taken > 1 {
					p.dropQueue()
					if p.bytes != 0 {
						t.Fatalf("%s: %d bytes wait when all was dropped", name, p.bytes)
					}
					break
				}
			}
			if round != 1 && taken != tt.fit || h.raft.lost[2] != 1 {
				t.Errorf("%s, round %d: %d taken; Raft was told %d times of loss", name, round, taken, h.raft.lost[2])
			}
		}
	}
}

// A write that nobody takes has its time, like all that a peer may hold up.
func TestWriteThatHangsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := &deadlineConn{Conn: ours}
		c.open, c.end = context.WithCancelCause(t.Context())
		defer c.Close()
		began := time.Now()
		if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d bytes: %v", n, err)
		}
		if took := time.Since(began); took != writeTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

// The length of a message is only a claim: memory is taken for what has come.
func TestALengthIsOnlyAClaim(t *testing.T) {
	beyond := messageReader{r: bufio.NewReader(bytes.NewReader(appendUvarint(nil, maxMessageBytes+1)))}
	if _, err := beyond.next(); !errors.Is(err, errMessage) {
		t.Errorf("a message that is too large: %v", err)
	}
	body := append(appendUvarint(nil, maxMessageBytes), make([]byte, 100<<10)...)
	mr := &messageReader{r: bufio.NewReader(bytes.NewReader(body))}
	if _, err := mr.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a message that is cut off: %v", err)
	}
	if size := cap(mr.buf); size > 4*maxChunkBytes {
		t.Errorf("%d bytes for %d", size, len(body))
	}
}

// A dead peer is reported to Raft, once in the log, and reached again soon after
// it has come back, which is in the log once, too.
func TestDeadPeerComesBack(t *testing.T) {
	a, b := newHost(t, 1), newHost(t, 2)
	a.up(t)
	a.SetPeer(2, b.URL)

	a.Send([]pb.Message{proposal(1, 2, "lost")})
	a.raft.await(t, "the report", func() bool { return a.raft.lost[2] > 0 && len(a.raft.dropped) == 1 })
	for i := range 5 { // some more attempts
		before := 0
		a.raft.await(t, "another report", func() bool {
			if before == 0 {
				before = a.raft.lost[2]
				go a.Send([]pb.Message{heartbeat(1, 2, uint64(i))})
			}
			return a.raft.lost[2] > before
		})
	}
	if n := a.log.count("peer unreachable"); n != 1 {
		t.Errorf("%d lines say that the peer is unreachable: %q", n, a.log.lines)
	}
	if a.Reachable()[2] {
		t.Error("a dead peer is reachable")
	}

	b.up(t)
	came := time.Now()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // as Raft does
		for i := uint64(100); ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				a.Send([]pb.Message{heartbeat(1, 2, i)})
			}
		}
	}()
	b.raft.await(t, "a message", func() bool { return len(b.raft.messages) > 0 })
	if took := time.Since(came); took > 2*maxBackoff+time.Second {
		t.Errorf("it was reached after %v", took)
	}
	eventually(t, "the peer is reachable", func() bool { return a.Reachable()[2] })
	if n := a.log.count("peer reachable again"); n != 1 {
		t.Errorf("%d lines say that the peer is back", n)
	}
}

// A peer that restarts under the same address is reached without an error that
// lasts.
func TestRestartedPeerIsReached(t *testing.T) {
	hosts := newHosts(t, 2)
	hosts[0].Send([]pb.Message{heartbeat(1, 2, 1)})
	hosts[1].raft.await(t, "a message", func() bool { return len(hosts[1].raft.messages) == 1 })
	hosts[1].down(t)
	hosts[1].up(t)
	sent := uint64(1)
	eventually(t, "a message after the restart", func() bool {
		sent++
		hosts[0].Send([]pb.Message{heartbeat(1, 2, sent)})
		hosts[1].raft.mu.Lock()
		defer hosts[1].raft.mu.Unlock()
		return len(hosts[1].raft.messages) > 1
	})
}

// A peer that ends while nothing is sent to it is noticed at once: the first message
// after its restart, a request for a vote perhaps, is not lost. The log says what
// happened, not what we did about it.
func TestFirstMessageAfterARestart(t *testing.T) {
	hosts := newHosts(t, 2)
	hosts[0].Send([]pb.Message{heartbeat(1, 2, 1)})
	hosts[1].raft.await(t, "a message", func() bool { return len(hosts[1].raft.messages) == 1 })
	for n := 1; n <= 3; n++ {
		hosts[1].down(t)
		down := time.Now()
		hosts[0].raft.await(t, "the end of the stream", func() bool { return hosts[0].raft.lost[2] == n })
		if took := time.Since(down); took > idleTimeout/2 { // which ends the stream anyway
			t.Fatalf("noticed after %v", took)
		}
		hosts[1].up(t)
		hosts[0].Send([]pb.Message{heartbeat(1, 2, uint64(n+1))})
		hosts[1].raft.await(t, "the first message", func() bool { return len(hosts[1].raft.messages) == n+1 })
	}
	if n := hosts[0].log.count("context canceled"); n != 0 {
		t.Errorf("%d lines give no reason: %q", n, hosts[0].log.lines)
	}
}

// However long a peer was away, it is tried so often that it is reached well within an
// election timeout.
func TestAPeerThatIsAwayIsTriedOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		tr := New(Config{
			ID: 1, Cluster: testCluster, Raft: newNotes(), Logger: slog.New(slog.DiscardHandler),
			Dial: func(context.Context, string, string) (net.Conn, error) {
				tries = append(tries, time.Now())
				return nil, errors.New("nobody is there")
			},
		})
		tr.SetPeer(2, "http://away")
		const away = 2 * time.Minute
		for n := range uint64(away / (100 * time.Millisecond)) {
			tr.Send([]pb.Message{heartbeat(1, 2, n)})
			time.Sleep(100 * time.Millisecond)
		}
		tr.Stop()
		for i, at := range tries[1:] {
			if pause := at.Sub(tries[i]); pause > maxBackoff+100*time.Millisecond {
				t.Fatalf("try %d came after %v", i+1, pause)
			}
		}
		if n := len(tries); n < int(away/(maxBackoff+100*time.Millisecond)) || n > int(away/maxBackoff)+5 { // the first come sooner
			t.Errorf("%d tries in %v", n, away)
		}
	})
}

// openStream opens a stream to a host and sends it the heartbeat n, its n-th message. It
// returns what ends the stream, and where the answer's status comes, 0 if there is none.
func openStream(t *testing.T, h *host, n uint64) (end func(), answer chan int) {
	t.Helper()
	body, w := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, h.URL+"/raft", body)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers() {
		req.Header.Set(name, value)
	}
	answer = make(chan int, 1)
	client := &http.Client{Transport: &http.Transport{}}
	go func() {
		resp, err := client.Do(req)
		if err != nil {
			answer <- 0
			return
		}
		resp.Body.Close()
		answer <- resp.StatusCode
	}()
	if _, err := w.Write(encoded(heartbeat(2, 1, n))); err != nil {
		t.Fatal(err)
	}
	h.raft.await(t, "the message", func() bool { return len(h.raft.messages) == int(n) })
	return func() {
		w.Close()
		client.CloseIdleConnections()
	}, answer
}

// A transport that stops ends the streams that come in, though their senders would go on.
func TestStopEndsStreamsThatComeIn(t *testing.T) {
	h := newHosts(t, 1)[0]
	end, answer := openStream(t, h, 1)
	defer end()
	h.Stop()
	select {
	case status := <-answer:
		if status != http.StatusServiceUnavailable {
			t.Errorf("answer %d", status)
		}
	case <-time.After(patience):
		t.Error("the stream goes on")
	}
}

// A second stream of a sender ends the first, which is dead or would not have a
// successor.
func TestNewStreamReplacesTheOld(t *testing.T) {
	h := newHosts(t, 1)[0]
	end, old := openStream(t, h, 1)
	for n := uint64(2); n <= 4; n++ {
		defer end()
		var latest chan int
		end, latest = openStream(t, h, n)
		select {
		case status := <-old:
			if status == http.StatusNoContent {
				t.Errorf("stream %d was ended with 204", n-1)
			}
		case <-time.After(patience):
			t.Fatalf("stream %d goes on", n-1)
		}
		old = latest
	}
	end()
	if status := <-old; status != http.StatusNoContent {
		t.Errorf("the newest stream ended with %d", status)
	}
}

// A sender that no configuration names yet is answered at the address it gives;
// what the configuration says comes first; there are not many of them.
func TestStrangersAreAnswered(t *testing.T) {
	a, b, c := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	for _, h := range []*host{a, b, c} {
		h.up(t)
	}
	b.SetPeer(1, a.URL)
	b.Send([]pb.Message{heartbeat(2, 1, 1)})
	a.raft.await(t, "a stranger's message", func() bool { return len(a.raft.messages) == 1 })
	a.Send([]pb.Message{heartbeat(1, 2, 2)})
	b.raft.await(t, "the answer", func() bool { return len(b.raft.messages) == 1 })

	a.SetPeer(2, c.URL)
	a.Send([]pb.Message{heartbeat(1, 2, 3)})
	b.Send([]pb.Message{heartbeat(2, 1, 4)}) // names the old address again
	a.raft.await(t, "another message", func() bool { return len(a.raft.messages) == 2 })
	if url := peerURL(a, 2); url != c.URL {
		t.Errorf("the address went back to %s", url)
	}

	post(t, a, map[string]string{headerFrom: "9", headerFromURL: ""}, encoded(heartbeat(9, 1, 9)))
	a.mu.RLock()
	if a.peers[9] != nil {
		t.Error("one that cannot be answered is kept")
	}
	a.mu.RUnlock()
	for id := uint64(10); id < 10+2*maxStrangers; id++ {
		m := heartbeat(id, 1, id)
		post(t, a, map[string]string{headerFrom: fmt.Sprint(id), headerFromURL: c.URL}, encoded(m))
	}
	a.mu.RLock()
	n := len(a.peers)
	a.mu.RUnlock()
	if n > maxStrangers+1 {
		t.Errorf("%d peers are kept", n)
	}
	a.SetPeer(10, c.URL) // no stranger any more: that makes room for another
	post(t, a, map[string]string{headerFrom: "1000", headerFromURL: c.URL}, encoded(heartbeat(1000, 1, 1)))
	a.mu.RLock()
	if a.peers[1000] == nil {
		t.Error("one that has become a member counts as a stranger")
	}
	a.mu.RUnlock()
	b.raft.mu.Lock()
	defer b.raft.mu.Unlock()
	if n := len(b.raft.messages); n != 1 {
		t.Errorf("the old address got %d messages", n)
	}
}

func peerURL(h *host, id uint64) string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.peers[id].url
}

// Messages to nobody, or to who was removed, are dropped as such.
func TestMessagesToNobodyAreDropped(t *testing.T) {
	hosts := newHosts(t, 2)
	hosts[0].RemovePeer(2)
	hosts[0].Send([]pb.Message{heartbeat(1, 2, 1), proposal(1, 2, "p"), snapshotTo(1, 2), proposal(1, 77, "q")})
	r := hosts[0].raft
	r.await(t, "proposals to be handed back", func() bool { return len(r.dropped) == 2 })
	r.await(t, "the snapshot to be reported", func() bool { return len(r.reports[2]) == 1 && !r.reports[2][0] })
}

// Stop sends what waits, if it can at once, and ends soon, whatever peers do.
func TestStopFlushesAndEnds(t *testing.T) {
	hosts := newHosts(t, 3)
	block := make(chan struct{})
	hosts[2].raft.process = func(context.Context, pb.Message) error {
		<-block
		return nil
	}
	defer close(block)
	hosts[0].Send([]pb.Message{heartbeat(1, 2, 0), heartbeat(1, 3, 0)})
	hosts[1].raft.await(t, "the stream", func() bool { return len(hosts[1].raft.messages) == 1 })
	for i := range uint64(200) {
		hosts[0].Send([]pb.Message{heartbeat(1, 2, i+1), heartbeat(1, 3, i+1)})
	}
	began := time.Now()
	hosts[0].Stop()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Stop took %v", took)
	}
	hosts[1].raft.await(t, "all that waited", func() bool { return len(hosts[1].raft.messages) == 201 })
	hosts[0].Send([]pb.Message{proposal(1, 2, "after the end")})
	r := hosts[0].raft
	r.await(t, "what comes too late to be handed back", func() bool { return len(r.dropped) == 1 })
	hosts[0].SetPeer(9, hosts[1].URL)
	hosts[0].Stop()
}

// GET /raft/status answers with the node's status.
func TestStatusIsFetched(t *testing.T) {
	hosts := newHosts(t, 2)
	body, err := hosts[0].FetchStatus(t.Context(), hosts[1].URL)
	if err != nil || strings.TrimSpace(string(body)) != `{"term":7}` {
		t.Errorf("status %s, %v", body, err)
	}
	if _, err := hosts[0].FetchStatus(t.Context(), hosts[1].URL+"/elsewhere"); err == nil {
		t.Error("a status from nowhere")
	}
}
