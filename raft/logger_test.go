// The default logger, and how it is replaced.

package raft

import (
	"bytes"
	"log"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Each level has its word before the text; debug is silent until it is enabled.
func TestDefaultLoggerLevels(t *testing.T) {
	var out bytes.Buffer
	l := &DefaultLogger{Logger: log.New(&out, "", 0)}
	for _, tt := range []struct {
		want string
		log  func()
	}{
		{"", func() { l.Debug("x") }},
		{"", func() { l.Debugf("%d", 1) }},
		{"INFO: ab", func() { l.Info("a", "b") }},
		{"INFO: a 1", func() { l.Infof("a %d", 1) }},
		{"WARN: a", func() { l.Warning("a") }},
		{"WARN: a 1", func() { l.Warningf("a %d", 1) }},
		{"ERROR: a", func() { l.Error("a") }},
		{"ERROR: a 1", func() { l.Errorf("a %d", 1) }},
		{"DEBUG: a", func() { l.EnableDebug(); l.Debug("a") }},
		{"DEBUG: a 1", func() { l.Debugf("a %d", 1) }},
		{"INFO: 100%", func() { l.Info("100%") }},
	} {
		out.Reset()
		tt.log()
		if got := strings.TrimSuffix(out.String(), "\n"); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// The library stops by panicking, so a logger must.
func TestPanicPanics(t *testing.T) {
	var out bytes.Buffer
	l := &DefaultLogger{Logger: log.New(&out, "", 0)}
	for want, f := range map[string]func(){
		"broken":   func() { l.Panic("broken") },
		"broken 7": func() { l.Panicf("broken %d", 7) },
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panic %v, want %q", got, want)
				}
			}()
			f()
			t.Errorf("%s: no panic", want)
		}()
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q was not logged: %q", want, out.String())
		}
	}
}

// Fatal ends the process, so it gets one of its own.
func TestFatalExits(t *testing.T) {
	const variable = "RAFT_TEST_FATAL"
	if way := os.Getenv(variable); way != "" {
		l := &DefaultLogger{Logger: log.New(os.Stderr, "", 0)}
		if way == "Fatal" {
			l.Fatal("the end")
		}
		l.Fatalf("the %s", "end")
	}
	for _, way := range []string{"Fatal", "Fatalf"} {
		c := exec.Command(os.Args[0], "-test.run=^TestFatalExits$")
		c.Env = append(os.Environ(), variable+"="+way)
		out, err := c.CombinedOutput()
		if c.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "FATAL: the end") {
			t.Errorf("%s: %v, %s", way, err, out)
		}
	}
}

// With a file and a line, a message names who logged it and not the logger.
func TestDefaultLoggerNamesItsCaller(t *testing.T) {
	var out bytes.Buffer
	l := &DefaultLogger{Logger: log.New(&out, "", log.Lshortfile)}
	l.EnableDebug()
	for name, f := range map[string]func(){
		"Info": func() { l.Info("x") }, "Infof": func() { l.Infof("x") },
		"Debug": func() { l.Debug("x") }, "Debugf": func() { l.Debugf("x") },
		"Warning": func() { l.Warning("x") }, "Warningf": func() { l.Warningf("x") },
		"Error": func() { l.Error("x") }, "Errorf": func() { l.Errorf("x") },
	} {
		out.Reset()
		if f(); !strings.HasPrefix(out.String(), "logger_test.go:") {
			t.Errorf("%s: %q", name, out.String())
		}
	}
}

func TestEnableTimestamps(t *testing.T) {
	l := &DefaultLogger{Logger: log.New(os.Stderr, "", log.Lshortfile)}
	l.EnableTimestamps()
	if want := log.Lshortfile | log.Ldate | log.Ltime; l.Flags() != want {
		t.Errorf("flags %b, want %b", l.Flags(), want)
	}
}

// A node without a logger of its own gets the one that was set; resetting brings
// back the one that writes to standard error.
func TestSetLogger(t *testing.T) {
	defer ResetDefaultLogger()
	var out bytes.Buffer
	mine := &DefaultLogger{Logger: log.New(&out, "", 0)}
	SetLogger(mine)
	c := testConfig(1, storageWith(1))
	c.Logger = nil
	rn, err := NewRawNode(c)
	if err != nil {
		t.Fatal(err)
	}
	if rn.raft.logger != Logger(mine) {
		t.Errorf("the node logs to %v", rn.raft.logger)
	}
	if err := rn.Campaign(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "INFO: ") {
		t.Errorf("a campaign was not logged: %q", out.String())
	}

	ResetDefaultLogger()
	d, ok := getLogger().(*DefaultLogger)
	if !ok || d.Writer() != os.Stderr {
		t.Errorf("after a reset, %v", getLogger())
	}
}
