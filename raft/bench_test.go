// How fast a Node's loop is, with a log in memory: proposals from many goroutines,
// each waiting for its own commit.

package raft

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

// One operation is one proposal, made, handed out, committed and acknowledged.
func BenchmarkNode(b *testing.B) {
	for _, proposers := range []int{1, 64} {
		b.Run(fmt.Sprintf("proposers=%d", proposers), func(b *testing.B) {
			storage := storageWith(1)
			n := RestartNode(testConfig(1, storage))
			committed := make([]chan struct{}, proposers)
			for i := range committed {
				committed[i] = make(chan struct{}, 1)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				benchLoop(b, n, storage, committed)
			}()
			if err := n.Campaign(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range proposers {
				wg.Go(func() {
					data := binary.BigEndian.AppendUint64(make([]byte, 0, 100), uint64(i))[:100]
					for k := i; k < b.N; k += proposers {
						if err := n.Propose(b.Context(), data); err != nil {
							b.Error(err)
							return
						}
						<-committed[i]
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			n.Stop()
			<-ended
		})
	}
}

// benchLoop is a Node's user: it stores, tells proposers of what is committed, and
// keeps the log short.
func benchLoop(b *testing.B, n Node, storage *MemoryStorage, committed []chan struct{}) {
	for {
		var rd Ready
		select {
		case rd = <-n.Ready():
		case <-n.(*node).done:
			return
		}
		if !IsEmptyHardState(rd.HardState) {
			if err := storage.SetHardState(rd.HardState); err != nil {
				b.Error(err)
			}
		}
		if err := storage.Append(rd.Entries); err != nil {
			b.Error(err)
		}
		for _, e := range rd.CommittedEntries {
			if e.Type == pb.EntryNormal && len(e.Data) > 0 {
				committed[binary.BigEndian.Uint64(e.Data)] <- struct{}{}
			}
			if e.Index%1024 == 0 {
				if err := storage.Compact(e.Index - 512); err != nil {
					b.Error(err)
				}
			}
		}
		n.Advance()
	}
}
