// Text: structs as a line for logs, in protocol buffers' compact text form.

package raftpb

import (
	"fmt"
	"strconv"
	"strings"
)

// text collects "name:value " for each field that is set.
type text struct{ strings.Builder }

func (w *text) field(name, value string) { w.WriteString(name + ":" + value + " ") }

func (w *text) number(name string, v uint64) {
	if v != 0 {
		w.element(name, v)
	}
}

// element writes an element of a list, zero or not.
func (w *text) element(name string, v uint64) { w.field(name, strconv.FormatUint(v, 10)) }

func (w *text) enum(name string, v int32, s fmt.Stringer) {
	if v != 0 {
		w.field(name, s.String())
	}
}

func (w *text) bool(name string, v bool) {
	if v {
		w.field(name, "true")
	}
}

func (w *text) bytes(name string, v []byte) {
	if v != nil {
		w.field(name, strconv.Quote(string(v)))
	}
}

func (w *text) embedded(name string, describe func(*text)) {
	w.WriteString(name + ":<")
	describe(w)
	w.WriteString("> ")
}
