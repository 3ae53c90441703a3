package session

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// ID is how the name of an attempt's cookie ends: when the attempt began, by whom, and randomness.
// IDs of one browser sort by time. A browser can make them up, so they are hints for which tab waits and
// for what is deleted first; what must be true is sealed in Attempt.
type ID [9]byte

// idLength is the length of an ID in the name of a cookie.
const idLength = 12

// Of the 72 bits, 32 are seconds, 20 microseconds, 18 random, and 2 these.
const (
	byGuard byte = 1 << iota
	crossSite
)

var base64url = base64.RawURLEncoding.Strict()

// NewID is the ID of an attempt that begins now. isByGuard says that a guard begins it, and not the
// user or the application by a link, a button or a call. isCrossSite says that a page of another site
// has led here, or that the request comes from a frame, in which Logto's pages do not open.
func NewID(now time.Time, isByGuard, isCrossSite bool) (id ID) {
	_, _ = rand.Read(id[4:]) // never fails
	binary.BigEndian.PutUint32(id[:4], uint32(now.Unix()))
	rest := binary.BigEndian.Uint64(append(make([]byte, 3, 8), id[4:]...))
	rest = rest&(1<<20-1) | uint64(now.Nanosecond()/1000)<<20
	rest &^= uint64(byGuard | crossSite)
	if isByGuard {
		rest |= uint64(byGuard)
	}
	if isCrossSite {
		rest |= uint64(crossSite)
	}
	copy(id[4:], binary.BigEndian.AppendUint64(nil, rest)[3:])
	return id
}

// parseID reads what String has written.
func parseID(text string) (id ID, ok bool) {
	if len(text) != idLength {
		return ID{}, false
	}
	n, err := base64url.Decode(id[:], []byte(text))
	return id, err == nil && n == len(id)
}

func (id ID) String() string { return base64url.EncodeToString(id[:]) }

// Time is when the attempt began, by the clock of the instance that began it.
func (id ID) Time() time.Time {
	rest := binary.BigEndian.Uint64(append(make([]byte, 3, 8), id[4:]...))
	return time.Unix(int64(binary.BigEndian.Uint32(id[:4])), int64(rest>>20)*1000)
}

// IsByGuard reports whether a guard began the attempt.
func (id ID) IsByGuard() bool { return id[8]&byGuard != 0 }

// IsCrossSite reports whether a page of another site led to the attempt, or a frame.
func (id ID) IsCrossSite() bool { return id[8]&crossSite != 0 }

// Compare sorts IDs by time, and IDs of the same microsecond in any order that is the same for all.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }
