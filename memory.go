// Memory: a process stays within three times its data and 64 MiB.
//
// Left to itself, the garbage collector lets the heap grow to a multiple of what is
// in use; and with large values much more than the data is in use at times: entries
// of the log that were overwritten, and values that only a snapshot under way
// still holds. So the collector is told how large the data are, and works harder
// when the process comes near the limit; before that it may be lazy. Start at
// memoryLimiter.

package main

// collectAt is by how many percent the heap may grow before the collector runs, unless
// the limit is near. Go's own 100 has it run 50 times a second when the data are small:
// with 64 clients that took 6 % of the processor, and 3 % of the PUTs.
const collectAt = 300

// What a process may need: memoryPerByte times its data, and memoryBeside. The
// part of it that is the program itself, in memory but not the collector's, is
// programBytes.
const (
	memoryPerByte = 3
	memoryBeside  = 64 << 20
	programBytes  = 16 << 20
)

// itemBytes is what counts for a key beside its own length and that of its value.
const itemBytes = 64

// dataBytes is how much data an item is.
func dataBytes(key, value string) int64 { return int64(len(key)) + int64(len(value)) + itemBytes }

// memoryLimiter returns what hears of the size of the data, often, and sets the
// limit anew when it has changed by more than a sixteenth: setting it stops the
// process for a moment.
func memoryLimiter(set func(bytes int64) (before int64)) func(data int64) {
	last := int64(-1)
	return func(data int64) {
		limit := memoryPerByte*data + memoryBeside - programBytes
		if last >= 0 && limit-last < last/16 && last-limit < last/16 {
			return
		}
		last = limit
		set(limit)
	}
}
