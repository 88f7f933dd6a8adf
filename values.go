// Values: the bodies of writes, on their way in.
//
// Nothing bounds how many clients there are, nor how long each takes to send what it
// has announced. So the memory that they take is counted, and bounded.
// Start at readValue. The small bodies of other requests are read here, too.

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
)

const (
	// maxIncoming is how many bytes may be set aside at a time for values that are coming
	// in. Of what has come, fewer may wait for the cluster: see maxWaitingBytes.
	maxIncoming = 32 << 20

	// firstRead is how much room a value gets before any of it is here.
	firstRead = 4 << 10

	// maxKept is the largest buffer that the next value may get as it is.
	maxKept = 128 << 10
)

// values are buffers for the bodies of writes.
var values = sync.Pool{New: func() any { return new([]byte) }}

// giveBack puts a buffer back: a large one could come to be held by a small value.
func giveBack(buffer *[]byte) {
	if cap(*buffer) <= maxKept {
		values.Put(buffer)
	}
}

// readValue reads a request's body, up to the largest value, and appends it to value,
// which is empty.
func (a *api) readValue(w http.ResponseWriter, req *http.Request, value []byte) ([]byte, error) {
	body, announced := req.Body, int(req.ContentLength)
	switch {
	case announced > maxValueBytes:
		return value, whyUnread(&http.MaxBytesError{Limit: maxValueBytes})
	case announced < 0:
		body = http.MaxBytesReader(w, body, maxValueBytes)
	}
	value, err := a.readAll(body, value, announced)
	return value, whyUnread(err)
}

// readSmall reads a request's body of at most limit bytes.
func readSmall(w http.ResponseWriter, req *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, limit))
	return body, whyUnread(err)
}

// whyUnread says what was wrong with a body that could not be read, if it could not.
func whyUnread(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil || err == errBusy:
		return err
	case errors.As(err, &tooLarge):
		return &apiError{status: http.StatusRequestEntityTooLarge, reason: fmt.Sprintf("the body has at most %d bytes here", tooLarge.Limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &apiError{status: http.StatusRequestTimeout, reason: fmt.Sprintf("the body did not come within %v", sendTimeout)}
	}
	return badRequest("read the body: %v", err)
}

// readAll reads as much as was announced, or to the end if announced is negative. The
// buffer grows as the bytes come: a length is only a claim.
func (a *api) readAll(body io.Reader, value []byte, announced int) (_ []byte, err error) {
	held := cap(value)
	defer func() { a.incoming.Add(-int64(held)) }()
	if a.incoming.Add(int64(held)) > maxIncoming {
		return value, errBusy
	}
	want := announced
	if announced < 0 {
		want = maxValueBytes + 1 // and one to find the end with
	}
	for len(value) < want && err == nil {
		if len(value) == cap(value) {
			value = slices.Grow(value, min(want-len(value), max(len(value), firstRead)))
			more := cap(value) - held
			if held += more; a.incoming.Add(int64(more)) > maxIncoming {
				return value, errBusy
			}
		}
		n := 0
		n, err = body.Read(value[len(value):min(cap(value), want)])
		value = value[:len(value)+n]
	}
	if errors.Is(err, io.EOF) && (announced < 0 || len(value) == announced) {
		err = nil
	}
	return value, err
}
