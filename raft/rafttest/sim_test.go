// The simulator at work: many seeds, the same seed twice, and planted flaws.

package rafttest

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "run this seed alone, and print what happens")
	seedCount = flag.Uint64("seeds", 0, "how many seeds to run")
	duration  = flag.Duration("duration", 0, "run seeds for so long")
)

// TestSeed replays one seed, given by -seed.
func TestSeed(t *testing.T) {
	if *oneSeed == 0 {
		t.Skip("no -seed given")
	}
	result, err := Run(*oneSeed, Options{Trace: func(line string) { t.Log(line) }})
	t.Logf("%+v", result)
	if err != nil {
		t.Fatal(err)
	}
}

// Figure 3: whatever happens to nodes, disks and network, the five properties
// hold, and a group that is healed comes to an agreement.
func TestSeeds(t *testing.T) {
	if *oneSeed != 0 {
		t.Skip("-seed asks for one")
	}
	count := *seedCount
	if count == 0 {
		count = 1000
		if os.Getenv("RAFT_LONG") != "" {
			count = 20000
		}
	}
	first := uint64(1)
	if *duration > 0 {
		count = 1 << 62
		first = uint64(time.Now().UnixNano())
		t.Logf("from seed %d", first)
	}

	var (
		next  atomic.Uint64
		wg    sync.WaitGroup
		mu    sync.Mutex
		total Result
		start = time.Now()
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !t.Failed() {
				i := next.Add(1) - 1
				if i >= count || *duration > 0 && time.Since(start) > *duration {
					return
				}
				r, err := Run(first+i, Options{})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				total.add(r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d seeds in %v: %+v", min(next.Load(), count), time.Since(start).Round(time.Second), total)
	if t.Failed() || *duration > 0 {
		return
	}
	// A simulation in which nothing happens proves nothing.
	per := func(n int) float64 { return float64(n) / float64(count) }
	if per(int(total.Committed)) < 15 || per(total.Leaders) < 2 || per(total.Reads) < 5 ||
		per(total.Changes) < 2 || per(total.Snapshots) < 0.4 || per(total.Crashes) < 2 ||
		per(total.Recoveries) < 4 || per(total.Faults) < 0.5 || per(total.Repairs) < 0.1 || per(total.Stranded) > 0.003 {
		t.Errorf("too little happens: %+v in %d seeds", total, count)
	}
}

func (r *Result) add(other Result) {
	r.Events += other.Events
	r.Committed += other.Committed
	r.Leaders += other.Leaders
	r.Changes += other.Changes
	r.Snapshots += other.Snapshots
	r.Reads += other.Reads
	r.Crashes += other.Crashes
	r.Recoveries += other.Recoveries
	r.Faults += other.Faults
	r.Repairs += other.Repairs
	r.Stranded += other.Stranded
}

// The same seed gives the same events.
func TestDeterminism(t *testing.T) {
	run := func(seed uint64) string {
		h := fnv.New64a()
		result, err := Run(seed, Options{Trace: func(line string) { fmt.Fprintln(h, line) }})
		return fmt.Sprintf("%+v %v %x", result, err, h.Sum64())
	}
	for seed := uint64(1); seed <= 20; seed++ {
		if a, b := run(seed), run(seed); a != b {
			t.Fatalf("seed %d gave\n%s\nand then\n%s", seed, a, b)
		}
	}
}

// A judge that cannot convict proves nothing: planted flaws are found, and soon,
// whatever nodes store things on.
func TestCanaries(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plant Plant
		disk  Disk
	}{
		{"disks that lose what they acknowledged", PlantLostAck, DiskModel},
		{"files that lose what they acknowledged", PlantLostAck, DiskFiles},
		{"a log that skips one sync in fifty", PlantSkippedSync, DiskFiles},
		{"reads without asking anyone", PlantStaleRead, DiskModel},
		{"reads without asking anyone, files", PlantStaleRead, DiskFiles},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := uint64(1); seed <= 100; seed++ {
				_, err := Run(seed, Options{Plant: tt.plant, Disk: tt.disk})
				var f *Failure
				if errors.As(err, &f) {
					t.Logf("found with seed %d: %s", seed, f.Reason)
					return
				}
			}
			t.Error("not found in 100 seeds")
		})
	}
}
