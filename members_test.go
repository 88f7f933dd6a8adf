// Changing the membership of a running cluster: who is added, caught up, promoted, moved
// and removed, in which order, and who is away meanwhile.
//
//	§6 · diss. ch. 4
//
// memberchange_test.go has what one node sees of it.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/vfs"
	"example.com/raftexample/raft/vfs/crashfs"
)

// change changes a member, however often a leader that has only begun says 503, and
// wants this answer.
func (c *testCluster) change(want int, method string, ask, node int, query, body string) answer {
	c.t.Helper()
	var a answer
	waitFor(c.t, 20*time.Second, method+" a member", func() bool {
		a = do(c.t, method, c.url(ask, fmt.Sprintf("/-/members/%d%s", node+1, query)), body)
		return a.status != 503
	})
	if a.status != want {
		c.t.Fatalf("%s of member %d%s: %d %s, want %d", method, node+1, query, a.status, a.body, want)
	}
	return a
}

// invite adds a learner and starts it. It returns the position of the new node.
func (c *testCluster) invite(ask int, flags ...string) (node int) {
	c.t.Helper()
	ports := freePorts(c.t, 2)
	node = len(c.ports)
	c.peers, c.ports, c.stop = append(c.peers, ports[0]), append(c.ports, ports[1]), append(c.stop, nil)
	url := "http://127.0.0.1:" + ports[0]
	c.change(204, "POST", ask, node, "?learner", url)
	if !strings.Contains(c.list, "=") {
		c.list = withIDs(c.list)
	}
	c.list += fmt.Sprintf(",%d=%s", node+1, url)
	c.start(node, append(flags, "--join")...)
	return node
}

// promote makes a learner a voter, when it has caught up.
func (c *testCluster) promote(ask, node int) {
	c.t.Helper()
	waitFor(c.t, 20*time.Second, "a learner to be promoted", func() bool {
		return do(c.t, "POST", c.url(ask, fmt.Sprintf("/-/members/%d", node+1)), "").status == 204
	})
}

// lead makes a node the leader.
func (c *testCluster) lead(node int) {
	c.t.Helper()
	waitFor(c.t, 20*time.Second, fmt.Sprintf("node %d to lead", node+1), func() bool {
		return do(c.t, "PUT", c.url(node, "/-/leader"), strconv.Itoa(node+1)).status == 204
	})
}

// removed waits for a node that was removed to end, and starts it once more, in vain.
func (c *testCluster) removed(node int) {
	c.t.Helper()
	c.stop[node] = nil
	select {
	case err := <-c.ended[node]:
		if !errors.Is(err, errRemoved) || strings.Contains(err.Error(), "\n") {
			c.t.Errorf("node %d ended with %v", node+1, err)
		}
	case <-time.After(20 * time.Second):
		c.t.Fatalf("node %d was removed and goes on", node+1)
	}
	if err := run(c.t.Context(), c.args(node), machine{fs: vfs.OS}, io.Discard, io.Discard); !errors.Is(err, errRemoved) {
		c.t.Errorf("node %d was started again, and ended with %v", node+1, err)
	}
}

// diss. §9.6, §4.2.3: a member that was cut off, and one that was removed meanwhile,
// does not disturb the others when it is back. The latter hears what happened, ends, and
// stays so.
func TestBackFromIsolation(t *testing.T) {
	t.Parallel()
	network := newBadNetwork()
	on := map[int]machine{}
	for i := range 3 {
		on[i] = machine{fs: vfs.OS, dial: network.dialer(i)}
	}
	c := newTestClusterOn(t, 3, on)
	network.change(func() {
		for i, port := range c.peers {
			network.nodes[port] = i
		}
	})
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	c.lead(0)
	before := c.status(0)
	undisturbed := func(when string) {
		t.Helper()
		put(t, c.url(1, "/k"), when, 20*time.Second)
		if now := c.status(0); now.Term != before.Term || now.Leader != 1 {
			t.Errorf("%s: member %d leads in term %d; it was member 1 in term %d", when, now.Leader, now.Term, before.Term)
		}
	}

	network.isolate(2, 3, true, true)
	time.Sleep(4 * electionTimeout)
	network.mend()
	if got := get(t, c.url(2, "/k")); got != "v" {
		t.Errorf("the one that was cut off has %q", got)
	}
	undisturbed("after it was cut off")

	network.isolate(2, 3, true, true)
	network.reset(2) // what is on its way to it is lost
	c.change(204, "DELETE", 1, 2, "", "")
	time.Sleep(4 * electionTimeout)
	network.mend()
	c.removed(2)
	undisturbed("after it was removed")
}

// §6: servers take requests of a leader that is not in their configuration. A member
// that was away while another was added, and became the leader, follows that.
func TestLeaderThatAMemberHasNotHeardOf(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	list := c.list
	c.end(2)
	put(t, c.url(0, "/k"), "w", 20*time.Second)
	d := c.invite(0)
	c.promote(0, d)
	c.lead(d)
	put(t, c.url(d, "/k"), "x", 20*time.Second)
	c.list = list // nor has its command line
	c.start(2)
	if got := get(t, c.url(2, "/k")); got != "x" {
		t.Errorf("it has %q", got)
	}
	if lead := c.leader(2); lead != d {
		t.Errorf("it follows node %d, not %d", lead+1, d+1)
	}
	put(t, c.url(2, "/k"), "y", 20*time.Second)
	if got := get(t, c.url(d, "/k")); got != "y" {
		t.Errorf("the leader has %q of what was written there", got)
	}
}

// §7, diss. §4.2.1: a new member that needs a snapshot gets one that it is in, though
// the last one is older; it is a learner before and after a restart, and a voter that
// counts once it is made one.
func TestLearnerFromASnapshot(t *testing.T) {
	t.Parallel()
	c := newTestClusterWith(t, 3, nil, "http", "--snapshot-entries", "20")
	put(t, c.url(0, "/begin"), "x", 20*time.Second)
	c.leaveBehind(2) // the log is cut
	c.start(2)
	c.lead(0)
	snapshot := c.status(0).SnapshotIndex
	d := c.invite(0)
	role := func() (string, uint64) {
		st := c.status(d)
		return st.Role, st.SnapshotIndex
	}
	for range 2 {
		want := get(t, c.url(0, "/?prefix=&limit=100"))
		if got := get(t, c.url(d, "/?prefix=&limit=100")); got != want {
			t.Errorf("it has %s, not %s", got, want)
		}
		if role, index := role(); role != "learner" || index <= snapshot {
			t.Errorf("it is a %s with snapshot %d; the old one was %d", role, index, snapshot)
		}
		c.end(d)
		c.start(d)
	}
	c.promote(1, d)
	c.change(204, "DELETE", 0, 2, "", "")
	c.removed(2)
	c.end(1) // now two of three are left, and the new one is one of them
	put(t, c.url(d, "/k"), "with its vote", 20*time.Second)
	if got := get(t, c.url(0, "/k")); got != "with its vote" {
		t.Errorf("the other one has %q", got)
	}
}

// Once a change is answered, the next one is taken at once.
func TestChangesInARow(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	put(t, c.url(0, "/k"), "v", 20*time.Second) // then its first entry has been applied before
	for id := 1; id <= 15; id++ {
		url := "http://127.0.0.1:" + strconv.Itoa(id)
		for _, a := range []answer{
			do(t, "POST", c.url(0, fmt.Sprintf("/-/members/%d?learner", id+1)), url),
			do(t, "PUT", c.url(0, fmt.Sprintf("/-/members/%d", id+1)), url+"0"),
			do(t, "DELETE", c.url(0, fmt.Sprintf("/-/members/%d", id+1)), ""),
		} {
			if a.status != 204 {
				t.Fatalf("member %d: %d %s", id+1, a.status, a.body)
			}
		}
	}
	if got := c.status(0).Members; len(got) != 1 {
		t.Errorf("members: %v", got)
	}
}

// A change after which those who are there would be no majority is refused; so the
// cluster can always be repaired.
func TestChangesThatWouldLoseTheQuorum(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	c.lead(0)
	c.end(2)
	time.Sleep(2 * electionTimeout) // the leader notices
	refused := func(why, method string, node int, body string) {
		t.Helper()
		if a := c.change(409, method, 1, node, "", body); !strings.Contains(a.body, why) {
			t.Errorf("%s of %d: %s", method, node+1, a.body)
		}
	}
	refused("which is no majority", "DELETE", 0, "")
	refused("which is no majority", "DELETE", 1, "")
	refused("which is no majority", "POST", 8, "http://127.0.0.1:9") // two of four
	c.change(204, "POST", 1, 8, "?learner", "http://127.0.0.1:9")    // who has no vote, and is not there
	refused("not heard from yet", "POST", 8, "")
	c.change(204, "DELETE", 1, 8, "", "")
	c.change(204, "DELETE", 1, 2, "", "") // the dead one
	put(t, c.url(1, "/k"), "w", 20*time.Second)
	refused("add a new member at that URL", "PUT", 1, "http://127.0.0.1:9") // nobody would be left
	d := c.invite(1)
	c.promote(0, d)
	c.end(1) // two of three again
	if put(t, c.url(d, "/k"), "x", 20*time.Second); get(t, c.url(0, "/k")) != "x" {
		t.Error("the write is not there")
	}
}

// diss. §4.2.1: one node becomes two by a learner that is started and then promoted. Any
// shorter way is refused, as nothing could be committed any more.
func TestOneNodeBecomesTwo(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	ports := freePorts(t, 2)
	url := "http://127.0.0.1:" + ports[0]
	c.change(409, "POST", 0, 1, "", url)
	c.change(204, "POST", 0, 1, "?learner", url)
	c.change(409, "POST", 0, 1, "", "") // not started yet
	c.peers, c.ports, c.stop = append(c.peers, ports[0]), append(c.ports, ports[1]), append(c.stop, nil)
	c.list += "," + url
	c.start(1, "--join")
	c.promote(0, 1)
	put(t, c.url(1, "/k"), "w", 20*time.Second)
	c.lead(1)
	c.change(204, "DELETE", 1, 0, "", "") // and one again, the other
	c.removed(0)
	put(t, c.url(1, "/k"), "x", 20*time.Second)
	c.change(409, "DELETE", 1, 1, "", "")
}

// The leader can be removed through any node; the others elect another soon. Its id is
// used up.
func TestRemovedLeaderIsReplaced(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	quickest := time.Hour
	for lead := range 2 {
		c.lead(lead)
		other := 2
		c.change(204, "DELETE", other, lead, "", "")
		began := time.Now()
		put(t, c.url(other, "/k"), fmt.Sprint(lead), 20*time.Second)
		if took := time.Since(began); took > 4*electionTimeout { // drawn from one to two, and so twice at most
			t.Errorf("no leader for %v", took)
		} else {
			quickest = min(quickest, took)
		}
		c.removed(lead)
		a := c.change(409, "POST", other, lead, "?learner", "http://127.0.0.1:"+c.peers[lead])
		if !strings.Contains(a.body, "removed before") {
			t.Errorf("its id was given again: %s", a.body)
		}
	}
	if quickest > electionTimeout {
		t.Errorf("no leader for %v at least: it was not handed over", quickest)
	}
}

// A member that moves is reached where it moved to, by those whose command lines name
// the old place, too.
func TestMemberThatMoves(t *testing.T) {
	t.Parallel()
	c := newTestClusterWith(t, 3, nil, "http", "--snapshot-entries", "10")
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	old := c.peers[2]
	c.end(2)
	c.peers[2] = freePorts(t, 1)[0]
	url := "http://127.0.0.1:" + c.peers[2]
	c.change(204, "PUT", 0, 2, "", url)
	here, there := c.list, strings.Replace(c.list, old, c.peers[2], 1)
	c.list = there
	c.start(2)
	if got := get(t, c.url(2, "/k")); got != "v" {
		t.Errorf("after the move it has %q", got)
	}
	for range 15 { // snapshots keep it
		put(t, c.url(2, "/k"), "w", 20*time.Second)
	}
	c.list = here
	for i := range 2 {
		c.end(i)
		c.start(i)
	}
	if get(t, c.url(1, "/k")) != "w" {
		t.Error("the write is lost")
	}
	for i := range 3 {
		waitFor(t, 10*time.Second, "the members", func() bool {
			list := get(t, c.url(i, "/-/members"))
			return strings.Contains(list, url) && !strings.Contains(list, old)
		})
	}
	c.lead(2) // who must reach the others, and be reached
	put(t, c.url(0, "/k"), "x", 20*time.Second)
}

// A state machine that takes its time does not cost the leader its office.
func TestSlowStoreDoesNotDisturb(t *testing.T) {
	t.Parallel()
	var slow atomic.Int64 // the node whose store stands still
	slow.Store(-1)
	var stood atomic.Bool
	on := map[int]machine{}
	for i := range 3 {
		on[i] = machine{fs: vfs.OS, limitMemory: func(int64) int64 {
			if slow.CompareAndSwap(int64(i), -1) {
				time.Sleep(3 * electionTimeout)
				stood.Store(true)
			}
			return 0
		}}
	}
	c := newTestClusterOn(t, 3, on)
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	c.lead(0)
	before := c.status(0)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range 8 { // more batches than the channel to the store holds
		wg.Go(func() {
			for ctx.Err() == nil {
				tryPut(ctx, c.url(2, "/load"), "x")
			}
		})
	}
	for i := range 2 { // the leader, then a follower
		stood.Store(false)
		slow.Store(int64(i))
		began := time.Now()
		for !stood.Load() && time.Since(began) < 20*time.Second {
			put(t, c.url(2, fmt.Sprint("/large", rand.Int())), strings.Repeat("x", 1<<20), 20*time.Second)
		}
		if !stood.Load() {
			t.Fatal("the store did not stand still")
		}
		if now := c.status(2); now.Term != before.Term || now.Leader != 1 {
			t.Errorf("node %d's store stood still: member %d leads in term %d; it was member 1 in term %d", i+1, now.Leader, now.Term, before.Term)
		}
	}
	if got := get(t, c.url(0, "/k")); got != "v" {
		t.Errorf("in the end: %q", got)
	}
}

// The membership outlives restarts, in whatever order members come and go, snapshots are
// taken, and the node ends.
func TestMembershipOutlivesRestarts(t *testing.T) {
	t.Parallel()
	const add, remove, move, snapshot, restart = 0, 1, 2, 3, 4
	steps := []int{add, remove, move, snapshot, restart}
	for n, order := range permutations(steps) {
		if n%8 != time.Now().YearDay()%8 { // others on other days
			continue
		}
		disk := crashfs.New()
		l, err := startLone(t.Context(), disk)
		if err != nil {
			t.Fatal(err)
		}
		change := func(kind raftpb.ConfChangeType, id uint64, url string) {
			var err error
			waitUntil(l.ctx, func() bool { // a leader that has only begun says 503
				err = l.node.changeMember(l.ctx, raftpb.ConfChange{Type: kind, NodeID: id, Context: []byte(url)})
				var refused *apiError
				return !errors.As(err, &refused) || refused.status != 503
			})
			if err != nil {
				t.Fatalf("%v: %v of member %d: %v", order, kind, id, err)
			}
		}
		change(raftpb.ConfChangeAddLearnerNode, 2, "http://127.0.0.1:2")
		change(raftpb.ConfChangeAddLearnerNode, 3, "http://127.0.0.1:3")
		want := l.node.members.list()
		for _, step := range order {
			switch step {
			case add:
				change(raftpb.ConfChangeAddLearnerNode, 4, "http://127.0.0.1:4")
				want = append(want, member{ID: 4, URL: "http://127.0.0.1:4", Learner: true})
			case remove:
				change(raftpb.ConfChangeRemoveNode, 2, "")
				want = slices.DeleteFunc(want, func(m member) bool { return m.ID == 2 })
			case move:
				change(raftpb.ConfChangeUpdateNode, 3, "http://127.0.0.1:33")
				want[slices.IndexFunc(want, func(m member) bool { return m.ID == 3 })].URL = "http://127.0.0.1:33"
			case snapshot:
				for range 8 {
					if _, err := l.node.store.put(l.ctx, "k", "v", always, 0); err != nil {
						t.Fatal(err)
					}
				}
			case restart:
				if err := l.close(); err != nil {
					t.Fatal(err)
				}
				if l, err = startLone(t.Context(), disk); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		if l, err = startLone(t.Context(), disk); err != nil {
			t.Fatal(err)
		}
		if err := l.node.reads.wait(l.ctx); err != nil {
			t.Fatal(err)
		}
		if got := l.node.members.list(); !slices.Equal(got, want) {
			t.Errorf("%v: the members are %v, want %v", order, got, want)
		}
		var learners []uint64
		for id := range l.node.node.Status().Config.Learners {
			learners = append(learners, id)
		}
		if slices.Sort(learners); len(learners) != len(want)-1 || learners[0] != want[1].ID {
			t.Errorf("%v: Raft's learners are %v, the members %v", order, learners, want)
		}
		if removed := slices.Contains(order, remove); l.node.members.isRemoved(2) != removed {
			t.Errorf("%v: member 2 counts as removed: %t", order, !removed)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}
}

// permutations returns the orders that a list can have.
func permutations(list []int) (all [][]int) {
	if len(list) == 0 {
		return [][]int{nil}
	}
	for i, first := range list {
		for _, rest := range permutations(slices.Delete(slices.Clone(list), i, i+1)) {
			all = append(all, append([]int{first}, rest...))
		}
	}
	return all
}
