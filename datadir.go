// The data directory: whose it is, and what it remembers beside the log.
//
//	raftexample-1/
//	  lock          held by the process that uses the directory
//	  member.json   format, cluster, member, incarnation; the peers' incarnations; a checksum
//	  wal/          the log
//	  snap/         snapshots
//
// A directory draws a random number when it is made, its incarnation, and peers
// remember each other's. So a member that comes back with an empty directory,
// and would have forgotten its votes, is told apart from the one they knew.
//
// Start at openDataDir.

package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/raftexample/raft/rafthttp"
	"example.com/raftexample/raft/vfs"
)

// dataFormat is the version of the directory's layout. In format 1, member.json had no
// checksum.
const dataFormat = 2

// hexID is a random 64-bit number, 16 hexadecimal digits in JSON.
type hexID uint64

func (h hexID) String() string { return rafthttp.FormatID(uint64(h)) }

// MarshalText implements encoding.TextMarshaler.
func (h hexID) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *hexID) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 16, 64)
	*h = hexID(v)
	return err
}

// identity is the content of member.json, but for its checksum.
type identity struct {
	Cluster     hexID            `json:"cluster"`
	ID          uint64           `json:"id"`
	Incarnation hexID            `json:"incarnation"`
	Joined      bool             `json:"joined"`            // it came to a cluster that existed
	Founders    []member         `json:"founders"`          // the members the cluster began with
	Started     bool             `json:"started"`           // the log has something in it
	Removed     bool             `json:"removed,omitempty"` // from its cluster
	Peers       map[uint64]hexID `json:"peers"`             // incarnations of those we met
}

// checksum is the CRC-32C of the content, however it is laid out.
func (id *identity) checksum() (string, error) {
	content, err := json.Marshal(id)
	return fmt.Sprintf("%08x", crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))), err
}

// memberFile is member.json.
type memberFile struct {
	Format int `json:"format"`
	identity
	Checksum string `json:"checksum"`
}

// dataDir is an open data directory.
type dataDir struct {
	fs   vfs.FS
	path string
	lock io.Closer

	changing sync.Mutex // held while member.json is written
	mu       sync.Mutex
	identity
}

// openDataDir locks the directory, which it creates if need be, and reads whose
// it is. One that is new has an ID of 0.
func openDataDir(fsys vfs.FS, path string) (*dataDir, error) {
	if err := fsys.MkdirAll(path); err != nil {
		return nil, fmt.Errorf("%w: choose another directory with --data-dir", err)
	}
	if err := (&dataDir{fs: fsys, path: path}).read(); err != nil { // or even a lock would be too much to leave there
		return nil, err
	}
	lock, err := fsys.Lock(filepath.Join(path, "lock"))
	for try := 0; errors.Is(err, vfs.ErrLocked) && try < 20; try++ { // its holder may be ending right now
		time.Sleep(50 * time.Millisecond)
		lock, err = fsys.Lock(filepath.Join(path, "lock"))
	}
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("%s is in use by another process: stop that one, or choose another directory with --data-dir", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: choose another directory with --data-dir", err)
	}
	d := &dataDir{fs: fsys, path: path, lock: lock}
	if err := d.read(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

func (d *dataDir) file() string { return filepath.Join(d.path, "member.json") }

func (d *dataDir) walDir() string { return filepath.Join(d.path, "wal") }

func (d *dataDir) snapDir() string { return filepath.Join(d.path, "snap") }

func (d *dataDir) read() error {
	content, err := vfs.ReadFile(d.fs, d.file())
	if errors.Is(err, fs.ErrNotExist) {
		return d.mustBeEmpty()
	}
	if err != nil {
		return err
	}
	damaged := func(how error) error {
		return fmt.Errorf("%s is damaged (%w): restore it from a copy, or remove this member from its cluster and add it under a new id", d.file(), how)
	}
	var head struct{ Format int } // first: all else may be another in another format
	if err := json.Unmarshal(content, &head); err != nil {
		return damaged(err)
	}
	if head.Format > dataFormat {
		return fmt.Errorf("%s has format %d, this program knows format %d: it needs a newer version", d.path, head.Format, dataFormat)
	}
	var file memberFile
	if err := json.Unmarshal(content, &file); err != nil {
		return damaged(err)
	}
	sum, err := file.checksum()
	if err != nil {
		return err
	}
	if withoutSum := file.Format == 1 && file.Checksum == ""; file.Checksum != sum && !withoutSum {
		return damaged(errors.New("its checksum is wrong"))
	}
	if file.ID == 0 || file.Peers == nil { // or it would count as new, or as having met nobody
		return damaged(errors.New("no id, or no peers"))
	}
	d.identity = file.identity
	return nil
}

// mustBeEmpty refuses a log that has lost its member.json: it would be taken for
// a new member's. A directory of something else is refused as well.
func (d *dataDir) mustBeEmpty() error {
	if _, err := d.fs.List(d.walDir()); err == nil {
		return fmt.Errorf("%s has a log but no member.json: restore that from a copy, or choose another directory with --data-dir", d.path)
	}
	names, err := d.fs.List(d.path)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, "."), name == "lock", name == "lost+found":
		case name == filepath.Base(d.file())+".tmp": // a first start that was cut short
		default:
			return fmt.Errorf("%s is not empty and not a member's: %s is in it; choose another directory with --data-dir", d.path, name)
		}
	}
	return nil
}

// isNew reports whether the directory belongs to nobody yet.
func (d *dataDir) isNew() bool { return d.ID == 0 }

// claim makes a new directory a member's, durably, before anyone hears of it.
func (d *dataDir) claim(id identity) error {
	id.Incarnation = newIncarnation()
	id.Peers = map[uint64]hexID{}
	if err := d.change(func(d *identity) { *d = id }); err != nil {
		return err
	}
	return d.syncParents()
}

// syncParents makes the directory's own name durable, and the names of the
// directories above, which may be as new.
func (d *dataDir) syncParents() error {
	path, err := filepath.Abs(d.path)
	if err != nil {
		return err
	}
	for parent := filepath.Dir(path); parent != path; path, parent = parent, filepath.Dir(parent) {
		err := d.fs.SyncDir(parent)
		if errors.Is(err, fs.ErrPermission) {
			return nil // somebody else's, and so older
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// change changes what the directory says, durably.
func (d *dataDir) change(f func(*identity)) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	return d.changeAlone(f)
}

// changeAlone is change while d.changing is held. f is called twice: what could be
// forgotten must not count, and who only reads need not wait for the disk.
func (d *dataDir) changeAlone(f func(*identity)) error {
	d.mu.Lock()
	changed := d.identity
	changed.Peers = maps.Clone(d.Peers)
	d.mu.Unlock()
	f(&changed)
	if err := d.write(changed); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.identity)
	return nil
}

func (d *dataDir) write(id identity) error {
	sum, err := id.checksum()
	if err != nil {
		return err
	}
	content, err := json.MarshalIndent(memberFile{dataFormat, id, sum}, "", "  ")
	if err != nil {
		return err
	}
	return vfs.WriteFile(d.fs, d.file(), append(content, '\n'))
}

// meet checks a peer's incarnation against what is remembered of it. If nothing is, and
// mayMeet has nothing against it, this one is remembered, durably.
func (d *dataDir) meet(id, incarnation uint64, mayMeet func() error) error {
	known, met := d.peer(id)
	if !met {
		d.changing.Lock()
		defer d.changing.Unlock()
		if known, met = d.peer(id); !met { // nor meanwhile
			if err := mayMeet(); err != nil {
				return err
			}
			return d.changeAlone(func(is *identity) { is.Peers[id] = hexID(incarnation) })
		}
	}
	if uint64(known) != incarnation {
		return fmt.Errorf("member %d is %w: %s, and not %s: its data directory was replaced; %s",
			id, rafthttp.ErrReplaced, known, hexID(incarnation), wipedRecipe(id))
	}
	return nil
}

// peer returns what is remembered of a peer.
func (d *dataDir) peer(id uint64) (incarnation hexID, met bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	incarnation, met = d.Peers[id]
	return incarnation, met
}

// wipedRecipe says how a member whose data is gone comes back.
func wipedRecipe(id uint64) string {
	return fmt.Sprintf("remove it with curl -XDELETE http://CLIENT-URL/-/members/%d, then add it under a new id", id)
}

// incarnations returns a copy of what is remembered of the peers, and ourselves.
func (d *dataDir) incarnations() map[uint64]hexID {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[uint64]hexID{d.ID: d.Incarnation}
	for id, incarnation := range d.Peers {
		all[id] = incarnation
	}
	return all
}

func (d *dataDir) close() error { return d.lock.Close() }

func newIncarnation() hexID {
	var b [8]byte
	rand.Read(b[:]) // never fails, says package crypto/rand
	return hexID(binary.BigEndian.Uint64(b[:]))
}
