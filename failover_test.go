// Failover: how long writes pause when the leader is killed, and that nobody stands
// for election while there is no reason to.
//
//	§5.2, §5.6 (timing) · diss. §9.3
//
// Start at TestLeaderKilled.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pauses is how long there was no successful write.
type pauses struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
	writes  int
}

func (p *pauses) success() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.longest = max(p.longest, now.Sub(p.last))
	p.last = now
	p.writes++
}

// begin forgets what was before.
func (p *pauses) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.longest, p.writes = time.Now(), 0, 0
}

func (p *pauses) read() (writes int, longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes, max(p.longest, time.Since(p.last))
}

// load writes from many clients, to all nodes in turns, until ctx ends.
func (c *processCluster) load(ctx context.Context, clients int, p *pauses) *sync.WaitGroup {
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: 10 * time.Second}
	for id := range clients {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				urls := c.urls()
				url := fmt.Sprintf("%s/load%d.%d", urls[(id+n)%len(urls)], id, n%100)
				req, err := http.NewRequest("PUT", url, strings.NewReader(strings.Repeat("x", 100)))
				if err != nil {
					c.t.Error(err)
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					time.Sleep(5 * time.Millisecond) // the node is down
					continue
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				switch {
				case err == nil && resp.StatusCode == 204:
					p.success()
				case err == nil && resp.StatusCode != 503 && resp.StatusCode != 504:
					c.t.Errorf("PUT %s: %s", url, resp.Status)
				default:
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	return &wg
}

// term is the term that a node is in.
func (c *processCluster) term(node int) uint64 {
	c.t.Helper()
	var st nodeStatus
	waitFor(c.t, 20*time.Second, "the node's status", func() bool {
		status, body := c.ask("GET", node, "/-/status", "")
		return status == 200 && json.Unmarshal([]byte(body), &st) == nil
	})
	return st.Term
}

// electionSyncs is how many syncs follow each other from the campaign of a new leader to
// the answer to a write: two votes, the first entry of the term, the write. How long
// each takes is the disk's affair, and not in question here.
const electionSyncs = 4

// slowestSync syncs a file in a directory again and again until ctx ends, and returns
// how long the slowest took.
func slowestSync(ctx context.Context, t testing.TB, dir string) (slowest time.Duration) {
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		t.Error(err)
		return 0
	}
	defer f.Close()
	for ctx.Err() == nil {
		began := time.Now()
		_, err := f.Write([]byte("x"))
		if err = errors.Join(err, f.Sync()); err != nil {
			t.Error(err)
			return 0
		}
		slowest = max(slowest, time.Since(began))
		time.Sleep(5 * time.Millisecond)
	}
	return slowest
}

// killLeader kills the leader under load and starts it again. It returns how long no
// write succeeded, and how slow the disk was meanwhile.
func (c *processCluster) killLeader(p *pauses) (pause, sync time.Duration) {
	c.t.Helper()
	lead := c.leader(0)
	time.Sleep(time.Duration(rand.Int64N(int64(electionTimeout)))) // not always at the same moment
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	disk := make(chan time.Duration, 1)
	go func() { disk <- slowestSync(ctx, c.t, c.dir) }()

	p.begin()
	c.procs[lead].signal(syscall.SIGKILL)
	c.procs[lead].ended(5 * time.Second)
	waitFor(c.t, 20*time.Second, "writes to go on under another leader", func() bool {
		writes, longest := p.read()
		return longest > electionTimeout/2 && writes > 200 && c.leader((lead+1)%3) != lead
	})
	_, pause = p.read()
	cancel()
	sync = <-disk
	c.start(lead)
	waitFor(c.t, 20*time.Second, "the killed one to be ready", func() bool {
		status, _ := c.ask("GET", lead, "/-/ready", "")
		return status == 200
	})
	c.t.Logf("no write for %v, slowest sync %v", pause, sync)
	return pause, sync
}

// diss. §9.3: when the leader is killed under load, writes go on after about an
// election timeout. 3 times by default, 20 with RAFT_LONG, when their median counts
// as well.
func TestLeaderKilled(t *testing.T) {
	kills := 3
	if os.Getenv("RAFT_LONG") != "" {
		kills = 20
	}
	c := newProcessCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	var p pauses
	p.begin()
	wg := c.load(ctx, 16, &p)
	defer wg.Wait()
	defer cancel()

	var all []time.Duration
	for range kills {
		pause, sync := c.killLeader(&p)
		all = append(all, pause)
		if limit := electionTimeout*23/10 + electionSyncs*sync; pause > limit {
			t.Errorf("writes paused for %v, more than %v", pause, limit)
		}
	}
	slices.Sort(all)
	median := all[len(all)/2]
	t.Logf("killed %d leaders: median %v, worst %v", kills, median, all[len(all)-1])
	if kills >= 20 && median > electionTimeout*3/2 {
		t.Errorf("writes paused for %v, mostly", median)
	}
}

// §5.2: a leader that lives stays leader, however busy everybody is, unless its disk
// stands still. 5 s by default, a minute with RAFT_LONG.
func TestNoFalseElections(t *testing.T) {
	length := 5 * time.Second
	if os.Getenv("RAFT_LONG") != "" {
		length = time.Minute
	}
	c := newProcessCluster(t)
	before := c.term(0)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	disk := make(chan time.Duration, 1)
	go func() { disk <- slowestSync(ctx, t, c.dir) }()
	var p pauses
	p.begin()
	c.load(ctx, 256, &p).Wait()
	writes, longest := p.read()
	sync := <-disk
	t.Logf("%d writes, longest pause %v, slowest sync %v", writes, longest, sync)
	for i := range 3 {
		if after := c.term(i); after != before && sync < electionTimeout/2 {
			t.Errorf("node %d came from term %d to %d", i+1, before, after)
		}
	}
}

// §5.2 (split votes): members whose clocks agree tick at moments that differ, each at
// the same one after every start.
func TestTicksAreSpread(t *testing.T) {
	for members := uint64(2); members <= 7; members++ {
		var moments []time.Duration
		for id := uint64(1); id <= members; id++ {
			moment := time.Duration(-1)
			for range 100 {
				now := time.Unix(0, rand.Int64N(1<<60))
				wait := untilTick(id, now)
				at := time.Duration(now.UnixNano()+int64(wait)) % tickInterval
				if wait < 0 || wait >= tickInterval || moment >= 0 && at != moment {
					t.Fatalf("member %d waits %v, and ticks at %v, before at %v", id, wait, at, moment)
				}
				moment = at
			}
			moments = append(moments, moment)
		}
		slices.Sort(moments)
		for i, at := range moments {
			next := moments[(i+1)%len(moments)]
			if apart := (next - at + tickInterval) % tickInterval; apart < tickInterval/time.Duration(3*members) {
				t.Errorf("of %d members two tick %v apart: %v", members, apart, moments)
			}
		}
	}
}
