// Canaries: flaws planted in a whole cluster, which the clients must run into and the
// judge must find. One that cannot convict proves nothing.

package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// canary is a cluster that something is planted in, and a client.
type canary struct {
	*badCluster
	clients *registerClients
}

func newCanary(t *testing.T) *canary {
	b := newBadCluster(t)
	return &canary{b, &registerClients{recorder: &recorder{start: time.Now()}, t: t, urls: b.urls}}
}

// request asks a node until there is an answer, and returns what it says.
func (c *canary) request(node int, op, value string) (out registerOutput) {
	c.t.Helper()
	in := registerInput{op: op, key: "k", value: value}
	waitFor(c.t, 30*time.Second, op, func() (answered bool) {
		c.clients.request(0, in, func() (registerOutput, bool) {
			var happened bool
			out, _, happened = c.clients.do(http.DefaultClient, c.url(node, ""), in, "")
			answered = happened && !out.unknown
			return out, happened
		})
		return answered
	})
	return out
}

// everywhere waits until all nodes have applied a value.
func (c *canary) everywhere(value string) {
	c.t.Helper()
	waitFor(c.t, 30*time.Second, "all nodes have "+value, func() bool {
		for i := range 3 {
			if do(c.t, "GET", c.url(i, "/k?stale"), "").body != value {
				return false
			}
		}
		return true
	})
}

func (c *canary) linearizable() bool {
	return porcupine.CheckOperations(registerModel.ToModel(), c.clients.history)
}

// Reads that a node answers from its own state, while it is cut off from the others.
func TestStaleReadIsFound(t *testing.T) {
	t.Parallel()
	c := newCanary(t)
	c.request(0, "put", "old")
	c.everywhere("old")
	c.network.isolate(2, len(c.ports), true, true)
	c.request(0, "put", "new")
	if c.request(1, "get", ""); !c.linearizable() {
		t.Fatalf("not linearizable before anything is planted: %v", c.clients.history)
	}

	c.clients.readQuery = "?stale"
	if out := c.request(2, "get", ""); c.linearizable() {
		t.Errorf("node 3 answered %q, and the judge found nothing", out.value)
	}
}

// Disks that say that a write is durable, and have lost it after a power cut.
func TestLostAcknowledgementIsFound(t *testing.T) {
	t.Parallel()
	c := newCanary(t)
	c.request(0, "put", "old")
	c.everywhere("old")
	var before [3]machine
	for i := range before {
		before[i] = machine{fs: c.disks[i].Restart(1), dial: c.network.dialer(i)}
	}
	c.request(0, "put", "new")
	if c.request(1, "get", ""); !c.linearizable() {
		t.Fatalf("not linearizable before anything is planted: %v", c.clients.history)
	}

	for i := range before {
		c.end(i)
	}
	for i := range before {
		c.on[i] = before[i]
		c.start(i)
	}
	if out := c.request(1, "get", ""); c.linearizable() {
		t.Errorf("it was %q after the power cut, and the judge found nothing", out.value)
	}
}
