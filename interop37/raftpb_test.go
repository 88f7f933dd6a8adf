// What we encode, v3.7 reads, and the other way round.

package interop37

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	their "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	our "example.com/raftexample/raft/raftpb"
)

// codec is what our types can do.
type codec interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// twins are the types that travel or are stored, in both libraries.
var twins = []struct {
	name  string
	our   func() codec
	their func() proto.Message
}{
	{"Entry", func() codec { return new(our.Entry) }, func() proto.Message { return new(their.Entry) }},
	{"HardState", func() codec { return new(our.HardState) }, func() proto.Message { return new(their.HardState) }},
	{"ConfState", func() codec { return new(our.ConfState) }, func() proto.Message { return new(their.ConfState) }},
	{"SnapshotMetadata", func() codec { return new(our.SnapshotMetadata) }, func() proto.Message { return new(their.SnapshotMetadata) }},
	{"Snapshot", func() codec { return new(our.Snapshot) }, func() proto.Message { return new(their.Snapshot) }},
	{"Message", func() codec { return new(our.Message) }, func() proto.Message { return new(their.Message) }},
	{"ConfChange", func() codec { return new(our.ConfChange) }, func() proto.Message { return new(their.ConfChange) }},
	{"ConfChangeSingle", func() codec { return new(our.ConfChangeSingle) }, func() proto.Message { return new(their.ConfChangeSingle) }},
	{"ConfChangeV2", func() codec { return new(our.ConfChangeV2) }, func() proto.Message { return new(their.ConfChangeV2) }},
}

// fill gives every field of v a random value. Of the pointers that stand for a
// field which we hold by value, sparse leaves some nil: the field is not sent.
func fill(v reflect.Value, rnd *rand.Rand, sparse bool, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		isMessage := v.Type().Elem().Kind() == reflect.Struct
		if isMessage && depth == 0 || (sparse || isMessage) && rnd.IntN(3) == 0 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), rnd, sparse, depth-1)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), rnd, sparse, depth)
			}
		}
	case reflect.Slice:
		isMessage := v.Type().Elem().Kind() == reflect.Struct || v.Type().Elem().Kind() == reflect.Pointer
		n := rnd.IntN(4)
		if n == 0 && rnd.IntN(2) == 0 || isMessage && depth == 0 {
			return // nil
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			element := v.Index(i)
			if element.Kind() == reflect.Pointer { // never nil
				element.Set(reflect.New(element.Type().Elem()))
				element = element.Elem()
			}
			fill(element, rnd, sparse, depth-1)
		}
	case reflect.Uint64:
		v.SetUint([]uint64{0, math.MaxUint64, rnd.Uint64(), rnd.Uint64() >> rnd.IntN(64)}[rnd.IntN(4)])
	case reflect.Uint8:
		v.SetUint(uint64(rnd.IntN(256)))
	case reflect.Int32:
		v.SetInt(int64(rnd.IntN(4)))
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	default:
		panic(v.Type())
	}
}

// same reports whether a, a value of ours, means what b does, one of v3.7's. What
// b leaves unsaid is zero; nil and empty bytes are told apart.
func same(a, b reflect.Value) bool {
	if b.Kind() == reflect.Pointer && a.Kind() != reflect.Pointer {
		if b.IsNil() {
			return isZero(a)
		}
		return same(a, b.Elem())
	}
	switch a.Kind() {
	case reflect.Pointer:
		return a.IsNil() == b.IsNil() && (a.IsNil() || same(a.Elem(), b.Elem()))
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.FieldByName(theirName(a.Type().Field(i).Name))) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Type().Elem().Kind() == reflect.Uint8 {
			return a.IsNil() == b.IsNil() && bytes.Equal(a.Bytes(), b.Bytes())
		}
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Int32:
		return a.Int() == b.Int()
	case reflect.Uint64:
		return a.Uint() == b.Uint()
	case reflect.Bool:
		return a.Bool() == b.Bool()
	}
	panic(a.Type())
}

// isZero is IsZero, with slices of length 0 taken for nil.
func isZero(v reflect.Value) bool {
	if v.Kind() != reflect.Struct {
		return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
	}
	for i := range v.NumField() {
		if !isZero(v.Field(i)) {
			return false
		}
	}
	return true
}

// theirName is a field's name in v3.7.
func theirName(name string) string {
	if strings.HasSuffix(name, "ID") {
		return strings.TrimSuffix(name, "ID") + "Id"
	}
	return name
}

func eachTwin(t *testing.T, quick int, run func(t *testing.T, rnd *rand.Rand, o codec, th proto.Message)) {
	if os.Getenv("RAFT_LONG") != "" {
		quick *= 50
	}
	for i, tw := range twins {
		t.Run(tw.name, func(t *testing.T) {
			for seed := range uint64(quick) {
				run(t, rand.New(rand.NewPCG(seed, uint64(i))), tw.our(), tw.their())
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// v3.7 reads in our bytes what we wrote, and writes the same bytes for it.
func TestTheyReadOurs(t *testing.T) {
	eachTwin(t, 3000, func(t *testing.T, rnd *rand.Rand, o codec, th proto.Message) {
		fill(reflect.ValueOf(o).Elem(), rnd, false, 3)
		data, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(data, th); err != nil {
			t.Fatalf("%+v as %x: %v", o, data, err)
		}
		if !same(reflect.ValueOf(o).Elem(), reflect.ValueOf(th).Elem()) {
			t.Fatalf("%+v is read as %v", o, th)
		}
		again, err := proto.Marshal(th)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%+v is %x, v3.7's is %x", o, data, again)
		}
	})
}

// We read what v3.7 wrote, whichever fields it leaves out.
func TestWeReadTheirs(t *testing.T) {
	eachTwin(t, 3000, func(t *testing.T, rnd *rand.Rand, o codec, th proto.Message) {
		fill(reflect.ValueOf(th).Elem(), rnd, true, 3)
		data, err := proto.Marshal(th)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Unmarshal(data); err != nil {
			t.Fatalf("%v as %x: %v", th, data, err)
		}
		if !same(reflect.ValueOf(o).Elem(), reflect.ValueOf(th).Elem()) {
			t.Fatalf("%v is read as %+v", th, o)
		}
	})
}

// Damaged bytes that we accept mean the same to v3.7. (It accepts more: a field of
// an unexpected wire type is an unknown field to it.)
func TestDamagedBytesMeanTheSame(t *testing.T) {
	eachTwin(t, 10_000, func(t *testing.T, rnd *rand.Rand, o codec, th proto.Message) {
		fill(reflect.ValueOf(o).Elem(), rnd, false, 2)
		data, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + rnd.IntN(2) {
			at := rnd.IntN(len(data))
			if rnd.IntN(3) == 0 {
				data = append(data[:at], data[min(at+1, len(data)-1):]...)
			} else {
				data[at] ^= 1 << rnd.IntN(8)
			}
		}
		reflect.ValueOf(o).Elem().SetZero()
		if o.Unmarshal(data) != nil {
			return
		}
		if err := proto.Unmarshal(data, th); err != nil {
			t.Fatalf("%x is %+v to us, %v to v3.7", data, o, err)
		}
		if !same(reflect.ValueOf(o).Elem(), reflect.ValueOf(th).Elem()) {
			t.Fatalf("%x is %+v to us, %v to v3.7", data, o, th)
		}
	})
}
