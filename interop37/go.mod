module example.com/raftexample/interop37

go 1.26.0

require (
	example.com/raftexample v0.0.0
	go.etcd.io/raft/v3 v3.7.0
)

require google.golang.org/protobuf v1.36.12

replace example.com/raftexample => ../
