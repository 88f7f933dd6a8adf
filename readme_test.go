// The README's commands, as they stand there, against the built program: only
// the ports are others, so that the test gets in nobody's way.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
)

// readmePorts are the ports in the README and in the Procfile.
var readmePorts = []string{"12379", "22379", "32379", "42379", "12380", "22380", "32380", "42380"}

// freePorts returns n ports that nobody listens on.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	ports := make([]string, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// terminal runs the README's commands.
type terminal struct {
	t       *testing.T
	readme  string
	dir     string
	bin     string
	goreman string
	rpc     string
	ports   *strings.Replacer
	env     []string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, len(readmePorts)+1)
	var pairs []string
	for i, port := range readmePorts {
		pairs = append(pairs, port, ports[i])
	}
	term := &terminal{
		t: t, readme: string(readme), dir: t.TempDir(), rpc: ports[len(readmePorts)],
		ports: strings.NewReplacer(pairs...),
	}
	term.bin = filepath.Join(term.dir, "raftexample")
	term.goreman = filepath.Join(term.dir, "goreman")
	binaries.link(t, ".", term.bin)
	binaries.link(t, "github.com/mattn/goreman", term.goreman)
	procfile, err := os.ReadFile("Procfile")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(procfile)) {
		name, command, ok := strings.Cut(line, ": ")
		_, flags, ok2 := strings.Cut(command, ".bin --id")
		if !ok || !ok2 {
			t.Fatalf("the Procfile has a line this test does not understand: %s", line)
		}
		lines = append(lines, name+": exec "+term.bin+" --id"+term.ports.Replace(flags))
	}
	if err := os.WriteFile(filepath.Join(term.dir, "Procfile"), []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	term.env = append(os.Environ(), "GOREMAN_RPC_ADDR=127.0.0.1", "GOREMAN_RPC_SERVER=127.0.0.1:"+term.rpc)
	t.Cleanup(func() { killChildren(t, term) }) // goreman gives each a process group of its own
	return term
}

// command prepares a line of the README: with this test's ports and binaries.
func (term *terminal) command(line string) *exec.Cmd {
	term.t.Helper()
	if !strings.Contains(term.readme, "\n"+line+"\n") {
		term.t.Fatalf("the README does not have the line: %s", line)
	}
	line = term.ports.Replace(line)
	line = strings.ReplaceAll(line, "go tool goreman", term.goreman+" -p "+term.rpc)
	line = strings.ReplaceAll(line, " start", " -exit-on-stop=false start") // see the README, where node 3 is removed
	line = strings.ReplaceAll(line, " run -exit-on-stop=false start", " run start")
	line = strings.ReplaceAll(line, "go run .", "exec "+term.bin)
	line = strings.ReplaceAll(line, "curl ", "curl -sS -m 10 -w %{http_code} ")
	cmd := exec.Command("bash", "-c", line)
	cmd.Dir = term.dir
	cmd.Env = term.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// run runs a line and returns what it printed; curl's lines end with the status.
func (term *terminal) run(line string) string {
	term.t.Helper()
	out, err := term.command(line).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s(%v)", out, err)
	}
	return strings.TrimSpace(string(out))
}

// until runs a line until it prints what is wanted: a cluster without a leader
// refuses, and a node that starts has no port yet.
func (term *terminal) until(line, want string) {
	term.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	var got string
	for time.Now().Before(deadline) {
		if got = term.run(line); got == want {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	term.t.Fatalf("%s\nprinted %q, want %q", line, got, want)
}

// background starts a line that goes on until it is stopped.
func (term *terminal) background(line string) *process {
	term.t.Helper()
	return startProcess(term.t, term.command(line))
}

// process is a command in the background.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
	out lockedBuffer

	err  error
	done chan struct{}
}

func startProcess(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
		if t.Failed() {
			t.Logf("%s printed:\n%s", strings.Join(cmd.Args, " "), p.out.String())
		}
	})
	return p
}

// signal sends a signal to the command and to all it has started.
func (p *process) signal(sig syscall.Signal) {
	if err := syscall.Kill(-p.cmd.Process.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Errorf("kill: %v", err)
	}
}

// ended waits for the end of the command.
func (p *process) ended(limit time.Duration) error {
	p.t.Helper()
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		p.t.Fatalf("%v did not end within %v", p.cmd.Args, limit)
		return nil
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Reset()
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// The tour of the README does what the README says.
func TestReadmeTour(t *testing.T) {
	term := newTerminal(t)
	cluster := term.background("go tool goreman start")

	term.until("curl -L http://127.0.0.1:12380/my-key -XPUT -d foo", "204")
	term.until("curl -L http://127.0.0.1:22380/my-key", "foo200")
	term.until("curl -L http://127.0.0.1:32380/my-key", "foo200")

	// Stop a node, write, start it.
	if out := term.run("go tool goreman run stop raftexample2"); out != "" {
		t.Fatalf("stop: %s", out)
	}
	term.until("curl -L http://127.0.0.1:12380/my-key -XPUT -d bar", "204")
	if out := term.run("go tool goreman run start raftexample2"); out != "" {
		t.Fatalf("start: %s", out)
	}
	term.until("curl -L http://127.0.0.1:22380/my-key", "bar200")

	// The same with the leader.
	lead := term.run("curl -L http://127.0.0.1:12380/-/leader")
	lead, ok := strings.CutSuffix(lead, "\n200")
	if !ok {
		t.Fatalf("no leader: %s", lead)
	}
	rpc := func(what string) {
		cmd := exec.Command(term.goreman, "run", what, "raftexample"+lead)
		cmd.Env = term.env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s the leader: %v\n%s", what, err, out)
		}
	}
	rpc("stop")
	other := map[string]string{"1": "22380", "2": "12380", "3": "12380"}[lead]
	put(t, term.ports.Replace("http://127.0.0.1:"+other+"/after-leader"), "x", 20*time.Second)
	rpc("start")

	// A fourth node, then without the third.
	term.until(`curl -L "http://127.0.0.1:12380/-/members/4?learner" -XPOST -d http://127.0.0.1:42379`, "204")
	const startFourth = "go run . --id 4 --cluster http://127.0.0.1:12379,http://127.0.0.1:22379,http://127.0.0.1:32379,http://127.0.0.1:42379 --port 42380 --join"
	fourth := term.background(startFourth)
	term.until("curl -L http://127.0.0.1:12380/-/members/4 -XPOST", "204")
	term.until("curl -L http://127.0.0.1:12380/-/members/3 -XDELETE", "204")
	if list := term.run("curl -L http://127.0.0.1:12380/-/members"); !strings.Contains(list, `"id":4`) || strings.Contains(list, `"id":3`) {
		t.Fatalf("members: %s", list)
	}
	if body := get(t, term.ports.Replace("http://127.0.0.1:42380/my-key")); body != "bar" {
		t.Fatalf("the fourth node has %q", body)
	}
	saysRemoved := func() bool {
		return strings.Contains(cluster.out.String(), "this member was removed from the cluster")
	}
	waitFor(t, 10*time.Second, "node 3 says that it was removed", saysRemoved)
	term.interrupt(cluster, fourth)

	// All of them again.
	cluster = term.background("go tool goreman start")
	fourth = term.background(startFourth)
	term.until("curl -L http://127.0.0.1:42380/my-key", "bar200")
	term.until("curl -L http://127.0.0.1:12380/my-key -XPUT -d foo", "204")
	term.until("curl -L http://127.0.0.1:22380/my-key", "foo200")
	if list := term.run("curl -L http://127.0.0.1:12380/-/members"); !strings.Contains(list, `"id":4`) || strings.Contains(list, `"id":3`) {
		t.Fatalf("members after the restart: %s", list)
	}
	waitFor(t, 10*time.Second, "node 3 says again that it was removed", saysRemoved)
	term.interrupt(cluster, fourth)
}

// interrupt is Ctrl-C in goreman's terminal and in another node's: everything ends
// within 3 s, and no port is held.
func (term *terminal) interrupt(cluster, node *process) {
	term.t.Helper()
	node.signal(syscall.SIGINT)
	if err := node.ended(2 * time.Second); err != nil {
		term.t.Errorf("%v ended with %v", node.cmd.Args, err)
	}
	cluster.signal(syscall.SIGINT)
	cluster.ended(3 * time.Second)
	for _, port := range readmePorts {
		l, err := net.Listen("tcp", "127.0.0.1:"+term.ports.Replace(port))
		if err != nil {
			term.t.Errorf("port %s of the README is still held: %v", port, err)
			continue
		}
		l.Close()
	}
}

// kill -9 of all nodes under load loses no write that was answered 204.
func TestKillAllUnderLoad(t *testing.T) {
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
// its own, with what it has.
func TestReadmeLostQuorum(t *testing.T) {
	t.Parallel()
	term := newTerminal(t)
	cluster := term.background("go tool goreman start")
	term.until("curl -L http://127.0.0.1:12380/my-key -XPUT -d foo", "204")
	term.until("curl -L http://127.0.0.1:22380/my-key", "foo200")
	if out := term.run("curl -s http://127.0.0.1:12380/-/metrics"); !strings.Contains(out, "raftexample_commit_index") {
		t.Errorf("metrics: %s", out)
	}
	cluster.signal(syscall.SIGKILL)
	killChildren(t, term)
	cluster.ended(5 * time.Second)

	node := term.background("go run . --id 2 --cluster 2=http://127.0.0.1:22379 --port 22380 --force-new-cluster")
	term.until("curl -L http://127.0.0.1:22380/my-key", "foo200")
	node.signal(syscall.SIGTERM)
	if err := node.ended(2 * time.Second); err != nil {
		t.Errorf("the node ended with %v", err)
	}
	term.background("go run . --id 2 --cluster 2=http://127.0.0.1:22379 --port 22380")
	term.until("curl -L http://127.0.0.1:22380/my-key", "foo200")
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

// killChildren kills the nodes that goreman had started, in groups of their own.
func killChildren(t *testing.T, term *terminal) {
	t.Helper()
	pids, err := exec.Command("pgrep", "-f", term.bin+" --id").Output()
	if err != nil && len(pids) > 0 {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(pids)) {
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	waitFor(t, 10*time.Second, "the nodes to be gone", func() bool {
		out, err := exec.Command("pgrep", "-f", term.bin+" --id").Output()
		return err != nil && len(out) == 0
	})
}

// tryPut writes a key and returns the status, 0 without an answer.
func tryPut(ctx context.Context, url, value string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(value))
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// put writes a key, trying again as long as the cluster refuses.
func put(t testing.TB, url, value string, limit time.Duration) {
	t.Helper()
	status := 0
	waitFor(t, limit, "PUT "+url, func() bool {
		status = tryPut(context.Background(), url, value)
		return status == 204
	})
}

// get reads a key, trying again as long as the cluster refuses.
func get(t testing.TB, url string) string {
	t.Helper()
	var body string
	waitFor(t, 20*time.Second, "GET "+url, func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		body = string(b)
		return err == nil && (resp.StatusCode == 200 || resp.StatusCode == 404)
	})
	return body
}

// waitFor waits for something to become true.
func waitFor(t testing.TB, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", limit, what)
		}
	}
}
