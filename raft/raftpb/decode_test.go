// Decoding: what other encoders may write, and what nobody may.
//
// Start at TestMalformedInputIsAnError.

package raftpb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Decoding adds to what is there: numbers replace, lists grow, embedded structs
// are merged.
func TestUnmarshalMerges(t *testing.T) {
	for _, tt := range []struct {
		name              string
		before, add, want codec
	}{
		{
			"numbers and bytes replace", &Entry{Term: 1, Index: 2, Data: []byte("old")},
			&Entry{Term: 3, Data: []byte{}}, &Entry{Term: 3, Data: []byte{}},
		},
		{
			"nil bytes are not written and so replace nothing", &Entry{Data: []byte("old")},
			&Entry{Index: 1}, &Entry{Index: 1, Data: []byte("old")},
		},
		{
			"lists grow", &ConfState{Voters: []uint64{1}, LearnersNext: []uint64{7}},
			&ConfState{Voters: []uint64{2, 3}, Learners: []uint64{4}},
			&ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}, LearnersNext: []uint64{7}},
		},
		{
			"an embedded struct is merged", &Snapshot{Metadata: SnapshotMetadata{ConfState: ConfState{Voters: []uint64{1}}, Index: 5}},
			&Snapshot{Metadata: SnapshotMetadata{ConfState: ConfState{Voters: []uint64{2}}, Index: 6}},
			&Snapshot{Metadata: SnapshotMetadata{ConfState: ConfState{Voters: []uint64{1, 2}}, Index: 6}},
		},
		{
			"entries, responses and a snapshot",
			&Message{Entries: []Entry{{Index: 1}}, Responses: []Message{{To: 1}}, Snapshot: &Snapshot{Data: []byte("s")}},
			&Message{Entries: []Entry{{Index: 2, Data: []byte("d")}}, Responses: []Message{{To: 2}}, Snapshot: &Snapshot{}},
			&Message{
				Entries:   []Entry{{Index: 1}, {Index: 2, Data: []byte("d")}},
				Responses: []Message{{To: 1}, {To: 2}}, Snapshot: &Snapshot{Data: []byte("s")},
			},
		},
		{
			"changes", &ConfChangeV2{Changes: []ConfChangeSingle{{0, 1}}},
			&ConfChangeV2{Changes: []ConfChangeSingle{{1, 2}}}, &ConfChangeV2{Changes: []ConfChangeSingle{{0, 1}, {1, 2}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.before.Unmarshal(encode(t, tt.add)); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(tt.before, tt.want) {
				t.Errorf("got %+v, want %+v", tt.before, tt.want)
			}
		})
	}
}

// No input at all is a struct of which nothing was said.
func TestUnmarshalOfNothingChangesNothing(t *testing.T) {
	e := Entry{Term: 1, Index: 2}
	if err := e.Unmarshal(nil); err != nil || !reflect.DeepEqual(e, Entry{Term: 1, Index: 2}) {
		t.Errorf("%+v, %v", e, err)
	}
}

// What other encoders may write in another way means the same.
func TestUnmarshalAcceptsOtherForms(t *testing.T) {
	for _, tt := range []struct {
		name, input string
		want        codec
	}{
		{"packed list", "0a04 01 02 ac02", &ConfState{Voters: []uint64{1, 2, 300}}},
		{"empty packed list", "0a00 2801", &ConfState{AutoLeave: true}},
		{"packed and unpacked", "0801 0a020203 0804", &ConfState{Voters: []uint64{1, 2, 3, 4}}},
		{"packed, the other lists", "120104 1a0105 220106", &ConfState{Learners: []uint64{4}, VotersOutgoing: []uint64{5}, LearnersNext: []uint64{6}}},
		{"another order of fields", "1803 1002 0801", &HardState{Term: 1, Vote: 2, Commit: 3}},
		{"the last of several numbers counts", "0801 0802", &HardState{Term: 2}},
		{"a longer varint than needed", "088100 10 8280808000", &HardState{Term: 1, Vote: 2}},
		{"a longer tag than needed", "888000 05", &HardState{Term: 5}},
		{"an enum beyond 32 bits is cut", "0881808080f0ffffffff01", &Entry{Type: 1}},
		{"a bool beyond 1 is true", "5002", &Message{Reject: true}},
		{"entries that are apart", "3a021801 1001 3a021802", &Message{To: 1, Entries: []Entry{{Index: 1}, {Index: 2}}}},
		{"entries around a field of a later version", "3a021801 fa0101ff 3a021802", &Message{Entries: []Entry{{Index: 1}, {Index: 2}}}},
		{"a snapshot in two parts", "4a030a0161 4a0412021007", &Message{Snapshot: &Snapshot{Data: []byte("a"), Metadata: SnapshotMetadata{Index: 7}}}},
		{"an entry with data twice", "3a0622016122016 2", &Message{Entries: []Entry{{Data: []byte("b")}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := newLike(tt.want)
			if err := got.Unmarshal(fromHex(t, tt.input)); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Fields of a later version are passed over, of whatever type.
func TestUnmarshalSkipsUnknownFields(t *testing.T) {
	for name, field := range map[string]string{
		"varint":                 "7807",
		"fixed64":                "790102030405060708",
		"bytes":                  "7a03010203",
		"group":                  "7b 0801 7c",
		"group in a group":       "7b 7b 7c 7c",
		"fixed32":                "7d01020304",
		"the largest number":     "f8ffffff0f 01",
		"an empty embedded one":  "7a00",
		"bytes, with a long tag": "fa8000 00",
	} {
		t.Run(name, func(t *testing.T) {
			for _, tt := range encodings {
				got := newLike(tt.value)
				data := bytes.Join([][]byte{fromHex(t, field), encode(t, tt.value), fromHex(t, field)}, nil)
				if err := got.Unmarshal(data); err != nil {
					t.Errorf("%s: %v", tt.name, err)
				} else if !reflect.DeepEqual(got, tt.value) {
					t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.value)
				}
			}
		})
	}
}

// A struct that was cut off is told from one that is wrong, wherever the cut
// falls within a field.
func TestTruncatedInputIsUnexpectedEOF(t *testing.T) {
	for _, tt := range encodings {
		data := encode(t, tt.value)
		whole := 0 // cuts that fall between fields leave a valid struct
		for n := range data {
			switch err := newLike(tt.value).Unmarshal(data[:n]); {
			case err == nil:
				whole++
			case err != io.ErrUnexpectedEOF:
				t.Errorf("%s cut to %d bytes: %v", tt.name, n, err)
			}
		}
		if len(data) > 2 && whole >= len(data)-1 {
			t.Errorf("%s: no cut was noticed", tt.name)
		}
	}
	for name, input := range map[string]string{
		"no value":                        "08",
		"half a varint":                   "0880",
		"no length":                       "22",
		"less than the length":            "2205 6162",
		"a length near the largest":       "22 ffffffffffffffff7f",
		"half an unknown number":          "7d0102",
		"unknown bytes beyond the end":    "7a05 01",
		"a group that does not end":       "7b 0801",
		"half a tag":                      "80",
		"half an unknown varint":          "7880",
		"half a number in a longer field": "0801 10",
	} {
		var e Entry
		if err := e.Unmarshal(fromHex(t, input)); err != io.ErrUnexpectedEOF {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What no encoder writes is an error, and another one than a cut.
func TestMalformedInputIsAnError(t *testing.T) {
	for _, tt := range []struct {
		name, input string
		into        codec
	}{
		{"a varint of eleven bytes", "08 8080808080808080808001", &Entry{}},
		{"a varint beyond 64 bits", "08 ffffffffffffffffff02", &Entry{}},
		{"a tag beyond 64 bits", "ffffffffffffffffff7f 00", &Entry{}},
		{"field number 0", "0000", &Entry{}},
		{"field number 0, bytes", "0200", &Entry{}},
		{"a field number beyond 29 bits", "8080808010 00", &Entry{}},
		{"a group end without a beginning", "0c", &Entry{}},
		{"an unknown group's end", "7c", &Entry{}},
		{"the end of another group", "7b 8401", &Entry{}},
		{"a wire type that does not exist", "7e00", &Entry{}},
		{"the same, 7", "7f00", &Entry{}},
		{"a negative length", "22 ffffffffffffffffff01", &Entry{}},
		{"bytes for a number", "0a00", &Entry{}},
		{"a number for bytes", "2001", &Entry{}},
		{"fixed64 for a number", "090000000000000000", &Entry{}},
		{"a group for bytes", "23 24", &Entry{}},
		{"fixed32 for a number of a list", "0d01000000", &ConfState{}},
		{"fixed64 for a list", "09 0000000000000000", &ConfState{}},
		{"bytes for a bool", "2a00", &ConfState{}},
		{"a bad varint in a packed list", "0a0b 8080808080808080808001", &ConfState{}},
		{"the same, of learners", "120b 8080808080808080808001", &ConfState{}},
		{"the same, of old voters", "1a0b 8080808080808080808001", &ConfState{}},
		{"the same, of coming learners", "220b 8080808080808080808001", &ConfState{}},
		{"a number for an embedded struct", "0801", &SnapshotMetadata{}},
		{"an error in an embedded struct", "0a02 0000", &SnapshotMetadata{}},
		{"an error two levels down", "1204 0a02 0000", &Snapshot{}},
		{"an error in an entry", "3a02 0000", &Message{}},
		{"an error in the second entry", "3a02 0801 3a02 0000", &Message{}},
		{"an error in a snapshot", "4a02 0000", &Message{}},
		{"an error in a response", "7202 0000", &Message{}},
		{"a number for entries", "3801", &Message{}},
		{"a number for responses", "7001", &Message{}},
		{"a number for a snapshot", "4801", &Message{}},
		{"an error in a change", "1202 0000", &ConfChangeV2{}},
		{"bytes for a transition", "0a00", &ConfChangeV2{}},
		{"a number for a context", "2001", &ConfChange{}},
		{"bytes for a node", "1200", &ConfChangeSingle{}},
		{"bytes for a term", "0a00", &HardState{}},
		{"a number for a snapshot's data", "0801", &Snapshot{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.into.Unmarshal(fromHex(t, tt.input))
			switch {
			case err == nil:
				t.Errorf("decoded as %+v", tt.into)
			case errors.Is(err, io.ErrUnexpectedEOF):
				t.Errorf("said to be cut off")
			case !strings.HasPrefix(err.Error(), "raftpb: "):
				t.Errorf("error %q does not say whose it is", err)
			}
		})
	}
}

// An embedded struct ends with its length: it cannot read on into what follows.
func TestEmbeddedStructsEndWithTheirLength(t *testing.T) {
	var m Message
	// An entry of one byte, a tag, whose value would be the next field's tag.
	if err := m.Unmarshal(fromHex(t, "3a0108 1001")); err != io.ErrUnexpectedEOF {
		t.Errorf("%v, %+v", err, m)
	}
	var cs ConfState
	if err := cs.Unmarshal(fromHex(t, "0a0180 01")); err != io.ErrUnexpectedEOF {
		t.Errorf("packed: %v, %+v", err, cs)
	}
}

// Messages nested without end are an error before the stack is: 2 bytes a level
// could nest a million deep in a small message.
func TestNestingIsBounded(t *testing.T) {
	nest := func(levels int) []byte {
		var data []byte
		for range levels {
			head := protowire.AppendTag(nil, 14, protowire.BytesType)
			data = append(protowire.AppendVarint(head, uint64(len(data))), data...)
		}
		return data
	}
	var m Message
	if err := m.Unmarshal(nest(100)); err != nil {
		t.Errorf("100 levels: %v", err)
	}
	depth := 0
	for r := &m; len(r.Responses) > 0; r = &r.Responses[0] {
		depth++
	}
	if depth != 100 {
		t.Errorf("%d of 100 levels", depth)
	}
	if err := new(Message).Unmarshal(nest(20_000)); err == nil {
		t.Error("20000 levels: no error")
	}
}

// The decoded bytes are copies; input may be reused for the next message.
func TestDecodedBytesAreCopies(t *testing.T) {
	for _, tt := range encodings {
		data := encode(t, tt.value)
		got := newLike(tt.value)
		if err := got.Unmarshal(data); err != nil {
			t.Fatal(err)
		}
		clear(data)
		if !reflect.DeepEqual(got, tt.value) {
			t.Errorf("%s: changed with the input: %+v", tt.name, got)
		}
	}
}
