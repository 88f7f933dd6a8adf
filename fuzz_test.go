// Fuzz: what the program stores and hears is decoded without a panic, whatever it is.
// What is decoded comes back the same when it is encoded. (What its packages decode,
// they fuzz themselves.)

package main

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"testing"

	"github.com/tidwall/btree"

	"example.com/raftexample/raft/vfs"
	"example.com/raftexample/raft/vfs/crashfs"
)

func FuzzDecodeCommand(f *testing.F) {
	f.Add((&command{op: opPut, cond: ifRevised, member: 1, incarnation: 2, sequence: 3, term: 4, revision: 5, key: "k", value: "v"}).encode())
	f.Add([]byte{commandVersion, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeCommand(data)
		if err != nil {
			return
		}
		if again, err := decodeCommand(c.encode()); err != nil || again != c {
			t.Errorf("%+v became %+v, %v", c, again, err)
		}
	})
}

// The state in a snapshot: the members, then the keys.
func FuzzSnapshotState(f *testing.F) {
	ms := newMembership()
	ms.members[1] = member{ID: 1, URL: "http://127.0.0.1:1"}
	ms.members[2] = member{ID: 2, URL: "http://127.0.0.1:2", Learner: true}
	ms.removed[3] = true
	var items btree.Map[string, item]
	items.Set("a", item{value: "1", revision: 7})
	items.Set("b", item{revision: 1 << 40})
	encode := func(ms *membership, items *btree.Map[string, item]) []byte {
		out := bytes.NewBuffer(ms.save())
		if _, err := (storeState{items: items}).WriteTo(out); err != nil {
			f.Fatal(err)
		}
		return out.Bytes()
	}
	f.Add(encode(ms, &items))
	f.Add([]byte("\x02{}\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))

	decode := func(data []byte) (*membership, *btree.Map[string, item], error) {
		r := bufio.NewReader(bytes.NewReader(data))
		ms := newMembership()
		if err := ms.load(r); err != nil {
			return nil, nil, err
		}
		items, _, err := readState(r, func(uint64, uint64, int64) {})
		return ms, items, err
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ms, items, err := decode(data)
		if err != nil {
			return
		}
		ms2, items2, err := decode(encode(ms, items))
		if err != nil || !reflect.DeepEqual(ms.list(), ms2.list()) || !reflect.DeepEqual(ms.removedIDs(), ms2.removedIDs()) {
			t.Fatalf("%v became %v, %v", ms.list(), ms2, err)
		}
		if !reflect.DeepEqual(items.Keys(), items2.Keys()) || !reflect.DeepEqual(items.Values(), items2.Values()) {
			t.Errorf("%q became %q", items.Keys(), items2.Keys())
		}
	})
}

// member.json: one that was damaged or written by hand is used, or refused.
func FuzzIdentity(f *testing.F) {
	f.Add([]byte(`{"format":1,"cluster":"00000000000000aa","id":1,"incarnation":"00000000000000bb","founders":[{"id":1,"url":"http://h:1"}],"peers":{"2":"00000000000000cc"}}`))
	f.Add([]byte(`{"format":1,"id":1}`))
	disk := crashfs.New()
	d, err := openDataDir(disk, "/data")
	if err := errors.Join(err, d.claim(identity{ID: 1, Cluster: 2})); err != nil {
		f.Fatal(err)
	}
	content, err := vfs.ReadFile(disk, "/data/member.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Fuzz(func(t *testing.T, content []byte) {
		disk := crashfs.New()
		if err := disk.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(disk, "/data/member.json", content); err != nil {
			t.Fatal(err)
		}
		d, err := openDataDir(disk, "/data")
		if err != nil {
			return
		}
		if err := d.meet(9, 1, func() error { return nil }); err == nil && d.incarnations()[9] != 1 && d.ID != 9 {
			t.Errorf("met 9, and it is %v", d.incarnations())
		}
		if err := d.change(func(*identity) {}); err != nil {
			t.Fatal(err)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
		again, err := openDataDir(disk, "/data")
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(d.incarnations(), again.incarnations()) || d.Cluster != again.Cluster {
			t.Errorf("%+v became %+v", d.identity, again.identity)
		}
	})
}

// What a client sends: a key, and conditions on it.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("PUT /a%2Fb HTTP/1.1\r\nHost: h\r\nIf-Match: \"7\"\r\n\r\n"))
	f.Add([]byte("PUT /%00?x HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\n\r\n"))
	f.Add([]byte("GET //x/../%F0%9F%98%80 HTTP/1.1\r\nHost: h\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		if key, err := keyOf(req); err == nil {
			again := &http.Request{URL: &url.URL{Path: "/" + key}}
			if same, err := keyOf(again); err != nil || same != key || len(key) == 0 || len(key) > maxKeyBytes {
				t.Errorf("%q became %q, %v", key, same, err)
			}
		}
		cond, revision, err := conditionOf(req)
		if err == nil && cond == ifRevised && etag(revision) != req.Header.Get("If-Match") {
			t.Errorf("%q was taken for revision %d", req.Header.Get("If-Match"), revision)
		}
	})
}

// The command line's list of members.
func FuzzParseCluster(f *testing.F) {
	f.Add("http://127.0.0.1:12379,http://127.0.0.1:22379")
	f.Add("7=https://[::1]:1, 2=http://h:0")
	f.Fuzz(func(t *testing.T, list string) {
		members, err := parseCluster(list)
		if err != nil {
			return
		}
		again, err := parseCluster(describeMembers(members))
		if err != nil || !reflect.DeepEqual(members, again) {
			t.Errorf("%v became %v, %v", members, again, err)
		}
	})
}
