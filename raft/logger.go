// Logger: how the library speaks to whoever runs it.
//
// Info tells a group's story: roles, votes, configurations, snapshots. Debug is
// per message. Start at Logger.

package raft

import (
	"fmt"
	"log"
	"os"
	"sync"
)

// Logger receives what a node has to say. Methods without an f print their
// arguments as fmt.Sprint does, those with one as fmt.Sprintf does.
type Logger interface {
	Debug(v ...any)
	Debugf(format string, v ...any)

	Error(v ...any)
	Errorf(format string, v ...any)

	Info(v ...any)
	Infof(format string, v ...any)

	Warning(v ...any)
	Warningf(format string, v ...any)

	// Fatal and Fatalf end the process.
	Fatal(v ...any)
	Fatalf(format string, v ...any)

	// Panic and Panicf must panic.
	Panic(v ...any)
	Panicf(format string, v ...any)
}

var (
	loggerMu      sync.Mutex
	defaultLogger = &DefaultLogger{Logger: log.New(os.Stderr, "raft", log.LstdFlags)}
	packageLogger = Logger(defaultLogger)
)

// SetLogger sets the logger of nodes whose Config has none. It counts for nodes
// started afterwards.
func SetLogger(l Logger) {
	loggerMu.Lock()
	defer loggerMu.Unlock()
	packageLogger = l
}

// ResetDefaultLogger undoes SetLogger: what is logged goes to standard error.
func ResetDefaultLogger() { SetLogger(defaultLogger) }

func getLogger() Logger {
	loggerMu.Lock()
	defer loggerMu.Unlock()
	return packageLogger
}

// callDepth makes the standard logger name the caller of a DefaultLogger.
const callDepth = 2

// DefaultLogger is a Logger on top of the standard library's.
type DefaultLogger struct {
	*log.Logger
	debug bool
}

// EnableTimestamps puts date and time before each line.
func (l *DefaultLogger) EnableTimestamps() { l.SetFlags(l.Flags() | log.Ldate | log.Ltime) }

// EnableDebug lets debug messages through.
func (l *DefaultLogger) EnableDebug() { l.debug = true }

// Debug logs what only a developer wants to know, if EnableDebug was called.
func (l *DefaultLogger) Debug(v ...any) {
	if l.debug {
		l.line("DEBUG", fmt.Sprint(v...))
	}
}

// Debugf is Debug with a format.
func (l *DefaultLogger) Debugf(format string, v ...any) {
	if l.debug {
		l.line("DEBUG", fmt.Sprintf(format, v...))
	}
}

// Info logs what happens.
func (l *DefaultLogger) Info(v ...any) { l.line("INFO", fmt.Sprint(v...)) }

// Infof is Info with a format.
func (l *DefaultLogger) Infof(format string, v ...any) { l.line("INFO", fmt.Sprintf(format, v...)) }

// Error logs what went wrong.
func (l *DefaultLogger) Error(v ...any) { l.line("ERROR", fmt.Sprint(v...)) }

// Errorf is Error with a format.
func (l *DefaultLogger) Errorf(format string, v ...any) { l.line("ERROR", fmt.Sprintf(format, v...)) }

// Warning logs what may go wrong.
func (l *DefaultLogger) Warning(v ...any) { l.line("WARN", fmt.Sprint(v...)) }

// Warningf is Warning with a format.
func (l *DefaultLogger) Warningf(format string, v ...any) {
	l.line("WARN", fmt.Sprintf(format, v...))
}

// Fatal logs the reason and exits with status 1.
func (l *DefaultLogger) Fatal(v ...any) {
	l.line("FATAL", fmt.Sprint(v...))
	os.Exit(1)
}

// Fatalf is Fatal with a format.
func (l *DefaultLogger) Fatalf(format string, v ...any) {
	l.line("FATAL", fmt.Sprintf(format, v...))
	os.Exit(1)
}

// Panic logs the reason and panics with it.
func (l *DefaultLogger) Panic(v ...any) { l.Logger.Panic(v...) }

// Panicf is Panic with a format.
func (l *DefaultLogger) Panicf(format string, v ...any) { l.Logger.Panicf(format, v...) }

// line writes a line; a log that cannot be written to is nobody's to report.
func (l *DefaultLogger) line(level, text string) {
	if err := l.Output(callDepth+1, level+": "+text); err != nil {
		return
	}
}
