// Logs: slog for the program, and for the library through its Logger.

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// raftLogger passes what the library says to slog.
type raftLogger struct{ *slog.Logger }

func (l raftLogger) log(level slog.Level, v []any) {
	if l.Enabled(context.Background(), level) {
		l.Log(context.Background(), level, fmt.Sprint(v...))
	}
}

func (l raftLogger) logf(level slog.Level, format string, v []any) {
	if l.Enabled(context.Background(), level) {
		l.Log(context.Background(), level, fmt.Sprintf(format, v...))
	}
}

func (l raftLogger) Debug(v ...any)              { l.log(slog.LevelDebug, v) }
func (l raftLogger) Debugf(f string, v ...any)   { l.logf(slog.LevelDebug, f, v) }
func (l raftLogger) Info(v ...any)               { l.log(slog.LevelInfo, v) }
func (l raftLogger) Infof(f string, v ...any)    { l.logf(slog.LevelInfo, f, v) }
func (l raftLogger) Warning(v ...any)            { l.log(slog.LevelWarn, v) }
func (l raftLogger) Warningf(f string, v ...any) { l.logf(slog.LevelWarn, f, v) }
func (l raftLogger) Error(v ...any)              { l.log(slog.LevelError, v) }
func (l raftLogger) Errorf(f string, v ...any)   { l.logf(slog.LevelError, f, v) }
func (l raftLogger) Fatal(v ...any)              { panic(fmt.Sprint(v...)) }
func (l raftLogger) Fatalf(f string, v ...any)   { panic(fmt.Sprintf(f, v...)) }
func (l raftLogger) Panic(v ...any)              { panic(fmt.Sprint(v...)) }
func (l raftLogger) Panicf(f string, v ...any)   { panic(fmt.Sprintf(f, v...)) }

// newLogger returns the log that the flags ask for.
func newLogger(cfg *config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.logLevel}
	if cfg.logJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
