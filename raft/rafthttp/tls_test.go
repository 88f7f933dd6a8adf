// Mutual TLS: who has a certificate of the authority speaks, who has not does not.

package rafthttp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	pb "example.com/raftexample/raft/raftpb"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = a.sign(template, nil, a.file, "")
	return a
}

// sign makes a certificate and writes it, and its key unless keyFile is empty.
// Without a parent it is its own.
func (a *authority) sign(template, parent *x509.Certificate, file, keyFile string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(file, "CERTIFICATE", der)
	if keyFile != "" {
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			a.t.Fatal(err)
		}
		a.write(keyFile, "EC PRIVATE KEY", der)
	}
	return cert, key
}

func (a *authority) write(file, kind string, der []byte) {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// node returns the files of a node's certificate and key.
func (a *authority) node() (cert, key string) {
	a.t.Helper()
	dir := a.t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, cert, key)
	return cert, key
}

// secure is a host that serves with TLS and calls with client.
func secure(t *testing.T, id uint64, server, client *tls.Config) *host {
	t.Helper()
	h := newHost(t, id)
	h.Stop() // one without TLS
	h.Transport = New(Config{
		ID: id, Cluster: testCluster, Incarnation: 100 + id, URL: "https://" + h.addr,
		Raft: h.raft, Logger: slog.New(h.log), TLS: client,
	})
	l, err := tls.Listen("tcp", h.addr, server)
	if err != nil {
		t.Fatal(err)
	}
	h.server = &http.Server{Handler: h.Handler(), ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(h.log, slog.LevelDebug)}
	go h.server.Serve(l) //nolint:errcheck // http.ErrServerClosed
	return h
}

func load(t *testing.T, ca *authority, signer *authority) (server, client *tls.Config) {
	t.Helper()
	cert, key := signer.node()
	server, client, err := LoadTLS(ca.file, cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

func TestPeersWithCertificatesSpeak(t *testing.T) {
	ca := newAuthority(t)
	server, client := load(t, ca, ca)
	a, b := secure(t, 1, server, client), secure(t, 2, server, client)
	a.SetPeer(2, b.URL)
	a.Send([]pb.Message{heartbeat(1, 2, 1)})
	b.raft.await(t, "a message", func() bool { return len(b.raft.messages) == 1 })
	b.Send([]pb.Message{heartbeat(2, 1, 2)}) // to where it came from
	a.raft.await(t, "the answer", func() bool { return len(a.raft.messages) == 1 })
	if body, err := a.FetchStatus(t.Context(), b.URL); err != nil {
		t.Errorf("status %s, %v", body, err)
	}
}

func TestPeersWithoutCertificatesAreRefused(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	server, trusted := load(t, ca, ca)
	_, forged := load(t, ca, other)               // trusts the server, shows another's certificate
	otherServer, _ := load(t, other, other)       // a server that the client does not trust
	none := &tls.Config{RootCAs: trusted.RootCAs} // shows nothing

	for _, tt := range []struct {
		name           string
		server, client *tls.Config
	}{
		{"no certificate", server, none},
		{"a certificate of another authority", server, forged},
		{"a server of another authority", otherServer, trusted},
		{"no TLS at all", server, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := secure(t, 2, tt.server, trusted)
			a := newHost(t, 1)
			a.Stop()
			url := b.URL
			if tt.client == nil {
				url = "http://" + b.addr
			}
			a.Transport = New(Config{
				ID: 1, Cluster: testCluster, URL: a.URL, Raft: a.raft, Logger: slog.New(a.log), TLS: tt.client,
			})
			a.SetPeer(2, url)
			eventually(t, "the failure", func() bool { // TLS 1.3 notices when it writes again
				a.Send([]pb.Message{proposal(1, 2, "secret")})
				a.raft.mu.Lock()
				defer a.raft.mu.Unlock()
				return a.raft.lost[2] > 0
			})
			if n := len(b.raft.messages); n > 0 {
				t.Errorf("%d messages got through", n)
			}
			if _, err := a.FetchStatus(t.Context(), url); err == nil {
				t.Error("the status got through")
			}
		})
	}
}

func TestLoadTLSSaysWhatIsWrong(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.node()
	_, otherKey := ca.node()
	for name, files := range map[string][3]string{
		"no authority":               {"nowhere.pem", cert, key},
		"an authority that is a key": {key, cert, key},
		"no certificate":             {ca.file, "nowhere.pem", key},
		"another's key":              {ca.file, cert, otherKey},
	} {
		if _, _, err := LoadTLS(files[0], files[1], files[2]); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
