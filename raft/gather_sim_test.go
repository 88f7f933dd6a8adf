// Gathering under the simulator: whole groups that gather, with all its troubles.

package raft_test

import (
	"flag"
	"os"
	"testing"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/rafttest"
)

var oneSeed = flag.Uint64("seed", 0, "simulate this seed alone, and print what happens")

// Figure 3: a group whose nodes gather keeps every promise that others keep, and
// comes to an agreement when it is healed.
func TestGatheringKeepsPromises(t *testing.T) {
	if *oneSeed != 0 {
		result, err := rafttest.Run(*oneSeed, rafttest.Options{Gathering: raft.Gathering{}, Trace: func(line string) { t.Log(line) }})
		t.Logf("%+v", result)
		if err != nil {
			t.Error(err)
		}
		return
	}
	seeds := uint64(150)
	if os.Getenv("RAFT_LONG") != "" {
		seeds = 5000
	}
	committed := uint64(0)
	for seed := uint64(1); seed <= seeds; seed++ {
		result, err := rafttest.Run(seed, rafttest.Options{Gathering: raft.Gathering{}})
		if err != nil {
			t.Fatal(err)
		}
		committed += result.Committed
	}
	if committed < 15*seeds {
		t.Errorf("only %d entries committed in %d seeds", committed, seeds)
	}
}
