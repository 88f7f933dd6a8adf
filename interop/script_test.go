// Scripts: what is done to a world, drawn at random and as plain values, so that a
// script can be replayed, and made smaller while it still shows a difference.
//
// An operation holds raw random numbers; the world gives them a meaning when it
// runs them ("the x-th message on its way, modulo how many there are"). Hence a
// script stays meaningful when operations are taken out of it. Start at compare.

package interop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

type kind int

const (
	opPump         kind = iota // take Readys and advance until there is none
	opReady                    // take one Ready, store it, send it, apply it
	opAdvance                  // advance the Ready taken before
	opAppendThread             // asynchronous storage: write one message
	opApplyThread              // asynchronous storage: apply one message
	opDeliver                  // hand over one message, maybe twice
	opDeliverMany              // hand over many, in order
	opDrop                     // lose one message
	opTick
	opTickMany
	opTickQuiesced
	opPropose
	opProposeMany // several entries in one MsgProp, changes among them
	opProposeConfChange
	opCampaign
	opReadIndex
	opTransfer
	opForgetLeader
	opUnreachable
	opSnapStatus
	opCompact
	opRestart
	opNoSnapshot // make snapshots unavailable, or available again
	opForge      // step a message made up, or changed on its way
	opLook       // JSON of Status, and WithProgress
	numKinds
)

var kindNames = [numKinds]string{
	"pump", "ready", "advance", "append-thread", "apply-thread", "deliver", "deliver-many", "drop",
	"tick", "tick-many", "tick-quiesced", "propose", "propose-many", "propose-conf-change",
	"campaign", "read-index", "transfer", "forget-leader", "unreachable", "snap-status", "compact",
	"restart", "no-snapshot", "forge", "look",
}

func (k kind) String() string { return kindNames[k] }

// op is one operation on the node-th member.
type op struct {
	kind kind
	node int
	x, y uint64 // what they mean is up to the kind
	seq  int    // its number in the script as drawn: makes contexts and data unique
	draw int    // the election timeout of whoever resets meanwhile
}

func (o op) String() string {
	return fmt.Sprintf("#%d %s node=%d x=%d y=%d draw=%d", o.seq, o.kind, o.node+1, o.x, o.y, o.draw)
}

// weights says how often a kind is drawn, relative to the others.
type weights [numKinds]int

// calm is a cluster at work, with everything happening now and then.
var calm = weights{
	opPump: 60, opReady: 12, opAdvance: 12, opAppendThread: 25, opApplyThread: 20,
	opDeliver: 40, opDeliverMany: 30, opDrop: 4, opTick: 12, opTickMany: 4, opTickQuiesced: 1,
	opPropose: 16, opProposeMany: 3, opProposeConfChange: 3, opCampaign: 2, opReadIndex: 5,
	opTransfer: 1, opForgetLeader: 1, opUnreachable: 1, opSnapStatus: 2, opCompact: 3, opRestart: 1,
	opNoSnapshot: 1, opLook: 1,
}

// hostile adds messages that nobody sent.
var hostile = func() weights {
	w := calm
	w[opForge] = 25
	return w
}()

// quarrelsome is a cluster that hears badly, with many who want to lead: logs
// part, and are overwritten while their tails are on the way to the disk.
var quarrelsome = func() weights {
	w := calm
	w[opPump] = 15
	w[opReady], w[opAdvance], w[opAppendThread], w[opApplyThread] = 40, 30, 12, 15
	w[opCampaign], w[opDrop], w[opDeliver], w[opDeliverMany] = 15, 40, 60, 4
	w[opPropose], w[opTickMany], w[opTransfer], w[opRestart] = 30, 8, 3, 2
	return w
}()

// draw makes a script of n operations.
func (w *weights) draw(rnd *rand.Rand, n, members int) []op {
	var total int
	for _, weight := range w {
		total += weight
	}
	script := make([]op, n)
	for i := range script {
		pick := rnd.IntN(total)
		k := kind(0)
		for pick >= w[k] {
			pick -= w[k]
			k++
		}
		script[i] = op{
			kind: k, node: rnd.IntN(members), x: rnd.Uint64(), y: rnd.Uint64(),
			seq: i, draw: rnd.IntN(256),
		}
	}
	return script
}

// difference is where two worlds part.
type difference struct {
	at   int // index of the operation; -1 while the worlds are set up
	a, b string
}

// compare runs a script in two worlds and returns the first difference.
func compare(p plan, script []op, a, b func(id uint64) engine) *difference {
	wa, wb := newWorld(p, a), newWorld(p, b)
	la, lb := wa.start(), wb.start()
	if !bytes.Equal(la, lb) {
		return &difference{-1, string(la), string(lb)}
	}
	for i, o := range script {
		la, lb := wa.do(o), wb.do(o)
		if !bytes.Equal(la, lb) {
			return &difference{i, string(la), string(lb)}
		}
	}
	return nil
}

// shrink takes operations out of a script for as long as some difference remains.
func shrink(p plan, script []op, a, b func(id uint64) engine) ([]op, *difference) {
	d := compare(p, script, a, b)
	script = script[:d.at+1]
	for size := len(script) / 2; size > 0; {
		removed := false
		for from := 0; from+size <= len(script); {
			shorter := append(append([]op(nil), script[:from]...), script[from+size:]...)
			if sd := compare(p, shorter, a, b); sd != nil {
				script, d, removed = shorter[:sd.at+1], sd, true
			} else {
				from += size
			}
		}
		if !removed || size > len(script) {
			size /= 2
		}
	}
	return script, d
}

// mustAgree fails the test with the smallest script it finds, if a and b differ.
func mustAgree(t *testing.T, seed uint64, p plan, script []op, a, b func(id uint64) engine) {
	t.Helper()
	if compare(p, script, a, b) == nil {
		return
	}
	script, d := shrink(p, script, a, b)
	var story strings.Builder
	w := newWorld(p, b)
	w.verbose = true
	fmt.Fprintf(&story, "%s", w.start())
	for _, o := range script {
		fmt.Fprintf(&story, "%v\n%s", o, w.do(o))
	}
	t.Errorf("seed %d, %v\nreplay: RAFT_SEED=%d go test -run '%s' .\nthe story, as %s tells it:\n%s\nthe difference, operation %d:\n%s",
		seed, p, seed, t.Name(), b(1).name(), &story, d.at, diffLines(d, a(1).name(), b(1).name()))
}

// diffLines shows the lines of d from the first that differs to the last.
func diffLines(d *difference, nameA, nameB string) string {
	a, b := strings.Split(d.a, "\n"), strings.Split(d.b, "\n")
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var out strings.Builder
	for _, line := range a {
		fmt.Fprintf(&out, "  %s: %s\n", nameA, line)
	}
	for _, line := range b {
		fmt.Fprintf(&out, "  %s: %s\n", nameB, line)
	}
	return out.String()
}

// seeds calls run with each seed of a test: quick of them, long with RAFT_LONG,
// one with RAFT_SEED.
func seeds(t *testing.T, quick, long int, run func(seed uint64)) {
	t.Helper()
	if one := os.Getenv("RAFT_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		run(seed)
		return
	}
	n := quick
	if os.Getenv("RAFT_LONG") != "" {
		n = long
	}
	for seed := range uint64(n) {
		run(seed)
		if t.Failed() {
			return
		}
	}
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x5eed)) }
