// Config: what is refused, what is filled in, and what a node takes from its storage.

package raft

import (
	"testing"
)

// A configuration that cannot work stops the program at once, with the reason; the
// first reason, if there are several.
func TestWrongConfigPanics(t *testing.T) {
	for _, tt := range []struct {
		want  string
		wrong func(*Config)
	}{
		{"cannot use none as id", func(c *Config) { c.ID = None; c.HeartbeatTick = 0 }},
		{"cannot use local target as id", func(c *Config) { c.ID = LocalAppendThread; c.HeartbeatTick = 0 }},
		{"cannot use local target as id", func(c *Config) { c.ID = LocalApplyThread }},
		{"heartbeat tick must be greater than 0", func(c *Config) { c.HeartbeatTick = 0; c.ElectionTick = 0 }},
		{"heartbeat tick must be greater than 0", func(c *Config) { c.HeartbeatTick = -1 }},
		{"election tick must be greater than heartbeat tick", func(c *Config) { c.ElectionTick = c.HeartbeatTick; c.Storage = nil }},
		{"storage cannot be nil", func(c *Config) { c.Storage = nil; c.MaxInflightMsgs = 0 }},
		{"max inflight messages must be greater than 0", func(c *Config) { c.MaxInflightMsgs = 0; c.MaxInflightBytes = 1 }},
		{"max inflight bytes must be >= max message size", func(c *Config) {
			c.MaxSizePerMsg, c.MaxInflightBytes, c.ReadOnlyOption = 10, 9, ReadOnlyLeaseBased
		}},
		{"CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased", func(c *Config) { c.ReadOnlyOption = ReadOnlyLeaseBased }},
	} {
		for name, start := range map[string]func(*Config){
			"NewRawNode":  func(c *Config) { NewRawNode(c) },
			"StartNode":   func(c *Config) { StartNode(c, []Peer{{ID: 1}}) },
			"RestartNode": func(c *Config) { RestartNode(c) },
		} {
			c := testConfig(1, NewMemoryStorage())
			tt.wrong(c)
			if got := mustPanic(t, name, func() { start(c) }); got != tt.want {
				t.Errorf("%s: %v, want %q", name, got, tt.want)
			}
		}
	}
}

// What was left out is filled in, where the caller can see it.
func TestConfigDefaults(t *testing.T) {
	SetLogger(silent)
	defer ResetDefaultLogger()
	c := testConfig(1, NewMemoryStorage())
	c.MaxSizePerMsg, c.Logger = 77, nil
	if _, err := NewRawNode(c); err != nil {
		t.Fatal(err)
	}
	if c.MaxUncommittedEntriesSize != noLimit || c.MaxInflightBytes != noLimit || c.MaxCommittedSizePerReady != 77 || c.Logger != Logger(silent) {
		t.Errorf("%+v", c)
	}

	c = testConfig(1, NewMemoryStorage())
	mine := &DefaultLogger{Logger: silent.Logger}
	c.MaxSizePerMsg, c.MaxInflightBytes, c.MaxUncommittedEntriesSize, c.MaxCommittedSizePerReady, c.Logger = 10, 10, 3, 4, mine
	if _, err := NewRawNode(c); err != nil {
		t.Fatal(err)
	}
	if c.MaxUncommittedEntriesSize != 3 || c.MaxInflightBytes != 10 || c.MaxCommittedSizePerReady != 4 || c.Logger != Logger(mine) {
		t.Errorf("what was set has changed: %+v", c)
	}
}

// Limits of 0 still let one entry at a time through, in messages and in Readys.
func TestZeroSizesMeanOneEntryAtATime(t *testing.T) {
	c := testConfig(1, nil)
	c.MaxSizePerMsg = 0
	n := nodeOf(t, 1, c, 1, 0, 1, 1, 1)
	n.lead(t) // entry 4 opens term 2
	n.step(t, refusal(2, 2, 3, 0, 0))
	for _, m := range n.step(t, acked(2, 2, 1)) {
		if m.To == 2 && len(m.Entries) != 1 {
			t.Errorf("an append of %d entries", len(m.Entries))
		}
	}
	mustStep(t, n, acked(2, 2, 4))
	for index := uint64(1); n.HasReady(); {
		rd := n.Ready()
		if entries := rd.CommittedEntries; len(entries) > 1 || len(entries) == 1 && entries[0].Index != index {
			t.Errorf("a Ready commits %v, want entry %d alone", entries, index)
		}
		index += uint64(len(rd.CommittedEntries))
		n.Advance(rd)
	}
	if n.raft.log.applied != 4 {
		t.Errorf("applied %d of 4", n.raft.log.applied)
	}
}

// Programs may set a TraceLogger, and are told that it has no effect.
func TestTraceLoggerHasNoEffect(t *testing.T) {
	c := testConfig(1, storageWith(1))
	c.TraceLogger = TracingEvent{}
	if _, err := NewRawNode(c); err != nil || StateTraceDeployed {
		t.Errorf("deployed: %t, %v", StateTraceDeployed, err)
	}
}
