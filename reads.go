// Linearizable reads: many share one round trip.
//
//	§8 · diss. §6.4
//
// Start at wait. A read must see every write that was answered before the read
// began. The leader's commit index, asked for after that and confirmed by a
// quorum, covers them; the read waits until the store has applied that much.

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"example.com/raftexample/raft"
)

// resendAfter is how long a question waits for its answer: two heartbeats.
const resendAfter = 200 * time.Millisecond

// readIndexer asks Raft for an index to read at.
type readIndexer interface {
	ReadIndex(ctx context.Context, rctx []byte) error
	Leader() uint64
}

// reads gathers reads into rounds, of which one is under way at a time. Who comes
// meanwhile shares the next one: the one under way began too early for it.
type reads struct {
	raft  readIndexer
	store *kvStore
	tag   []byte // member and incarnation: the leader tells contexts apart by their bytes alone

	mu      sync.Mutex
	next    *readRound
	counter uint64

	work    chan struct{}       // holds a token while next is to be run
	answers chan raft.ReadState // to the round under way
	newLead chan struct{}       // holds a token when the leader changed
}

// readRound is a question that many wait for.
type readRound struct {
	done chan struct{} // closed when err is final
	err  error
}

var errReadTimeout = &apiError{status: 503, reason: "the cluster did not confirm in time what the newest value is"}

func newReads(r readIndexer, store *kvStore, member, incarnation uint64) *reads {
	tag := binary.BigEndian.AppendUint64(nil, member)
	return &reads{
		raft: r, store: store, tag: binary.BigEndian.AppendUint64(tag, incarnation),
		counter: rand.Uint64(), // answers to an earlier life may still be on their way
		work:    make(chan struct{}, 1), answers: make(chan raft.ReadState, 16), newLead: make(chan struct{}, 1),
	}
}

// wait returns when the store holds everything that was written before the call.
func (r *reads) wait(ctx context.Context) error {
	if r.raft.Leader() == raft.None {
		return errNoLeader
	}
	r.mu.Lock()
	round := r.next
	if round == nil {
		round = &readRound{done: make(chan struct{})}
		r.next = round
		r.work <- struct{}{} // never blocks: the runner took the token with the last round
	}
	r.mu.Unlock()

	select {
	case <-round.done:
		return round.err
	case <-ctx.Done():
		return errReadTimeout
	}
}

// run runs the rounds, one after the other, until ctx ends.
func (r *reads) run(ctx context.Context) {
	for {
		select {
		case <-r.work:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		round := r.next
		r.next = nil
		r.mu.Unlock()

		roundCtx, cancel := context.WithTimeout(ctx, requestTimeout)
		if err := r.ask(roundCtx); err != nil {
			round.err = errReadTimeout
		}
		cancel()
		close(round.done)
	}
}

// ask asks until there is an answer, then waits for the store to come that far.
func (r *reads) ask(ctx context.Context) error {
	resend := time.NewTimer(resendAfter)
	defer resend.Stop()
	for {
		r.counter++
		question := binary.BigEndian.AppendUint64(bytes.Clone(r.tag), r.counter)
		if err := r.raft.ReadIndex(ctx, question); err != nil {
			return err
		}
		resend.Reset(resendAfter)
		for waiting := true; waiting; {
			select {
			case answer := <-r.answers:
				if bytes.Equal(answer.RequestCtx, question) {
					return r.store.waitApplied(ctx, answer.Index)
				}
			case <-resend.C:
				waiting = false
			case <-r.newLead:
				waiting = false
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// deliver passes on Raft's answers. It never blocks: an answer nobody waits for
// any more may be lost, and then the question is asked again.
func (r *reads) deliver(states []raft.ReadState) {
	for _, state := range states {
		select {
		case r.answers <- state:
		default:
		}
	}
}

// leaderChanged says that questions under way are lost.
func (r *reads) leaderChanged() {
	select {
	case r.newLead <- struct{}{}:
	default:
	}
}
