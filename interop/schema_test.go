// The schemas beside each other: what programs are told that look at a message
// through protobuf's reflection, as etcd does with the entries of its log.

package interop

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoiface"
	"google.golang.org/protobuf/runtime/protoimpl"
	"google.golang.org/protobuf/types/descriptorpb"

	theirpb "go.etcd.io/raft/v3/raftpb"

	pb "example.com/raftexample/raft/raftpb"
)

// schema unpacks what Descriptor and EnumDescriptor return.
func schema(t *testing.T, compressed []byte) *descriptorpb.FileDescriptorProto {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	file := &descriptorpb.FileDescriptorProto{}
	if err := proto.Unmarshal(data, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// Both describe each struct and its fields alike.
func TestStructsHaveTheSameSchema(t *testing.T) {
	type described interface{ Descriptor() ([]byte, []int) }
	fields := func(v codec) []string {
		compressed, path := v.(described).Descriptor()
		file := schema(t, compressed)
		message := file.MessageType[path[0]]
		list := []string{fmt.Sprintf("%s.%s", file.GetPackage(), message.GetName())}
		for _, f := range message.Field {
			list = append(list, fmt.Sprintf("%2d %s: %v %v %s",
				f.GetNumber(), f.GetName(), f.GetLabel(), f.GetType(), f.GetTypeName()))
		}
		slices.Sort(list)
		return list
	}
	for _, tw := range twins {
		if our, their := fields(tw.ours()), fields(tw.their()); !slices.Equal(our, their) {
			t.Errorf("%s:\nours   %q\netcd's %q", tw.name, our, their)
		}
	}
}

// Both describe each enum and its values alike.
func TestEnumsHaveTheSameSchema(t *testing.T) {
	type described interface{ EnumDescriptor() ([]byte, []int) }
	values := func(v described) []string {
		compressed, path := v.EnumDescriptor()
		file := schema(t, compressed)
		enum := file.EnumType[path[0]]
		list := []string{fmt.Sprintf("%s.%s", file.GetPackage(), enum.GetName())}
		for _, value := range enum.Value {
			list = append(list, fmt.Sprintf("%2d %s", value.GetNumber(), value.GetName()))
		}
		return list
	}
	for _, both := range [][2]described{
		{pb.EntryNormal, theirpb.EntryNormal},
		{pb.MsgHup, theirpb.MsgHup},
		{pb.ConfChangeAddNode, theirpb.ConfChangeAddNode},
		{pb.ConfChangeTransitionAuto, theirpb.ConfChangeTransitionAuto},
	} {
		if our, their := values(both[0]), values(both[1]); !slices.Equal(our, their) {
			t.Errorf("ours   %q\netcd's %q", our, their)
		}
	}
}

// Reflection finds the same fields set, to the same values. Structs within structs
// are left out: protobuf wants pointers there, and panics in both.
func TestReflectionSeesTheSame(t *testing.T) {
	see := func(v codec) map[string]string {
		seen := map[string]string{}
		m := protoimpl.X.ProtoMessageV2Of(v.(protoiface.MessageV1)).ProtoReflect()
		m.Range(func(f protoreflect.FieldDescriptor, value protoreflect.Value) bool {
			name := string(f.FullName())
			switch {
			case f.Enum() != nil:
				seen[name] = string(f.Enum().Values().ByNumber(value.Enum()).Name())
			case f.IsList():
				for i := range value.List().Len() {
					seen[name] += value.List().Get(i).String() + " "
				}
			default:
				seen[name] = value.String()
			}
			return true
		})
		return seen
	}
	for _, our := range []codec{
		&pb.Entry{Type: pb.EntryConfChangeV2, Term: 1, Index: 2, Data: []byte("a")},
		&pb.HardState{Term: 1, Commit: 3},
		&pb.ConfState{Voters: []uint64{1, 2}, LearnersNext: []uint64{3}, AutoLeave: true},
		&pb.ConfChange{ID: 1, Type: pb.ConfChangeAddLearnerNode, NodeID: 4, Context: []byte("b")},
		&pb.ConfChangeSingle{Type: pb.ConfChangeRemoveNode, NodeID: 4},
	} {
		i := slices.IndexFunc(twins, func(tw twin) bool { return reflect.TypeOf(tw.ours()) == reflect.TypeOf(our) })
		if our, their := see(our), see(twins[i].toTheirs(our)); len(our) < 2 || !reflect.DeepEqual(our, their) {
			t.Errorf("ours   %v\netcd's %v", our, their)
		}
	}
}

// The maps of names and values are the same.
func TestEnumsHaveTheSameNames(t *testing.T) {
	for _, both := range [][2]any{
		{pb.EntryType_name, theirpb.EntryType_name},
		{pb.EntryType_value, theirpb.EntryType_value},
		{pb.MessageType_name, theirpb.MessageType_name},
		{pb.MessageType_value, theirpb.MessageType_value},
		{pb.ConfChangeType_name, theirpb.ConfChangeType_name},
		{pb.ConfChangeType_value, theirpb.ConfChangeType_value},
		{pb.ConfChangeTransition_name, theirpb.ConfChangeTransition_name},
		{pb.ConfChangeTransition_value, theirpb.ConfChangeTransition_value},
	} {
		if !reflect.DeepEqual(both[0], both[1]) {
			t.Errorf("ours   %v\netcd's %v", both[0], both[1])
		}
	}
	if p := pb.MsgSnap.Enum(); *p != pb.MsgSnap {
		t.Error(*p)
	}
}
