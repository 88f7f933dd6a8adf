// The schema of the structs, for programs that walk through a message field by field
// with protobuf's reflection, as etcd does with the entries of its log.
//
// It is read off the structs: names and numbers from their tags, the rest from the Go
// types. Start at schema.

package raftpb

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

var structTypes = []reflect.Type{
	reflect.TypeFor[Entry](), reflect.TypeFor[SnapshotMetadata](), reflect.TypeFor[Snapshot](),
	reflect.TypeFor[Message](), reflect.TypeFor[HardState](), reflect.TypeFor[ConfState](),
	reflect.TypeFor[ConfChange](), reflect.TypeFor[ConfChangeSingle](), reflect.TypeFor[ConfChangeV2](),
}

// enumTypes and enumNames belong together. The values of each count from 0.
var (
	enumTypes = []reflect.Type{
		reflect.TypeFor[EntryType](), reflect.TypeFor[MessageType](),
		reflect.TypeFor[ConfChangeType](), reflect.TypeFor[ConfChangeTransition](),
	}
	enumNames = [][]string{
		entryTypeNames[:], messageTypeNames[:], confChangeTypeNames[:], confChangeTransitionNames[:],
	}
)

// The names of the enums' values by number, and their numbers by name: under the names
// that protobuf's generator gives such maps.
var (
	EntryType_name, EntryType_value                       = namesAndValues(entryTypeNames[:])
	MessageType_name, MessageType_value                   = namesAndValues(messageTypeNames[:])
	ConfChangeType_name, ConfChangeType_value             = namesAndValues(confChangeTypeNames[:])
	ConfChangeTransition_name, ConfChangeTransition_value = namesAndValues(confChangeTransitionNames[:])
)

func namesAndValues(names []string) (byNumber map[int32]string, byName map[string]int32) {
	byNumber, byName = map[int32]string{}, map[string]int32{}
	for i, name := range names {
		byNumber[int32(i)], byName[name] = name, int32(i)
	}
	return byNumber, byName
}

// schema returns a FileDescriptorProto, compressed, which is what generated code
// hands out. The numbers of its fields, here and below, are those of protobuf's
// descriptor.proto.
var schema = sync.OnceValue(func() []byte {
	file := appendText(nil, 1, "raft.proto")
	file = appendText(file, 2, "raftpb")
	for _, t := range structTypes {
		file = appendText(file, 4, structSchema(t))
	}
	for i, t := range enumTypes {
		file = appendText(file, 5, enumSchema(t, enumNames[i]))
	}

	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write(file); err != nil {
		panic(fmt.Sprintf("raftpb: compress the schema: %v", err))
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("raftpb: compress the schema: %v", err))
	}
	return compressed.Bytes()
})

// appendText appends a field of text, or of what is encoded already.
func appendText[T string | []byte](b []byte, field byte, text T) []byte {
	return append(appendHeader(b, field, len(text)), text...)
}

func structSchema(t reflect.Type) []byte {
	b := appendText(nil, 1, t.Name())
	for i := range t.NumField() {
		b = appendText(b, 2, fieldSchema(t.Field(i)))
	}
	return b
}

func fieldSchema(f reflect.StructField) []byte {
	tag := strings.Split(f.Tag.Get("protobuf"), ",") // such as varint,2,opt,name=Term
	number, err := strconv.ParseUint(tag[1], 10, 64)
	if err != nil {
		panic(fmt.Sprintf("raftpb: the tag of %s: %v", f.Name, err))
	}

	const optional, repeated = 1, 3
	label, t := uint64(optional), f.Type
	switch {
	case tag[2] == "rep":
		label, t = repeated, t.Elem()
	case t.Kind() == reflect.Pointer:
		t = t.Elem()
	}
	kinds := map[reflect.Kind]uint64{
		reflect.Uint64: 4, reflect.Bool: 8, reflect.Struct: 11, reflect.Slice: 12, reflect.Int32: 14, // an enum
	}

	b := appendText(nil, 1, fieldName(f))
	b = appendNumber(b, 3, number)
	b = appendNumber(b, 4, label)
	b = appendNumber(b, 5, kinds[t.Kind()])
	if t.PkgPath() != "" {
		b = appendText(b, 6, ".raftpb."+t.Name())
	}
	return b
}

func enumSchema(t reflect.Type, names []string) []byte {
	b := appendText(nil, 1, t.Name())
	for i, name := range names {
		b = appendText(b, 2, appendNumber(appendText(nil, 1, name), 2, uint64(i)))
	}
	return b
}

// inSchema returns the schema, and where in it a type is.
func inSchema(types []reflect.Type, t reflect.Type) (compressed []byte, path []int) {
	return schema(), []int{slices.Index(types, t)}
}

// ProtoMessage marks the struct as a message of protobuf.
func (*Entry) ProtoMessage() {}

// Descriptor returns the schema, compressed, and the struct's place in it.
func (*Entry) Descriptor() ([]byte, []int) { return inSchema(structTypes, reflect.TypeFor[Entry]()) }

// ProtoMessage marks the struct as a message of protobuf.
func (*SnapshotMetadata) ProtoMessage() {}

// Descriptor returns the schema, compressed, and the struct's place in it.
func (*SnapshotMetadata) Descriptor() ([]byte, []int) {
	return inSchema(structTypes, reflect.TypeFor[SnapshotMetadata]())
}

// ProtoMessage marks the struct as a message of protobuf.
func (*Snapshot) ProtoMessage() {}

// Descriptor returns the schema, compressed, and the struct's place in it.
func (*Snapshot) Descriptor() ([]byte, []int) {
	return inSchema(structTypes, reflect.TypeFor[Snapshot]())
}

// ProtoMessage marks the struct as a message of protobuf.
func (*Message) ProtoMessage() {}

// Descriptor returns the schema, compressed, and the struct's place in it.
func (*Message) Descriptor() ([]byte, []int) {
	return inSchema(structTypes, reflect.TypeFor[Message]())
}

// ProtoMessage marks the struct as a message of protobuf.
func (*HardState) ProtoMessage() {}

// Descriptor returns the schema, compressed, and the struct's place in it.
func (*HardState) Descriptor() ([]byte, []int) {
	return inSchema(structTypes, reflect.TypeFor[HardState]())
}

// ProtoMessage marks the struct as a message of protobuf.
func (*ConfState) ProtoMessage() {}

// Descriptor returns the schema, compressed, and the struct's place in it.
func (*ConfState) Descriptor() ([]byte, []int) {
	return inSchema(structTypes, reflect.TypeFor[ConfState]())
}

// ProtoMessage marks the struct as a message of protobuf.
func (*ConfChange) ProtoMessage() {}

// Descriptor returns the schema, compressed, and the struct's place in it.
func (*ConfChange) Descriptor() ([]byte, []int) {
	return inSchema(structTypes, reflect.TypeFor[ConfChange]())
}

// ProtoMessage marks the struct as a message of protobuf.
func (*ConfChangeSingle) ProtoMessage() {}

// Descriptor returns the schema, compressed, and the struct's place in it.
func (*ConfChangeSingle) Descriptor() ([]byte, []int) {
	return inSchema(structTypes, reflect.TypeFor[ConfChangeSingle]())
}

// ProtoMessage marks the struct as a message of protobuf.
func (*ConfChangeV2) ProtoMessage() {}

// Descriptor returns the schema, compressed, and the struct's place in it.
func (*ConfChangeV2) Descriptor() ([]byte, []int) {
	return inSchema(structTypes, reflect.TypeFor[ConfChangeV2]())
}

// Enum returns a pointer to a copy.
func (t EntryType) Enum() *EntryType { return &t }

// UnmarshalJSON reads the number, or the constant's name.
func (t *EntryType) UnmarshalJSON(data []byte) error {
	return unmarshalEnum(t, entryTypeNames[:], data)
}

// EnumDescriptor returns the schema, compressed, and the type's place in it.
func (EntryType) EnumDescriptor() ([]byte, []int) {
	return inSchema(enumTypes, reflect.TypeFor[EntryType]())
}

// Enum returns a pointer to a copy.
func (t MessageType) Enum() *MessageType { return &t }

// UnmarshalJSON reads the number, or the constant's name.
func (t *MessageType) UnmarshalJSON(data []byte) error {
	return unmarshalEnum(t, messageTypeNames[:], data)
}

// EnumDescriptor returns the schema, compressed, and the type's place in it.
func (MessageType) EnumDescriptor() ([]byte, []int) {
	return inSchema(enumTypes, reflect.TypeFor[MessageType]())
}

// Enum returns a pointer to a copy.
func (t ConfChangeType) Enum() *ConfChangeType { return &t }

// UnmarshalJSON reads the number, or the constant's name.
func (t *ConfChangeType) UnmarshalJSON(data []byte) error {
	return unmarshalEnum(t, confChangeTypeNames[:], data)
}

// EnumDescriptor returns the schema, compressed, and the type's place in it.
func (ConfChangeType) EnumDescriptor() ([]byte, []int) {
	return inSchema(enumTypes, reflect.TypeFor[ConfChangeType]())
}

// Enum returns a pointer to a copy.
func (t ConfChangeTransition) Enum() *ConfChangeTransition { return &t }

// UnmarshalJSON reads the number, or the constant's name.
func (t *ConfChangeTransition) UnmarshalJSON(data []byte) error {
	return unmarshalEnum(t, confChangeTransitionNames[:], data)
}

// EnumDescriptor returns the schema, compressed, and the type's place in it.
func (ConfChangeTransition) EnumDescriptor() ([]byte, []int) {
	return inSchema(enumTypes, reflect.TypeFor[ConfChangeTransition]())
}

func unmarshalEnum[T ~int32](t *T, names []string, data []byte) error {
	if len(data) == 0 || data[0] != '"' {
		var v int32
		err := json.Unmarshal(data, &v)
		*t = T(v)
		return err
	}
	var name string
	if err := json.Unmarshal(data, &name); err != nil {
		return err
	}
	i := slices.Index(names, name)
	if i < 0 {
		return fmt.Errorf("raftpb: %q is no %s", name, reflect.TypeFor[T]().Name())
	}
	*t = T(i)
	return nil
}
