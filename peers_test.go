// Peers end to end: certificates, other clusters on the same ports, and changes of
// the membership that meet each other.

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/raftexample/raft/rafthttp"
	"example.com/raftexample/raft/vfs"
)

// authority issues certificates for 127.0.0.1.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue writes name.pem and name.key.
func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// flags names a certificate for peers.
func (a *authority) flags(name string) []string {
	a.issue(name, &x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	file := func(name string) string { return filepath.Join(a.dir, name) }
	return []string{"--peer-ca", file("ca.pem"), "--peer-cert", file(name + ".pem"), "--peer-key", file(name + ".key")}
}

// Three nodes with https URLs are a cluster like any other; who has no certificate of
// their authority, or speaks plainly, gets nowhere.
func TestCertificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	c := newTestClusterWith(t, 3, nil, "https", ca.flags("node")...)
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	for i := range 3 {
		if got := get(t, c.url(i, "/k")); got != "v" {
			t.Errorf("node %d has %q", i+1, got)
		}
	}
	lead := c.leader(0)
	c.end(lead)
	put(t, c.url((lead+1)%3, "/k"), "w", 20*time.Second)
	c.start(lead)
	if got := get(t, c.url(lead, "/k")); got != "w" {
		t.Errorf("the node that was away has %q", got)
	}

	stranger := newAuthority(t)
	stranger.flags("node")
	other, err := tls.LoadX509KeyPair(filepath.Join(stranger.dir, "node.pem"), filepath.Join(stranger.dir, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	for what, config := range map[string]*tls.Config{
		"none":                 {InsecureSkipVerify: true},
		"another authority's":  {InsecureSkipVerify: true, Certificates: []tls.Certificate{other}},
		"plain HTTP, no TLS":   nil,
		"an old version's TLS": {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11},
	} {
		scheme := "https"
		if config == nil {
			scheme = "http"
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 10 * time.Second}
		resp, err := client.Get(scheme + "://127.0.0.1:" + c.peers[0] + "/raft/status")
		if err == nil {
			if resp.StatusCode == http.StatusOK {
				t.Errorf("%s: was answered", what)
			}
			resp.Body.Close()
		}
		client.CloseIdleConnections()
	}
}

// A cluster that begins on the ports of another is not spoken to by what is left of
// that, nor the other way round; each says so once, and names both.
func TestTwoClustersOnTheSamePorts(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	put(t, c.url(0, "/k"), "old", 20*time.Second)
	c.end(2)

	// Another cluster, of the third machine and one more, as its operator sees it.
	more := freePorts(t, 2)
	list := "3=http://127.0.0.1:" + c.peers[2] + ",4=http://127.0.0.1:" + more[0]
	ctx, cancel := context.WithCancel(t.Context())
	var logs lockedBuffer
	var wg sync.WaitGroup
	for id, port := range map[int]string{3: c.ports[2], 4: more[1]} {
		args := []string{"--id", fmt.Sprint(id), "--cluster", list, "--port", port, "--data-dir", filepath.Join(c.dir, fmt.Sprintf("other%d", id))}
		wg.Go(func() {
			if err := run(ctx, args, machine{fs: vfs.OS}, io.Discard, &logs); err != nil {
				t.Errorf("member %d of the other cluster ended with %v", id, err)
			}
		})
	}
	put(t, c.url(2, "/k"), "new", 20*time.Second)
	put(t, c.url(0, "/k2"), "x", 20*time.Second)
	if got := get(t, c.url(0, "/k")); got != "old" {
		t.Errorf("the first cluster has %q", got)
	}
	refusals := func() int { return strings.Count(logs.String(), "spoke to member 3 of cluster") }
	waitFor(t, 10*time.Second, "a refusal", func() bool { return refusals() > 0 })
	time.Sleep(2 * electionTimeout) // more of the same is not worth another line
	if n := refusals(); n > 2 {
		t.Errorf("%d lines about refusals, from two members", n)
	}
	cancel()
	wg.Wait()
}

// passOnTo asks a node what a member of a cluster has been asked, one that nobody has
// heard of yet.
func passOnTo(t *testing.T, c *testCluster, node int, cluster uint64, method, path, body string) answer {
	t.Helper()
	speaker := rafthttp.New(rafthttp.Config{ID: 33, Cluster: cluster, Incarnation: 9, URL: "http://127.0.0.1:33"})
	defer speaker.Stop()
	signed := &http.Request{Header: http.Header{}}
	speaker.Sign(signed, uint64(node+1))
	header := []string{hopsHeader, "1"}
	for name := range signed.Header {
		header = append(header, name, signed.Header.Get(name))
	}
	return do(t, method, "http://127.0.0.1:"+c.peers[node]+path, body, header...)
}

// What one cluster's node passes on changes no other cluster, whatever ports they share,
// and the client hears that nothing was done.
func TestPassedOnWithinTheCluster(t *testing.T) {
	t.Parallel()
	c := oneNode(t)
	put(t, c.url(0, "/k"), "x", 20*time.Second)
	ours := uint64(c.status(0).Cluster)
	add := func(cluster uint64) answer {
		return passOnTo(t, c, 0, cluster, "POST", "/-/members/5?learner", "http://127.0.0.1:5")
	}
	if a := add(ours + 1); a.status != 403 || !strings.Contains(a.body, rafthttp.FormatID(ours+1)) {
		t.Errorf("from another cluster: %d %s", a.status, a.body)
	}
	if a := do(t, "POST", "http://127.0.0.1:"+c.peers[0]+"/-/members/5?learner", "http://127.0.0.1:5", hopsHeader, "1"); a.status != 400 {
		t.Errorf("from nobody: %d %s", a.status, a.body)
	}

	// A node that believes that the other cluster's leader is its own: it was paused.
	n := newNodeIn(t, filepath.Join(t.TempDir(), "n2"), "--id", "2", "--cluster", "1=http://127.0.0.1:1,2=http://127.0.0.1:2")
	defer func() {
		if err := n.dir.close(); err != nil {
			t.Error(err)
		}
	}()
	n.lead.Store(1)
	n.members.members[1] = member{ID: 1, URL: "http://127.0.0.1:" + c.peers[0]}
	a := &api{node: n, metrics: n.metrics, deadlines: deadlines{within: t.Context()}}
	got := httptest.NewRecorder()
	a.handler().ServeHTTP(got, httptest.NewRequest("POST", "/-/members/5?learner", strings.NewReader("http://127.0.0.1:5")))
	if got.Code != 503 || !strings.Contains(got.Body.String(), "refused by the leader") {
		t.Errorf("passed on to another cluster: %d %s", got.Code, got.Body)
	}
	if members := c.status(0).Members; len(members) != 1 {
		t.Errorf("it was changed all the same: %v", members)
	}
	if a := add(ours); a.status != 204 {
		t.Errorf("from a member: %d %s", a.status, a.body)
	}
}

// Changes of the membership that meet each other are made or refused, and never lost:
// what was answered with 204 is so.
func TestChangesThatMeet(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	made := map[int]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for id := 11; id < 19; id++ {
		wg.Go(func() {
			a := do(t, "POST", c.url(id%3, fmt.Sprintf("/-/members/%d?learner", id)), fmt.Sprintf("http://127.0.0.1:%d", id))
			switch a.status {
			case 204:
				mu.Lock()
				made[id] = true
				mu.Unlock()
			case 409, 503:
			default:
				t.Errorf("adding %d: %v", id, a)
			}
		})
	}
	wg.Wait()
	get(t, c.url(1, "/k")) // which waits until node 2 knows what was made; the list does not
	members := get(t, c.url(1, "/-/members"))
	for id := 11; id < 19; id++ {
		if is := strings.Contains(members, fmt.Sprintf(`"id":%d,`, id)); is != made[id] {
			t.Errorf("%d: made %t, there %t", id, made[id], is)
		}
	}
	if len(made) == 0 {
		t.Error("none was made")
	}
	// Made one after the other, each is taken at once; a removed id is used up.
	lead := c.leader(0)
	if a := do(t, "POST", c.url(lead, "/-/members/77?learner"), "http://127.0.0.1:77"); a.status != 204 {
		t.Errorf("adding: %v", a)
	}
	if a := do(t, "PUT", c.url(lead, "/-/members/77"), "http://127.0.0.1:78"); a.status != 204 {
		t.Errorf("another URL: %v", a)
	}
	if got := get(t, c.url(lead, "/-/members")); !strings.Contains(got, "http://127.0.0.1:78") {
		t.Errorf("members: %s", got)
	}
	if a := do(t, "DELETE", c.url(lead, "/-/members/77"), ""); a.status != 204 {
		t.Errorf("removing: %v", a)
	}
	if a := do(t, "POST", c.url(0, "/-/members/77?learner"), "http://127.0.0.1:77"); a.status != 409 || !strings.Contains(a.body, "removed") {
		t.Errorf("adding a removed id: %v", a)
	}
	if a := do(t, "POST", c.url(0, "/-/members/78?learner"), "http://127.0.0.1:78"); a.status != 204 {
		t.Errorf("adding another: %v", a)
	}
	put(t, c.url(0, "/many"), strings.Repeat("x", 10), 20*time.Second)
	for i := range maxLearnerLag + 100 { // the learner is not there, and falls behind
		if i%50 == 0 {
			put(t, c.url(0, "/many"), fmt.Sprint(i), 20*time.Second)
			continue
		}
		tryPut(t.Context(), c.url(0, "/many"), "x")
	}
	if a := do(t, "POST", c.url(0, "/-/members/78"), ""); a.status != 409 || !strings.Contains(a.body, "behind") {
		t.Errorf("promoting a learner that lags: %v", a)
	}
}
