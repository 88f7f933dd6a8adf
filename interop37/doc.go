// Package interop37 sets this repository's messages beside those of
// go.etcd.io/raft/v3 v3.7.0, which has the module path of v3.6.0 and so needs a
// module of its own (see ../interop for all the rest). In v3.7 raftpb is generated
// protobuf with pointers for fields; on the wire nothing changed, and these tests
// see to it that a cluster can hold both.
package interop37
