// Bad networks: a cluster in this process whose links are cut, one way or both, and
// slowed, whose disks are slow or lose their power, and whose membership changes, while
// clients write, read, delete and compare-and-set. What they saw is judged as in history_test.go.
//
// Start at TestPartitions. badnetwork_test.go is what its nodes connect through.

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/raftexample/raft/vfs/crashfs"
)

// badDisk is a disk whose syncs can be made slow, and whose power can be cut.
type badDisk struct {
	*crashfs.FS
	slow atomic.Int64 // nanoseconds a sync takes
	off  atomic.Bool
}

func newBadDisk(fs *crashfs.FS) *badDisk {
	d := &badDisk{FS: fs}
	d.Fault = func(op crashfs.Op) error {
		if d.off.Load() {
			return crashfs.ErrCrashed
		}
		if op.Kind == "Sync" {
			time.Sleep(time.Duration(d.slow.Load()))
		}
		return nil
	}
	return d
}

// badCluster is three nodes, and more that come and go, on a bad network.
type badCluster struct {
	*testCluster
	network *badNetwork
	disks   []*badDisk
	guest   int // the position of the member that came last, or 0
}

func newBadCluster(t *testing.T) *badCluster {
	b := &badCluster{network: newBadNetwork()}
	on := map[int]machine{}
	const nodes = 12 // with room for guests
	for i := range nodes {
		b.disks = append(b.disks, newBadDisk(crashfs.New()))
		on[i] = machine{fs: b.disks[i], dial: b.network.dialer(i)}
	}
	b.testCluster = newTestClusterOn(t, 3, on)
	for len(b.ports) < nodes {
		more := freePorts(t, 2)
		b.peers, b.ports = append(b.peers, more[0]), append(b.ports, more[1])
		b.stop = append(b.stop, nil)
	}
	b.network.change(func() {
		for i, port := range b.peers {
			b.network.nodes[port] = i
		}
	})
	return b
}

// urls are the nodes that stay.
func (b *badCluster) urls() []string { return []string{b.url(0, ""), b.url(1, ""), b.url(2, "")} }

// invite adds a learner, starts it, and promotes it when it has caught up.
func (b *badCluster) invite(ctx context.Context) {
	i := max(b.guest, 2) + 1
	if i == len(b.ports) {
		return
	}
	b.guest = i
	member := "/-/members/" + strconv.Itoa(i+1)
	own := "http://127.0.0.1:" + b.peers[i]
	if !waitUntil(ctx, func() bool { return b.try("POST", 0, member+"?learner", own) }) {
		return
	}
	b.start(i, "--join", "--cluster", fmt.Sprintf("%s,%d=%s", withIDs(b.list), i+1, own))
	waitUntil(ctx, func() bool { return b.try("POST", 1, member, "") })
}

// dismiss removes the guest, which then stops by itself.
func (b *badCluster) dismiss(ctx context.Context) {
	i := b.guest
	if i == 0 || b.stop[i] == nil {
		return
	}
	member := "/-/members/" + strconv.Itoa(i+1)
	if !waitUntil(ctx, func() bool { return b.try("DELETE", 2, member, "") }) {
		return
	}
	stop := b.stop[i]
	b.stop[i] = nil
	if err := stop(); err != nil && !errors.Is(err, errRemoved) {
		b.t.Errorf("node %d was removed and ended with %v", i+1, err)
	}
}

// try makes a change and reports whether it is made, now or by an earlier try.
func (b *badCluster) try(method string, node int, path, body string) bool {
	a := do(b.t, method, b.url(node, path), body)
	switch {
	case a.status == 204, a.status == 409 && strings.Contains(a.body, "already"), a.status == 404 && method == "DELETE":
		return true
	case a.status == 409 || a.status == 503 || a.status == 504:
		return false
	}
	b.t.Errorf("%s %s: %v", method, path, a)
	return false
}

// withIDs turns a list of URLs into one of ID=URL.
func withIDs(list string) string {
	var out []string
	for i, url := range strings.Split(list, ",") {
		out = append(out, fmt.Sprintf("%d=%s", i+1, url))
	}
	return strings.Join(out, ",")
}

// cutPower ends nodes as a loss of power does: of what their disks had not synced, names
// in directories too, any part is lost.
func (b *badCluster) cutPower(rng *rand.Rand, nodes ...int) {
	for _, i := range nodes {
		b.disks[i].off.Store(true)
	}
	for _, i := range nodes {
		if err := b.stop[i](); err != nil && !errors.Is(err, crashfs.ErrCrashed) {
			b.t.Errorf("node %d lost its power and ended with %v", i+1, err)
		}
		b.disks[i] = newBadDisk(b.disks[i].Restart(rng.Uint64()))
		b.on[i] = machine{fs: b.disks[i], dial: b.network.dialer(i)}
	}
	for _, i := range nodes {
		b.start(i)
	}
}

// trouble does one bad thing after the other, and mends it.
func (b *badCluster) trouble(ctx context.Context, rng *rand.Rand, did map[string]int) {
	for ctx.Err() == nil {
		i := rng.IntN(3)
		what := []string{"cut off", "cut off inwards", "cut off outwards", "one link", "slow", "slow disk", "restart", "power cut", "power cut of all", "guest"}[rng.IntN(10)]
		did[what]++
		switch what {
		case "cut off":
			b.network.isolate(i, len(b.ports), true, true)
		case "cut off inwards":
			b.network.isolate(i, len(b.ports), true, false)
		case "cut off outwards":
			b.network.isolate(i, len(b.ports), false, true)
		case "one link":
			b.network.change(func() { b.network.cut[link{i, (i + 1) % 3}] = true })
		case "slow":
			for k := range 3 {
				b.network.slow(k, len(b.ports), 20*time.Millisecond)
			}
		case "slow disk":
			b.disks[i].slow.Store(int64(150 * time.Millisecond))
		case "restart":
			b.end(i)
			b.start(i)
		case "power cut":
			b.cutPower(rng, i)
		case "power cut of all":
			b.cutPower(rng, 0, 1, 2)
		case "guest":
			b.invite(ctx)
			b.dismiss(ctx)
		}
		select {
		case <-time.After(time.Second + time.Duration(rng.Int64N(int64(2*time.Second)))):
		case <-ctx.Done():
		}
		b.network.mend()
		b.disks[i].slow.Store(0)
		select {
		case <-time.After(time.Duration(rng.Int64N(int64(2 * time.Second)))):
		case <-ctx.Done():
		}
	}
}

// On a bad network the store stays linearizable, and all nodes end equal. 15 s by
// default, 2 minutes with RAFT_LONG.
func TestPartitions(t *testing.T) {
	t.Parallel()
	length := 15 * time.Second
	if os.Getenv("RAFT_LONG") != "" {
		length = 2 * time.Minute
	}
	b := newBadCluster(t)
	put(t, b.url(0, "/begin"), "x", 20*time.Second)

	seed := uint64(time.Now().UnixNano())
	clients := &registerClients{
		recorder: &recorder{start: time.Now()}, t: t, urls: b.urls,
		pause: 10 * time.Millisecond, // or the judge has too much to do
	}
	ctx, cancel := clients.lasting(t.Context(), length)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { clients.run(ctx, 8) })
	did := map[string]int{}
	b.trouble(ctx, rand.New(rand.NewPCG(seed, 0)), did)
	wg.Wait()

	put(t, b.url(0, "/end"), "x", 30*time.Second)
	clients.sameEverywhere()
	clients.readAll()
	t.Logf("seed %d: %v", seed, did)
	clients.judge(t, seed)
}
