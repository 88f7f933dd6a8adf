// Waiters: writes that were proposed and are not known to be applied.
//
// They sit in a ring, each at its sequence number, so that the store finds the one
// that an entry belongs to without searching. Start at enter.

package main

import "sync"

// waiter is a write that was proposed and is not known to be applied.
type waiter struct {
	sequence uint64
	term     uint64
	outcome  chan outcome // with room for one
	heard    bool         // the outcome was received
}

// waiters are used again.
var waiters = sync.Pool{New: func() any { return &waiter{outcome: make(chan outcome, 1)} }}

// outcome is what became of a write.
type outcome struct {
	revision uint64
	err      error
}

// giveUp settles the writes proposed in terms before term. An entry of that term
// was applied, and terms only rise along the log: no entry of an earlier term
// can follow, and a command in a later entry than its own term is skipped.
func (s *kvStore) giveUp(term uint64) {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	for i, w := range s.ring {
		if w != nil && w.term < term {
			s.ring[i] = nil
			w.outcome <- outcome{err: errDead}
		}
	}
}

// enter gives a write a sequence number and a place to wait, if there is one.
func (s *kvStore) enter(w *waiter, c *command, size int) bool {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	if s.waiting >= maxWaiting || s.bytes+size > maxWaitingBytes && s.waiting > 0 {
		return false
	}
	s.sequence++
	for s.ring[s.sequence%maxWaiting] != nil { // held by one that waits for long
		s.sequence++
	}
	s.ring[s.sequence%maxWaiting] = w
	s.waiting++
	s.bytes += size
	w.sequence, w.term, w.heard = s.sequence, c.term, false
	c.sequence = s.sequence
	return true
}

func (s *kvStore) leave(w *waiter, size int) {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	if slot := &s.ring[w.sequence%maxWaiting]; *slot == w {
		*slot = nil
	}
	s.waiting--
	s.bytes -= size
}

// waiterOf takes the waiter of a command out of the ring, if it waits here.
func (s *kvStore) waiterOf(c *command) *waiter {
	if c.member != s.member || c.incarnation != s.incarnation {
		return nil
	}
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	slot := &s.ring[c.sequence%maxWaiting]
	w := *slot
	if w == nil || w.sequence != c.sequence {
		return nil
	}
	*slot = nil
	return w
}

// dropped hears that a forwarded proposal never left this node.
func (s *kvStore) dropped(data []byte) {
	c, err := decodeCommand(data)
	if err != nil {
		return // not ours: a change of membership, say
	}
	if w := s.waiterOf(&c); w != nil {
		w.outcome <- outcome{err: errDropped}
	}
}
