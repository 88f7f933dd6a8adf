// How many messages a stream carries in a second.

package rafthttp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

// sink is a Raft that takes messages, and gives a permit for another each time.
type sink struct {
	*notes
	permits chan struct{}
}

func (s *sink) Process(context.Context, pb.Message) error {
	s.permits <- struct{}{}
	return nil
}

// One operation is one message from queue to Raft, over loopback; at most 1,000
// are on their way.
func BenchmarkMessages(b *testing.B) {
	for _, size := range []int{16, 1 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
			to := &sink{newNotes(), make(chan struct{}, 1000)}
			for range cap(to.permits) {
				to.permits <- struct{}{}
			}
			receiver := New(Config{ID: 2, Cluster: testCluster, Raft: to, Logger: quiet})
			server := httptest.NewServer(receiver.Handler())
			sender := New(Config{ID: 1, Cluster: testCluster, Raft: newNotes(), Logger: quiet})
			sender.SetPeer(2, server.URL)

			messages := []pb.Message{{
				Type: pb.MsgApp, From: 1, To: 2, Term: 4, LogTerm: 4, Index: 10,
				Entries: []pb.Entry{{Term: 4, Index: 11, Data: make([]byte, size)}},
			}}
			b.ReportAllocs()
			for b.Loop() {
				<-to.permits
				sender.Send(messages)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
			sender.Stop()
			receiver.Stop()
			server.Close()
		})
	}
}
