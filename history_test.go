// History: what clients did and saw, and the judge who finds out whether one store
// that did one thing after the other explains it.
//
// Start at registerModel, then recorder; registerClients make the history.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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

// enough is how many operations there must be to judge.
const enough = 500

// recorder keeps what the clients saw.
type recorder struct {
	start time.Time

	mu      sync.Mutex
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

// lasting returns a context that ends after a time, or later, when enough was recorded:
// a busy machine does little in the same time.
func (r *recorder) lasting(ctx context.Context, length time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, 5*length)
	var again func()
	again = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.history) >= enough {
			cancel()
		} else if ctx.Err() == nil {
			time.AfterFunc(length/10, again)
		}
	}
	time.AfterFunc(length, again)
	return ctx, cancel
}

// keys returns every key that was asked about.
func (r *recorder) keys() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []string
	for _, op := range r.history {
		keys = append(keys, op.Input.(registerInput).key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// judge finds out whether the history can be explained by one store.
func (r *recorder) judge(t *testing.T, seed uint64) {
	t.Helper()
	model := registerModel.ToModel()
	result, info := porcupine.CheckOperationsVerbose(model, r.history, time.Minute)
	unknown := 0
	for _, op := range r.history {
		if op.Output.(registerOutput).unknown {
			unknown++
		}
	}
	t.Logf("%d operations, %d of unknown outcome: %v", len(r.history), unknown, result)
	if result != porcupine.Ok {
		file := filepath.Join(os.TempDir(), fmt.Sprintf("raftexample-history-%d.html", seed))
		if err := porcupine.VisualizePath(model, info, file); err != nil {
			t.Error(err)
		}
		t.Errorf("the history is not shown to be linearizable, see %s", file)
	}
	if len(r.history) < enough {
		t.Errorf("only %d operations", len(r.history))
	}
}

// keyAge is how long clients use the same keys: the judge's work grows with what
// happened to each.
const keyAge = 5 * time.Second

// registerClients write, read, delete and compare-and-set.
type registerClients struct {
	*recorder
	t     *testing.T
	urls  func() []string // of the nodes, as they are now
	pause time.Duration   // of each client between two requests

	readQuery string // goes behind what is read, if it is to be read in a special way
}

// run makes a number of clients do requests until ctx ends, and waits for them.
func (c *registerClients) run(ctx context.Context, clients int) {
	var wg sync.WaitGroup
	for id := range clients {
		wg.Go(func() { c.client(ctx, id) })
	}
	wg.Wait()
}

// client does requests until its time is over.
func (c *registerClients) client(ctx context.Context, id int) {
	rng := rand.New(rand.NewPCG(uint64(id), 1))
	client := &http.Client{Timeout: 8 * time.Second}
	for n := 0; ctx.Err() == nil; n++ {
		time.Sleep(c.pause)
		urls := c.urls()
		url := urls[rng.IntN(len(urls))]
		in := registerInput{
			key:   fmt.Sprintf("k%d.%d", time.Since(c.start)/keyAge, rng.IntN(8)),
			value: fmt.Sprintf("%d.%d", id, n),
		}
		etag := ""
		ask := func() registerOutput {
			return c.request(id, in, func() (registerOutput, bool) {
				out, tag, happened := c.do(client, url, in, etag)
				etag = tag
				return out, happened
			})
		}
		switch rng.IntN(10) {
		case 0, 1, 2, 3:
			in.op = "put"
		case 4:
			in.op = "delete"
		case 5, 6:
			in.op = "get"
			read := ask()
			if etag == "" {
				continue
			}
			in.op, in.match = "cas", read.value
		default:
			in.op = "get"
		}
		ask()
	}
}

// readAll reads every key once more: nothing may have got lost in the end.
func (c *registerClients) readAll() {
	client := &http.Client{Timeout: 8 * time.Second}
	for i, key := range c.keys() {
		in := registerInput{op: "get", key: key}
		waitFor(c.t, 20*time.Second, "GET "+key, func() (done bool) {
			c.request(0, in, func() (out registerOutput, happened bool) {
				urls := c.urls()
				out, _, done = c.do(client, urls[i%len(urls)], in, "")
				return out, done
			})
			return done
		})
	}
}

// do sends one request. happened is false if it certainly had no effect and no
// answer.
func (c *registerClients) do(client *http.Client, url string, in registerInput, match string) (out registerOutput, etag string, happened bool) {
	method := map[string]string{"put": "PUT", "cas": "PUT", "delete": "DELETE", "get": "GET"}[in.op]
	target := url + "/" + in.key
	if in.op == "get" {
		target += c.readQuery
	}
	req, err := http.NewRequest(method, target, strings.NewReader(in.value))
	if err != nil {
		c.t.Error(err)
		return out, "", false
	}
	if in.op == "cas" {
		req.Header.Set("If-Match", match)
	}
	resp, err := client.Do(req)
	if err != nil {
		time.Sleep(20 * time.Millisecond) // the node is down, perhaps only now: the answer may be what got lost
		return registerOutput{unknown: true}, "", in.op != "get" && !errors.Is(err, syscall.ECONNREFUSED)
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

// sameEverywhere compares the keys of all nodes, as each of them has them.
func (c *registerClients) sameEverywhere() {
	c.t.Helper()
	want := ""
	for _, url := range c.urls() {
		got := get(c.t, url+"/?prefix=k&limit=1000")
		if want == "" {
			want = got
		}
		if got != want || strings.Contains(got, `"next"`) || !strings.Contains(got, `"k0.`) {
			c.t.Errorf("nodes differ, or have too many keys or none:\n%s%s", want, got)
		}
	}
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
