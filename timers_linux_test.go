package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// All threads of the program, the runtime's own among them, let their timers be late;
// and it is still called what it was called.
func TestTimersMayBeLate(t *testing.T) {
	t.Parallel()
	c := newProcessCluster(t)
	c.leader(0)
	process := fmt.Sprintf("/proc/%d/", c.procs[0].cmd.Process.Pid)
	threads, err := os.ReadDir(process + "task")
	if err != nil || len(threads) < 3 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	for _, thread := range threads {
		slack, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		if errors.Is(err, os.ErrPermission) {
			t.Skip("to ask for the slack of another process takes CAP_SYS_NICE")
		}
		if err != nil || strings.TrimSpace(string(slack)) != fmt.Sprint(timerSlack) {
			t.Errorf("thread %s: timer slack %q, %v", thread.Name(), slack, err)
		}
	}
	command, err := os.ReadFile(process + "cmdline")
	if err != nil || !strings.HasPrefix(string(command), c.bin+"\x00--id\x001\x00") {
		t.Errorf("command line %q, %v", command, err)
	}
}
