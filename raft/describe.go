// Describe: the values of this library as people read them, in the notation of
// the scenario scripts.
//
// Start at DescribeMessage.

package raft

import (
	"fmt"
	"strconv"
	"strings"

	pb "example.com/raftexample/raft/raftpb"
)

// EntryFormatter shows an entry's data; nil stands for quoting it.
type EntryFormatter func([]byte) string

// DescribeHardState describes a hard state in a line.
func DescribeHardState(hs pb.HardState) string {
	if hs.Vote == None {
		return fmt.Sprintf("Term:%d Commit:%d", hs.Term, hs.Commit)
	}
	return fmt.Sprintf("Term:%d Vote:%d Commit:%d", hs.Term, hs.Vote, hs.Commit)
}

// DescribeSoftState describes a soft state in a line.
func DescribeSoftState(ss SoftState) string {
	return fmt.Sprintf("Lead:%d State:%s", ss.Lead, ss.RaftState)
}

// DescribeConfState describes a configuration in a line.
func DescribeConfState(state pb.ConfState) string {
	return fmt.Sprintf("Voters:%v VotersOutgoing:%v Learners:%v LearnersNext:%v AutoLeave:%v",
		state.Voters, state.VotersOutgoing, state.Learners, state.LearnersNext, state.AutoLeave)
}

// DescribeSnapshot describes what a snapshot stands for in a line.
func DescribeSnapshot(snap pb.Snapshot) string {
	m := &snap.Metadata
	return fmt.Sprintf("Index:%d Term:%d ConfState:%s", m.Index, m.Term, DescribeConfState(m.ConfState))
}

// DescribeEntry describes an entry in a line: its term and index, its type, and
// its data, or the change of membership in it.
func DescribeEntry(e pb.Entry, f EntryFormatter) string {
	text := fmt.Sprintf("%d/%d %s", e.Term, e.Index, e.Type)
	if data := describeData(&e, f); data != "" {
		text += " " + data
	}
	return text
}

func describeData(e *pb.Entry, f EntryFormatter) string {
	switch {
	case changesMembership(e):
		change, err := decodeConfChange(e)
		if err != nil {
			return err.Error()
		}
		return pb.ConfChangesToString(change.Changes)
	case e.Type != pb.EntryNormal:
		return "" // a type of the user's own
	case f == nil:
		return strconv.Quote(string(e.Data))
	}
	return f(e.Data)
}

// DescribeEntries describes entries, a line each.
func DescribeEntries(ents []pb.Entry, f EntryFormatter) string {
	var b strings.Builder
	for i := range ents {
		b.WriteString(DescribeEntry(ents[i], f) + "\n")
	}
	return b.String()
}

// DescribeMessage describes a message in a line, or several if it carries
// several entries, a snapshot or responses.
func DescribeMessage(m pb.Message, f EntryFormatter) string {
	var b strings.Builder
	describeMessage(&b, "", &m, f)
	return b.String()
}

func describeMessage(b *strings.Builder, indent string, m *pb.Message, f EntryFormatter) {
	fmt.Fprintf(b, "%s%s->%s %v Term:%d Log:%d/%d", indent,
		describeTarget(m.From), describeTarget(m.To), m.Type, m.Term, m.LogTerm, m.Index)
	if m.Reject {
		fmt.Fprintf(b, " Rejected (Hint: %d)", m.RejectHint)
	}
	if m.Commit != 0 {
		fmt.Fprintf(b, " Commit:%d", m.Commit)
	}
	if m.Vote != 0 {
		fmt.Fprintf(b, " Vote:%d", m.Vote)
	}
	switch len(m.Entries) {
	case 0:
	case 1:
		fmt.Fprintf(b, " Entries:[%s]", DescribeEntry(m.Entries[0], f))
	default:
		b.WriteString(" Entries:[")
		for i := range m.Entries {
			fmt.Fprintf(b, "\n%s  %s", indent, DescribeEntry(m.Entries[i], f))
		}
		fmt.Fprintf(b, "\n%s]", indent)
	}
	if m.Snapshot != nil && !IsEmptySnap(*m.Snapshot) {
		fmt.Fprintf(b, "\n%s  Snapshot: %s", indent, DescribeSnapshot(*m.Snapshot))
	}
	if len(m.Responses) > 0 {
		b.WriteString(" Responses:[")
		for i := range m.Responses {
			b.WriteByte('\n')
			describeMessage(b, indent+"  ", &m.Responses[i], f)
		}
		fmt.Fprintf(b, "\n%s]", indent)
	}
}

// describeTarget names whom a message comes from or goes to.
func describeTarget(id uint64) string {
	switch id {
	case None:
		return "None"
	case LocalAppendThread:
		return "AppendThread"
	case LocalApplyThread:
		return "ApplyThread"
	}
	return strconv.FormatUint(id, 16)
}

// DescribeReady describes a Ready, a line or more for each part it has.
func DescribeReady(rd Ready, f EntryFormatter) string {
	var b strings.Builder
	if rd.SoftState != nil {
		b.WriteString(DescribeSoftState(*rd.SoftState) + "\n")
	}
	if !IsEmptyHardState(rd.HardState) {
		fmt.Fprintf(&b, "HardState %s\n", DescribeHardState(rd.HardState))
	}
	if len(rd.ReadStates) > 0 {
		fmt.Fprintf(&b, "ReadStates %v\n", rd.ReadStates)
	}
	if len(rd.Entries) > 0 {
		b.WriteString("Entries:\n" + DescribeEntries(rd.Entries, f))
	}
	if !IsEmptySnap(rd.Snapshot) {
		fmt.Fprintf(&b, "Snapshot %s\n", DescribeSnapshot(rd.Snapshot))
	}
	if len(rd.CommittedEntries) > 0 {
		b.WriteString("CommittedEntries:\n" + DescribeEntries(rd.CommittedEntries, f))
	}
	if len(rd.Messages) > 0 {
		b.WriteString("Messages:\n")
		for i := range rd.Messages {
			b.WriteString(DescribeMessage(rd.Messages[i], f) + "\n")
		}
	}
	if b.Len() == 0 {
		return "<empty Ready>"
	}
	return fmt.Sprintf("Ready MustSync=%t:\n%s", rd.MustSync, b.String())
}
