// Pictures of acknowledgements, for tests and for people.

package quorum

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Describe draws what each voter has acknowledged, a line each: the longer the
// bar, the more voters are behind it.
func (c MajorityConfig) Describe(l AckedIndexer) string {
	if len(c) == 0 {
		return "<empty majority quorum>"
	}
	type line struct {
		id    uint64
		index Index
		known bool
		bar   int
	}
	lines := make([]line, 0, len(c))
	for id := range c {
		index, known := l.AckedIndex(id)
		lines = append(lines, line{id: id, index: index, known: known})
	}

	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.id, b.id))
	})
	for i := range lines {
		if i > 0 && lines[i-1].index < lines[i].index {
			lines[i].bar = i
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(a.id, b.id) })

	n := len(lines)
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", n) + "    idx\n")
	for _, line := range lines {
		if line.known {
			b.WriteString(strings.Repeat("x", line.bar) + ">" + strings.Repeat(" ", n-line.bar))
		} else {
			b.WriteString("?" + strings.Repeat(" ", n))
		}
		fmt.Fprintf(&b, " %5d    (id=%d)\n", line.index, line.id)
	}
	return b.String()
}

// Describe draws the voters of both halves together.
func (c JointConfig) Describe(l AckedIndexer) string {
	return MajorityConfig(c.IDs()).Describe(l)
}
