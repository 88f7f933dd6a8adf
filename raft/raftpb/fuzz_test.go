// Fuzzing: any bytes at all give a value or an error, never a panic, and what
// they give has an encoding of its own.

package raftpb

import (
	"bytes"
	"reflect"
	"testing"
)

func FuzzEntry(f *testing.F)            { fuzz[Entry](f) }
func FuzzConfState(f *testing.F)        { fuzz[ConfState](f) }
func FuzzSnapshotMetadata(f *testing.F) { fuzz[SnapshotMetadata](f) }
func FuzzSnapshot(f *testing.F)         { fuzz[Snapshot](f) }
func FuzzHardState(f *testing.F)        { fuzz[HardState](f) }
func FuzzMessage(f *testing.F)          { fuzz[Message](f) }
func FuzzConfChange(f *testing.F)       { fuzz[ConfChange](f) }
func FuzzConfChangeSingle(f *testing.F) { fuzz[ConfChangeSingle](f) }
func FuzzConfChangeV2(f *testing.F)     { fuzz[ConfChangeV2](f) }

// fuzz decodes what the fuzzer makes of the known encodings, of all structs: it
// is for it to find out what the bytes of one are as another.
func fuzz[T any, P pointer[T]](f *testing.F) {
	for _, known := range encodings {
		f.Add(encode(f, known.value))
	}
	f.Add(fromHex(f, "0a04 01 02 ac02"))            // a packed list
	f.Add(fromHex(f, "7b 7b 7c 7c 7d01020304"))     // fields of a later version
	f.Add(fromHex(f, "3a021801 fa0101ff 3a021802")) // entries with one between them
	f.Fuzz(func(t *testing.T, data []byte) {
		given := bytes.Clone(data)
		var value T
		err := P(&value).Unmarshal(data)
		if !bytes.Equal(data, given) {
			t.Fatal("decoding changed its input")
		}
		if err != nil {
			return
		}

		encoded, err := P(&value).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if n := P(&value).Size(); n != len(encoded) {
			t.Fatalf("Size is %d of %d bytes", n, len(encoded))
		}
		var again T
		if err := P(&again).Unmarshal(encoded); err != nil {
			t.Fatalf("%+v is encoded as %x: %v", value, encoded, err)
		}
		clear(data)
		clear(encoded)
		if !reflect.DeepEqual(again, value) {
			t.Fatalf("%+v became %+v", value, again)
		}
		if s := P(&value).String(); s != P(&again).String() {
			t.Fatalf("described as %q", s)
		}
	})
}

func FuzzConfChangesFromString(f *testing.F) {
	f.Add("v1 l2 r3 u18446744073709551615")
	f.Add(" v01")
	f.Fuzz(func(t *testing.T, text string) {
		changes, err := ConfChangesFromString(text)
		if err != nil {
			return
		}
		again, err := ConfChangesFromString(ConfChangesToString(changes))
		if err != nil || !reflect.DeepEqual(changes, again) {
			t.Errorf("%v became %v, %v", changes, again, err)
		}
	})
}
