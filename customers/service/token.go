package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/m3o/backend/pkg/errors"
)

// phase is the order in which a part of a list is paged.
type phase string

const (
	byCreation phase = "c"
	byAddress  phase = "a"
	byName     phase = "n"
)

// maxToken is longer than every token that is made: a name may be 256 characters of four bytes.
const maxToken = 2048

// position is the place in a list after which a page begins. A page token is a position that only its own list accepts.
type position struct {
	Phase phase `json:"p"`
	// Key is where to go on in the phases that are ordered by address or name: what is searched for, or the last one found.
	Key string `json:"k,omitempty"`
	// Created is when the last customer was created, in microseconds since 1970, in the order of creation.
	Created int64 `json:"c,omitempty"`
	// ID is the last customer in the other orders; empty at the beginning of the names.
	ID string `json:"i,omitempty"`
	// List is a hash of what is listed.
	List string `json:"l"`
}

// token makes the page token of a position in the list that q asks for.
func (p position) token(q ListQuery) string {
	p.List = q.hash()
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseToken checks the page token in a field of a request.
func parseToken(field, token string, q ListQuery) (position, error) {
	invalid := errors.Invalid(field, "must be the next_page_token of a page of the same list")
	if len(token) > maxToken {
		return position{}, invalid
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || !utf8.Valid(b) {
		return position{}, invalid
	}
	var p position
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if d.Decode(&p) != nil {
		return position{}, invalid
	}
	// There is one token for each position, so that whatever else JSON allows is refused with this.
	if p.List != q.hash() || p.token(q) != token {
		return position{}, invalid
	}
	id, err := parseID(field, p.ID)
	hasID := err == nil && id == p.ID
	searched := q.Prefix != "" && strings.HasPrefix(p.Key, q.Prefix)
	valid := false
	switch p.Phase {
	case byCreation:
		valid = q.Prefix == "" && p.Key == "" && hasID && p.Created >= q.since() && p.Created < q.before()
	case byAddress:
		valid = searched && p.ID == "" && p.Created == 0
	case byName:
		valid = searched && p.Created == 0 && (hasID || p.ID == "" && p.Key == q.Prefix)
	}
	if !valid {
		return position{}, invalid
	}
	return p, nil
}

// hash identifies the list that q asks for a page of.
func (q ListQuery) hash() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d", q.Status, q.Prefix, q.From, q.To))
	return hex.EncodeToString(sum[:8])
}
