// Under load: readers that share a round, a rolling restart, no quorum for a while,
// a leader that was paused, and starts and stops without end.

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// countingReader is a cluster that answers questions when it is told to.
type countingReader struct {
	questions chan []byte
}

func (c *countingReader) ReadIndex(_ context.Context, rctx []byte) error {
	c.questions <- bytes.Clone(rctx)
	return nil
}

func (c *countingReader) Leader() uint64 { return 1 }

// A thousand readers that come while a round is under way share the next one; none
// shares a round that began before it came (diss. §6.4). A question without answer
// is asked again with another context.
func TestReadersShareARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		cluster := &countingReader{questions: make(chan []byte, 10)}
		r := newReads(cluster, newKVStore(nil, 1, 1, nil), 1, 1)
		go r.run(ctx)

		var answered atomic.Int64
		read := func() {
			if err := r.wait(ctx); err != nil {
				t.Error(err)
			}
			answered.Add(1)
		}
		go read()
		synctest.Wait()
		for range 1000 {
			go read()
		}
		synctest.Wait()
		first := <-cluster.questions
		r.deliver([]raft.ReadState{{RequestCtx: first}})
		synctest.Wait()
		if n := answered.Load(); n != 1 {
			t.Errorf("the first round answered %d readers, want 1", n)
		}
		lost := <-cluster.questions
		time.Sleep(resendAfter + time.Millisecond)
		again := <-cluster.questions
		if bytes.Equal(lost, again) || binary.BigEndian.Uint64(again) != 1 {
			t.Errorf("asked %x, then %x", lost, again)
		}
		r.deliver([]raft.ReadState{{RequestCtx: lost}}) // too late: nobody knows what it is worth
		synctest.Wait()
		if n := answered.Load(); n != 1 {
			t.Errorf("%d readers were answered by a question that was given up", n-1)
		}
		r.deliver([]raft.ReadState{{RequestCtx: again}})
		synctest.Wait()
		if n := answered.Load(); n != 1001 || len(cluster.questions) != 0 {
			t.Errorf("%d readers were answered, and %d more questions asked", n, len(cluster.questions))
		}

		go read()
		synctest.Wait()
		lost = <-cluster.questions
		r.leaderChanged() // the new one knows nothing of it
		synctest.Wait()
		select {
		case again := <-cluster.questions:
			if bytes.Equal(lost, again) {
				t.Errorf("asked the new leader %x as well", again)
			}
			r.deliver([]raft.ReadState{{RequestCtx: again}})
		default:
			t.Error("the new leader was not asked at once")
		}
		synctest.Wait()
	})
}

// fixedTerm is a cluster in which proposals go nowhere.
type fixedTerm struct{ proposed chan []byte }

func (f fixedTerm) Term() uint64     { return 1 }
func (f fixedTerm) Leader() uint64   { return 1 }
func (f fixedTerm) Overloaded() bool { return false }

func (f fixedTerm) Propose(_ context.Context, data []byte) error {
	f.proposed <- data
	return nil
}

// What a member proposed before it was restarted settles no write of its new life,
// though member and incarnation are the same.
func TestEarlierLifeSettlesNothing(t *testing.T) {
	cluster := fixedTerm{proposed: make(chan []byte, 100)}
	metrics := newMetrics(func() nodeStatus { return nodeStatus{} })
	lives := []*kvStore{newKVStore(cluster, 1, 7, metrics), newKVStore(cluster, 1, 7, metrics)}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	var wg sync.WaitGroup
	write := func(s *kvStore) (proposed []raftpb.Entry) {
		for range 50 {
			wg.Go(func() {
				if _, err := s.put(ctx, "k", "v", always, 0); err != errUnknown {
					t.Errorf("a write that was never applied ended with %v", err)
				}
			})
		}
		for len(proposed) < 50 {
			proposed = append(proposed, raftpb.Entry{Term: 1, Index: uint64(len(proposed) + 1), Data: <-cluster.proposed})
		}
		return proposed
	}
	old := write(lives[0])
	write(lives[1])
	if a, b := newReads(nil, nil, 1, 7), newReads(nil, nil, 1, 7); a.counter == b.counter {
		t.Error("two lives ask with the same contexts")
	}
	if err := lives[1].apply(old); err != nil { // what a restarted node replays
		t.Fatal(err)
	}
	cancel()
	wg.Wait()
}

// A snapshot that jumps over what is awaited may hold it: the write ends at once, its
// outcome is unknown, and it is not proposed again, though its term is over.
func TestSnapshotLeavesOutcomesOpen(t *testing.T) {
	cluster := fixedTerm{proposed: make(chan []byte, 100)}
	s := newKVStore(cluster, 1, 7, newMetrics(func() nodeStatus { return nodeStatus{} }))
	ended := make(chan error, 1)
	go func() {
		_, err := s.put(t.Context(), "k", "v", always, 0)
		ended <- err
	}()
	<-cluster.proposed
	var state bytes.Buffer
	if _, err := s.snapshot().WriteTo(&state); err != nil {
		t.Fatal(err)
	}
	if err := s.restore(&commit{restore: io.NopCloser(&state), restoreIndex: 9, restoreTerm: 2}); err != nil {
		t.Fatal(err)
	}
	if err := s.apply([]raftpb.Entry{{Term: 3, Index: 10}}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != errUnknown {
			t.Errorf("the write ended with %v", err)
		}
	case <-cluster.proposed:
		t.Error("the write was proposed again, and may be carried out twice")
	case <-time.After(10 * time.Second):
		t.Error("the write goes on")
	}
}

// writers write keys of their own, each once, to whichever node takes them.
type writers struct {
	mu       sync.Mutex
	written  map[string]string // acknowledged
	refused  []string          // with 503, by every node that was asked
	last     time.Time
	longest  time.Duration // without a success
	statuses map[int]int
}

func (w *writers) note(key, value string, status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.statuses[status]++
	switch status {
	case 204:
		w.written[key] = value
		now := time.Now()
		if !w.last.IsZero() {
			w.longest = max(w.longest, now.Sub(w.last))
		}
		w.last = now
	case 503:
		w.refused = append(w.refused, key)
	}
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.written)
}

// run writes from many goroutines until ctx ends.
func (w *writers) run(ctx context.Context, c *testCluster, clients int, size int) *sync.WaitGroup {
	w.written, w.statuses = map[string]string{}, map[int]int{}
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: 10 * time.Second}
	for id := range clients {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key, value := fmt.Sprintf("w%d.%d", id, n), fmt.Sprintf("%d%s", n, strings.Repeat("x", size))
				req, err := http.NewRequest("PUT", c.url((id+n)%len(c.ports), "/"+key), strings.NewReader(value))
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
				if err == nil {
					w.note(key, value, resp.StatusCode)
				}
			}
		})
	}
	return &wg
}

// check finds everything that was acknowledged, and nothing that was refused.
func (w *writers) check(t *testing.T, c *testCluster) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, value := range w.written {
		if got := do(t, "GET", c.url(0, "/"+key+"?stale"), ""); got.body != value {
			t.Errorf("%s was acknowledged and is %.20q, %d", key, got.body, got.status)
		}
	}
	for _, key := range w.refused {
		if got := do(t, "GET", c.url(0, "/"+key+"?stale"), ""); got.status != 404 {
			t.Errorf("%s was refused and is there", key)
		}
	}
}

// A rolling restart loses no write that was answered, and stops writes for less than
// an election timeout.
func TestRollingRestart(t *testing.T) {
	c := newTestCluster(t, 3)
	put(t, c.url(0, "/begin"), "x", 20*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	var w writers
	wg := w.run(ctx, c, 16, 10)
	disk := make(chan time.Duration, 1)
	go func() { disk <- slowestSync(ctx, t, c.dir) }()
	for i := range 3 {
		c.end(i)
		c.start(i)
		waitFor(t, 10*time.Second, "the node to be ready", func() bool {
			resp, err := http.Get(c.url(i, "/-/ready"))
			if err != nil {
				return false
			}
			resp.Body.Close()
			return resp.StatusCode == 200
		})
		some := w.count() + 500
		waitFor(t, 20*time.Second, "some writes", func() bool { return w.count() > some })
	}
	cancel()
	wg.Wait()
	put(t, c.url(0, "/end"), "x", 20*time.Second)
	sync := <-disk
	t.Logf("%d writes, %v; longest pause %v, slowest sync %v", len(w.written), w.statuses, w.longest, sync)
	if limit := electionTimeout + electionSyncs*sync; w.longest > limit {
		t.Errorf("writes paused for %v, more than %v", w.longest, limit)
	}
	w.check(t, c)
}

// Without a quorum requests are refused or end in time, memory stays bounded, and
// what was refused never happens. 8 s by default, a minute with RAFT_LONG.
func TestFloodWithoutQuorum(t *testing.T) {
	c := newTestCluster(t, 3)
	lead := c.leader(0)
	put(t, c.url(lead, "/begin"), "x", 20*time.Second)
	for _, i := range []int{1, 2} {
		c.end((lead + i) % 3)
	}
	length := 8 * time.Second
	if os.Getenv("RAFT_LONG") != "" {
		length = time.Minute
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var w writers
	began := time.Now()
	w.run(ctx, c, 200, 10<<10).Wait()
	if took := time.Since(began); took > length+requestTimeout+2*time.Second {
		t.Errorf("the last request ended after %v", took)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%v; memory %d MiB, then %d MiB", w.statuses, before.HeapInuse>>20, after.HeapInuse>>20)
	if after.HeapInuse > before.HeapInuse+(64<<20) {
		t.Errorf("memory grew from %d to %d", before.HeapInuse, after.HeapInuse)
	}
	if w.statuses[503] < 100 || w.statuses[204] > 0 {
		t.Errorf("answers: %v", w.statuses)
	}
	for _, i := range []int{1, 2} {
		c.start((lead + i) % 3)
	}
	put(t, c.url(0, "/end"), "x", 20*time.Second)
	w.refused = w.refused[:min(len(w.refused), 3000)]
	w.check(t, c)
}

// A leader that was paused, and does not know that there is another, serves nothing
// stale to a reader who does not ask for it.
func TestPausedLeader(t *testing.T) {
	t.Parallel()
	c := newProcessCluster(t)
	url := func(i int, path string) string { return c.url(i) + path }
	put(t, url(0, "/k"), "old", 20*time.Second)
	for round := range 3 {
		old := c.leader(0)
		other := (old + 1) % 3
		c.procs[old].signal(syscall.SIGSTOP)
		value := fmt.Sprintf("new%d", round)
		put(t, url(other, "/k"), value, 20*time.Second) // waits for another leader

		// Readers wait at the old one before it wakes up.
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if a := do(t, "GET", url(old, "/k"), ""); a.status == 200 && a.body != value {
					t.Errorf("the paused leader answered %q after %q was written", a.body, value)
				} else if a.status != 200 && a.status != 503 {
					t.Errorf("the paused leader answered %d %q", a.status, a.body)
				}
			})
		}
		time.Sleep(100 * time.Millisecond) // the requests are in the sockets of a process that stands still
		c.procs[old].signal(syscall.SIGCONT)
		wg.Wait()
		waitFor(t, 20*time.Second, "the old leader to be ready", func() bool { return do(t, "GET", url(old, "/-/ready"), "").status == 200 })
	}
}

// Starting and stopping under load leaves nothing behind: no goroutine, no port, no
// open file. 10 times by default, 200 with RAFT_LONG.
func TestStartAndStop(t *testing.T) {
	cycles := 10
	if os.Getenv("RAFT_LONG") != "" {
		cycles = 200
	}
	openFiles := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("no /proc")
		}
		return len(entries)
	}
	c := newTestCluster(t, 3)
	put(t, c.url(0, "/begin"), "x", 20*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	var w writers
	wg := w.run(ctx, c, 8, 10)
	var goroutines, files int
	for n := range cycles {
		i := n % 3
		c.end(i)
		c.start(i) // on the same ports, from the same directory
		waitFor(t, 20*time.Second, "a write to succeed", func() bool { return tryPut(t.Context(), c.url(i, "/cycle"), "x") == 204 })
		if n == min(5, cycles/2) {
			goroutines, files = runtime.NumGoroutine(), openFiles()
		}
	}
	waitFor(t, 20*time.Second, fmt.Sprintf("no more than about %d goroutines and %d files", goroutines, files), func() bool {
		return runtime.NumGoroutine() <= goroutines+30 && openFiles() <= files+30
	})
	cancel()
	wg.Wait()
	put(t, c.url(0, "/end"), "x", 20*time.Second)
	w.check(t, c)
}

// A node takes so many writes at a time, and so many bytes, and refuses the next one at
// once; there is room again when one has ended.
func TestFullQueueIsRefused(t *testing.T) {
	for name, size := range map[string]int{"many": 1, "large": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			most := min(maxWaiting, maxWaitingBytes/size)
			cluster := fixedTerm{proposed: make(chan []byte, most)}
			s := newKVStore(cluster, 1, 7, newMetrics(func() nodeStatus { return nodeStatus{} }))
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			value := strings.Repeat("v", size-1) // and a key of one byte
			var first []byte
			for i := range most {
				wg.Go(func() {
					if _, err := s.put(ctx, "k", value, always, 0); err != nil && err != errUnknown {
						t.Errorf("a write that there was room for ended with %v", err)
					}
				})
				if data := <-cluster.proposed; i == 0 {
					first = data
				}
			}
			refused := func() error {
				brief, end := context.WithTimeout(ctx, 100*time.Millisecond)
				defer end()
				_, err := s.put(brief, "k", value, always, 0)
				return err
			}
			if err := refused(); err != errBusy || errBusy.status != http.StatusServiceUnavailable {
				t.Errorf("one more ended with %v", err)
			}
			if err := s.apply([]raftpb.Entry{{Term: 1, Index: 1, Data: first}}); err != nil {
				t.Fatal(err)
			}
			if !waitUntil(ctx, func() bool { return refused() == errUnknown }) { // it was proposed
				t.Error("there is no room again")
			}
			cancel()
			wg.Wait()
		})
	}
}
