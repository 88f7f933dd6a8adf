// Command raftexample is one node of a replicated key-value store: a small,
// complete program on package raft.
//
// This file wires the parts: flags, data directory, Raft node, store, and the
// two servers, one for peers and one for clients. Start at run.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/raftexample/raft/rafthttp"
	"example.com/raftexample/raft/vfs"
)

func main() {
	if err := relaxTimers(); err != nil {
		fmt.Fprintln(os.Stderr, "raftexample: timers stay precise, which costs some speed:", err)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], machine{fs: vfs.OS, limitMemory: debug.SetMemoryLimit}, os.Stdout, os.Stderr)
	switch mistake := (usageError{}); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &mistake):
		fmt.Fprintln(os.Stderr, "raftexample:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "raftexample:", err)
		os.Exit(1)
	}
}

// machine is what a node runs on. Tests put bad disks and networks in its place.
type machine struct {
	fs          vfs.FS
	dial        rafthttp.Dial     // nil: the real network
	limitMemory func(int64) int64 // nil: no limit, as other nodes share the process
}

// run is the program: it returns when ctx ends, or with the reason why it cannot
// go on.
func run(ctx context.Context, args []string, on machine, stdout, stderr io.Writer) error {
	cfg, err := parseFlags(args, stdout)
	if err != nil {
		return err
	}
	cfg.dial, cfg.limitMemory, cfg.screen = on.dial, on.limitMemory, screenOn(stderr)
	if cfg.screen != nil {
		stderr = cfg.screen
		defer cfg.screen.show("")
	}
	cfg.stderr = stderr
	logger := newLogger(&cfg, stderr)
	tlsServer, tlsClient, err := loadTLS(&cfg)
	if err != nil {
		return err
	}
	dir, err := openDataDir(on.fs, cfg.dataDir)
	if err != nil {
		return err
	}
	err = runIn(ctx, cfg, dir, tlsServer, tlsClient, logger)
	return errors.Join(err, dir.close())
}

// runIn runs a node on its data directory.
func runIn(ctx context.Context, cfg config, dir *dataDir, tlsServer, tlsClient *tls.Config, logger *slog.Logger) error {
	peers, err := listen(cfg.peerAddr(), "peers", "--cluster")
	if err != nil {
		return err
	}
	room, err := maxClients()
	if err != nil {
		return errors.Join(err, peers.Close())
	}
	clients, err := listen(cfg.clientAddr(), "clients", "--host and --port")
	if err != nil {
		return errors.Join(err, peers.Close())
	}
	if err := settleIdentity(ctx, &cfg, dir, tlsClient); err != nil {
		return errors.Join(err, peers.Close(), clients.Close())
	}

	node := newRaftNode(cfg, dir, tlsClient, logger)
	if err := node.start(); err != nil {
		return errors.Join(err, peers.Close(), clients.Close(), node.close())
	}
	requests, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	a := &api{
		store: node.store, reads: node.reads, node: node, metrics: node.metrics,
		deadlines: deadlines{within: requests}, ending: make(chan struct{}),
	}
	peerServer := serve(peers, a.peerHandler(), sendTimeout, tlsServer, logger) // streams extend that
	clientServer := serve(newClientListener(clients, room, logger), a.handler(), sendTimeout, nil, logger)
	logger.Info("serving", "node", cfg.id, "api", "http://"+cfg.clientAddr(), "peers", cfg.ownURL(), "data", cfg.dataDir, "cluster", dir.Cluster)

	select {
	case <-ctx.Done():
	case err = <-node.errorC:
	}
	return errors.Join(err, shutdown(a, giveUp, clientServer, peerServer, err == nil))
}

// shutdown ends a node within a second: it refuses new requests, hands leadership
// over, answers the requests it has, and closes the disk. Requests that the cluster
// has not served by then are given up, so that they get an answer, too.
func shutdown(a *api, giveUp func(), clients, peers *server, orderly bool) error {
	a.stopping.Store(true)
	close(a.ending)
	if orderly {
		a.node.handOver(300 * time.Millisecond)
	}
	patience := time.AfterFunc(200*time.Millisecond, giveUp)
	defer patience.Stop()
	err := clients.shutdown(300 * time.Millisecond)
	err = errors.Join(err, a.node.close())
	return errors.Join(err, peers.shutdown(100*time.Millisecond))
}

// peerHandler serves the peer port: Raft's messages, and what other nodes pass
// on to the leader.
func (a *api) peerHandler() http.Handler {
	clients := a.handler()
	mux := http.NewServeMux()
	mux.Handle("/raft", a.node.transport.Handler())
	mux.Handle("/raft/", a.node.transport.Handler())
	mux.HandleFunc("/-/", func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get(hopsHeader) == "" {
			refuseClient(w, req)
			return
		}
		if a.node.transport.Admit(w, req) { // or a cluster on the ports of another would change that one
			clients.ServeHTTP(w, req)
		}
	})
	mux.HandleFunc("/", refuseClient)
	return mux
}

// refuseClient answers who takes the peer port for the clients'.
func refuseClient(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "this is the port for peers: clients have another, see --port", http.StatusNotFound)
}

func loadTLS(cfg *config) (server, client *tls.Config, err error) {
	if cfg.peerCA == "" {
		return nil, nil, nil
	}
	server, client, err = rafthttp.LoadTLS(cfg.peerCA, cfg.peerCert, cfg.peerKey)
	if err != nil {
		return nil, nil, fmt.Errorf("--peer-ca, --peer-cert, --peer-key: %w", err)
	}
	return server, client, nil
}

func (c *config) clientAddr() string { return net.JoinHostPort(c.host, strconv.Itoa(c.port)) }

// peerAddr is the host and port of this member's own URL.
func (c *config) peerAddr() string {
	u, err := url.Parse(c.ownURL())
	if err != nil {
		panic(fmt.Sprintf("%s was checked to be a URL: %v", c.ownURL(), err))
	}
	return u.Host
}

// settleIdentity makes sure that the data directory is this member's, and makes
// a new one so.
func settleIdentity(ctx context.Context, cfg *config, dir *dataDir, tlsClient *tls.Config) error {
	switch {
	case dir.isNew() && cfg.forceNew:
		return fmt.Errorf("%s holds no member's data to start a new cluster from", dir.path)
	case dir.isNew() && cfg.join:
		return joinCluster(ctx, cfg, dir, tlsClient)
	case dir.isNew():
		return foundCluster(ctx, cfg, dir, tlsClient)
	case dir.ID != cfg.id:
		return fmt.Errorf("%s belongs to member %d, not %d: choose another directory with --data-dir", dir.path, dir.ID, cfg.id)
	case cfg.forceNew:
		alone := []member{{ID: cfg.id, URL: cfg.ownURL()}}
		cluster := hexID(clusterID(alone)) ^ newIncarnation() // like no other, however often it is done
		incarnation := newIncarnation()
		return dir.change(func(id *identity) {
			id.Cluster, id.Incarnation = cluster, incarnation
			id.Founders, id.Joined, id.Removed = alone, false, false
			id.Peers = map[uint64]hexID{}
		})
	case dir.Removed:
		return errRemoved
	}
	return nil
}

// foundCluster claims a new directory for a founding member. If a peer knows this
// member under another incarnation, it was here before and has lost its data,
// its votes among them: then it must not come back as if nothing had happened.
func foundCluster(ctx context.Context, cfg *config, dir *dataDir, tlsClient *tls.Config) error {
	cluster := hexID(clusterID(cfg.cluster))
	answers, _ := askPeers(ctx, cfg, tlsClient) // who does not answer may not have been started
	for _, st := range answers {
		if st.Cluster != cluster {
			return fmt.Errorf("member %d runs already, in cluster %s, and not in %s that --cluster would found: "+
				"to join a running cluster, add this member there and start it with --join; for a new one, choose other ports", st.ID, st.Cluster, cluster)
		}
		if err := mayComeWith(&st, cfg, dir); err != nil {
			return err
		}
	}
	return dir.claim(identity{ID: cfg.id, Cluster: cluster, Founders: cfg.cluster})
}

// mayComeWith says what stands against a new directory for this member, by what
// another member knows of it.
func mayComeWith(st *peerStatus, cfg *config, dir *dataDir) error {
	if slices.Contains(st.Removed, cfg.id) {
		return errRemoved
	}
	if known, met := st.Incarnations[cfg.id]; met {
		return fmt.Errorf("member %d knows member %d as incarnation %s, but %s is empty: its data was lost; %s",
			st.ID, cfg.id, known, dir.path, wipedRecipe(cfg.id))
	}
	return nil
}

// joinCluster claims a new directory for a member that a running cluster has
// added.
func joinCluster(ctx context.Context, cfg *config, dir *dataDir, tlsClient *tls.Config) error {
	answers, err := askPeers(ctx, cfg, tlsClient)
	if len(answers) == 0 {
		return fmt.Errorf("--join: no other member in --cluster answers (%w): start one first, or give the URL of one that runs", err)
	}
	for _, st := range answers { // all of them before one counts: not all have met this member
		if err := mayComeWith(&st, cfg, dir); err != nil {
			return err
		}
	}
	for _, st := range answers {
		for _, m := range st.Members {
			if m.ID == cfg.id {
				return dir.claim(identity{ID: cfg.id, Cluster: st.Cluster, Joined: true, Founders: cfg.cluster})
			}
		}
	}
	return fmt.Errorf("--join: the cluster has not added member %d: do that first, with curl -L 'http://CLIENT-URL/-/members/%d?learner' -XPOST -d %s", cfg.id, cfg.id, cfg.ownURL())
}

// askPeers asks the other members for their status. Those that do not answer are left
// out; err says why one did not.
func askPeers(ctx context.Context, cfg *config, tlsClient *tls.Config) (all []peerStatus, err error) {
	client := rafthttp.NewClient(tlsClient, cfg.dial)
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	type answer struct {
		status peerStatus
		err    error
	}
	answers := make(chan answer)
	asked := 0
	err = errors.New("it names none")
	for _, m := range cfg.cluster {
		if m.ID == cfg.id {
			continue
		}
		asked++
		go func() {
			var a answer
			body, err := rafthttp.FetchStatus(ctx, client, strings.TrimSuffix(m.URL, "/"))
			if a.err = err; err == nil {
				a.err = json.Unmarshal(body, &a.status)
			}
			answers <- a
		}()
	}
	for range asked {
		a := <-answers
		if a.err != nil {
			err = a.err
			continue
		}
		all = append(all, a.status)
	}
	return all, err
}
