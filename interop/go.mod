module example.com/raftexample/interop

go 1.26.0

require (
	example.com/raftexample v0.0.0
	go.etcd.io/raft/v3 v3.6.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/golang/protobuf v1.5.4 // indirect
)

replace example.com/raftexample => ../
