// Package interop sets this repository's Raft library beside the one whose API
// it shares, go.etcd.io/raft/v3 v3.6.0, and looks for differences.
//
// It is a module of its own, so that the other library is a requirement of these
// tests and of nothing else. There is little to import here; the tests are the
// content:
//
//   - raftpb_test.go exchanges encoded messages in both directions.
//   - storage_test.go, quorum_test.go, tracker_test.go and confchange_test.go
//     feed random input to the building blocks of both.
//   - rawnode_test.go runs random scripts (script_test.go) in two worlds
//     (world_test.go), one of our nodes and one of theirs, and compares
//     everything that can be seen from outside after every step.
//   - mixed_test.go builds clusters of both, which exchange encoded messages.
//   - source_test.go builds program texts against either, by changing import
//     paths and nothing else.
//   - borrowed_test.go runs the tests of etcd's library, and etcd itself, on ours.
//   - sidebyside prints what both cost for the same work.
//
// Where the two differ on purpose, differences.go says how and why, and
// differences_test.go, reads_test.go and nodes_test.go show it. Everything else that differs is a bug.
//
// The scripts are quick by default; RAFT_LONG=1 runs many more of them, and
// RAFT_SEED=n replays one.
package interop
