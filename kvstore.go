// The store: a map, fed from the commit channel.
//
//	§8 (client interaction) · diss. ch. 6
//
// Start at run, the one goroutine that changes the map, then write, which waits
// for it.
//
// What a state machine has to provide is little: apply entries in log order, with
// the same outcome on every replica; hand over a copy of itself that can be
// written out while it goes on; and become what such a copy says.

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// consensus is what the store needs of Raft.
type consensus interface {
	Propose(ctx context.Context, data []byte) error
	Term() uint64   // as of the last Ready
	Leader() uint64 // as of the last Ready; 0 if none is known
	Overloaded() bool
}

// Limits on what waits, so that a cluster without a quorum costs no memory.
const (
	maxWaiting      = 4096
	maxWaitingBytes = 16 << 20
)

// kvStore is the replicated map, with the writes that wait to be applied.
type kvStore struct {
	raft        consensus
	member      uint64
	incarnation uint64
	metrics     *metrics
	progress    func(done, of uint64) // hears how far a restore is
	resized     func(bytes int64)     // hears how large the data are

	mu    sync.RWMutex
	items *btree.Map[string, item] // nil while it is restored
	size  int64                    // of all items: see dataBytes
	index uint64                   // the last entry applied
	term  uint64                   // that entry's term

	applied atomic.Uint64 // index, to be read without the lock
	changed chan struct{} // replaced and closed when applied has moved; under waitMu

	waitMu   sync.Mutex
	sequence uint64
	waiting  int                 // writes that wait
	bytes    int                 // and what they hold
	ring     [maxWaiting]*waiter // by sequence
}

// item is a value and the index of the entry that wrote it.
type item struct {
	value    string
	revision uint64
}

// What can become of a write, beside being applied.
var (
	errPrecondition = &apiError{status: 412, reason: "the condition does not hold"}
	errNotFound     = &apiError{status: 404, reason: "no such key"}
	errRestoring    = &apiError{status: 503, reason: "this node is restoring its data from a snapshot"}
	errNoLeader     = &apiError{status: 503, reason: "no leader is known"}
	errBusy         = &apiError{status: 503, reason: "too many requests are waiting"}
	errDropped      = &apiError{status: 503, reason: "the leader does not take proposals now"}
	errUnknown      = &apiError{status: 504, reason: "the write was proposed, and not seen applied in time: it may or may not happen"}

	errDead = errors.New("the command can never be applied") // propose it again
)

func newKVStore(raft consensus, member, incarnation uint64, metrics *metrics) *kvStore {
	return &kvStore{
		raft: raft, member: member, incarnation: incarnation, metrics: metrics,
		items:   new(btree.Map[string, item]),
		changed: make(chan struct{}),

		progress: func(_, _ uint64) {},
		resized:  func(int64) {},

		// Not from 1: the log may still hold commands that this member proposed before
		// it was restarted, and a write must not be answered with the fate of those.
		sequence: rand.Uint64() >> 1,
	}
}

// run applies what is committed, in order, until a nil says that it was all.
func (s *kvStore) run(commitC <-chan *commit) error {
	for c := <-commitC; c != nil; c = <-commitC {
		start := time.Now()
		if c.restore != nil {
			if err := s.restore(c); err != nil {
				return fmt.Errorf("restore the store from snapshot %d: %w", c.restoreIndex, err)
			}
		}
		if err := s.apply(c.entries); err != nil {
			return err
		}
		s.resized(s.size)
		if c.capture != nil {
			c.capture(s.snapshot())
		}
		s.metrics.applySeconds.Observe(time.Since(start).Seconds())
		if c.applied != nil {
			c.applied()
		}
	}
	return nil
}

// settled is an outcome on its way to a waiter.
type settled struct {
	w *waiter
	outcome
}

// apply carries out a batch of entries, each of which follows the one before: applied
// twice, or not at all, it would make this replica another than the rest.
func (s *kvStore) apply(entries []raftpb.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	var done []settled
	s.mu.Lock()
	newTerm := false
	for i := range entries {
		e := &entries[i]
		if e.Index != s.index+1 {
			s.mu.Unlock()
			return fmt.Errorf("entry %d came to be applied after entry %d", e.Index, s.index)
		}
		newTerm = newTerm || e.Term > s.term
		s.index, s.term = e.Index, e.Term
		if e.Type != raftpb.EntryNormal || len(e.Data) == 0 {
			continue // a change of membership, or the start of a leader's term
		}
		c, err := decodeCommand(e.Data)
		if err != nil {
			s.mu.Unlock()
			return fmt.Errorf("apply entry %d: %w", e.Index, err)
		}
		result := outcome{err: errDead}
		if c.term == e.Term {
			result = s.execute(&c, e.Index)
		}
		if w := s.waiterOf(&c); w != nil {
			done = append(done, settled{w, result})
		}
	}
	s.applied.Store(s.index)
	term := s.term
	s.mu.Unlock()

	for i := range done {
		done[i].w.outcome <- done[i].outcome
	}
	if newTerm {
		s.giveUp(term)
	}
	s.announce()
	return nil
}

// execute carries out one command as entry index. s.mu is held.
func (s *kvStore) execute(c *command, index uint64) outcome {
	if c.op == opPut && c.cond == always { // the usual case need not search twice
		s.set(c.key, item{value: c.value, revision: index})
		return outcome{revision: index}
	}
	old, present := s.items.Get(c.key)
	holds := true
	switch c.cond {
	case ifRevised:
		holds = present && old.revision == c.revision
	case ifPresent:
		holds = present
	case ifAbsent:
		holds = !present
	}
	switch {
	case !holds:
		return outcome{err: errPrecondition}
	case c.op == opPut:
		s.set(c.key, item{value: c.value, revision: index})
	case present:
		s.items.Delete(c.key)
		s.size -= dataBytes(c.key, old.value)
	default:
		return outcome{err: errNotFound}
	}
	return outcome{revision: index}
}

// set writes a key. s.mu is held.
func (s *kvStore) set(key string, it item) {
	s.size += dataBytes(key, it.value)
	if old, replaced := s.items.Set(key, it); replaced {
		s.size -= dataBytes(key, old.value)
	}
}

// announce wakes those who wait for entries to be applied.
func (s *kvStore) announce() {
	s.waitMu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.waitMu.Unlock()
}

// waitApplied waits until the store has applied index.
func (s *kvStore) waitApplied(ctx context.Context, index uint64) error {
	for {
		s.waitMu.Lock()
		changed := s.changed
		s.waitMu.Unlock()
		if s.applied.Load() >= index {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// put writes a key, and returns the revision.
func (s *kvStore) put(ctx context.Context, key, value string, cond condition, revision uint64) (uint64, error) {
	return s.write(ctx, &command{op: opPut, cond: cond, revision: revision, key: key, value: value})
}

// remove deletes a key.
func (s *kvStore) remove(ctx context.Context, key string, cond condition, revision uint64) error {
	_, err := s.write(ctx, &command{op: opDelete, cond: cond, revision: revision, key: key})
	return err
}

// write proposes a command and waits until it is applied here. An error of
// status 4xx or 503 says that it never will be.
func (s *kvStore) write(ctx context.Context, c *command) (uint64, error) {
	c.member, c.incarnation = s.member, s.incarnation
	w := waiters.Get().(*waiter)
	for {
		switch {
		case s.raft.Leader() == raft.None:
			return 0, errNoLeader
		case s.raft.Overloaded():
			return 0, errBusy
		}
		// The term comes first: if Raft moves on meanwhile, the command is dead, and
		// we will hear so; the other way round it could live on unseen.
		c.term = s.raft.Term()
		size := len(c.key) + len(c.value)
		if !s.enter(w, c, size) {
			return 0, errBusy
		}
		result := s.propose(ctx, c, w)
		s.leave(w, size)
		if !errors.Is(result.err, errDead) {
			if w.heard {
				waiters.Put(w) // else its outcome may still be on the way
			}
			return result.revision, result.err
		}
		if ctx.Err() != nil {
			return 0, errDropped // dead, so certainly not applied
		}
	}
}

// propose proposes a command once and waits for the outcome.
func (s *kvStore) propose(ctx context.Context, c *command, w *waiter) outcome {
	start := time.Now()
	err := s.raft.Propose(ctx, c.encode())
	switch {
	case errors.Is(err, raft.ErrProposalDropped):
		s.metrics.dropped.Inc()
		return outcome{err: errDropped}
	case err != nil:
		// Whether Raft took it before it stopped, or the time was over, is not known.
		return s.lastWord(w)
	}
	select {
	case result := <-w.outcome:
		w.heard = true
		if result.err == errDead || result.err == errDropped {
			s.metrics.dropped.Inc()
			return result
		}
		s.metrics.commitSeconds.Observe(time.Since(start).Seconds())
		s.metrics.applied.Inc()
		return result
	case <-ctx.Done():
		return s.lastWord(w)
	}
}

// lastWord is the outcome if there is one by now.
func (s *kvStore) lastWord(w *waiter) outcome {
	select {
	case result := <-w.outcome:
		return result
	default:
		s.metrics.unknown.Inc()
		return outcome{err: errUnknown}
	}
}

// get returns a key's value and revision, from this node's own state.
func (s *kvStore) get(key string) (item, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.items == nil {
		return item{}, errRestoring
	}
	it, ok := s.items.Get(key)
	if !ok {
		return item{}, errNotFound
	}
	return it, nil
}

// view returns a copy of the map that stays as it is, at no cost.
func (s *kvStore) view() (*btree.Map[string, item], error) {
	s.mu.Lock() // Copy marks the tree as shared
	defer s.mu.Unlock()
	if s.items == nil {
		return nil, errRestoring
	}
	return s.items.Copy(), nil
}
