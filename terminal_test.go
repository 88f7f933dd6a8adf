// A terminal for the README's commands: it runs them as they stand there, against the
// built program. Only the ports are others, so that the test gets in nobody's way.
//
// Start at newTerminal, then walk.

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// readmePorts are the ports in the README and in the Procfile.
var readmePorts = []string{"12379", "22379", "32379", "42379", "12380", "22380", "32380", "42380"}

// Ports for the tests' nodes. The system takes those of outgoing connections from above.
const firstPort, lastPort = 20000, 31999

// How many ports were given out, from where on: anywhere, as these tests may run more
// than once at a time.
var (
	portsGiven atomic.Int64
	portsFrom  = rand.Int64N(lastPort - firstPort + 1)
)

// freePorts returns n ports that nobody listens on. They are given to nobody else, so a
// node that was stopped can have its own again.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var ports []string
	for tries := 0; len(ports) < n; tries++ {
		if tries > lastPort-firstPort {
			t.Fatal("no port is free")
		}
		at := (portsFrom + portsGiven.Add(1)) % (lastPort - firstPort + 1)
		port := strconv.FormatInt(firstPort+at, 10)
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			l.Close()
			ports = append(ports, port)
		}
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
	pairs = append(pairs, "10.0.0.", "127.0.0.") // several machines in one
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

// step is a command of the README.
type step struct {
	line  string
	shows string // what the README shows that it prints
}

// steps returns the commands in a section of the README, or in all of it.
func (term *terminal) steps(section string) []step {
	_, text, ok := strings.Cut(term.readme, section)
	if !ok {
		term.t.Fatalf("the README has no section %s", section)
	}
	if section != "" {
		text, _, _ = strings.Cut(text, "\n## ")
	}
	var all []step
	language := "" // of the block that we are in
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		fence, opens := strings.CutPrefix(line, "```")
		switch {
		case opens:
			language = fence
		case language == "sh":
			all = append(all, step{line: line})
		case language == "text":
			all[len(all)-1].shows += line
		}
	}
	return all
}

// walk follows a section of the README, command by command.
type walk struct {
	*terminal
	left []step
}

func (term *terminal) walk(section string) *walk {
	return &walk{terminal: term, left: term.steps(section)}
}

// next says which command is next, and returns what it is to print.
func (w *walk) next(line string) (shows string) {
	w.t.Helper()
	if len(w.left) == 0 || w.left[0].line != line {
		w.t.Fatalf("the README goes on with %v, not with %s", w.left, line)
	}
	shows = w.ports.Replace(w.left[0].shows)
	w.left = w.left[1:]
	return shows
}

// curl runs a command until it gets the status, and prints what the README shows.
func (w *walk) curl(line string, status int) {
	w.t.Helper()
	shows := w.next(line)
	w.until(line, shows+strconv.Itoa(status))
}

// does runs a command that prints nothing.
func (w *walk) does(line string) {
	w.t.Helper()
	w.next(line)
	if out := w.run(line); out != "" {
		w.t.Fatalf("%s\nprinted %s", line, out)
	}
}

// goesOn starts a command that goes on until it is stopped.
func (w *walk) goesOn(line string) *process {
	w.t.Helper()
	w.next(line)
	return w.background(line)
}

// end checks that all of the section was done.
func (w *walk) end() {
	w.t.Helper()
	if len(w.left) > 0 {
		w.t.Errorf("not done: %v", w.left)
	}
}

// command prepares a line of the README: with this test's ports and binaries.
func (term *terminal) command(line string) *exec.Cmd {
	term.t.Helper()
	if !slices.ContainsFunc(term.steps(""), func(s step) bool { return s.line == line }) {
		term.t.Fatalf("the README does not have the line: %s", line)
	}
	line = term.ports.Replace(line)
	line = strings.ReplaceAll(line, "go tool goreman", term.goreman+" -p "+term.rpc)
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
		if got = strings.ReplaceAll(term.run(line), "\n", ""); got == want {
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

// interrupt is Ctrl-C in goreman's terminal and in those of other nodes: everything
// ends within 3 s, and no port is held.
func (term *terminal) interrupt(cluster *process, nodes ...*process) {
	term.t.Helper()
	for _, node := range nodes {
		node.signal(syscall.SIGINT)
		if err := node.ended(2 * time.Second); err != nil {
			term.t.Errorf("%v ended with %v", node.cmd.Args, err)
		}
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
