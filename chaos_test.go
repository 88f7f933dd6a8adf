// Chaos: a cluster of real processes whose nodes are killed, paused, restarted and
// replaced, while the network between them is cut, one way or both, slowed and
// broken, and clients write, read, delete and compare-and-set. What the clients saw
// must be explained by one store that did one thing after the other.
//
// Start at TestChaos. The history and its judge are in history_test.go, the network
// in badnetwork_test.go.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// processCluster is nodes in processes of their own, three to begin with. Node i+1
// is at position i.
type processCluster struct {
	t     testing.TB
	bin   string
	dir   string
	flags []string // of all nodes

	peers   []string // ports
	ports   []string // for clients
	procs   []*process
	network *badNetwork // nil: they speak directly
	proxies []*proxy    // before the peer ports, if there is a network

	mu      sync.Mutex
	members []int // positions of those that belong to the cluster
}

// newProcessCluster starts three nodes, and waits until they take a write.
func newProcessCluster(t testing.TB, flags ...string) *processCluster {
	t.Helper()
	dir := t.TempDir()
	c := &processCluster{t: t, bin: filepath.Join(dir, "raftexample"), dir: dir, flags: flags, members: []int{0, 1, 2}}
	binaries.link(t, ".", c.bin)
	ports := freePorts(t, 6)
	c.peers, c.ports, c.procs = ports[:3:3], ports[3:], make([]*process, 3)
	for i := range 3 {
		c.start(i)
	}
	put(t, c.url(0)+"/begin", "x", 20*time.Second)
	return c
}

func (c *processCluster) url(i int) string { return "http://127.0.0.1:" + c.ports[i] }

// urls are those of the members, for clients.
func (c *processCluster) urls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var urls []string
	for _, i := range c.members {
		urls = append(urls, c.url(i))
	}
	return urls
}

// peerURL is where other nodes reach one.
func (c *processCluster) peerURL(i int) string {
	if i < len(c.proxies) {
		return c.proxies[i].url()
	}
	return "http://127.0.0.1:" + c.peers[i]
}

// start starts a node, which listens on its own port and knows the others' URLs.
func (c *processCluster) start(i int, more ...string) {
	c.t.Helper()
	var list []string
	for k := range c.peers {
		url := c.peerURL(k)
		if k == i {
			url = "http://127.0.0.1:" + c.peers[k]
		}
		list = append(list, fmt.Sprintf("%d=%s", k+1, url))
	}
	cmd := exec.Command(c.bin, slices.Concat([]string{
		"--id", strconv.Itoa(i + 1), "--cluster", strings.Join(list, ","),
		"--port", c.ports[i], "--data-dir", filepath.Join(c.dir, "n"+strconv.Itoa(i+1)),
	}, c.flags, more)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.procs[i] = startProcess(c.t, cmd)
}

// leader waits for a leader, as a node knows it, and returns its position.
func (c *processCluster) leader(ask int) int {
	c.t.Helper()
	lead := 0
	waitFor(c.t, 20*time.Second, "a leader", func() bool {
		status, body := c.ask("GET", ask, "/-/leader", "")
		lead, _ = strconv.Atoi(strings.TrimSpace(body)) // 0 if it is not 200
		return status == 200
	})
	return lead - 1
}

// ask sends a request to a node. The status is 0 if no answer comes.
func (c *processCluster) ask(method string, node int, path, body string) (status int, answer string) {
	req, err := http.NewRequest(method, c.url(node)+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: 8 * time.Second}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// putProxies makes the members speak to each other through a bad network: each gets
// the URL of a proxy.
func (c *processCluster) putProxies() {
	c.t.Helper()
	c.network = newBadNetwork()
	for i := range c.peers {
		c.network.change(func() { c.network.nodes[c.peers[i]] = i })
		c.proxies = append(c.proxies, newProxy(c.t, c.network, c.peers[i]))
	}
	for i := range c.peers {
		c.change("PUT", i, c.peerURL(i), 0)
	}
	waitFor(c.t, 20*time.Second, "the leader and its followers to speak through the proxies", func() bool {
		links, lead := c.network.connected(), c.leader(0)
		for i := range c.peers {
			if i != lead && !(links[link{lead, i}] && links[link{i, lead}]) {
				return false
			}
		}
		return true
	})
}

// change changes the membership: whatever happens meanwhile, it asks until it is
// done, now or by an earlier try.
func (c *processCluster) change(method string, node int, body string, ask int) {
	c.t.Helper()
	path := "/-/members/" + strconv.Itoa(node+1)
	if method == "POST" && body != "" {
		path += "?learner"
	}
	waitFor(c.t, time.Minute, method+" "+path, func() bool {
		switch status, answer := c.ask(method, ask, path, body); status {
		case 204:
			return true
		case 409:
			return strings.Contains(answer, "exists")
		case 404:
			return method == "DELETE"
		case 0, 503, 504:
		default:
			c.t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
		return false
	})
}

// beside returns another member.
func (c *processCluster) beside(i int) int {
	return c.members[(slices.Index(c.members, i)+1)%len(c.members)]
}

// invite adds a new node as a learner, starts it, and makes it a voter.
func (c *processCluster) invite(ask int) {
	c.t.Helper()
	i := len(c.peers)
	ports := freePorts(c.t, 2)
	c.mu.Lock()
	c.peers, c.ports, c.procs = append(c.peers, ports[0]), append(c.ports, ports[1]), append(c.procs, nil)
	c.mu.Unlock()
	c.network.change(func() { c.network.nodes[ports[0]] = i })
	c.proxies = append(c.proxies, newProxy(c.t, c.network, ports[0]))

	c.change("POST", i, c.peerURL(i), ask)
	c.start(i, "--join")
	waitFor(c.t, time.Minute, "the new node to have joined", func() bool {
		select {
		case <-c.procs[i].done: // those it asked had not heard of it yet, or were cut off
			c.start(i, "--join")
		default:
		}
		status, _ := c.ask("GET", i, "/-/status", "")
		return status == 200
	})
	c.change("POST", i, "", ask)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = append(c.members, i)
}

// dismiss removes a node, which then stops by itself and says why.
func (c *processCluster) dismiss(i int) {
	c.t.Helper()
	c.change("DELETE", i, "", c.beside(i))
	c.mu.Lock()
	c.members = slices.DeleteFunc(slices.Clone(c.members), func(k int) bool { return k == i })
	c.mu.Unlock()
	var exit *exec.ExitError
	if err := c.procs[i].ended(30 * time.Second); !errors.As(err, &exit) || exit.ExitCode() != 1 ||
		!strings.Contains(c.procs[i].out.String(), "this member was removed from the cluster") {
		c.t.Errorf("node %d was removed and ended with %v:\n%s", i+1, err, c.procs[i].out.String())
	}
}

// sleep waits for a random time, up to a limit, or until ctx ends.
func sleep(ctx context.Context, rng *rand.Rand, limit time.Duration) {
	select {
	case <-time.After(time.Duration(rng.Int64N(int64(limit)))):
	case <-ctx.Done():
	}
}

// troubleNodes kills, pauses, ends or replaces a node, and mends that after a while:
// each once, in random order, and then again.
func (c *processCluster) troubleNodes(ctx context.Context, rng *rand.Rand, did map[string]int) {
	restart := func(i int, signal syscall.Signal) {
		c.procs[i].signal(signal)
		c.procs[i].ended(10 * time.Second)
		sleep(ctx, rng, 2*time.Second)
		c.start(i)
	}
	troubles := map[string]func(i int){
		"pause": func(i int) {
			c.procs[i].signal(syscall.SIGSTOP)
			sleep(ctx, rng, 4*time.Second)
			c.procs[i].signal(syscall.SIGCONT)
		},
		"stop": func(i int) { restart(i, syscall.SIGTERM) },
		"kill": func(i int) { restart(i, syscall.SIGKILL) },
		"kill all": func(int) { // as when the power fails
			for _, k := range c.members {
				c.procs[k].signal(syscall.SIGKILL)
			}
			for _, k := range c.members {
				c.procs[k].ended(10 * time.Second)
				c.start(k)
			}
			sleep(ctx, rng, 4*time.Second)
		},
		"replace": func(i int) {
			c.invite(c.beside(i))
			c.dismiss(i)
		},
		"replace a dead one": func(i int) {
			c.procs[i].signal(syscall.SIGKILL)
			c.procs[i].ended(10 * time.Second)
			c.invite(c.beside(i))
			c.start(i)
			c.dismiss(i)
		},
	}
	c.inTurns(ctx, rng, troubles, did)
}

// troubleNetwork cuts, slows or breaks a node's links, and mends them after a while.
func (c *processCluster) troubleNetwork(ctx context.Context, rng *rand.Rand, did map[string]int) {
	const nodes = 100 // more than there will be
	during := func(what func(i int)) func(int) {
		return func(i int) {
			what(i)
			sleep(ctx, rng, 3*time.Second)
			c.network.mend()
		}
	}
	troubles := map[string]func(i int){
		"cut off":          during(func(i int) { c.network.isolate(i, nodes, true, true) }),
		"cut off inwards":  during(func(i int) { c.network.isolate(i, nodes, true, false) }),
		"cut off outwards": during(func(i int) { c.network.isolate(i, nodes, false, true) }),
		"one link": during(func(i int) {
			c.mu.Lock()
			to := c.members[rng.IntN(len(c.members))]
			c.mu.Unlock()
			c.network.change(func() { c.network.cut[link{i, to}] = true })
		}),
		"slow": during(func(i int) { c.network.slow(i, nodes, 30*time.Millisecond) }),
		"broken": func(i int) {
			for range 10 {
				c.network.reset(i)
				sleep(ctx, rng, 200*time.Millisecond)
			}
		},
	}
	c.inTurns(ctx, rng, troubles, did)
}

// inTurns lets trouble come to random members, of each kind once and then again, until
// ctx ends.
func (c *processCluster) inTurns(ctx context.Context, rng *rand.Rand, troubles map[string]func(i int), did map[string]int) {
	var names []string
	for name := range troubles {
		names = append(names, name)
	}
	slices.Sort(names)
	for ctx.Err() == nil {
		rng.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
		for _, name := range names {
			if ctx.Err() != nil {
				return
			}
			c.mu.Lock()
			i := c.members[rng.IntN(len(c.members))]
			c.mu.Unlock()
			troubles[name](i)
			did[name]++
			sleep(ctx, rng, 2*time.Second)
		}
	}
}

// Under chaos the store stays linearizable, a refused write never happens, and all
// nodes end equal. 15 s by default, 2 minutes with RAFT_LONG.
func TestChaos(t *testing.T) {
	t.Parallel()
	length := 15 * time.Second
	if os.Getenv("RAFT_LONG") != "" {
		length = 2 * time.Minute
	}
	c := newProcessCluster(t, "--snapshot-entries", "500")
	c.putProxies()

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	clients := &registerClients{recorder: &recorder{start: time.Now()}, t: t, urls: c.urls}
	ctx, cancel := clients.lasting(t.Context(), length)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { clients.run(ctx, 8) })
	didNetwork, didNodes := map[string]int{}, map[string]int{}
	wg.Go(func() { c.troubleNetwork(ctx, rand.New(rand.NewPCG(seed, 1)), didNetwork) })
	c.troubleNodes(ctx, rand.New(rand.NewPCG(seed, 0)), didNodes)
	wg.Wait()
	t.Logf("troubles: %v, %v", didNodes, didNetwork)

	put(t, c.urls()[0]+"/end", "x", 30*time.Second)
	clients.sameEverywhere()
	clients.readAll()
	clients.judge(t, seed)
}
