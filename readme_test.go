// The README's commands, in its order, do what it says. See terminal_test.go.

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tour of the README does what the README says, and shows what is printed.
func TestReadmeTour(t *testing.T) {
	t.Parallel()
	term := newTerminal(t)
	cluster := term.background("go tool goreman start")
	tour := term.walk("## The tour")

	tour.curl("curl -L http://127.0.0.1:12380/my-key -XPUT -d foo", 204)
	tour.curl("curl -L http://127.0.0.1:22380/my-key", 200)
	tour.curl("curl -L http://127.0.0.1:32380/my-key", 200)
	tour.curl(`curl -L http://127.0.0.1:12380/my-key -XPUT -d baz -H "If-None-Match: *"`, 412)

	// Stop a node, write, start it.
	tour.does("go tool goreman run stop raftexample2")
	tour.curl("curl -L http://127.0.0.1:12380/my-key -XPUT -d bar", 204)
	tour.does("go tool goreman run start raftexample2")
	tour.curl("curl -L http://127.0.0.1:22380/my-key", 200)

	// The same with the leader.
	tour.curl("curl -L http://127.0.0.1:12380/-/leader -XPUT -d 2", 204)
	tour.curl("curl -L http://127.0.0.1:12380/-/leader", 200)
	tour.does("go tool goreman run stop raftexample2")
	tour.curl("curl -L http://127.0.0.1:12380/my-key -XPUT -d bar", 204)
	tour.next("curl -L http://127.0.0.1:12380/-/leader")
	if lead := term.run("curl -L http://127.0.0.1:12380/-/leader"); lead != "1\n200" && lead != "3\n200" {
		t.Errorf("after the leader was stopped: %s", lead)
	}
	tour.does("go tool goreman run start raftexample2")

	// A fourth node, then without the third.
	tour.curl(`curl -L "http://127.0.0.1:12380/-/members/4?learner" -XPOST -d http://127.0.0.1:42379`, 204)
	const startFourth = "go run . --id 4 --cluster http://127.0.0.1:12379,http://127.0.0.1:22379,http://127.0.0.1:32379,http://127.0.0.1:42379 --port 42380 --join"
	fourth := tour.goesOn(startFourth)
	tour.curl("curl -L http://127.0.0.1:12380/-/members/4 -XPOST", 204)
	tour.curl("curl -L http://127.0.0.1:42380/my-key", 200)
	tour.curl("curl -L http://127.0.0.1:12380/-/members/3 -XDELETE", 204)
	tour.curl("curl -L http://127.0.0.1:12380/-/members", 200)
	saysRemoved := func() bool {
		return strings.Contains(cluster.out.String(), "this member was removed from the cluster")
	}
	waitFor(t, 10*time.Second, "node 3 says that it was removed", saysRemoved)
	term.interrupt(cluster, fourth)

	// All of them again.
	cluster = tour.goesOn("go tool goreman start")
	fourth = tour.goesOn(startFourth)
	tour.curl("curl -L http://127.0.0.1:42380/my-key", 200)
	waitFor(t, 10*time.Second, "node 3 says again that it was removed", saysRemoved)

	// The third machine under a new id.
	tour.does("rm -r raftexample-3")
	tour.curl(`curl -L "http://127.0.0.1:12380/-/members/5?learner" -XPOST -d http://127.0.0.1:32379`, 204)
	fifth := tour.goesOn("go run . --id 5 --cluster 1=http://127.0.0.1:12379,5=http://127.0.0.1:32379 --port 32380 --join")
	tour.curl("curl -L http://127.0.0.1:12380/-/members/5 -XPOST", 204)
	tour.curl("curl -L http://127.0.0.1:32380/my-key", 200)
	term.interrupt(cluster, fourth, fifth)

	// Anew, and one node alone: see TestOneNodeAlone.
	tour.does("rm -r raftexample-*")
	tour.next("go run . --id 1 --cluster http://127.0.0.1:12379 --port 12380 --data-dir raftexample-alone")
	tour.end()
}

// kill -9 of all nodes under load loses no write that was answered 204.
func TestKillAllUnderLoad(t *testing.T) {
	t.Parallel()
	term := newTerminal(t)
	cluster := term.background("go tool goreman start")
	term.until("curl -L http://127.0.0.1:12380/my-key -XPUT -d foo", "204")

	var mu sync.Mutex
	acked := map[string]bool{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("load-%d-%d", c, i)
				port := readmePorts[4+(c+i)%3]
				if status := tryPut(ctx, term.ports.Replace("http://127.0.0.1:"+port+"/"+key), "v-"+key); status == 204 {
					mu.Lock()
					acked[key] = true
					mu.Unlock()
				}
			}
		})
	}
	waitFor(t, 20*time.Second, "500 writes are answered", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(acked) >= 500
	})
	cluster.signal(syscall.SIGKILL) // goreman and all nodes, at once
	killChildren(t, term)
	cancel()
	wg.Wait()
	cluster.ended(5 * time.Second)

	term.background("go tool goreman start")
	put(t, term.ports.Replace("http://127.0.0.1:12380/again"), "x", 20*time.Second)
	for key := range acked {
		if body := get(t, term.ports.Replace("http://127.0.0.1:22380/"+key)); body != "v-"+key {
			t.Errorf("%s was answered 204 and is %q", key, body)
		}
	}
	t.Logf("%d writes were answered before the kill, all are there", len(acked))
}

// When more than half of the members are lost, one that is left becomes a cluster of
// its own, with what it has, and grows again.
func TestReadmeLostQuorum(t *testing.T) {
	t.Parallel()
	term := newTerminal(t)
	cluster := term.background("go tool goreman start")
	term.until("curl -L http://127.0.0.1:12380/my-key -XPUT -d foo", "204")
	term.until("curl -L http://127.0.0.1:22380/my-key", "foo200")
	if out := term.run("curl -s http://127.0.0.1:12380/-/metrics"); !strings.Contains(out, "raftexample_commit_index") {
		t.Errorf("metrics: %s", out)
	}
	walk := term.walk("## When the majority is lost")
	const askStatus = "curl -s http://127.0.0.1:22380/-/status"
	walk.next(askStatus)
	if out := term.run(askStatus); !strings.Contains(out, `"lastIndex":`) || !strings.Contains(out, `"lastTerm":`) {
		t.Errorf("status: %s", out)
	}
	cluster.signal(syscall.SIGKILL)
	killChildren(t, term)
	cluster.ended(5 * time.Second)

	node := walk.goesOn("go run . --id 2 --cluster 2=http://127.0.0.1:22379 --port 22380 --force-new-cluster")
	term.until("curl -L http://127.0.0.1:22380/my-key", "foo200")
	if !strings.Contains(node.out.String(), "this member is a cluster of its own now") {
		t.Error("the node does not say what it did")
	}
	node.signal(syscall.SIGTERM)
	if err := node.ended(2 * time.Second); err != nil {
		t.Errorf("the node ended with %v", err)
	}
	walk.goesOn("go run . --id 2 --cluster 2=http://127.0.0.1:22379 --port 22380")
	term.until("curl -L http://127.0.0.1:22380/my-key", "foo200")

	walk.curl(`curl -L "http://127.0.0.1:22380/-/members/6?learner" -XPOST -d http://127.0.0.1:42379`, 204)
	walk.goesOn("go run . --id 6 --cluster 2=http://127.0.0.1:22379,6=http://127.0.0.1:42379 --port 42380 --join")
	walk.curl("curl -L http://127.0.0.1:22380/-/members/6 -XPOST", 204)
	walk.curl("curl -L http://127.0.0.1:42380/my-key", 200)
	walk.end()
}

// Five members on five addresses, with certificates made as the README makes them,
// are a cluster, and survive the loss of two.
func TestReadmeSeveralMachines(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl")
	}
	if l, err := net.Listen("tcp", "127.0.0.5:0"); err != nil {
		t.Skip("this machine has one loopback address only")
	} else {
		l.Close()
	}
	term := newTerminal(t)
	walk := term.walk("## When you outgrow one machine")
	quietly := func(term *terminal, line string) {
		t.Helper()
		if out, err := term.command(line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	const (
		makeAuthority   = `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=raftexample" -keyout ca.key -out ca.pem`
		makeKey         = `openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=raftexample $N" -keyout $N.key -out $N.csr`
		makeCertificate = `openssl x509 -req -in $N.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile <(echo "subjectAltName=IP:10.0.0.$N") -out $N.pem`
		start           = "go run . --id $N --cluster https://10.0.0.1:12379,https://10.0.0.2:12379,https://10.0.0.3:12379,https://10.0.0.4:12379,https://10.0.0.5:12379 --host 10.0.0.$N --port 12380 --peer-ca ca.pem --peer-cert $N.pem --peer-key $N.key"
		askAll          = "curl -s http://10.0.0.1:12380/-/cluster"
	)
	walk.next(makeAuthority)
	quietly(term, makeAuthority)
	walk.next(makeKey)
	walk.next(makeCertificate)
	walk.next(start)
	var nodes []*process
	for n := 1; n <= 5; n++ {
		machine := *term
		machine.env = append(slices.Clone(term.env), fmt.Sprint("N=", n))
		quietly(&machine, makeKey)
		quietly(&machine, makeCertificate)
		nodes = append(nodes, machine.background(start))
	}
	url := func(n int, path string) string {
		return term.ports.Replace(fmt.Sprintf("http://10.0.0.%d:12380%s", n, path))
	}
	put(t, url(1, "/k"), "v", 20*time.Second)
	for n := 1; n <= 5; n++ {
		if got := get(t, url(n, "/k")); got != "v" {
			t.Errorf("member %d has %q", n, got)
		}
	}
	walk.next(askAll)
	all, ok := strings.CutSuffix(term.run(askAll), "200")
	var members []clusterMember
	if err := json.Unmarshal([]byte(all), &members); err != nil || !ok || len(members) != 5 || strings.Contains(all, "unreachable") {
		t.Errorf("%s: %v", all, err)
	}
	walk.end()

	nodes[4].signal(syscall.SIGKILL)
	nodes[3].signal(syscall.SIGKILL)
	put(t, url(1, "/k"), "w", 20*time.Second)
	if got := get(t, url(3, "/k")); got != "w" {
		t.Errorf("without two of five: %q", got)
	}
	nodes[2].signal(syscall.SIGKILL)
	waitFor(t, 20*time.Second, "the rest to refuse writes", func() bool { return tryPut(t.Context(), url(1, "/k"), "x") == 503 })
}

// The simulator is run, and a seed of it replayed, as the README says.
func TestReadmeSimulator(t *testing.T) {
	t.Parallel()
	term := newTerminal(t)
	walk := term.walk("## How it is tested")
	for line, want := range map[string]string{
		"go test ./raft/rafttest -run TestSeeds -duration 5s": "ok",
		"go test ./raft/rafttest -run TestSeed -seed 187 -v":  "--- PASS: TestSeed",
	} {
		cmd := term.command(line)
		cmd.Dir = "."
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%.2000s", line, err, out)
		}
	}
	if len(walk.left) != 2 {
		t.Errorf("the section has %v", walk.left)
	}
}

// The help is what the README's command prints.
func TestReadmeHelp(t *testing.T) {
	t.Parallel()
	if out := newTerminal(t).run("go run . --help"); out != strings.TrimSpace(usage) {
		t.Errorf("printed %s", out)
	}
}

// One node alone is a cluster, and comes back.
func TestOneNodeAlone(t *testing.T) {
	t.Parallel()
	term := newTerminal(t)
	const line = "go run . --id 1 --cluster http://127.0.0.1:12379 --port 12380 --data-dir raftexample-alone"
	for range 3 {
		node := term.background(line)
		term.until("curl -L http://127.0.0.1:12380/my-key -XPUT -d foo", "204")
		node.signal(syscall.SIGKILL)
		node.ended(5 * time.Second)
	}
	node := term.background(line)
	term.until("curl -L http://127.0.0.1:12380/my-key -XPUT -d bar", "204")
	node.signal(syscall.SIGTERM)
	if err := node.ended(time.Second); err != nil {
		t.Errorf("the node ended with %v", err)
	}
}
