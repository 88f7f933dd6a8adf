// The schema: protobuf's own decoder understands our bytes by it.

package raftpb

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// described returns what the schema says of a struct.
func described(t *testing.T, v codec) protoreflect.MessageDescriptor {
	t.Helper()
	compressed, path := v.(interface{ Descriptor() ([]byte, []int) }).Descriptor()
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var file descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	checked, err := protodesc.NewFile(&file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return checked.Messages().Get(path[0])
}

// Decoded by the schema, with no field unknown, and encoded again, the bytes are
// the same.
func TestSchemaFitsTheEncoding(t *testing.T) {
	for _, tt := range encodings {
		t.Run(tt.name, func(t *testing.T) {
			data := encode(t, tt.value)
			message := dynamicpb.NewMessage(described(t, tt.value))
			if err := proto.Unmarshal(data, message); err != nil {
				t.Fatal(err)
			}
			if unknown := message.GetUnknown(); len(unknown) > 0 {
				t.Errorf("the schema lacks the fields of %x", unknown)
			}
			again, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
			if err != nil || !bytes.Equal(again, data) {
				t.Errorf("encoded again as\n%x (%v), want\n%x", again, err, data)
			}
		})
	}
}

// Every value of an enum is in the schema, by the name that String gives it, and
// no other.
func TestSchemaHasTheEnums(t *testing.T) {
	message, entry := described(t, &Message{}), described(t, &Entry{})
	change, changes := described(t, &ConfChange{}), described(t, &ConfChangeV2{})
	for _, tt := range []struct {
		field protoreflect.FieldDescriptor
		last  string
		count int
	}{
		{message.Fields().ByName("type"), MsgForgetLeader.String(), 24},
		{entry.Fields().ByName("Type"), EntryConfChangeV2.String(), 3},
		{change.Fields().ByName("type"), ConfChangeAddLearnerNode.String(), 4},
		{changes.Fields().ByName("transition"), ConfChangeTransitionJointExplicit.String(), 3},
	} {
		values := tt.field.Enum().Values()
		if last := values.Get(values.Len() - 1); values.Len() != tt.count || string(last.Name()) != tt.last || int(last.Number()) != tt.count-1 {
			t.Errorf("%s: %d values, the last is %v", tt.field.Enum().FullName(), values.Len(), last)
		}
	}
}
