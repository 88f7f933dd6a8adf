// The backlog: what is committed and does not fit into the commit channel yet.

package main

import (
	"sync"
)

// backlog lets the loop go on when the store is slower than Raft: what does not
// fit into the channel waits here.
type backlog struct {
	mu      sync.Mutex
	waiting []*commit
}

// push passes a batch on, in order.
func (b *backlog) push(c chan<- *commit, batch *commit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		select {
		case c <- batch:
			return
		default:
		}
		go b.feed(c)
	}
	b.waiting = append(b.waiting, batch)
}

// feed passes on what waits, until nothing does. It must see that under the lock
// it takes the last batch out with: push would start a second feed in between.
func (b *backlog) feed(c chan<- *commit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.waiting) > 0 {
		batch := b.waiting[0]
		b.mu.Unlock()
		c <- batch
		b.mu.Lock()
		b.waiting = b.waiting[1:]
	}
}
