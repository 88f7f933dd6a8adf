// Who and what is refused: other clusters, removed members, garbage.

package rafthttp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// Each mistake in who speaks to whom has its status, and nothing is stepped.
func TestWrongSpeakersAreRefused(t *testing.T) {
	h := newHosts(t, 1)[0]
	h.raft.check = func(from, incarnation uint64) error {
		switch {
		case from == 5:
			return fmt.Errorf("member 5 was %w", ErrRemoved)
		case incarnation == 666:
			return errors.New("member 2 has lost its data")
		}
		return nil
	}
	for _, tt := range []struct {
		name   string
		change map[string]string
		status int
		reason string
	}{
		{"another cluster", map[string]string{headerCluster: FormatID(9)}, 403, FormatID(9)},
		{"no cluster", map[string]string{headerCluster: ""}, 400, headerCluster},
		{"a cluster that is no number", map[string]string{headerCluster: "xyz"}, 400, headerCluster},
		{"another recipient", map[string]string{headerTo: "3"}, 403, "spoke to member 3, but this is member 1"},
		{"no recipient", map[string]string{headerTo: ""}, 400, headerTo},
		{"our own name", map[string]string{headerFrom: "1"}, 403, "own name"},
		{"no one's name", map[string]string{headerFrom: "0"}, 403, "no one"},
		{"a name that is no number", map[string]string{headerFrom: "-1"}, 400, headerFrom},
		{"a removed member", map[string]string{headerFrom: "5"}, 410, "removed"},
		{"another incarnation", map[string]string{headerIncarnation: FormatID(666)}, 403, "lost its data"},
		{"no incarnation", map[string]string{headerIncarnation: ""}, 400, headerIncarnation},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{"/raft", "/raft/snapshot"} {
				resp := postTo(t, h, path, tt.change, encoded(heartbeat(2, 1, 1)))
				text, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(text), tt.reason) {
					t.Errorf("%s: answer %s\n%s", path, resp.Status, text)
				}
			}
			if n := len(h.raft.messages); n > 0 {
				t.Errorf("%d messages were stepped", n)
			}
			if n := len(h.peers); n > 0 {
				t.Errorf("%d peers are kept", n)
			}
		})
	}
	before := len(h.log.lines)
	post(t, h, map[string]string{headerTo: "3"}, nil)
	if n := len(h.log.lines); n != before {
		t.Errorf("the same refusal is logged again: %q", h.log.lines[before:])
	}
}

// Who makes up senders and reasons fills neither the log nor the memory.
func TestRefusalsAreLoggedUpToABound(t *testing.T) {
	h := newHost(t, 1)
	long := strings.Repeat("x", 100<<10)
	for i := range 2 * maxRefusals {
		req := &http.Request{Header: http.Header{headerFrom: {fmt.Sprint(i, long)}}}
		h.logRefusal(req, fmt.Errorf("reason %d %s", i, long))
	}
	if n := h.log.count("refused a peer"); n != maxRefusals {
		t.Errorf("%d lines", n)
	}
	size := 0
	for key := range h.refused {
		size += len(key)
	}
	for _, line := range h.log.lines {
		size += len(line)
	}
	if size > 1<<20 {
		t.Errorf("%d bytes in all", size)
	}
}

// A sender that is refused says so once in its log, with the reason and the status
// it got, keeps trying, and hands its proposals back.
func TestRefusedSenderSaysWhyOnce(t *testing.T) {
	for _, tt := range []struct {
		reason error
		status string
	}{
		{fmt.Errorf("member 1 was %w", ErrRemoved), "410 Gone"},
		{errors.New("wrong incarnation"), "403 Forbidden"},
	} {
		t.Run(tt.status, func(t *testing.T) {
			hosts := newHosts(t, 2)
			hosts[1].raft.check = func(uint64, uint64) error { return tt.reason }
			r := hosts[0].raft
			began := time.Now()
			for i := range 4 {
				hosts[0].Send([]pb.Message{heartbeat(1, 2, uint64(i))})
				r.await(t, "the report", func() bool { return r.lost[2] > i })
			}
			if took := time.Since(began); took > patience/3 {
				t.Errorf("it took %v: the answers came late", took)
			}
			if hosts[0].Reachable()[2] {
				t.Error("who refuses us is reachable")
			}
			if n := hosts[0].log.count(tt.status); n != 1 || hosts[0].log.count(tt.reason.Error()) != 1 {
				t.Errorf("%d lines say so: %q", n, hosts[0].log.lines)
			}
		})
	}
}

// A member that is removed while its stream is open hears of it, though it has always
// something to send: a request for a vote, say, as nobody speaks to it any more.
func TestRemovedSenderHearsSo(t *testing.T) {
	hosts := newHosts(t, 2)
	var removed atomic.Bool
	hosts[0].raft.check = func(uint64, uint64) error {
		if removed.Load() {
			return fmt.Errorf("member 2 was %w", ErrRemoved)
		}
		return nil
	}
	hosts[1].Send([]pb.Message{heartbeat(2, 1, 1)})
	hosts[0].raft.await(t, "its stream", func() bool { return len(hosts[0].raft.messages) == 1 })
	removed.Store(true)
	hosts[0].RemovePeer(2)
	r := hosts[1].raft
	eventually(t, "it hears that it was removed", func() bool {
		hosts[1].Send([]pb.Message{heartbeat(2, 1, 2)})
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.removedBy) > 0 && r.removedBy[0] == 1
	})
}

// So does one that is removed just when its stream begins.
func TestRemovedWhileItsStreamBegins(t *testing.T) {
	h := newHosts(t, 1)[0]
	asked := 0
	h.raft.check = func(uint64, uint64) error {
		if asked++; asked > 1 {
			return fmt.Errorf("member 2 was %w", ErrRemoved)
		}
		h.RemovePeer(2)
		return nil
	}
	from := map[string]string{headerFromURL: "http://127.0.0.1:1"}
	if resp := post(t, h, from, encoded(heartbeat(2, 1, 1))); resp.StatusCode != http.StatusGone || len(h.raft.messages) > 0 {
		t.Errorf("answer %s, %d messages were stepped", resp.Status, len(h.raft.messages))
	}
	if peers := h.Reachable(); len(peers) > 0 {
		t.Errorf("it is still tried: %v", peers)
	}
}

// Messages that no peer can have sent are refused with 400, and what came before
// them counts. The node serves on.
func TestGarbageIsRefused(t *testing.T) {
	h := newHosts(t, 1)[0]
	good := encoded(heartbeat(2, 1, 1))
	with := func(m pb.Message) []byte { return append(bytes.Clone(good), encoded(m)...) }
	for _, tt := range []struct {
		name string
		body []byte
	}{
		{"random bytes", append(bytes.Clone(good), "GET / HTTP/1.1\r\n\r\n"...)},
		{"a length without a message", append(bytes.Clone(good), 5)},
		{"half a length", append(bytes.Clone(good), 0x80)},
		{"a length beyond 64 bits", append(bytes.Clone(good), bytes.Repeat([]byte{0xff}, 11)...)},
		{"a message beyond the limit", appendUvarint(bytes.Clone(good), maxMessageBytes+1)},
		{"an enormous length", appendUvarint(bytes.Clone(good), math.MaxUint64)},
		{"bytes that are no message", append(bytes.Clone(good), 3, 0xff, 0xff, 0xff)},
		{"a snapshot in the stream", with(snapshotTo(2, 1))},
		{"another sender", with(heartbeat(3, 1, 1))},
		{"another recipient", with(heartbeat(2, 3, 1))},
		{"a local message", with(pb.Message{Type: pb.MsgHup, From: 2, To: 1, Term: 1})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(h.raft.messages)
			if resp := post(t, h, nil, tt.body); resp.StatusCode != http.StatusBadRequest {
				t.Errorf("answer %s", resp.Status)
			}
			if n := len(h.raft.messages) - before; n != 1 {
				t.Errorf("%d messages were stepped, not 1", n)
			}
		})
	}
	if resp := post(t, h, nil, good); resp.StatusCode != http.StatusNoContent {
		t.Errorf("afterwards a good one gets %s", resp.Status)
	}
}

// An error of Raft's own ends the stream with 503: it is no fault of the message.
func TestRaftThatStopsEndsTheStream(t *testing.T) {
	h := newHosts(t, 1)[0]
	h.raft.process = func(context.Context, pb.Message) error { return errors.New("stopped") }
	if resp := post(t, h, nil, encoded(heartbeat(2, 1, 1))); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answer %s", resp.Status)
	}
}

// Bytes that are not even HTTP, other methods and other paths do no harm.
func TestGarbageOnThePort(t *testing.T) {
	h := newHosts(t, 1)[0]
	for _, garbage := range []string{"\x16\x03\x01 hello", "\r\n\r\n\r\n", "POST /raft HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"} {
		conn, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, garbage); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil { // or the server would wait for more
			t.Logf("%q: %v", garbage, err) // it has hung up already
		}
		if _, err := io.Copy(io.Discard, bufio.NewReader(conn)); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("%q: %v", garbage, err) // reset or closed: either will do
		}
		conn.Close()
	}
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/raft", 405}, {http.MethodPost, "/raft/status", 405}, {http.MethodGet, "/", 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, h.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s: %s", tt.method, tt.path, resp.Status)
		}
	}
	if resp := post(t, h, nil, encoded(heartbeat(2, 1, 1))); resp.StatusCode != http.StatusNoContent {
		t.Errorf("afterwards a good one gets %s", resp.Status)
	}
}

// The table of what a message must be like.
func TestCheck(t *testing.T) {
	entry := func(term, index uint64) pb.Entry { return pb.Entry{Term: term, Index: index} }
	appendOf := func(entries ...pb.Entry) pb.Message {
		return pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 5, LogTerm: 3, Index: 7, Entries: entries}
	}
	of := func(typ pb.MessageType) pb.Message { return pb.Message{Type: typ, From: 2, To: 1, Term: 5} }
	with := func(m pb.Message, change func(m *pb.Message)) pb.Message {
		change(&m)
		return m
	}
	for _, tt := range []struct {
		name string
		m    pb.Message
		ok   bool
	}{
		{"an empty append", appendOf(), true},
		{"an append", appendOf(entry(3, 8), entry(4, 9), entry(5, 10)), true},
		{"a gap", appendOf(entry(3, 8), entry(3, 10)), false},
		{"a gap at the start", appendOf(entry(3, 9)), false},
		{"a term that falls", appendOf(entry(4, 8), entry(3, 9)), false},
		{"a term below the entry before", appendOf(entry(2, 8)), false},
		{"a term beyond the sender's", appendOf(entry(6, 8)), false},
		{"an entry before of a later term", with(appendOf(), func(m *pb.Message) { m.LogTerm = 6 }), false},
		{"an append without a term", with(appendOf(), func(m *pb.Message) { m.Term, m.LogTerm = 0, 0 }), false},
		{"indexes that overflow", with(appendOf(entry(3, 0)), func(m *pb.Message) { m.Index = math.MaxUint64 }), true},

		{"a proposal", pb.Message{Type: pb.MsgProp, From: 2, To: 1, Entries: []pb.Entry{{}}}, true},
		{"a proposal passed on", pb.Message{Type: pb.MsgProp, From: 3, To: 1, Entries: []pb.Entry{{}}}, true},
		{"an empty proposal", pb.Message{Type: pb.MsgProp, From: 2, To: 1}, false},
		{"a read", pb.Message{Type: pb.MsgReadIndex, From: 3, To: 1, Entries: []pb.Entry{{}}}, true},
		{"a read without context", pb.Message{Type: pb.MsgReadIndex, From: 2, To: 1}, false},
		{"a read with two contexts", pb.Message{Type: pb.MsgReadIndex, From: 2, To: 1, Entries: make([]pb.Entry, 2)}, false},
		{"an answer to a read", with(of(pb.MsgReadIndexResp), func(m *pb.Message) { m.Entries = make([]pb.Entry, 1) }), true},
		{"an answer to no read", of(pb.MsgReadIndexResp), false},

		{"a vote", of(pb.MsgVote), true},
		{"a vote with entries", with(of(pb.MsgVote), func(m *pb.Message) { m.Entries = make([]pb.Entry, 1) }), false},
		{"a vote of a longer log", with(of(pb.MsgVote), func(m *pb.Message) { m.LogTerm = 4 }), true},
		{"a vote whose term has begun", with(of(pb.MsgVote), func(m *pb.Message) { m.LogTerm = 5 }), false},
		{"a poll whose term has begun", with(of(pb.MsgPreVote), func(m *pb.Message) { m.LogTerm = 6 }), false},
		{"a vote without a term", with(of(pb.MsgVote), func(m *pb.Message) { m.Term = 0 }), false},
		{"a transfer of another", with(of(pb.MsgTransferLeader), func(m *pb.Message) { m.From = 3 }), true},
		{"a vote of another", with(of(pb.MsgVote), func(m *pb.Message) { m.From = 3 }), false},
		{"a vote for another", with(of(pb.MsgVote), func(m *pb.Message) { m.To = 3 }), false},
		{"a vote with responses", with(of(pb.MsgVote), func(m *pb.Message) { m.Responses = make([]pb.Message, 1) }), false},
		{"a vote with a snapshot", with(of(pb.MsgVote), func(m *pb.Message) { m.Snapshot = &pb.Snapshot{} }), false},

		{"a snapshot", snapshotTo(2, 1), true},
		{"a snapshot of nothing", with(snapshotTo(2, 1), func(m *pb.Message) { m.Snapshot = nil }), false},
		{"an empty snapshot", with(snapshotTo(2, 1), func(m *pb.Message) { m.Snapshot = &pb.Snapshot{} }), false},
		{"a snapshot of a later term", with(snapshotTo(2, 1), func(m *pb.Message) { m.Snapshot.Metadata.Term = m.Term + 1 }), false},
		{"a snapshot without a term", with(snapshotTo(2, 1), func(m *pb.Message) { m.Term = 0 }), false},

		{"a type of our own threads", of(pb.MsgStorageAppendResp), false},
		{"a type for ourselves", of(pb.MsgHup), false},
		{"a type that only we may report", of(pb.MsgUnreachable), false},
		{"a type that nobody knows", of(99), false},
	} {
		if err := check(&tt.m, 2, 1); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Any bytes are an error, the end, or a message that was checked; never a panic.
func FuzzStream(f *testing.F) {
	f.Add(encoded(heartbeat(2, 1, 1), proposal(2, 1, "data")))
	f.Add(encoded(snapshotTo(2, 1)))
	f.Add(encoded(pb.Message{Type: pb.MsgApp, From: 2, To: 1, Term: 2, Entries: []pb.Entry{{Term: 1, Index: 1, Data: []byte("x")}}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		messages := messageReader{r: bufio.NewReader(bytes.NewReader(data))}
		for range len(data) + 1 {
			m, err := messages.next()
			if err != nil {
				return
			}
			if check(&m, 2, 1) != nil {
				continue
			}
			if m.To != 1 || len(m.Responses) > 0 || m.Type == pb.MsgApp && m.Term == 0 {
				t.Fatalf("%+v was let through", m)
			}
		}
		t.Fatal("there are more messages than bytes")
	})
}

// What is wrong with a certificate is said, whatever was wrong before; other failures of a
// connection are the same news.
func TestNewsOfCertificates(t *testing.T) {
	refused := errors.New("dial tcp: connection refused")
	certificate := fmt.Errorf("post: %w", &tls.CertificateVerificationError{Err: errors.New("x509: not for you")})
	expired := func(now string) error {
		return &tls.CertificateVerificationError{Err: errors.New("x509: certificate has expired: current time " + now + " is after 2020")}
	}
	alert := refusedHandshake(t)
	said := ""
	for _, step := range []struct {
		err  error
		want string // "" for no news
	}{
		{refused, "refused"},
		{refused, ""},
		{certificate, "not for you"},
		{certificate, ""},
		{alert, "refuses our certificate"},
		{alert, ""},
		{refused, ""},
		{expired("10:00"), "expired"},
		{expired("10:01"), ""},
		{certificate, "not for you"},
	} {
		text, is := news(step.err, said)
		if is != (step.want != "") || !strings.Contains(text, step.want) {
			t.Errorf("%v after %q: news %t, %s", step.err, said, is, text)
		}
		if is {
			said = text
		}
	}
}

// refusedHandshake is what a client without a certificate gets from a server that wants one.
func refusedHandshake(t *testing.T) error {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	if err == nil {
		resp.Body.Close()
		t.Fatal("the server wants no certificate")
	}
	return err
}
