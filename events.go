// Events: what happens to this node, as it happens.

package main

import (
	"encoding/json"
	"fmt"
	"sync"
)

// eventBacklog is how many events may wait for one listener; who is slower than
// that is cut off.
const eventBacklog = 256

// eventHub passes events on to listeners.
type eventHub struct {
	mu        sync.Mutex
	listeners map[chan []byte]bool
}

func newEventHub() *eventHub { return &eventHub{listeners: map[chan []byte]bool{}} }

// publish passes on an event, as a server-sent event. It never blocks.
func (h *eventHub) publish(kind string, data any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.listeners) == 0 {
		return
	}
	body, err := json.Marshal(data)
	if err != nil {
		panic(fmt.Sprintf("event %s cannot be written as JSON: %v", kind, err))
	}
	event := fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, body)
	for c := range h.listeners {
		select {
		case c <- event:
		default:
			delete(h.listeners, c)
			close(c)
		}
	}
}

// listen returns a channel of events, which is closed when the listener is too
// slow, and what ends listening.
func (h *eventHub) listen() (events <-chan []byte, leave func()) {
	c := make(chan []byte, eventBacklog)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[c] = true
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, c)
	}
}
