// Conditions: what must be true of a key for a write to happen, and the ETag, which
// is a key's revision, that they speak of.
//
//	RFC 9110 §8.8.3, §13.1

package main

import (
	"net/http"
	"strconv"
	"strings"
)

// conditionOf reads what must be true of the key for a write to happen.
func conditionOf(req *http.Request) (condition, uint64, error) {
	match, noneMatch := req.Header["If-Match"], req.Header["If-None-Match"]
	switch {
	case len(match) == 0 && len(noneMatch) == 0:
		return always, 0, nil
	case len(match)+len(noneMatch) > 1:
		return 0, 0, badRequest("give one condition")
	case len(noneMatch) == 1:
		if noneMatch[0] != "*" || req.Method != http.MethodPut {
			return 0, 0, badRequest("a write takes If-None-Match: * on PUT, and nothing else")
		}
		return ifAbsent, 0, nil
	case match[0] == "*":
		return ifPresent, 0, nil
	}
	revision, err := parseETag(match[0])
	return ifRevised, revision, err
}

// etag writes a revision as an entity tag.
func etag(revision uint64) string {
	var b [22]byte
	return string(append(strconv.AppendUint(append(b[:0], '"'), revision, 10), '"'))
}

func parseETag(s string) (uint64, error) {
	digits, ok := strings.CutPrefix(s, `"`)
	digits, ok2 := strings.CutSuffix(digits, `"`)
	revision, err := strconv.ParseUint(digits, 10, 64)
	if !ok || !ok2 || err != nil || etag(revision) != s {
		return 0, badRequest(`a revision is one number in quotes, such as "7", not %s`, s)
	}
	return revision, nil
}
