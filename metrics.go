// Metrics, for Prometheus.

package main

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// metrics is what a node counts and measures. What is a state rather than an
// event is read from the node's status when it is asked for.
type metrics struct {
	registry *prometheus.Registry

	fsyncSeconds   prometheus.Histogram
	commitSeconds  prometheus.Histogram
	applySeconds   prometheus.Histogram
	requestSeconds *prometheus.HistogramVec
	gets, puts     prometheus.Observer // of requestSeconds, answered as they mostly are

	applied, dropped, unknown prometheus.Counter // proposals by outcome
	elections                 prometheus.Counter
	leaderChanges             prometheus.Counter
	snapshots                 *prometheus.CounterVec
	sent                      [32]prometheus.Counter // by type of message
	received                  [32]prometheus.Counter
}

// latencyBuckets reach from what a page cache takes to where clients give up.
var latencyBuckets = prometheus.ExponentialBuckets(0.0001, 2, 17)

func newMetrics(status func() nodeStatus) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	histogram := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "raftexample_" + name, Help: help, Buckets: latencyBuckets})
		m.registry.MustRegister(h)
		return h
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "raftexample_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	m.fsyncSeconds = histogram("wal_fsync_seconds", "Time to make a batch of the log durable.")
	m.commitSeconds = histogram("proposal_commit_seconds", "Time from a proposal to its being applied on this node.")
	m.applySeconds = histogram("apply_seconds", "Time to apply a batch of committed entries.")
	m.requestSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "raftexample_http_request_seconds", Help: "Time to answer a request: for keys, or to change members or the leader.", Buckets: latencyBuckets,
	}, []string{"method", "code"})
	m.registry.MustRegister(m.requestSeconds)
	m.gets, m.puts = m.requestSeconds.WithLabelValues("GET", "200"), m.requestSeconds.WithLabelValues("PUT", "204")
	proposals := counters("proposals_total", "Writes proposed by this node, by outcome.", "outcome")
	m.applied, m.dropped, m.unknown = proposals.WithLabelValues("applied"), proposals.WithLabelValues("dropped"), proposals.WithLabelValues("unknown")
	m.elections = counters("elections_total", "Campaigns of this node.").WithLabelValues()
	m.leaderChanges = counters("leader_changes_total", "Changes of the leader seen by this node.").WithLabelValues()
	m.snapshots = counters("snapshots_total", "Snapshots taken, sent, received, and not sent whole.", "kind")
	for _, kind := range []string{"taken", "sent", "received", "failed"} {
		m.snapshots.WithLabelValues(kind) // from 0 on
	}
	sent := counters("messages_sent_total", "Raft messages to peers.", "type")
	received := counters("messages_received_total", "Raft messages from peers.", "type")
	for t := range m.sent {
		name := raftpb.MessageType(t).String()
		m.sent[t], m.received[t] = sent.WithLabelValues(name), received.WithLabelValues(name)
		_, err := strconv.Atoi(name)
		if noSuch := err == nil; noSuch || raft.IsLocalMsg(raftpb.MessageType(t)) {
			sent.DeleteLabelValues(name)
			received.DeleteLabelValues(name)
		}
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(&statusCollector{status: status})
	return m
}

// observeRequest counts an answered request.
func (m *metrics) observeRequest(method string, status int, took time.Duration) {
	h := m.gets // the usual answers have been looked up
	switch {
	case method == "GET" && status == 200:
	case method == "PUT" && status == 204:
		h = m.puts
	case method == "GET", method == "HEAD", method == "PUT", method == "DELETE":
		h = m.requestSeconds.WithLabelValues(method, strconv.Itoa(status))
	default:
		h = m.requestSeconds.WithLabelValues("other", strconv.Itoa(status)) // anyone can make up methods
	}
	h.Observe(took.Seconds())
}

func (m *metrics) messageSent(t raftpb.MessageType)     { m.sent[uint32(t)%32].Inc() }
func (m *metrics) messageReceived(t raftpb.MessageType) { m.received[uint32(t)%32].Inc() }

// statusCollector shows the node's status as gauges.
type statusCollector struct{ status func() nodeStatus }

var (
	termDesc     = prometheus.NewDesc("raftexample_term", "The current term.", nil, nil)
	leaderDesc   = prometheus.NewDesc("raftexample_leader_id", "The leader's id, 0 if none is known.", nil, nil)
	isLeaderDesc = prometheus.NewDesc("raftexample_is_leader", "1 on the leader.", nil, nil)
	commitDesc   = prometheus.NewDesc("raftexample_commit_index", "The last index known to be committed.", nil, nil)
	appliedDesc  = prometheus.NewDesc("raftexample_applied_index", "The last index applied to the store.", nil, nil)
	lastDesc     = prometheus.NewDesc("raftexample_last_index", "The last index of the log.", nil, nil)
	lagDesc      = prometheus.NewDesc("raftexample_peer_lag_entries", "How far a member is behind the leader's log, as the leader knows it.", []string{"peer"}, nil)
)

// Describe implements prometheus.Collector.
func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{termDesc, leaderDesc, isLeaderDesc, commitDesc, appliedDesc, lastDesc, lagDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.status()
	gauge := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	gauge(termDesc, st.Term)
	gauge(leaderDesc, st.Leader)
	isLeader := uint64(0)
	if st.Role == "leader" {
		isLeader = 1
	}
	gauge(isLeaderDesc, isLeader)
	gauge(commitDesc, st.Commit)
	gauge(appliedDesc, st.Applied)
	gauge(lastDesc, st.LastIndex)
	for _, m := range st.Members {
		if m.Match != nil {
			gauge(lagDesc, st.LastIndex-min(*m.Match, st.LastIndex), strconv.FormatUint(m.ID, 10))
		}
	}
}
