// Progress: how far a long restore is, for whoever waits for it. On a terminal it
// is one line, updated in place; elsewhere it is a line of the log a second.
//
// Start at restoreProgress.

package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// restoreProgress returns what a restore tells how far it is; done is equal to of
// at its end. A short restore, which most are, says nothing.
func restoreProgress(cfg *config, logger *slog.Logger) func(done, of uint64) {
	last, told := time.Now(), false
	return func(done, of uint64) {
		switch {
		case done == 0:
			last, told = time.Now(), false
			return
		case done == of && !told, done < of && time.Since(last) < time.Second:
			return
		}
		last, told = time.Now(), true
		switch {
		case cfg.screen == nil:
			logger.Info("restoring the store", "node", cfg.id, "keys", done, "of", of)
		case done == of:
			cfg.screen.show("")
		default:
			cfg.screen.show(fmt.Sprintf("restoring the store: %d of %d keys", done, of))
		}
	}
}

// screen is a terminal with a status line at its end. What is written
// meanwhile goes above that.
type screen struct {
	mu     sync.Mutex
	w      io.Writer
	status string
}

// eraseLine takes the cursor to the start of its line and empties the rest.
const eraseLine = "\r\x1b[K"

// screenOn returns the terminal that w is, or nil.
func screenOn(w io.Writer) *screen {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &screen{w: w}
}

// Write implements io.Writer.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == "" {
		return s.w.Write(b)
	}
	if _, err := fmt.Fprintf(s.w, "%s%s%s", eraseLine, b, s.status); err != nil {
		return 0, err
	}
	return len(b), nil
}

// show replaces the status line; an empty one takes it away. A terminal that
// cannot be written to has nobody in front of it who could be told.
func (s *screen) show(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != status {
		fmt.Fprint(s.w, eraseLine+status)
	}
	s.status = status
}
