// The encoding: what the bytes are, and that they come back as what they were.
//
// Start at TestEncoding, the table of all structs and their bytes.

package raftpb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// codec is what every struct of this package can do.
type codec interface {
	Size() int
	Marshal() ([]byte, error)
	MarshalTo(b []byte) (int, error)
	MarshalToSizedBuffer(b []byte) (int, error)
	Unmarshal(data []byte) error
	Reset()
	String() string
}

// pointer is a *T that is a codec, so that a test can make new values of T.
type pointer[T any] interface {
	*T
	codec
}

// encode returns the encoding of a struct, which never fails.
func encode(t testing.TB, v codec) []byte {
	t.Helper()
	data, err := v.Marshal()
	if err != nil {
		t.Fatalf("Marshal(%v): %v", v, err)
	}
	return data
}

// newLike returns an empty struct of the same type.
func newLike(v codec) codec {
	return reflect.New(reflect.TypeOf(v).Elem()).Interface().(codec)
}

var snapshotWithState = Snapshot{
	Data:     []byte("xy"),
	Metadata: SnapshotMetadata{ConfState: ConfState{Voters: []uint64{1}}, Index: 7, Term: 2},
}

// encodings are structs and their bytes, for all time: logs on disk and nodes of
// other versions hold to them.
var encodings = []struct {
	name  string
	value codec
	bytes string
}{
	{"Entry, zero", &Entry{}, "080010001800"},
	{"Entry", &Entry{Term: 5, Index: 300, Data: []byte("abc")}, "0800100518ac022203616263"},
	{"Entry, empty data", &Entry{Data: []byte{}}, "0800100018002200"},
	{
		"Entry, largest term",
		&Entry{Type: EntryConfChangeV2, Term: math.MaxUint64, Index: 1},
		"080210ffffffffffffffffff011801",
	},
	{"Entry, negative type", &Entry{Type: -1}, "08ffffffffffffffffff0110001800"},
	{"HardState, zero", &HardState{}, "080010001800"},
	{"HardState", &HardState{Term: 3, Vote: 2, Commit: 1000}, "0803100218e807"},
	{"ConfState, zero", &ConfState{}, "2800"},
	{
		"ConfState, joint",
		&ConfState{
			Voters: []uint64{1, 2, 300}, Learners: []uint64{4}, VotersOutgoing: []uint64{1, 5},
			LearnersNext: []uint64{5}, AutoLeave: true,
		},
		"0801080208ac0210041801180520052801",
	},
	{"SnapshotMetadata, zero", &SnapshotMetadata{}, "0a02280010001800"},
	{"Snapshot, zero", &Snapshot{}, "12080a02280010001800"},
	{"Snapshot", &snapshotWithState, "0a027879120a0a040801280010071802"},
	{"Message, zero", &Message{}, "0800100018002000280030004000500058006800"},
	{
		"Message, append",
		&Message{
			Type: MsgApp, To: 2, From: 1, Term: 3, LogTerm: 2, Index: 10, Commit: 9,
			Entries: []Entry{{Term: 3, Index: 11, Data: []byte("a")}, {Term: 3, Index: 12}},
		},
		"08031002180120032802300a3a0908001003180b2201613a0608001003180c4009500058006800",
	},
	{
		"Message, every field",
		&Message{
			Type: MsgStorageAppend, To: math.MaxUint64, From: 1, Term: 4, LogTerm: 3, Index: 20,
			Entries: []Entry{{}}, Commit: 5, Vote: 6, Snapshot: &snapshotWithState,
			Reject: true, RejectHint: 8, Context: []byte("c"), Responses: []Message{{Type: MsgForgetLeader}},
		},
		"081310ffffffffffffffffff0118012004280330143a0608001000180040054a100a027879120a0a" +
			"04080128001007180250015808620163680672140817100018002000280030004000500058006800",
	},
	{
		"ConfChange",
		&ConfChange{ID: 9, Type: ConfChangeAddLearnerNode, NodeID: 3, Context: []byte("z")},
		"08091003180322017a",
	},
	{"ConfChange, zero", &ConfChange{}, "080010001800"},
	{"ConfChangeSingle, zero", &ConfChangeSingle{}, "08001000"},
	{"ConfChangeSingle", &ConfChangeSingle{Type: ConfChangeRemoveNode, NodeID: 2}, "08011002"},
	{"ConfChangeV2, zero", &ConfChangeV2{}, "0800"},
	{
		"ConfChangeV2",
		&ConfChangeV2{
			Transition: ConfChangeTransitionJointExplicit,
			Changes:    []ConfChangeSingle{{ConfChangeAddNode, 4}, {ConfChangeRemoveNode, 1}},
			Context:    []byte("q"),
		},
		"08021204080010041204080110011a0171",
	},
}

// MarshalTo fills the beginning of a buffer, MarshalToSizedBuffer its end, and both
// leave the rest alone. A buffer that is too small is refused.
func TestEncodingIntoABuffer(t *testing.T) {
	for _, tt := range encodings {
		t.Run(tt.name, func(t *testing.T) {
			data, blank := encode(t, tt.value), []byte("----")
			check := func(b []byte, n int, err error, want ...[]byte) {
				t.Helper()
				if err != nil || n != len(data) || !bytes.Equal(b, slices.Concat(want...)) {
					t.Errorf("%d bytes, %v: the buffer is %x, want %x", n, err, b, want)
				}
			}
			room := bytes.Repeat([]byte("-"), len(data)+len(blank))
			n, err := tt.value.MarshalTo(room)
			check(room, n, err, data, blank)
			room = bytes.Repeat([]byte("-"), len(data)+len(blank))
			n, err = tt.value.MarshalToSizedBuffer(room)
			check(room, n, err, blank, data)
			room = room[:len(data)]
			n, err = tt.value.MarshalTo(room)
			check(room, n, err, data)

			small := room[:len(data)-1]
			if n, err := tt.value.MarshalTo(small); !errors.Is(err, io.ErrShortBuffer) {
				t.Errorf("into %d bytes of %d: %d, %v", len(small), len(data), n, err)
			}
			if n, err := tt.value.MarshalToSizedBuffer(small); !errors.Is(err, io.ErrShortBuffer) {
				t.Errorf("into the last %d bytes of %d: %d, %v", len(small), len(data), n, err)
			}
		})
	}
}

// Fields come in the order of their numbers; zero numbers and embedded structs
// are written, nil bytes are not, empty bytes are.
func TestEncoding(t *testing.T) {
	for _, tt := range encodings {
		t.Run(tt.name, func(t *testing.T) {
			data := encode(t, tt.value)
			if got := hex.EncodeToString(data); got != tt.bytes {
				t.Errorf("encoded as\n%s, want\n%s", got, tt.bytes)
			}
			if tt.value.Size() != len(data) {
				t.Errorf("Size is %d of %d bytes", tt.value.Size(), len(data))
			}

			back := newLike(tt.value)
			if err := back.Unmarshal(data); err != nil {
				t.Fatalf("decoding: %v", err)
			}
			if !reflect.DeepEqual(back, tt.value) {
				t.Errorf("decoded as\n%+v, want\n%+v", back, tt.value)
			}
			if back.Reset(); !reflect.DeepEqual(back, newLike(tt.value)) {
				t.Errorf("after Reset: %+v", back)
			}
		})
	}
}

// Encoding takes one allocation, for the result.
func TestEncodingAllocatesOnce(t *testing.T) {
	for _, tt := range encodings {
		allocations := testing.AllocsPerRun(100, func() {
			if _, err := tt.value.Marshal(); err != nil {
				t.Fatal(err)
			}
		})
		if allocations != 1 {
			t.Errorf("%s: %v allocations", tt.name, allocations)
		}
	}
}

// Sixty-four entries with data take a few allocations, not one or two each.
func TestDecodingEntriesAllocatesForAllAtOnce(t *testing.T) {
	m := appendOf(64, 256)
	data := encode(t, &m)
	allocations := testing.AllocsPerRun(100, func() {
		var m Message
		if err := m.Unmarshal(data); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 5 {
		t.Errorf("%v allocations", allocations)
	}
}

// Data that share an allocation do not share their room: what is appended to
// one must not end up in the next.
func TestDecodedBytesHaveNoRoomToGrow(t *testing.T) {
	m := appendOf(3, 4)
	m.Context = []byte("context")
	data := encode(t, &m)
	var got Message
	if err := got.Unmarshal(data); err != nil {
		t.Fatal(err)
	}
	for i := range got.Entries {
		got.Entries[i].Data = append(got.Entries[i].Data, "spill"...)
	}
	for i := range got.Entries {
		if want := append(m.Entries[i].Data, "spill"...); !bytes.Equal(got.Entries[i].Data, want) {
			t.Errorf("entry %d: %q, want %q", i, got.Entries[i].Data, want)
		}
	}
	if string(got.Context) != "context" {
		t.Errorf("context %q", got.Context)
	}
}

// Whatever can be put into a struct comes back from its bytes, nil as nil and
// empty as empty.
func TestRoundTrip(t *testing.T) {
	t.Run("Entry", rapid.MakeCheck(roundTrip(entries())))
	t.Run("ConfState", rapid.MakeCheck(roundTrip(confStates())))
	t.Run("SnapshotMetadata", rapid.MakeCheck(roundTrip(snapshotMetadata())))
	t.Run("Snapshot", rapid.MakeCheck(roundTrip(snapshots())))
	t.Run("HardState", rapid.MakeCheck(roundTrip(hardStates())))
	t.Run("Message", rapid.MakeCheck(roundTrip(messages(2))))
	t.Run("ConfChange", rapid.MakeCheck(roundTrip(confChanges())))
	t.Run("ConfChangeSingle", rapid.MakeCheck(roundTrip(confChangeSingles())))
	t.Run("ConfChangeV2", rapid.MakeCheck(roundTrip(confChangesV2())))
}

// roundTrip checks that values of g come back, and that the result shares
// nothing with the bytes it was read from.
func roundTrip[T any, P pointer[T]](g *rapid.Generator[T]) func(*rapid.T) {
	return func(t *rapid.T) {
		want := g.Draw(t, "value")
		data, err := P(&want).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if n := P(&want).Size(); n != len(data) {
			t.Fatalf("Size is %d of %d bytes", n, len(data))
		}
		var got T
		if err := P(&got).Unmarshal(data); err != nil {
			t.Fatal(err)
		}
		for i := range data {
			data[i] = 0xff
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("decoded as\n%+v, want\n%+v", got, want)
		}
	}
}

// What could not be decoded keeps no part of the bytes, which may change any time.
func TestFailedDecodeKeepsNothing(t *testing.T) {
	const entry = "\x3a\x06\x22\x04data" // of a MsgApp
	bytes := []byte(entry + entry + "\x3a\x02\x20\x01")
	var m Message
	if err := m.Unmarshal(bytes); err == nil {
		t.Fatal("data that are a number were decoded")
	}
	for i := range bytes {
		bytes[i] = 0
	}
	for _, e := range m.Entries {
		if e.Data != nil && string(e.Data) != "data" {
			t.Errorf("an entry is a part of the bytes: %q", e.Data)
		}
	}
}

// appendOf is a MsgApp with n entries of size bytes each.
func appendOf(n, size int) Message {
	m := Message{Type: MsgApp, To: 2, From: 1, Term: 3, LogTerm: 3, Index: 1000, Commit: 998}
	for i := range n {
		data := bytes.Repeat([]byte{byte('a' + i%26)}, size)
		m.Entries = append(m.Entries, Entry{Term: 3, Index: 1001 + uint64(i), Data: data})
	}
	return m
}

// Generators of values. Numbers are often small and sometimes as large as can
// be; bytes are nil, empty, or some.

func numbers() *rapid.Generator[uint64] {
	return rapid.OneOf(rapid.Uint64Range(0, 300), rapid.Uint64())
}

func optionalBytes() *rapid.Generator[[]byte] {
	return rapid.OneOf(rapid.Just[[]byte](nil), rapid.SliceOfN(rapid.Byte(), 0, 300))
}

// lists makes lists that are nil when empty, as decoded ones are.
func lists[T any](elements *rapid.Generator[T]) *rapid.Generator[[]T] {
	return rapid.OneOf(rapid.Just[[]T](nil), rapid.SliceOfN(elements, 1, 8))
}

func entries() *rapid.Generator[Entry] {
	return rapid.Custom(func(t *rapid.T) Entry {
		return Entry{
			Type: EntryType(rapid.Int32().Draw(t, "type")), Term: numbers().Draw(t, "term"),
			Index: numbers().Draw(t, "index"), Data: optionalBytes().Draw(t, "data"),
		}
	})
}

func confStates() *rapid.Generator[ConfState] {
	return rapid.Custom(func(t *rapid.T) ConfState {
		return ConfState{
			Voters: lists(numbers()).Draw(t, "voters"), Learners: lists(numbers()).Draw(t, "learners"),
			VotersOutgoing: lists(numbers()).Draw(t, "outgoing"), LearnersNext: lists(numbers()).Draw(t, "next"),
			AutoLeave: rapid.Bool().Draw(t, "autoLeave"),
		}
	})
}

func snapshotMetadata() *rapid.Generator[SnapshotMetadata] {
	return rapid.Custom(func(t *rapid.T) SnapshotMetadata {
		return SnapshotMetadata{
			ConfState: confStates().Draw(t, "configuration"),
			Index:     numbers().Draw(t, "index"), Term: numbers().Draw(t, "term"),
		}
	})
}

func snapshots() *rapid.Generator[Snapshot] {
	return rapid.Custom(func(t *rapid.T) Snapshot {
		return Snapshot{Data: optionalBytes().Draw(t, "data"), Metadata: snapshotMetadata().Draw(t, "metadata")}
	})
}

func hardStates() *rapid.Generator[HardState] {
	return rapid.Custom(func(t *rapid.T) HardState {
		return HardState{
			Term: numbers().Draw(t, "term"), Vote: numbers().Draw(t, "vote"), Commit: numbers().Draw(t, "commit"),
		}
	})
}

// messages makes messages whose responses are nested at most depth deep.
func messages(depth int) *rapid.Generator[Message] {
	return rapid.Custom(func(t *rapid.T) Message {
		m := Message{
			Type: MessageType(rapid.Int32().Draw(t, "type")),
			To:   numbers().Draw(t, "to"), From: numbers().Draw(t, "from"),
			Term: numbers().Draw(t, "term"), LogTerm: numbers().Draw(t, "logTerm"),
			Index: numbers().Draw(t, "index"), Commit: numbers().Draw(t, "commit"),
			Vote: numbers().Draw(t, "vote"), RejectHint: numbers().Draw(t, "hint"),
			Reject: rapid.Bool().Draw(t, "reject"), Context: optionalBytes().Draw(t, "context"),
			Entries: lists(entries()).Draw(t, "entries"),
		}
		if rapid.Bool().Draw(t, "has snapshot") {
			s := snapshots().Draw(t, "snapshot")
			m.Snapshot = &s
		}
		if depth > 0 {
			m.Responses = lists(messages(depth-1)).Draw(t, "responses")
		}
		return m
	})
}

func confChangeTypes() *rapid.Generator[ConfChangeType] {
	return rapid.Map(rapid.Int32(), func(v int32) ConfChangeType { return ConfChangeType(v) })
}

func confChanges() *rapid.Generator[ConfChange] {
	return rapid.Custom(func(t *rapid.T) ConfChange {
		return ConfChange{
			ID: numbers().Draw(t, "id"), Type: confChangeTypes().Draw(t, "type"),
			NodeID: numbers().Draw(t, "node"), Context: optionalBytes().Draw(t, "context"),
		}
	})
}

func confChangeSingles() *rapid.Generator[ConfChangeSingle] {
	return rapid.Custom(func(t *rapid.T) ConfChangeSingle {
		return ConfChangeSingle{Type: confChangeTypes().Draw(t, "type"), NodeID: numbers().Draw(t, "node")}
	})
}

func confChangesV2() *rapid.Generator[ConfChangeV2] {
	return rapid.Custom(func(t *rapid.T) ConfChangeV2 {
		return ConfChangeV2{
			Transition: ConfChangeTransition(rapid.Int32().Draw(t, "transition")),
			Changes:    lists(confChangeSingles()).Draw(t, "changes"), Context: optionalBytes().Draw(t, "context"),
		}
	})
}
