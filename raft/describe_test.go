// What values look like as text: scripts and logs compare it letter by letter.
//
// Start at TestDescribeMessage.

package raft

import (
	"strings"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

func normal(term, index uint64, data string) pb.Entry {
	return pb.Entry{Term: term, Index: index, Data: []byte(data)}
}

// marshalled is the encoding of a change.
func marshalled(t *testing.T, c pb.ConfChangeI) (pb.EntryType, []byte) {
	t.Helper()
	kind, data, err := pb.MarshalConfChange(c)
	if err != nil {
		t.Fatal(err)
	}
	return kind, data
}

func TestDescribeStates(t *testing.T) {
	for want, got := range map[string]string{
		"Term:1 Commit:3":                DescribeHardState(pb.HardState{Term: 1, Commit: 3}),
		"Term:1 Vote:2 Commit:3":         DescribeHardState(pb.HardState{Term: 1, Vote: 2, Commit: 3}),
		"Term:0 Commit:0":                DescribeHardState(pb.HardState{}),
		"Lead:1 State:StateLeader":       DescribeSoftState(SoftState{Lead: 1, RaftState: StateLeader}),
		"Lead:0 State:StatePreCandidate": DescribeSoftState(SoftState{RaftState: StatePreCandidate}),
		"Voters:[1 2] VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false": DescribeConfState(pb.ConfState{Voters: []uint64{1, 2}}),
		"Voters:[1] VotersOutgoing:[2 3] Learners:[4] LearnersNext:[3] AutoLeave:true": DescribeConfState(pb.ConfState{
			Voters: []uint64{1}, VotersOutgoing: []uint64{2, 3}, Learners: []uint64{4}, LearnersNext: []uint64{3}, AutoLeave: true,
		}),
		"Index:3 Term:1 ConfState:Voters:[1] VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false": DescribeSnapshot(pb.Snapshot{
			Data:     []byte("not shown"),
			Metadata: pb.SnapshotMetadata{Index: 3, Term: 1, ConfState: pb.ConfState{Voters: []uint64{1}}},
		}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDescribeEntry(t *testing.T) {
	v1Type, v1 := marshalled(t, pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 3})
	v2Type, v2 := marshalled(t, pb.ConfChangeV2{Changes: []pb.ConfChangeSingle{
		{Type: pb.ConfChangeAddNode, NodeID: 4},
		{Type: pb.ConfChangeAddLearnerNode, NodeID: 5},
	}})
	shout := func(data []byte) string { return strings.ToUpper(string(data)) }
	silence := func([]byte) string { return "" }

	for _, tt := range []struct {
		name   string
		entry  pb.Entry
		format EntryFormatter
		want   string
	}{
		{"quoted", normal(1, 3, "foo"), nil, `1/3 EntryNormal "foo"`},
		{"quoted as in Go", normal(1, 3, "\x00\""), nil, `1/3 EntryNormal "\x00\""`},
		{"empty", pb.Entry{Term: 1, Index: 3}, nil, `1/3 EntryNormal ""`},
		{"by a formatter", normal(1, 3, "foo"), shout, `1/3 EntryNormal FOO`},
		{"without a trailing blank", normal(1, 3, "foo"), silence, `1/3 EntryNormal`},
		{"a change", pb.Entry{Term: 2, Index: 9, Type: v1Type, Data: v1}, nil, `2/9 EntryConfChange r3`},
		{"changes", pb.Entry{Term: 2, Index: 9, Type: v2Type, Data: v2}, shout, `2/9 EntryConfChangeV2 v4 l5`},
		{"leaving a joint configuration", pb.Entry{Term: 2, Index: 9, Type: v2Type}, nil, `2/9 EntryConfChangeV2`},
		{"cut off", pb.Entry{Type: v1Type, Data: []byte{8}}, nil, `0/0 EntryConfChange unexpected EOF`},
		{"cut off, too", pb.Entry{Type: v2Type, Data: []byte{8}}, nil, `0/0 EntryConfChangeV2 unexpected EOF`},
	} {
		if got := DescribeEntry(tt.entry, tt.format); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}

	ents := []pb.Entry{normal(1, 1, "a"), normal(2, 2, "b")}
	if got, want := DescribeEntries(ents, nil), "1/1 EntryNormal \"a\"\n2/2 EntryNormal \"b\"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := DescribeEntries(nil, nil); got != "" {
		t.Errorf("no entries: %q", got)
	}
}

// A message is a line; entries, snapshot and responses that do not fit into it
// follow, indented under it.
func TestDescribeMessage(t *testing.T) {
	snapshot := &pb.Snapshot{Metadata: pb.SnapshotMetadata{Index: 3, Term: 1, ConfState: pb.ConfState{Voters: []uint64{1}}}}
	for _, tt := range []struct {
		name    string
		message pb.Message
		want    []string
	}{
		{"nothing", pb.Message{}, []string{"None->None MsgHup Term:0 Log:0/0"}},
		{
			"an entry",
			pb.Message{
				Type: pb.MsgApp, From: 1, To: 2, Term: 1, LogTerm: 1, Index: 11, Commit: 11,
				Entries: []pb.Entry{normal(1, 12, "x")},
			},
			[]string{`1->2 MsgApp Term:1 Log:1/11 Commit:11 Entries:[1/12 EntryNormal "x"]`},
		},
		{
			"entries",
			pb.Message{Type: pb.MsgApp, From: 1, To: 2, Entries: []pb.Entry{normal(1, 2, "x"), normal(1, 3, "y")}},
			[]string{`1->2 MsgApp Term:0 Log:0/0 Entries:[`, `  1/2 EntryNormal "x"`, `  1/3 EntryNormal "y"`, `]`},
		},
		{
			"a rejection",
			pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 4, LogTerm: 3, Index: 9, Reject: true, RejectHint: 5},
			[]string{`2->1 MsgAppResp Term:4 Log:3/9 Rejected (Hint: 5)`},
		},
		{
			"a rejection without a hint",
			pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 4, Reject: true},
			[]string{`2->1 MsgVoteResp Term:4 Log:0/0 Rejected (Hint: 0)`},
		},
		{
			"ids in hexadecimal",
			pb.Message{Type: pb.MsgHeartbeat, From: 0xdeadbeef, To: 10, Term: 1, Commit: 2},
			[]string{`deadbeef->a MsgHeartbeat Term:1 Log:0/0 Commit:2`},
		},
		{
			"a snapshot",
			pb.Message{Type: pb.MsgSnap, From: 1, To: 2, Term: 1, Snapshot: snapshot},
			[]string{
				`1->2 MsgSnap Term:1 Log:0/0`,
				`  Snapshot: Index:3 Term:1 ConfState:Voters:[1] VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false`,
			},
		},
		{
			"an empty snapshot",
			pb.Message{Type: pb.MsgSnap, From: 1, To: 2, Term: 1, Snapshot: &pb.Snapshot{}},
			[]string{`1->2 MsgSnap Term:1 Log:0/0`},
		},
		{
			"work for the disk",
			pb.Message{
				Type: pb.MsgStorageAppend, From: 1, To: LocalAppendThread, Term: 2, Commit: 3, Vote: 1,
				Entries: []pb.Entry{normal(2, 4, "x")},
				Responses: []pb.Message{
					{Type: pb.MsgAppResp, From: 1, To: 2, Term: 2, Index: 4},
					{Type: pb.MsgStorageAppendResp, From: LocalAppendThread, To: 1, Term: 2, LogTerm: 2, Index: 4},
				},
			},
			[]string{
				`1->AppendThread MsgStorageAppend Term:2 Log:0/0 Commit:3 Vote:1 Entries:[2/4 EntryNormal "x"] Responses:[`,
				`  1->2 MsgAppResp Term:2 Log:0/4`,
				`  AppendThread->1 MsgStorageAppendResp Term:2 Log:2/4`,
				`]`,
			},
		},
		{
			"indents nest",
			pb.Message{
				Type: pb.MsgStorageApply, From: 1, To: LocalApplyThread,
				Responses: []pb.Message{{
					Type: pb.MsgStorageApplyResp, From: LocalApplyThread, To: 1,
					Entries:   []pb.Entry{normal(1, 1, "a"), normal(1, 2, "b")},
					Snapshot:  snapshot,
					Responses: []pb.Message{{Type: pb.MsgHup}},
				}},
			},
			[]string{
				`1->ApplyThread MsgStorageApply Term:0 Log:0/0 Responses:[`,
				`  ApplyThread->1 MsgStorageApplyResp Term:0 Log:0/0 Entries:[`,
				`    1/1 EntryNormal "a"`,
				`    1/2 EntryNormal "b"`,
				`  ]`,
				`    Snapshot: Index:3 Term:1 ConfState:Voters:[1] VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false Responses:[`,
				`    None->None MsgHup Term:0 Log:0/0`,
				`  ]`,
				`]`,
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, want := DescribeMessage(tt.message, nil), strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}

	shout := func(data []byte) string { return strings.ToUpper(string(data)) }
	m := pb.Message{Entries: []pb.Entry{normal(1, 1, "a")}}
	if got := DescribeMessage(m, shout); !strings.HasSuffix(got, "[1/1 EntryNormal A]") {
		t.Errorf("the formatter was not asked: %s", got)
	}
}

func TestDescribeReady(t *testing.T) {
	if got := DescribeReady(Ready{}, nil); got != "<empty Ready>" {
		t.Errorf("%q", got)
	}

	rd := Ready{
		SoftState:        &SoftState{Lead: 1, RaftState: StateFollower},
		HardState:        pb.HardState{Term: 2, Vote: 1, Commit: 3},
		ReadStates:       []ReadState{{Index: 3, RequestCtx: []byte{7}}},
		Entries:          []pb.Entry{normal(2, 4, "x"), normal(2, 5, "y")},
		Snapshot:         pb.Snapshot{Metadata: pb.SnapshotMetadata{Index: 3, Term: 1}},
		CommittedEntries: []pb.Entry{normal(1, 3, "w")},
		Messages:         []pb.Message{{Type: pb.MsgAppResp, From: 2, To: 1}, {Type: pb.MsgHup}},
		MustSync:         true,
	}
	want := strings.Join([]string{
		`Ready MustSync=true:`,
		`Lead:1 State:StateFollower`,
		`HardState Term:2 Vote:1 Commit:3`,
		`ReadStates [{3 [7]}]`,
		`Entries:`,
		`2/4 EntryNormal "x"`,
		`2/5 EntryNormal "y"`,
		`Snapshot Index:3 Term:1 ConfState:Voters:[] VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false`,
		`CommittedEntries:`,
		`1/3 EntryNormal "w"`,
		`Messages:`,
		`2->1 MsgAppResp Term:0 Log:0/0`,
		`None->None MsgHup Term:0 Log:0/0`,
		``,
	}, "\n")
	if got := DescribeReady(rd, nil); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	only := Ready{HardState: pb.HardState{Commit: 1}}
	if got, want := DescribeReady(only, nil), "Ready MustSync=false:\nHardState Term:0 Commit:1\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
