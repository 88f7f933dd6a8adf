// Package rafthttp carries Raft's messages between peers: plain HTTP POST of
// encoded messages.
//
//	diss. §10.2 (what makes it fast: batching, pipelining)
//
// To each peer one POST /raft stays open, and whatever waits is written to it as
// one chunk; the receiver steps each message as it arrives. Snapshots have a
// POST of their own. Raft needs no delivery: what cannot be sent in time is
// dropped, and Raft is told. So a slow or dead peer never holds up the others,
// nor whoever calls Send.
//
// Start at Transport; peer.go is the sending side, handler.go the receiving one,
// check.go what a message must be like, snapshot.go both sides of a snapshot, conn.go
// what a connection is.
package rafthttp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// Raft is the node that a Transport serves. Its methods are called from many
// goroutines.
type Raft interface {
	// Process takes a message from a peer, which has been checked.
	Process(ctx context.Context, m pb.Message) error

	// ReportUnreachable says that messages to id got lost.
	ReportUnreachable(id uint64)

	// ReportSnapshot says whether the snapshot sent to id arrived: once for each.
	ReportSnapshot(id uint64, ok bool)

	// Dropped says that m, a MsgProp or MsgReadIndex, never left this node. It must
	// not block.
	Dropped(m pb.Message)

	// Removed says that a member answers us as one that was removed.
	Removed(by uint64)

	// Replaced says that a member knows us under another incarnation, in its words.
	Replaced(by uint64, reason string)

	// CheckPeer says why a peer is refused, if it is: with ErrRemoved because it is
	// no member any more, or with any other reason.
	CheckPeer(from, incarnation uint64) error

	// Status is what GET /raft/status answers, as JSON.
	Status() any

	// OpenSnapshot opens the snapshot that m, a MsgSnap, names.
	OpenSnapshot(m pb.Message) (io.ReadCloser, error)

	// ReceiveSnapshot takes the snapshot of m from body and steps m.
	ReceiveSnapshot(ctx context.Context, m pb.Message, body io.Reader) error
}

// ErrRemoved is wrapped by what CheckPeer says of a removed member.
var ErrRemoved = errors.New("removed from the cluster")

// ErrReplaced is wrapped by what CheckPeer says of a member whose data is not what
// it was.
var ErrReplaced = errors.New("known under another incarnation")

// Config says who the node is and how it speaks.
type Config struct {
	ID          uint64
	Cluster     uint64 // the id of the cluster: other clusters are refused
	Incarnation uint64 // of the node's data directory
	URL         string // where this node listens for peers
	Raft        Raft
	Logger      *slog.Logger
	TLS         *tls.Config // for connecting to https peers; may be nil
	Dial        Dial        // nil: net.Dialer

	// OnSent and OnReceived, if not nil, are called for each message.
	OnSent, OnReceived func(pb.MessageType)
}

// What waits for one peer, and what is refused from one, is bounded.
const (
	maxQueueMessages = 4096
	maxQueueBytes    = 64 << 20
	maxMessageBytes  = 64 << 20
	maxStrangers     = 64 // senders that are no members, as far as we know

	writeTimeout  = 5 * time.Second  // for one chunk, or an answer
	idleTimeout   = 10 * time.Second // a stream with nothing to carry is ended
	readTimeout   = 30 * time.Second // no word in this time: the sender is gone
	stallTimeout  = 10 * time.Second // nor more of a snapshot
	answerTimeout = 30 * time.Second // for the answer to a snapshot
	lastWords     = 300 * time.Millisecond
)

// Transport connects a node to its peers.
type Transport struct {
	Config
	streams *http.Client // for POST /raft
	client  *http.Client // for all else

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.RWMutex
	peers   map[uint64]*peer
	inbound map[uint64]*inbound // the open stream from each sender
	refused map[string]bool     // what was logged
}

// New returns a transport without peers.
func New(c Config) *Transport {
	ctx, cancel := context.WithCancel(context.Background())
	t := &Transport{
		Config: c, ctx: ctx, cancel: cancel,
		peers:   map[uint64]*peer{},
		inbound: map[uint64]*inbound{},
		refused: map[string]bool{},
	}
	t.streams = &http.Client{Transport: newRoundTripper(c.TLS, c.Dial, writeTimeout)}
	t.client = &http.Client{Transport: newRoundTripper(c.TLS, c.Dial, answerTimeout)}
	return t
}

// Send puts messages on their way to their peers, in order for each. It never
// blocks.
func (t *Transport) Send(messages []pb.Message) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := range messages {
		m := &messages[i]
		switch p := t.peers[m.To]; {
		case p == nil:
			t.dropped(m)
			if m.Type == pb.MsgSnap {
				go t.Raft.ReportSnapshot(m.To, false)
			}
		case m.Type == pb.MsgSnap:
			t.sendSnapshot(p, *m)
		default:
			p.enqueue(m)
		}
	}
}

// dropped tells those who wait for an answer that none will come.
func (t *Transport) dropped(m *pb.Message) {
	if m.Type == pb.MsgProp || m.Type == pb.MsgReadIndex {
		t.Raft.Dropped(*m)
	}
}

// SetPeer makes id known under a URL, in place of what was known of it.
func (t *Transport) SetPeer(id uint64, url string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil || id == t.ID {
		return
	}
	if p := t.peers[id]; p != nil {
		if p.url == url {
			p.stranger = false
			return
		}
		p.stop()
	}
	t.addPeer(id, url, false)
}

// addPeer starts a peer's goroutine. t.mu is held.
func (t *Transport) addPeer(id uint64, url string, stranger bool) {
	p := newPeer(t, id, url, stranger)
	t.peers[id] = p
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		p.run()
	}()
}

// meetStranger notes where a sender that is no member we know of can be
// answered. It has been added and we have not heard of that yet, or it is the
// leader of a configuration that we are about to learn (§6: servers accept
// requests from servers that are not in their configuration).
func (t *Transport) meetStranger(id uint64, url string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil || url == "" || t.peers[id] != nil || id == t.ID {
		return
	}
	strangers := 0
	for _, p := range t.peers {
		if p.stranger {
			strangers++
		}
	}
	if strangers < maxStrangers {
		t.addPeer(id, url, true)
	}
}

// RemovePeer forgets a peer. What waits for it still goes out: it may be what tells
// a member that it was removed. If that is lost, it hears so when it begins its next
// stream, which it does only when the one from before its removal has ended. That has
// a moment yet: a leader that removes itself hands over by it.
func (t *Transport) RemovePeer(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if in := t.inbound[id]; in != nil {
		time.AfterFunc(lastWords, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.inbound[id] == in {
				in.end()
			}
		})
	}
	if p := t.peers[id]; p != nil {
		p.finish()
		p.stopSnapshots()
		delete(t.peers, id)
	}
}

// Reachable says of each peer whether a stream to it is open and accepted.
func (t *Transport) Reachable() map[uint64]bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	up := make(map[uint64]bool, len(t.peers))
	for id, p := range t.peers {
		up[id] = p.isUp()
	}
	return up
}

// Stop ends all that the transport does, and waits for it. Whatever still waits
// to be sent has 100 ms to leave.
func (t *Transport) Stop() {
	t.mu.Lock()
	for _, p := range t.peers {
		p.finish()
	}
	for _, in := range t.inbound {
		in.end()
	}
	t.mu.Unlock()
	timer := time.AfterFunc(100*time.Millisecond, t.cancel)
	defer timer.Stop()
	t.wg.Wait()
	t.cancel()
	t.streams.CloseIdleConnections()
	t.client.CloseIdleConnections()
}

// FetchStatus returns what GET /raft/status at a peer's URL answers.
func (t *Transport) FetchStatus(ctx context.Context, url string) ([]byte, error) {
	return FetchStatus(ctx, t.client, url)
}

// FetchStatus asks the node at a peer URL for its status.
func FetchStatus(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/raft/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s/raft/status: %s", url, resp.Status)
	}
	return body, nil
}

// The headers that say who speaks to whom.
const (
	headerCluster     = "Raft-Cluster"
	headerFrom        = "Raft-From"
	headerFromURL     = "Raft-From-Url"
	headerTo          = "Raft-To"
	headerIncarnation = "Raft-Incarnation"
	headerRefused     = "Raft-Refused" // in a 403: why, if the sender should know
)

// newRequest returns a POST to a peer with those headers.
func (t *Transport) newRequest(ctx context.Context, p *peer, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, body)
	if err != nil {
		return nil, err
	}
	t.Sign(req, p.id)
	req.Header.Set("Content-Type", "application/octet-stream")
	return req, nil
}

// Sign makes a request to a member say who speaks to whom: see Admit.
func (t *Transport) Sign(req *http.Request, to uint64) {
	req.Header.Set(headerCluster, FormatID(t.Cluster))
	req.Header.Set(headerFrom, strconv.FormatUint(t.ID, 10))
	req.Header.Set(headerFromURL, t.URL)
	req.Header.Set(headerTo, strconv.FormatUint(to, 10))
	req.Header.Set(headerIncarnation, FormatID(t.Incarnation))
}

// FormatID writes a cluster id or an incarnation: 16 hexadecimal digits.
func FormatID(id uint64) string { return fmt.Sprintf("%016x", id) }
