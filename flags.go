// The command line.

package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/raftexample/raft/rafthttp"
)

// config is what the command line says.
type config struct {
	id              uint64
	cluster         []member
	host            string
	port            int
	join            bool
	dataDir         string
	snapshotEntries uint64
	forceNew        bool
	trace           bool
	peerCA          string
	peerCert        string
	peerKey         string
	logLevel        slog.Level
	logJSON         bool

	// The machine's, not the command line's:
	dial        rafthttp.Dial
	limitMemory func(int64) int64
	screen      *screen // that stderr is; nil if it is something else
	stderr      io.Writer
}

const usage = `raftexample: one node of a replicated key-value store.

usage: raftexample --id N --cluster URL,URL,... --port P [flags]

  --id N                 this member's ID, a positive integer (default 1)
  --cluster LIST         the members' peer URLs, comma separated: the i-th is that
                         of member i, or each is ID=URL (default http://127.0.0.1:12379)
  --port P               port for clients (default 12380)
  --host H               address for clients; anything but loopback lets others in
                         (default 127.0.0.1)
  --join                 join a running cluster that has added this ID already
  --data-dir DIR         log and snapshots (default raftexample-ID)
  --snapshot-entries N   applied entries between two snapshots (default 10000)
  --force-new-cluster    after a loss of the quorum: start a new cluster of one
                         from this member's data
  --trace                print every Raft message and change of state of this node,
                         in the notation of raft/testdata
  --peer-ca, --peer-cert, --peer-key FILE
                         mutual TLS between peers, for https peer URLs
  --log-level LEVEL      debug, info, warn or error (default info)
  --log-format FORMAT    text or json (default text)

example, one node alone:

  raftexample --id 1 --cluster http://127.0.0.1:12379 --port 12380
  curl -L http://127.0.0.1:12380/my-key -XPUT -d foo
  curl -L http://127.0.0.1:12380/my-key
`

// usageError is a mistake on the command line.
type usageError struct{ error }

// parseFlags reads the command line. flag.ErrHelp means that help was asked for
// and given.
func parseFlags(args []string, out io.Writer) (config, error) {
	c := config{}
	fs := flag.NewFlagSet("raftexample", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // one line is enough, and the caller prints it
	fs.Uint64Var(&c.id, "id", 1, "")
	list := fs.String("cluster", "http://127.0.0.1:12379", "")
	fs.IntVar(&c.port, "port", 12380, "")
	fs.StringVar(&c.host, "host", "127.0.0.1", "")
	fs.BoolVar(&c.join, "join", false, "")
	fs.StringVar(&c.dataDir, "data-dir", "", "")
	fs.Uint64Var(&c.snapshotEntries, "snapshot-entries", 10000, "")
	fs.BoolVar(&c.forceNew, "force-new-cluster", false, "")
	fs.BoolVar(&c.trace, "trace", false, "")
	fs.StringVar(&c.peerCA, "peer-ca", "", "")
	fs.StringVar(&c.peerCert, "peer-cert", "", "")
	fs.StringVar(&c.peerKey, "peer-key", "", "")
	level := fs.String("log-level", "info", "")
	format := fs.String("log-format", "text", "")

	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, err := io.WriteString(out, usage)
			return config{}, errors.Join(err, flag.ErrHelp)
		}
		return config{}, usageError{fmt.Errorf("%w; --help lists the flags", err)}
	}
	if err := c.complete(fs.Args(), *list, *level, *format); err != nil {
		return config{}, usageError{err}
	}
	return c, nil
}

// complete checks what was given and fills in what follows from it.
func (c *config) complete(rest []string, list, level, format string) error {
	var err error
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is not a flag; --help lists them", rest[0])
	case !validID(c.id):
		return fmt.Errorf("--id is a positive integer up to %d", uint64(maxID))
	case c.port < 1 || c.port > 65535:
		return fmt.Errorf("--port %d is not a port: use 1 to 65535", c.port)
	case c.snapshotEntries == 0:
		return errors.New("--snapshot-entries is a positive integer")
	case format != "text" && format != "json":
		return fmt.Errorf("--log-format is text or json, not %q", format)
	case c.join && c.forceNew:
		return errors.New("--join and --force-new-cluster exclude each other")
	}
	c.logJSON = format == "json"
	if err := c.logLevel.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("--log-level is debug, info, warn or error, not %q", level)
	}
	if c.cluster, err = parseCluster(list); err != nil {
		return err
	}
	if c.ownURL() == "" {
		return fmt.Errorf("--id %d is not in --cluster, which has %s: give each member's URL, this one's too", c.id, describeMembers(c.cluster))
	}
	if c.dataDir == "" {
		c.dataDir = fmt.Sprintf("raftexample-%d", c.id)
	}
	return c.checkTLS()
}

func (c *config) checkTLS() error {
	given := 0
	for _, file := range []string{c.peerCA, c.peerCert, c.peerKey} {
		if file != "" {
			given++
		}
	}
	https := strings.HasPrefix(c.ownURL(), "https://")
	switch {
	case given != 0 && given != 3:
		return errors.New("--peer-ca, --peer-cert and --peer-key go together: give all three")
	case https && given == 0:
		return errors.New("https peer URLs need --peer-ca, --peer-cert and --peer-key")
	case !https && given == 3:
		return fmt.Errorf("--peer-ca, --peer-cert and --peer-key are for https, but this member's URL is %s", c.ownURL())
	}
	return nil
}

// ownURL is where this member listens for peers, by the command line.
func (c *config) ownURL() string {
	for _, m := range c.cluster {
		if m.ID == c.id {
			return m.URL
		}
	}
	return ""
}

// parseCluster reads the list of members.
func parseCluster(list string) ([]member, error) {
	var members []member
	for i, item := range strings.Split(list, ",") {
		m := member{ID: uint64(i + 1), URL: strings.TrimSpace(item)}
		if id, rest, ok := strings.Cut(m.URL, "="); ok && !strings.Contains(id, ":") {
			number, err := strconv.ParseUint(id, 10, 64)
			if err != nil || !validID(number) {
				return nil, fmt.Errorf("--cluster: %q begins with no ID: use ID=URL, or URLs only", item)
			}
			m.ID, m.URL = number, rest
		}
		u, err := parsePeerURL(m.URL)
		if err != nil {
			return nil, fmt.Errorf("--cluster: %w", err)
		}
		m.URL = u
		for _, other := range members {
			if other.ID == m.ID || other.URL == m.URL {
				return nil, fmt.Errorf("--cluster: %s and %s are the same member twice", describeMembers([]member{other}), describeMembers([]member{m}))
			}
		}
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.ID, b.ID) })
	return members, nil
}

// parsePeerURL checks a peer URL: a scheme, a host, a port, and nothing else.
func parsePeerURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || !utf8.ValidString(s):
		return "", fmt.Errorf("%q is not a URL: use http://HOST:PORT", s)
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Port() == "":
		return "", fmt.Errorf("%q is not a peer URL: use http://HOST:PORT", s)
	case !validPort(u.Port()):
		return "", fmt.Errorf("%q has no port from 1 to 65535: use http://HOST:PORT", s)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return "", fmt.Errorf("%q has more than a host and a port: use http://HOST:PORT", s)
	}
	return u.Scheme + "://" + net.JoinHostPort(u.Hostname(), u.Port()), nil
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// clusterID names a cluster after the members it began with. So nodes that were
// started with different lists refuse each other.
func clusterID(members []member) uint64 {
	h := sha256.New()
	for _, m := range members { // sorted by id
		fmt.Fprintf(h, "%d=%s\n", m.ID, m.URL)
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

func describeMembers(members []member) string {
	var parts []string
	for _, m := range members {
		parts = append(parts, fmt.Sprintf("%d=%s", m.ID, m.URL))
	}
	return strings.Join(parts, ",")
}
