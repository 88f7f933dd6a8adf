// Package wal is the log on disk: entries, hard states and markers of snapshots,
// so written that what a synced Save stored survives any crash.
//
//	Figure 2 ("Updated on stable storage") · diss. §3.8, §10.2.1
//
// # Format
//
// The log is a sequence of segments, files named by their number in hexadecimal,
// 16 MiB each and larger only if a single batch is. All numbers in headers are
// little endian, all checksums CRC32C.
//
//	segment   ┌────────┬───────┬───────┬───────┬─ ─ ─┬───────┐
//	          │ header │ frame │ frame │ frame │     │ zeros │
//	          └────────┴───────┴───────┴───────┴─ ─ ─┴───────┘
//
//	header    magic "RAFTWAL1" · segment number (8) · random id (8) ·
//	          end of the segment before (8) · checksum (4)
//
//	frame     magic (4) · segment number (8) · frame number (8) · payload length (4) ·
//	          synced (8) · header checksum (4) · payload checksum (4) · payload
//
//	payload   records: type (1) · length (uvarint) · raftpb encoding
//
// One Save is one frame, one write, and at most one fdatasync. The checksums of
// frames start from the random id of their segment: so neither a frame of another
// segment, left in blocks that the file system hands out again, nor bytes of a user's value that
// look like a frame ever check out.
//
// Every segment begins with a frame that repeats the newest marker and hard
// state. So once a snapshot covers all the entries of the oldest segments, they
// can go, with nothing copied.
//
// The blocks of a segment are reserved and, unless frames are large (see Decisions),
// filled with zeros before it is used, in the background. Then fdatasync has no
// metadata to write, which halves its time.
//
// # Crash cases
//
// A crash can keep any part of what was written after the last sync, in any
// order. What may lie behind the last good frame, and what is done:
//
//   - Zeros: the end of the log.
//   - Part of a frame: a torn tail. It was never acknowledged. Zeroed and synced
//     before anything new is written, so that it cannot be mistaken later.
//   - A bad frame, then good ones: if one of those says that more than the place
//     of the bad frame was synced when it was written (its field "synced"), then
//     the bad frame had been acknowledged, and this is damage. So it is if a later
//     segment exists, as a segment is synced before the next one is begun. The
//     log refuses to open, with file, offset and advice. Otherwise the good ones
//     were written after it without a sync in between: a torn tail as before.
//   - A bad frame, nothing good behind it: a torn tail. A bit that flips in the
//     very last batch cannot be told from this.
//
// A new segment comes into being under another name ("spare"), gets its header
// and first frame, is synced and renamed, and then the directory is synced: a
// segment that has its proper name is complete. A crash between those steps
// leaves a spare, which is written anew. Removed segments may come back after a
// crash; those that do not join the rest are removed again.
//
// # Decisions
//
// A Save without entries or a marker, that need not be synced, writes nothing:
// only the commit index can have changed then. It is remembered and goes with
// the next frame. After a crash it is learnt again from the leader.
//
// A failed write or sync is final. Part of the batch may be there, and after a
// failed fsync the kernel may have dropped pages that it reported as written; to
// sync again would seem to succeed. The next Open finds out what there is.
//
// Segments are not used again when their time is over: writing 16 MiB of zeros
// costs little beside the entries, and nobody has to reason about old frames. With
// large entries it would cost as much as they do, and is left out (zeroBelow).
package wal
