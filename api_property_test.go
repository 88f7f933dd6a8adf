// The API against a model: random requests, on random nodes, to keys that look like
// anything, answered as a plain map would.

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// modelItem is what the model holds of a key.
type modelItem struct{ value, etag string }

// apiModel is the store as its clients were told it is.
type apiModel struct {
	t     *rapid.T
	c     *testCluster
	items map[string]modelItem
	last  uint64 // the highest revision seen
}

// drawKey draws a key of at least one piece that paths, queries or escapes could
// trip over.
func drawKey(t *rapid.T) string {
	pieces := []string{"a", "b", "/", "//", ".", "..", "%", "%41", "%2F", "?", "#", " ", "+", ";", "&", "=", `"`, "<", "é", "漢", "-", "~", ":", "@", "stale", "\\"}
	key := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 4).Draw(t, "key"), "")
	if strings.HasPrefix(key, "-/") {
		return "a" + key
	}
	return key
}

// target spells a key as a path: with its slashes as they are, or escaped.
func target(t *rapid.T, key string) string {
	if rapid.Bool().Draw(t, "escape slashes") {
		return "/" + url.PathEscape(key)
	}
	parts := strings.Split(key, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/" + strings.Join(parts, "/")
}

func (m *apiModel) request(method, target, body string, header ...string) answer {
	node := rapid.IntRange(0, len(m.c.ports)-1).Draw(m.t, "node")
	return do(m.t, method, m.c.url(node, target), body, header...)
}

// drawCondition draws a header, and whether the key as it is meets it.
func (m *apiModel) drawCondition(key string) (header []string, holds bool) {
	now, present := m.items[key]
	switch rapid.IntRange(0, 5).Draw(m.t, "condition") {
	case 0:
		return []string{"If-None-Match", "*"}, !present
	case 1:
		return []string{"If-Match", "*"}, present
	case 2:
		return []string{"If-Match", `"1"`}, false // no key was written by the first entry
	case 3:
		if present {
			return []string{"If-Match", now.etag}, true
		}
	}
	return nil, true
}

func (m *apiModel) put() {
	key := drawKey(m.t)
	value := string(rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(m.t, "value"))
	header, holds := m.drawCondition(key)
	a := m.request("PUT", target(m.t, key), value, header...)
	if !holds {
		m.want(a, 412, "PUT %q %v", key, header)
		return
	}
	m.want(a, 204, "PUT %q %v", key, header)
	revision, err := strconv.ParseUint(strings.Trim(a.header.Get("ETag"), `"`), 10, 64)
	if err != nil || revision <= m.last {
		m.t.Fatalf("PUT %q: revision %s after %d", key, a.header.Get("ETag"), m.last)
	}
	m.last = revision
	m.items[key] = modelItem{value, a.header.Get("ETag")}
}

func (m *apiModel) remove() {
	key := drawKey(m.t)
	header, holds := m.drawCondition(key)
	if len(header) > 0 && header[0] == "If-None-Match" {
		header, holds = nil, true // has no meaning here
	}
	a := m.request("DELETE", target(m.t, key), "", header...)
	_, present := m.items[key]
	switch {
	case !holds:
		m.want(a, 412, "DELETE %q %v", key, header)
	case !present:
		m.want(a, 404, "DELETE %q", key)
	default:
		m.want(a, 204, "DELETE %q", key)
		delete(m.items, key)
	}
}

func (m *apiModel) get() {
	key := drawKey(m.t)
	it, present := m.items[key]
	method := rapid.SampledFrom([]string{"GET", "HEAD"}).Draw(m.t, "method")
	if present && rapid.Bool().Draw(m.t, "known") {
		a := m.request(method, target(m.t, key), "", "If-None-Match", it.etag)
		m.want(a, 304, "%s %q as known", method, key)
		return
	}
	a := m.request(method, target(m.t, key), "")
	if !present {
		m.want(a, 404, "%s %q", method, key)
		return
	}
	m.want(a, 200, "%s %q", method, key)
	body := it.value
	if method == "HEAD" {
		body = ""
	}
	if a.body != body || a.header.Get("ETag") != it.etag || a.header.Get("Content-Length") != strconv.Itoa(len(it.value)) {
		m.t.Fatalf("%s %q: %q %v, want %q %s", method, key, a.body, a.header, body, it.etag)
	}
}

// list asks for a page.
func (m *apiModel) list() {
	query := url.Values{"prefix": {rapid.SampledFrom([]string{"", "a", "/", "%", "é"}).Draw(m.t, "prefix")}}
	limit := rapid.IntRange(1, 20).Draw(m.t, "limit")
	query.Set("limit", strconv.Itoa(limit))
	if rapid.Bool().Draw(m.t, "from the middle") {
		query.Set("after", drawKey(m.t))
	}
	a := m.request("GET", "/?"+query.Encode(), "")
	m.want(a, 200, "list %v", query)

	var keys []string
	for key := range m.items {
		if strings.HasPrefix(key, query.Get("prefix")) && (!query.Has("after") || key > query.Get("after")) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	next := ""
	if len(keys) > limit {
		keys = keys[:limit]
		next = keys[limit-1]
	}
	var page struct {
		Keys []listedKey
		Next string
	}
	if err := json.Unmarshal([]byte(a.body), &page); err != nil {
		m.t.Fatal(err)
	}
	var got []string
	for _, k := range page.Keys {
		got = append(got, k.Key)
		if etag(k.Revision) != m.items[k.Key].etag {
			m.t.Fatalf("list: %q has revision %d, want %s", k.Key, k.Revision, m.items[k.Key].etag)
		}
	}
	if !slices.Equal(got, keys) || page.Next != next {
		m.t.Fatalf("list %v: %q next %q, want %q next %q", query, got, page.Next, keys, next)
	}
}

func (m *apiModel) want(a answer, status int, format string, args ...any) {
	if a.status != status {
		m.t.Fatalf("%s: %d %s, want %d", fmt.Sprintf(format, args...), a.status, a.body, status)
	}
}

// Every request is answered as by a map with revisions, on whichever node, and all
// of it is there after a restart from snapshots and log.
func TestAPIAgainstModel(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	for i := range c.stop { // again, with snapshots often enough
		c.end(i)
		c.start(i, "--snapshot-entries", "100")
	}
	put(t, c.url(0, "/begin"), "x", 20*time.Second)
	items := map[string]modelItem{"begin": {"x", do(t, "GET", c.url(0, "/begin"), "").header.Get("ETag")}}
	last := uint64(0)
	rapid.Check(t, func(t *rapid.T) {
		m := &apiModel{t: t, c: c, items: items, last: last}
		defer func() { last = m.last }()
		for range 20 {
			rapid.SampledFrom([]func(){m.put, m.put, m.remove, m.get, m.list}).Draw(t, "request")()
		}
	})
	for i := range c.stop {
		c.end(i)
	}
	for i := range c.stop {
		c.start(i)
	}
	put(t, c.url(0, "/end"), "x", 20*time.Second)
	for key, it := range items {
		for i := range c.stop {
			a := do(t, http.MethodGet, c.url(i, "/"+url.PathEscape(key)), "")
			if a.body != it.value || a.header.Get("ETag") != it.etag {
				t.Errorf("node %d has %q = %q %s, want %q %s", i+1, key, a.body, a.header.Get("ETag"), it.value, it.etag)
			}
		}
	}
}
