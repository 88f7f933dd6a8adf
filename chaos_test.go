// Chaos: a cluster of real processes, whose nodes are killed, paused and restarted
// while clients write, read, delete and compare-and-set. Whatever the clients saw
// must be explained by one store that did one thing after the other.

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// registerInput is a request to one key.
type registerInput struct {
	op    string // put, get, delete, cas
	key   string
	value string
	match string // for cas: the value that the caller had read
}

// registerOutput is its answer.
type registerOutput struct {
	value   string // what a get saw, "" if absent
	ok      bool   // whether a cas or delete did something
	unknown bool   // nobody knows whether it happened
}

// registerModel is a store of independent keys, with "" for an absent one.
var registerModel = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(registerInput).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, ops := range byKey {
			parts = append(parts, ops)
		}
		return parts
	},
	Init: func() []any { return []any{""} },
	Step: func(state, input, output any) []any {
		now, in, out := state.(string), input.(registerInput), output.(registerOutput)
		var next []any
		switch in.op {
		case "get":
			if out.unknown || out.value == now {
				next = []any{now}
			}
		case "put":
			next = []any{in.value}
		case "delete":
			if out.unknown || out.ok == (now != "") {
				next = []any{""}
			}
		case "cas":
			switch {
			case out.unknown && now == in.match:
				next = []any{in.value, now}
			case out.unknown:
				next = []any{now}
			case out.ok && now == in.match:
				next = []any{in.value}
			case !out.ok && now != in.match: // no value is written twice
				next = []any{now}
			}
		}
		if out.unknown && (in.op == "put" || in.op == "delete") {
			next = append(next, now)
		}
		return next
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v → %+v", input, output)
	},
}

// recorder keeps what the clients saw.
type recorder struct {
	mu      sync.Mutex
	start   time.Time
	history []porcupine.Operation
}

// request does something and records it, unless it certainly never happened. What
// nobody knows the end of may happen until the end of the test.
func (r *recorder) request(client int, in registerInput, do func() (registerOutput, bool)) registerOutput {
	call := time.Since(r.start).Nanoseconds()
	out, happened := do()
	end := time.Since(r.start).Nanoseconds()
	if out.unknown {
		end = int64(time.Hour)
	}
	if happened {
		r.mu.Lock()
		r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
		r.mu.Unlock()
	}
	return out
}

// judge finds out whether the history can be explained by one store.
func (r *recorder) judge(t *testing.T, seed uint64) {
	model := registerModel.ToModel()
	result, info := porcupine.CheckOperationsVerbose(model, r.history, time.Minute)
	unknown := 0
	for _, op := range r.history {
		if op.Output.(registerOutput).unknown {
			unknown++
		}
	}
	t.Logf("%d operations, %d of unknown outcome: %v", len(r.history), unknown, result)
	if result == porcupine.Illegal {
		file := filepath.Join(os.TempDir(), fmt.Sprintf("raftexample-history-%d.html", seed))
		if err := porcupine.VisualizePath(model, info, file); err != nil {
			t.Error(err)
		}
		t.Errorf("the history is not linearizable, see %s", file)
	}
	if len(r.history) < 500 {
		t.Errorf("only %d operations", len(r.history))
	}
}

// chaosCluster is three processes.
type chaosCluster struct {
	t     *testing.T
	bin   string
	dir   string
	peers []string
	ports []string
	procs [3]*process
	pause time.Duration // of each client between two requests
}

func (c *chaosCluster) start(i int) {
	var urls []string
	for _, p := range c.peers {
		urls = append(urls, "http://127.0.0.1:"+p)
	}
	cmd := exec.Command(c.bin, "--id", strconv.Itoa(i+1), "--cluster", strings.Join(urls, ","),
		"--port", c.ports[i], "--data-dir", filepath.Join(c.dir, "n"+strconv.Itoa(i+1)), "--snapshot-entries", "500")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.procs[i] = startProcess(c.t, cmd)
}

// trouble kills, pauses or ends a node, and mends that after a while.
func (c *chaosCluster) trouble(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		i := rng.IntN(3)
		wait := func(limit time.Duration) {
			select {
			case <-time.After(time.Duration(rng.Int64N(int64(limit)))):
			case <-ctx.Done():
			}
		}
		switch rng.IntN(4) {
		case 0:
			c.procs[i].signal(syscall.SIGSTOP)
			wait(4 * time.Second)
			c.procs[i].signal(syscall.SIGCONT)
		case 1:
			c.procs[i].signal(syscall.SIGTERM)
			c.procs[i].ended(10 * time.Second)
			wait(2 * time.Second)
			c.start(i)
		case 2:
			c.procs[i].signal(syscall.SIGKILL)
			c.procs[i].ended(10 * time.Second)
			wait(2 * time.Second)
			c.start(i)
		case 3: // all of them, as when the power fails
			for k := range c.procs {
				c.procs[k].signal(syscall.SIGKILL)
			}
			for k := range c.procs {
				c.procs[k].ended(10 * time.Second)
				c.start(k)
			}
			wait(4 * time.Second)
		}
		wait(3 * time.Second)
	}
}

// client does requests until its time is over.
func (c *chaosCluster) client(ctx context.Context, id int, r *recorder) {
	rng := rand.New(rand.NewPCG(uint64(id), 1))
	client := &http.Client{Timeout: 8 * time.Second}
	for n := 0; ctx.Err() == nil; n++ {
		time.Sleep(c.pause)
		url := "http://127.0.0.1:" + c.ports[rng.IntN(3)] + "/"
		in := registerInput{key: fmt.Sprintf("k%d", rng.IntN(8)), value: fmt.Sprintf("%d.%d", id, n)}
		var etag string
		switch rng.IntN(10) {
		case 0, 1, 2, 3:
			in.op = "put"
		case 4:
			in.op = "delete"
		case 5, 6:
			in.op = "get"
			out := r.request(id, in, func() (registerOutput, bool) {
				o, tag, happened := c.do(client, url, in, "")
				etag = tag
				return o, happened
			})
			if etag == "" || out.unknown {
				continue
			}
			in.op, in.match = "cas", out.value
		default:
			in.op = "get"
		}
		r.request(id, in, func() (registerOutput, bool) {
			o, _, happened := c.do(client, url, in, etag)
			return o, happened
		})
	}
}

// do sends one request. happened is false if it certainly had no effect and no
// answer.
func (c *chaosCluster) do(client *http.Client, url string, in registerInput, match string) (out registerOutput, etag string, happened bool) {
	method := map[string]string{"put": "PUT", "cas": "PUT", "delete": "DELETE", "get": "GET"}[in.op]
	req, err := http.NewRequest(method, url+in.key, strings.NewReader(in.value))
	if err != nil {
		c.t.Error(err)
		return out, "", false
	}
	if in.op == "cas" {
		req.Header.Set("If-Match", match)
	}
	resp, err := client.Do(req)
	if err != nil {
		time.Sleep(20 * time.Millisecond)                        // the node is down
		return registerOutput{unknown: true}, "", in.op != "get" // the answer may be what got lost
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil || resp.StatusCode == 504:
		return registerOutput{unknown: true}, "", in.op != "get"
	case resp.StatusCode == 503:
		time.Sleep(20 * time.Millisecond)
		return out, "", false
	case resp.StatusCode == 200:
		return registerOutput{value: string(body)}, resp.Header.Get("ETag"), true
	case resp.StatusCode == 204:
		return registerOutput{ok: true}, "", true
	case resp.StatusCode == 404 || resp.StatusCode == 412:
		return registerOutput{}, "", true
	}
	c.t.Errorf("%s %s: %s %s", method, in.key, resp.Status, body)
	return out, "", false
}

// Under chaos the store stays linearizable, a refused write never happens, and all
// nodes end equal. 15 s by default, 2 minutes with RAFT_LONG.
func TestChaos(t *testing.T) {
	length := 15 * time.Second
	if os.Getenv("RAFT_LONG") != "" {
		length = 2 * time.Minute
	}
	dir := t.TempDir()
	ports := freePorts(t, 6)
	c := &chaosCluster{t: t, bin: filepath.Join(dir, "raftexample"), dir: dir, peers: ports[:3], ports: ports[3:]}
	if out, err := exec.Command("go", "build", "-o", c.bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for i := range 3 {
		c.start(i)
	}
	put(t, "http://127.0.0.1:"+c.ports[0]+"/begin", "x", 20*time.Second)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	r := &recorder{start: time.Now()}
	var wg sync.WaitGroup
	for id := range 8 {
		wg.Go(func() { c.client(ctx, id, r) })
	}
	c.trouble(ctx, rand.New(rand.NewPCG(seed, 0)))
	wg.Wait()

	// All nodes come to the same end.
	put(t, "http://127.0.0.1:"+c.ports[0]+"/end", "x", 30*time.Second)
	want := get(t, "http://127.0.0.1:"+c.ports[0]+"/?prefix=k")
	for _, port := range c.ports[1:] {
		if got := get(t, "http://127.0.0.1:"+port+"/?prefix=k"); got != want {
			t.Errorf("nodes differ:\n%s%s", want, got)
		}
	}
	r.judge(t, seed)
}

// The judge convicts: histories with a stale read or a lost write are found out.
func TestJudgeConvicts(t *testing.T) {
	op := func(call, end int64, in registerInput, out registerOutput) porcupine.Operation {
		in.key = "k"
		return porcupine.Operation{Input: in, Output: out, Call: call, Return: end}
	}
	put := func(call, end int64, v string) porcupine.Operation {
		return op(call, end, registerInput{op: "put", value: v}, registerOutput{ok: true})
	}
	get := func(call, end int64, v string) porcupine.Operation {
		return op(call, end, registerInput{op: "get"}, registerOutput{value: v})
	}
	for name, tt := range map[string]struct {
		history []porcupine.Operation
		legal   bool
	}{
		"in order":        {[]porcupine.Operation{put(1, 2, "a"), get(3, 4, "a")}, true},
		"at once":         {[]porcupine.Operation{put(1, 2, "a"), put(3, 9, "b"), get(4, 5, "a"), get(6, 7, "b")}, true},
		"a stale read":    {[]porcupine.Operation{put(1, 2, "a"), put(3, 4, "b"), get(5, 6, "a")}, false},
		"a lost write":    {[]porcupine.Operation{put(1, 2, "a"), get(3, 4, "")}, false},
		"back and forth":  {[]porcupine.Operation{put(1, 2, "a"), put(3, 9, "b"), get(4, 5, "b"), get(6, 7, "a")}, false},
		"a false success": {[]porcupine.Operation{put(1, 2, "a"), op(3, 4, registerInput{op: "cas", value: "c", match: "b"}, registerOutput{ok: true})}, false},
	} {
		if got := porcupine.CheckOperations(registerModel.ToModel(), tt.history); got != tt.legal {
			t.Errorf("%s: %t, want %t", name, got, tt.legal)
		}
	}
}
