// How fast: each stage of a write by itself, then a cluster beside a yardstick, which
// is one process with HTTP and one synced log, and no consensus.
//
//	go test -bench Stage -benchmem .
//	go test -run xxx -bench Cluster -benchtime 4s .
//
// BenchmarkCluster reports ratios to the yardstick, loaded in turns with the cluster
// in the same run: machines differ, and drift.

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs"
)

var benchValue = strings.Repeat("v", 100)

// A command on its way into the log, and out of it.
func BenchmarkStageCommand(b *testing.B) {
	c := command{op: opPut, member: 1, incarnation: 1 << 60, sequence: 1 << 60, term: 3, key: "key0000001", value: benchValue}
	data := c.encode()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.encode()
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeCommand(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A batch of 64 writes to 10,000 keys, applied.
func BenchmarkStageApply(b *testing.B) {
	s := newKVStore(nil, 1, 1, newMetrics(func() nodeStatus { return nodeStatus{} }))
	var batches [][]raftpb.Entry
	for n := range 10000 / 64 {
		var batch []raftpb.Entry
		for i := range 64 {
			c := command{op: opPut, term: 1, key: fmt.Sprintf("key%07d", n*64+i), value: benchValue}
			batch = append(batch, raftpb.Entry{Term: 1, Data: c.encode()})
		}
		batches = append(batches, batch)
	}
	index := uint64(0)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		batch := batches[n%len(batches)]
		for i := range batch {
			index++
			batch[i].Index = index
		}
		if err := s.apply(batch); err != nil {
			b.Fatal(err)
		}
	}
}

// The state of 100,000 keys, into a snapshot and out of it.
func BenchmarkStageState(b *testing.B) {
	s := newKVStore(nil, 1, 1, nil)
	for i := range 100000 {
		s.items.Set(fmt.Sprintf("key%07d", i), item{value: benchValue, revision: uint64(i)})
	}
	var state strings.Builder
	if _, err := s.snapshot().WriteTo(&state); err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(state.Len()))
		for b.Loop() {
			if _, err := s.snapshot().WriteTo(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(state.Len()))
		for b.Loop() {
			if _, _, err := readState(strings.NewReader(state.String()), func(_, _ uint64, _ int64) {}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A request through the handler, with a Raft in which everything is committed at
// once: what HTTP's own work and the cluster's come on top of.
func BenchmarkStageHandler(b *testing.B) {
	group := &instantRaft{}
	metrics := newMetrics(func() nodeStatus { return nodeStatus{} })
	group.store = newKVStore(group, 1, 1, metrics)
	group.reads = newReads(group, group.store, 1, 1)
	go group.reads.run(b.Context())
	handler := (&api{store: group.store, reads: group.reads, metrics: metrics, deadlines: deadlines{within: context.Background()}}).handler()

	for _, bench := range []struct{ method, query, value string }{
		{"PUT", "", benchValue},
		{"PUT", "", strings.Repeat("v", 64<<10)},
		{"GET", "?stale", ""},
		{"GET", "", ""},
	} {
		b.Run(fmt.Sprintf("%s%s/%dB", bench.method, bench.query, len(bench.value)), func(b *testing.B) {
			body := strings.NewReader(bench.value)
			req := httptest.NewRequest(bench.method, "/key"+bench.query, body)
			w := &discarded{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(bench.value)
				clear(w.header)
				if handler.ServeHTTP(w, req); w.status >= 300 {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// instantRaft is a Raft of one member without a disk.
type instantRaft struct {
	store *kvStore
	reads *reads
	index uint64
}

func (r *instantRaft) Propose(_ context.Context, data []byte) error {
	r.index++
	return r.store.apply([]raftpb.Entry{{Term: 1, Index: r.index, Data: data}})
}

func (r *instantRaft) ReadIndex(_ context.Context, question []byte) error {
	r.reads.deliver([]raft.ReadState{{Index: r.index, RequestCtx: question}})
	return nil
}

func (*instantRaft) Term() uint64     { return 1 }
func (*instantRaft) Leader() uint64   { return 1 }
func (*instantRaft) Overloaded() bool { return false }

// discarded is an answer that nobody reads.
type discarded struct {
	header http.Header
	status int
}

func (w *discarded) Header() http.Header               { return w.header }
func (w *discarded) WriteHeader(status int)            { w.status = status }
func (w *discarded) Write(b []byte) (int, error)       { return len(b), nil }
func (w *discarded) WriteString(s string) (int, error) { return len(s), nil }

// yardstick answers PUT when the value is in a synced log, all that wait at once in
// one sync, and GET from a map.
type yardstick struct {
	mu    sync.RWMutex
	items map[string]string
	work  chan *yardWrite
}

type yardWrite struct {
	key, value string
	done       chan error
}

func newYardstick(b *testing.B) string {
	f, err := vfs.OS.Create(filepath.Join(b.TempDir(), "yardstick.log"))
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Preallocate(256 << 20); err != nil {
		b.Fatal(err)
	}
	y := &yardstick{items: map[string]string{}, work: make(chan *yardWrite, 4096)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: y}
	go server.Serve(l)
	go y.write(f)
	b.Cleanup(func() {
		server.Close()
		close(y.work)
	})
	return l.Addr().String()
}

// write writes whatever waits, syncs, and answers.
func (y *yardstick) write(f vfs.File) {
	defer f.Close()
	var off int64
	for first := range y.work {
		batch := []*yardWrite{first}
		for len(y.work) > 0 {
			batch = append(batch, <-y.work)
		}
		var buf []byte
		for _, w := range batch {
			buf = append(append(buf, w.key...), w.value...)
		}
		if off+int64(len(buf)) > 250<<20 {
			off = 0
		}
		_, err := f.WriteAt(buf, off)
		off += int64(len(buf))
		if err == nil {
			err = f.Sync()
		}
		y.mu.Lock()
		for _, w := range batch {
			y.items[w.key] = w.value
		}
		y.mu.Unlock()
		for _, w := range batch {
			w.done <- err
		}
	}
}

func (y *yardstick) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodGet {
		y.mu.RLock()
		value, ok := y.items[req.URL.Path]
		y.mu.RUnlock()
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		io.WriteString(w, value)
		return
	}
	value, err := io.ReadAll(req.Body)
	if err == nil {
		write := &yardWrite{req.URL.Path, string(value), make(chan error, 1)}
		y.work <- write
		err = <-write.done
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// load sends requests from a number of clients over addrs for a while, and returns
// how many were answered, and how long each took.
func load(b *testing.B, addrs []string, clients int, length time.Duration, request func(n uint64) string) []time.Duration {
	ctx, cancel := context.WithTimeout(b.Context(), length)
	defer cancel()
	var n atomic.Uint64
	took := make([][]time.Duration, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addrs[i%len(addrs)])
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for ctx.Err() == nil {
				start := time.Now()
				if _, err := io.WriteString(conn, request(n.Add(1))); err != nil {
					b.Error(err)
					return
				}
				if err := readAnswer(in); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	return all
}

// readAnswer reads an answer with as little effort as possible.
func readAnswer(in *bufio.Reader) error {
	length := 0
	for line := 0; ; line++ {
		text, err := in.ReadString('\n')
		switch {
		case err != nil:
			return err
		case line == 0 && !strings.Contains(text, " 20"):
			return fmt.Errorf("answered with %s", strings.TrimSpace(text))
		case text == "\r\n":
			_, err := in.Discard(length)
			return err
		}
		if value, ok := strings.CutPrefix(text, "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
}

// Three nodes, as processes, beside the yardstick, in this one. A turn is a quarter of a second
// of either; -benchtime says for how long to take turns.
func BenchmarkCluster(b *testing.B) {
	c := newProcessCluster(b)
	put(b, c.url(0)+"/key", benchValue, 20*time.Second)
	yard := newYardstick(b)
	var nodes []string
	for _, port := range c.ports {
		nodes = append(nodes, "127.0.0.1:"+port)
	}
	put := func(value string) func(uint64) string {
		return func(n uint64) string {
			return fmt.Sprintf("PUT /key%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", n%10000, len(value), value)
		}
	}
	small, large := put(benchValue), put(strings.Repeat("v", 64<<10))
	get := func(query string) func(uint64) string {
		return func(uint64) string { return "GET /key" + query + " HTTP/1.1\r\nHost: x\r\n\r\n" }
	}
	if took := load(b, []string{yard}, 1, time.Millisecond, func(uint64) string {
		return fmt.Sprintf("PUT /key HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(benchValue), benchValue)
	}); len(took) == 0 {
		b.Fatal("the yardstick does not answer")
	}
	for _, what := range []struct {
		name     string
		request  func(uint64) string
		standard func(uint64) string
		clients  []int
	}{
		{"put", small, small, []int{1, 16, 64, 256}},
		{"get", get(""), get(""), []int{1, 16, 64, 256}},
		{"stale", get("?stale"), get(""), []int{1, 16, 64, 256}},
		{"put64KiB", large, large, []int{16}},
	} {
		for _, clients := range what.clients {
			b.Run(fmt.Sprintf("%s/clients=%d", what.name, clients), func(b *testing.B) {
				const turn = 250 * time.Millisecond
				var ours, theirs []time.Duration
				turns := 0
				for b.Loop() {
					ours = append(ours, load(b, nodes, clients, turn, what.request)...)
					theirs = append(theirs, load(b, []string{yard}, clients, turn, what.standard)...)
					turns++
				}
				slices.Sort(ours)
				slices.Sort(theirs)
				at := func(all []time.Duration, q float64) float64 {
					return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(len(ours))/(float64(turns)*turn.Seconds()), "req/s")
				b.ReportMetric(at(ours, 0.5), "p50-ms")
				b.ReportMetric(at(ours, 0.99), "p99-ms")
				b.ReportMetric(float64(len(ours))/float64(len(theirs)), "×yardstick")
			})
		}
	}
}
