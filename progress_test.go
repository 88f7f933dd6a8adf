// Progress of a restore: on a terminal, in a log, and not at all when it is short.

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slowly is a disk that takes its time for each read.
type slowly struct {
	io.Reader
	per time.Duration
}

func (s slowly) Read(b []byte) (int, error) {
	time.Sleep(s.per)
	return s.Reader.Read(b)
}

func (s slowly) Close() error { return nil }

// restoreSlowly restores a store of 4,096 keys in 64 reads, each of which takes so
// long, and returns what that wrote to standard error.
func restoreSlowly(t *testing.T, onTerminal bool, per time.Duration) string {
	t.Helper()
	from := newKVStore(nil, 1, 1, nil)
	for i := range 4096 {
		from.items.Set(string(rune(0x4000+i)), item{value: strings.Repeat("v", 1020), revision: 1})
	}
	var state, stderr bytes.Buffer
	if _, err := from.snapshot().WriteTo(&state); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		cfg, out := config{id: 7}, io.Writer(&stderr)
		if onTerminal {
			cfg.screen = &screen{w: &stderr}
			out = cfg.screen
		}
		to := newKVStore(nil, 7, 1, nil)
		logger := newLogger(&cfg, out)
		tell := restoreProgress(&cfg, logger)
		to.progress = func(done, of uint64) {
			tell(done, of)
			if done == of/2 {
				logger.Info("meanwhile")
			}
		}
		if err := to.restore(&commit{restore: slowly{&state, per}, restoreIndex: 9, restoreTerm: 1}); err != nil {
			t.Fatal(err)
		}
		if to.items.Len() != 4096 {
			t.Errorf("%d keys were restored", to.items.Len())
		}
	})
	return stderr.String()
}

// In a log, a long restore is a line a second, and one for the end.
func TestProgressInALog(t *testing.T) {
	said := restoreSlowly(t, false, 50*time.Millisecond) // 3.2 s
	if n := strings.Count(said, `msg="restoring the store" node=7`); n != 4 || strings.Contains(said, "\r") {
		t.Errorf("%d lines:\n%s", n, said)
	}
	if !strings.HasSuffix(said, "keys=4096 of=4096\n") {
		t.Errorf("it does not say that it is done:\n%s", said)
	}
}

// On a terminal it is one line: each update erases the one before, what is logged
// meanwhile goes above, and at the end nothing of it is left.
func TestProgressOnATerminal(t *testing.T) {
	said := restoreSlowly(t, true, 50*time.Millisecond)
	var lines []string
	for line := range strings.Lines(said) {
		lines = append(lines, line[strings.LastIndex(line, eraseLine)+len(eraseLine):]) // what is left to see
	}
	if len(lines) != 2 || !strings.Contains(lines[0], "meanwhile") || lines[1] != "" {
		t.Errorf("the terminal shows %q", lines)
	}
	if n := strings.Count(said, eraseLine+"restoring the store: "); n < 3 {
		t.Errorf("%d updates: %q", n, said)
	}
	_, after, _ := strings.Cut(said, "meanwhile\n")
	if !strings.HasPrefix(after, "restoring the store: ") {
		t.Errorf("the status did not come back: %q", said)
	}
}

func TestShortRestoreSaysNothing(t *testing.T) {
	for _, onTerminal := range []bool{false, true} {
		said := restoreSlowly(t, onTerminal, time.Millisecond)
		if strings.Contains(said, "restoring") {
			t.Errorf("on a terminal %v: %s", onTerminal, said)
		}
	}
}

// Only a character device is a terminal: a log in a file or a pipe gets no escape
// sequences.
func TestScreenOn(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for name, no := range map[string]io.Writer{"a file": file, "a pipe": w, "a buffer": new(bytes.Buffer)} {
		if screenOn(no) != nil {
			t.Errorf("%s is taken for a terminal", name)
		}
	}
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if screenOn(device) == nil {
		t.Error("a character device is not")
	}
}
