// raftpb beside raftpb: what one library encodes, the other reads.

package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	theirpb "go.etcd.io/raft/v3/raftpb"

	pb "example.com/raftexample/raft/raftpb"
)

// codec is what all encoded types of both libraries can do.
type codec interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
	Size() int
	Reset()
}

// twin is one encoded type in both libraries.
type twin struct {
	name  string
	ours  func() codec
	their func() codec
	draw  func(source) codec // a random value of ours
}

func pointer[T any](v T) *T { return &v }

var twins = []twin{
	{
		"Entry", func() codec { return new(pb.Entry) }, func() codec { return new(theirpb.Entry) },
		func(s source) codec { return pointer(s.entry()) },
	},
	{
		"HardState", func() codec { return new(pb.HardState) }, func() codec { return new(theirpb.HardState) },
		func(s source) codec { return pointer(s.hardState()) },
	},
	{
		"ConfState", func() codec { return new(pb.ConfState) }, func() codec { return new(theirpb.ConfState) },
		func(s source) codec { return pointer(s.confState()) },
	},
	{
		"SnapshotMetadata", func() codec { return new(pb.SnapshotMetadata) }, func() codec { return new(theirpb.SnapshotMetadata) },
		func(s source) codec { return pointer(s.metadata()) },
	},
	{
		"Snapshot", func() codec { return new(pb.Snapshot) }, func() codec { return new(theirpb.Snapshot) },
		func(s source) codec { return pointer(s.snapshot()) },
	},
	{
		"Message", func() codec { return new(pb.Message) }, func() codec { return new(theirpb.Message) },
		func(s source) codec { return pointer(s.message()) },
	},
	{
		"ConfChange", func() codec { return new(pb.ConfChange) }, func() codec { return new(theirpb.ConfChange) },
		func(s source) codec { return pointer(s.confChange()) },
	},
	{
		"ConfChangeSingle", func() codec { return new(pb.ConfChangeSingle) }, func() codec { return new(theirpb.ConfChangeSingle) },
		func(s source) codec { return pointer(s.single()) },
	},
	{
		"ConfChangeV2", func() codec { return new(pb.ConfChangeV2) }, func() codec { return new(theirpb.ConfChangeV2) },
		func(s source) codec { return pointer(s.confChangeV2()) },
	},
}

// toTheirs is the same value in the other library, without any encoding.
func (tw twin) toTheirs(v codec) codec {
	to := tw.their()
	mirror(reflect.ValueOf(to).Elem(), reflect.ValueOf(v).Elem())
	return to
}

func marshal(t *testing.T, v codec) []byte {
	t.Helper()
	data, err := v.Marshal()
	if err != nil {
		t.Fatalf("%T %+v: %v", v, v, err)
	}
	return data
}

func eachTwin(t *testing.T, quick int, run func(t *testing.T, tw twin, s source)) {
	for i, tw := range twins {
		t.Run(tw.name, func(t *testing.T) {
			seeds(t, quick, 50*quick, func(seed uint64) {
				run(t, tw, source{rand.New(rand.NewPCG(seed, uint64(i)))})
			})
		})
	}
}

// The same value has the same encoding, the same size and the same JSON in both,
// and each reads in the other's bytes what it reads in its own.
func TestEncodingsAreTheSame(t *testing.T) {
	eachTwin(t, 1000, func(t *testing.T, tw twin, s source) {
		our := tw.draw(s)
		their := tw.toTheirs(our)

		ourData, theirData := marshal(t, our), marshal(t, their)
		if !bytes.Equal(ourData, theirData) {
			t.Fatalf("%+v is encoded differently\nours  %x\netcd's %x", our, ourData, theirData)
		}
		if our.Size() != len(ourData) || their.Size() != our.Size() {
			t.Fatalf("%+v: sizes %d and %d, for %d bytes", our, our.Size(), their.Size(), len(ourData))
		}
		ourJSON, err := json.Marshal(our)
		if err != nil {
			t.Fatal(err)
		}
		theirJSON, err := json.Marshal(their)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ourJSON, theirJSON) {
			t.Fatalf("JSON differs\nours  %s\netcd's %s", ourJSON, theirJSON)
		}
		mustDecodeAlike(t, tw, ourData)
		if again := marshal(t, decoded(t, tw.ours(), theirData)); !bytes.Equal(again, ourData) {
			t.Fatalf("%x is encoded as %x after a round trip", ourData, again)
		}
	})
}

func decoded(t *testing.T, v codec, data []byte) codec {
	t.Helper()
	if err := v.Unmarshal(data); err != nil {
		t.Fatalf("%T of %x: %v", v, data, err)
	}
	return v
}

// mustDecodeAlike decodes data with both: the values are the same, nil and empty
// told apart, or both refuse it.
func mustDecodeAlike(t *testing.T, tw twin, data []byte) {
	t.Helper()
	our, their := tw.ours(), tw.their()
	mustReadAlike(t, tw, our, their, data)
}

// mustReadAlike reads data on top of what our and their hold.
func mustReadAlike(t *testing.T, tw twin, our, their codec, data []byte) (ok bool) {
	t.Helper()
	input := bytes.Clone(data)
	ourErr, theirErr := our.Unmarshal(input), their.Unmarshal(bytes.Clone(data))
	if !wellFormed(tw.name, data) {
		theirErr = errMalformed // they let some of it through: see Differences
	}
	if (ourErr == nil) != (theirErr == nil) {
		t.Fatalf("%x as %s: our error %v, etcd's %v", data, tw.name, ourErr, theirErr)
	}
	if ourErr != nil {
		return false
	}

	for i := range input {
		input[i] ^= 0xff // what was decoded must be a copy
	}
	if mirrored := tw.toTheirs(our); !reflect.DeepEqual(mirrored, their) {
		t.Fatalf("%x as %s:\nours  %#v\netcd's %#v", data, tw.name, our, their)
	}
	return true
}

var errMalformed = errors.New("malformed")

// nested says which fields of a type hold messages, and of which type.
var nested = map[string]map[protowire.Number]string{
	"SnapshotMetadata": {1: "ConfState"},
	"Snapshot":         {2: "SnapshotMetadata"},
	"Message":          {7: "Entry", 9: "Snapshot", 14: "Message"},
	"ConfChangeV2":     {2: "ConfChangeSingle"},
}

// wellFormed reports whether data is a run of fields by protobuf's own rules, and
// so are the messages in it.
func wellFormed(name string, data []byte) bool {
	for len(data) > 0 {
		number, wireType, tagSize := protowire.ConsumeTag(data)
		if tagSize < 0 || wireType == protowire.EndGroupType || number > protowire.MaxValidNumber {
			return false
		}
		size := protowire.ConsumeFieldValue(number, wireType, data[tagSize:])
		if size < 0 {
			return false
		}
		value := data[tagSize : tagSize+size]
		if wireType == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(value)
			if inner := nested[name][number]; inner != "" && !wellFormed(inner, content) {
				return false
			}
			if name == "ConfState" && number <= 4 && !packedVarints(content) {
				return false
			}
		}
		data = data[tagSize+size:]
	}
	return true
}

func packedVarints(data []byte) bool {
	for len(data) > 0 {
		_, n := protowire.ConsumeVarint(data)
		if n < 0 {
			return false
		}
		data = data[n:]
	}
	return true
}

// An encoding that is cut off anywhere is an unexpected end, or a shorter value.
func TestCutOffBytesAreAnUnexpectedEnd(t *testing.T) {
	eachTwin(t, 20, func(t *testing.T, tw twin, s source) {
		data := marshal(t, tw.draw(s))
		for n := range data {
			ourErr, theirErr := tw.ours().Unmarshal(data[:n]), tw.their().Unmarshal(data[:n])
			if ourErr != theirErr || ourErr != nil && ourErr != io.ErrUnexpectedEOF {
				t.Fatalf("%x as %s: our error %v, etcd's %v", data[:n], tw.name, ourErr, theirErr)
			}
		}
	})
}

// Decoding adds to what the receiver holds, and Reset empties it.
func TestDecodingTwiceMergesAlike(t *testing.T) {
	eachTwin(t, 500, func(t *testing.T, tw twin, s source) {
		our, their := tw.ours(), tw.their()
		mustReadAlike(t, tw, our, their, marshal(t, tw.draw(s)))
		mustReadAlike(t, tw, our, their, marshal(t, tw.draw(s)))
		our.Reset()
		if !reflect.DeepEqual(our, tw.ours()) {
			t.Fatalf("after Reset: %+v", our)
		}
	})
}

// Damaged bytes are refused by both or mean the same to both.
func TestDamagedBytesAreReadAlike(t *testing.T) {
	eachTwin(t, 1000, func(t *testing.T, tw twin, s source) {
		data := marshal(t, tw.draw(s))
		for range 1 + s.IntN(3) {
			data = damage(s, data)
		}
		mustDecodeAlike(t, tw, data)
	})
}

// damage cuts data off, or changes, inserts or removes some bytes.
func damage(s source, data []byte) []byte {
	if len(data) == 0 {
		return []byte{byte(s.Uint32())}
	}
	at := s.IntN(len(data))
	switch s.IntN(5) {
	case 0:
		return data[:at]
	case 1:
		data[at] ^= 1 << s.IntN(8)
		return data
	case 2:
		data[at] = byte(s.Uint32())
		return data
	case 3:
		return append(data[:at:at], append([]byte{byte(s.Uint32())}, data[at:]...)...)
	default:
		return append(data[:at:at], data[at+1:]...)
	}
}

// Fields in any order, of unknown numbers and of every wire type, packed or not,
// are read alike.
func TestStrangeFieldsAreReadAlike(t *testing.T) {
	eachTwin(t, 1500, func(t *testing.T, tw twin, s source) {
		mustDecodeAlike(t, tw, strangeFields(s, 2))
	})
}

// strangeFields is a syntactically sound run of fields, mostly.
func strangeFields(s source, depth int) []byte {
	var data []byte
	for range s.IntN(6) {
		number := 1 + s.Uint64N(16)
		switch s.IntN(12) {
		case 0:
			number = s.Uint64N(1 << 29)
		case 1:
			number = s.Uint64() >> s.IntN(40)
		}
		data = strangeField(s, data, number, depth)
	}
	return data
}

func strangeField(s source, data []byte, number uint64, depth int) []byte {
	tag := func(wireType uint64) { data = varint(s, data, number<<3|wireType) }
	switch s.IntN(9) {
	case 0, 1, 2:
		tag(0)
		return varint(s, data, s.number())
	case 3:
		tag(1)
		return append(data, "8 bytes."...)
	case 4, 5, 6:
		content := s.bytes()
		if depth > 0 && s.IntN(2) == 0 {
			content = strangeFields(s, depth-1)
		} else if s.IntN(2) == 0 {
			content = nil
			for range s.IntN(4) {
				content = varint(s, content, s.number()) // packed
			}
		}
		tag(2)
		return append(varint(s, data, uint64(len(content))), content...)
	case 7:
		tag(5)
		return append(data, "four"...)
	default:
		tag(3) // a group, closed or not
		if depth > 0 {
			data = append(data, strangeFields(s, depth-1)...)
		}
		if s.IntN(4) > 0 {
			tag(4)
		}
		return data
	}
}

// varint appends v, now and then longer than it need be, or without an end.
func varint(s source, data []byte, v uint64) []byte {
	for v >= 0x80 {
		data = append(data, byte(v)|0x80)
		v >>= 7
	}
	if s.IntN(20) > 0 {
		return append(data, byte(v))
	}
	data = append(data, byte(v)|0x80)
	for range s.IntN(10) {
		data = append(data, 0x80)
	}
	return append(data, byte(s.IntN(3)))
}

// Enums print alike, those without a name too.
func TestEnumsPrintAlike(t *testing.T) {
	values := []int32{math.MinInt32, -2, math.MaxInt32, 99}
	for v := range int32(30) {
		values = append(values, v-1)
	}
	for _, v := range values {
		for _, pair := range [][2]fmt.Stringer{
			{pb.EntryType(v), theirpb.EntryType(v)},
			{pb.MessageType(v), theirpb.MessageType(v)},
			{pb.ConfChangeType(v), theirpb.ConfChangeType(v)},
			{pb.ConfChangeTransition(v), theirpb.ConfChangeTransition(v)},
		} {
			if our, their := pair[0].String(), pair[1].String(); our != their {
				t.Errorf("%T(%d) prints as %q, etcd's as %q", pair[0], v, our, their)
			}
		}
	}
}

// The helpers around changes of membership agree.
func TestConfChangeHelpersAgree(t *testing.T) {
	seeds(t, 5000, 200_000, func(seed uint64) {
		s := source{newRand(seed)}
		v1, v2 := s.confChange(), s.confChangeV2()
		for _, cc := range []pb.ConfChangeI{v1, v2, &v1, &v2, nil} {
			var their theirpb.ConfChangeI
			if cc != nil {
				their = toConfChange(cc)
			}
			compareConfChange(t, cc, their)
		}
		our, their := pb.ConfChangesToString(v2.Changes), theirpb.ConfChangesToString(toConfChange(v2).AsV2().Changes)
		if our != their {
			t.Fatalf("%+v is %q, etcd's %q", v2.Changes, our, their)
		}
	})
}

func compareConfChange(t *testing.T, our pb.ConfChangeI, their theirpb.ConfChangeI) {
	t.Helper()
	ourType, ourData, ourErr := pb.MarshalConfChange(our)
	theirType, theirData, theirErr := theirpb.MarshalConfChange(their)
	if int(ourType) != int(theirType) || !bytes.Equal(ourData, theirData) || (ourData == nil) != (theirData == nil) ||
		(ourErr == nil) != (theirErr == nil) {
		t.Fatalf("MarshalConfChange(%+v): %v %x %v, etcd's %v %x %v", our,
			ourType, ourData, ourErr, theirType, theirData, theirErr)
	}
	if our == nil {
		return
	}
	describe := func(asV2 any, leave bool, enter func() (bool, bool)) (text string) {
		text = fmt.Sprintf("%+v leave=%t ", asV2, leave)
		defer func() {
			if recover() != nil {
				text += "panic"
			}
		}()
		auto, joint := enter()
		return fmt.Sprintf("%s auto=%t joint=%t", text, auto, joint)
	}
	ourV2, theirV2 := our.AsV2(), their.AsV2()
	a := describe(marshalHex(&ourV2), ourV2.LeaveJoint(), ourV2.EnterJoint)
	b := describe(marshalHex(&theirV2), theirV2.LeaveJoint(), theirV2.EnterJoint)
	if a != b {
		t.Fatalf("%+v as V2: %s, etcd's %s", our, a, b)
	}
	ourV1, ourOK := our.AsV1()
	theirV1, theirOK := their.AsV1()
	if ourOK != theirOK || marshalHex(&ourV1) != marshalHex(&theirV1) {
		t.Fatalf("%+v as V1: %+v %t, etcd's %+v %t", our, ourV1, ourOK, theirV1, theirOK)
	}
}

func marshalHex(v codec) string {
	data, err := v.Marshal()
	must(err)
	return fmt.Sprintf("%x", data)
}

// Changes written by people are read alike.
func TestChangesInWordsAreReadAlike(t *testing.T) {
	seeds(t, 5000, 200_000, func(seed uint64) {
		s := source{newRand(seed)}
		tokens := []string{
			"v1", "l2", "r3", "u4", "v", "", "x5", "v-1", "v18446744073709551615", "v18446744073709551616",
			"r0x1", "l+3", "v01", "V1", "v1,r2", "é1",
		}
		var text string
		for range s.IntN(4) {
			text += tokens[s.IntN(len(tokens))] + []string{" ", "  ", "", "\n", "\t", " "}[s.IntN(6)]
		}
		our, ourErr := pb.ConfChangesFromString(text)
		their, theirErr := theirpb.ConfChangesFromString(text)
		if (ourErr == nil) != (theirErr == nil) {
			t.Fatalf("%q: our error %v, etcd's %v", text, ourErr, theirErr)
		}
		if fmt.Sprintf("%#v", asPairs(our)) != fmt.Sprintf("%#v", asPairs(their)) && ourErr == nil {
			t.Fatalf("%q: %v, etcd's %v", text, our, their)
		}
	})
}

// asPairs makes changes of either library comparable; nil stays nil.
func asPairs[T pb.ConfChangeSingle | theirpb.ConfChangeSingle](changes []T) [][2]string {
	if changes == nil {
		return nil
	}
	pairs := [][2]string{}
	for _, c := range changes {
		v := reflect.ValueOf(c)
		pairs = append(pairs, [2]string{
			fmt.Sprint(v.FieldByName("Type")), fmt.Sprint(v.FieldByName("NodeID")),
		})
	}
	return pairs
}

// Configurations are equivalent in both or in neither; neither changes its arguments.
func TestEquivalentAgrees(t *testing.T) {
	seeds(t, 5000, 200_000, func(seed uint64) {
		s := source{newRand(seed)}
		few := func() []uint64 { return many(s, func() uint64 { return 1 + s.Uint64N(3) }) }
		draw := func() pb.ConfState {
			return pb.ConfState{Voters: few(), Learners: few(), VotersOutgoing: few(), LearnersNext: few(), AutoLeave: s.IntN(2) == 0}
		}
		a, b := draw(), draw()
		if s.IntN(2) == 0 {
			b = a // shuffled
			b.Voters = append([]uint64(nil), a.Voters...)
			s.Shuffle(len(b.Voters), func(i, j int) { b.Voters[i], b.Voters[j] = b.Voters[j], b.Voters[i] })
		}
		before := fmt.Sprint(a, b)
		our, their := a.Equivalent(b), theirpb.ConfState(a).Equivalent(theirpb.ConfState(b))
		if (our == nil) != (their == nil) {
			t.Fatalf("%+v and %+v: ours %v, etcd's %v", a, b, our, their)
		}
		if after := fmt.Sprint(a, b); after != before {
			t.Fatalf("Equivalent changed %s into %s", before, after)
		}
	})
}

// Values print alike: etcd's tools print entries of the log.
func TestTextsAreTheSame(t *testing.T) {
	eachTwin(t, 1000, func(t *testing.T, tw twin, s source) {
		our := tw.draw(s)
		their := tw.toTheirs(our)
		if got, want := fmt.Sprint(our), fmt.Sprint(their); got != want {
			t.Fatalf("ours   %s\netcd's %s", got, want)
		}
	})
}
