// Listing: GET /, the keys that begin with a prefix, a page at a time.
//
// Start at root.

package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// root lists keys, or for a browser, shows the cluster as it is and what there is to ask for.
func (a *api) root(ctx context.Context, w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		a.fail(w, &apiError{status: http.StatusMethodNotAllowed, reason: "/ takes GET; a key follows the /"})
		return
	}
	if req.URL.RawQuery == "" && strings.Contains(req.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if _, err := io.WriteString(w, page); err != nil {
			return // the browser has gone
		}
		return
	}
	a.list(ctx, w, req)
}

// listedKey is a key in a listing.
type listedKey struct {
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
}

// list answers with a page of the keys that begin with a prefix, in order.
func (a *api) list(ctx context.Context, w http.ResponseWriter, req *http.Request) {
	query, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		a.fail(w, badRequest("the query cannot be read: %v", err))
		return
	}
	limit := 100
	if query.Has("limit") {
		if limit, err = strconv.Atoi(query.Get("limit")); err != nil || limit < 1 || limit > maxListLimit {
			a.fail(w, badRequest("limit is a number from 1 to %d", maxListLimit))
			return
		}
	}
	if err := a.consult(ctx, w, req); err != nil {
		a.fail(w, err)
		return
	}
	items, err := a.store.view()
	if err != nil {
		a.fail(w, err)
		return
	}

	prefix, after := query.Get("prefix"), query.Get("after")
	page := struct {
		Keys []listedKey `json:"keys"`
		Next string      `json:"next,omitempty"`
	}{Keys: []listedKey{}}
	items.Ascend(max(prefix, after), func(key string, it item) bool {
		switch {
		case key == after && query.Has("after"):
			return true
		case !strings.HasPrefix(key, prefix):
			return false
		case len(page.Keys) == limit:
			page.Next = page.Keys[limit-1].Key
			return false
		}
		page.Keys = append(page.Keys, listedKey{Key: key, Revision: it.revision})
		return true
	})
	a.writeJSON(w, page)
}

// writeJSON answers with a line of JSON.
func (a *api) writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		a.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(append(body, '\n')); err != nil {
		return // the client has gone
	}
}

//go:embed page.html
var page string
