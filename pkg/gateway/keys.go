package gateway

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/client"
	merrors "github.com/micro/micro/v3/service/errors"

	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/auth"
)

var (
	// keyAges are those of a key that is good: one that was revoked is good for two seconds at most, as long as customers
	// answers.
	keyAges = ages{fresh: time.Second, limit: 2 * time.Second, grace: time.Minute}
	// unknownAges are those of a key that is not.
	unknownAges = ages{fresh: time.Second, limit: time.Second}
)

const (
	// maxKeys is how many keys are remembered, and maxUnknown how many texts that are none.
	maxKeys    = 50_000
	maxUnknown = 4096
	// maxKeyLength is how many bytes a key has at most.
	maxKeyLength = 256
	// maxVerifying is how many questions about texts that may be no keys wait for their answers at once: whoever invents keys
	// must not flood customers. About a key that is known there is one question at a time anyway, which waits for none of those.
	maxVerifying = 128
)

// key is what is known of a key: whose it is, or why it is not good.
type key struct {
	refused    *Refusal
	customer   string
	id         string
	scopes     []string
	everything bool
	expires    time.Time // zero is never
}

// allows tells whether a key is for an endpoint.
func (k *key) allows(l *listing) bool {
	if k.everything {
		return true
	}
	for _, scope := range k.scopes {
		if scope == l.api || scope == l.name {
			return true
		}
	}
	return false
}

// digest is what keys are remembered by, so that they themselves are not in memory for longer than a call.
type digest [sha256.Size]byte

// keys knows the keys that were used lately.
type keys struct {
	service   customers.KeysService
	clock     func() time.Time
	known     *shards[digest, *remembered[*key]]
	unknown   *shards[digest, *remembered[*key]]
	verifying chan struct{}
}

func newKeys(service customers.KeysService, clock func() time.Time) *keys {
	return &keys{
		service: service, clock: clock, verifying: make(chan struct{}, maxVerifying),
		known: newShards[digest, *remembered[*key]](maxKeys), unknown: newShards[digest, *remembered[*key]](maxUnknown),
	}
}

// find returns what is known of a key. It fails when nothing is, and customers does not answer.
func (k *keys) find(ctx context.Context, text string) (*key, error) {
	if !isKey(text) {
		return unknownKey, nil
	}
	sum := digest(sha256.Sum256([]byte(text)))
	r, isKnown := k.known.get(sum)
	if !isKnown {
		r = k.unknown.getOr(sum, func() *remembered[*key] { return new(remembered[*key]) })
	}
	a := keyAges
	if last := r.last.Load(); last != nil && last.value.refused != nil {
		a = unknownAges
	}
	found, err := r.get(ctx, k.clock, a, func(ctx context.Context) (*key, error) {
		if isKnown {
			return k.verify(ctx, text)
		}
		select {
		case k.verifying <- struct{}{}:
			defer func() { <-k.verifying }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return k.verify(ctx, text)
	})
	if err != nil {
		return nil, err
	}
	if found.refused != nil {
		return found, nil
	}
	if !isKnown { // where those that callers invent do not drive it out
		k.known.add(sum, r)
		k.unknown.remove(sum)
	}
	if !found.expires.IsZero() && !k.clock().Before(found.expires) {
		return unknownKey, nil
	}
	return found, nil
}

// unknownKey is what is known of a text that is no key.
var unknownKey = &key{refused: errUnknownKey}

// verify asks whose key it is.
func (k *keys) verify(ctx context.Context, text string) (*key, error) {
	rsp, err := k.service.VerifyKey(ctx, &customers.VerifyKeyRequest{ApiKey: text}, client.WithAuthToken())
	if err != nil {
		switch e := merrors.FromError(err); {
		// What the gateway may not ask it does not learn: that says nothing of the key.
		case auth.IsAboutCaller(e.Detail):
		case e.Code == http.StatusUnauthorized, e.Code == http.StatusBadRequest:
			return unknownKey, nil
		case e.Code == http.StatusForbidden:
			if strings.HasPrefix(e.Detail, customers.KeyIsBlocked) {
				return &key{refused: refuse(resultBlocked, http.StatusForbidden, e.Detail, 0)}, nil
			}
			return &key{refused: errInactive}, nil
		}
		return nil, err
	}
	found := &key{customer: rsp.CustomerId, id: rsp.ApiKeyId}
	if rsp.ExpiresAt > 0 {
		found.expires = time.Unix(rsp.ExpiresAt, 0)
	}
	for _, scope := range rsp.Scopes {
		if scope == "*" {
			found.everything = true
		}
		api, endpoint, ok := strings.Cut(scope, "/")
		if ok {
			scope = api + "/" + Canonical(endpoint)
		}
		found.scopes = append(found.scopes, scope)
	}
	return found, nil
}

// isKey tells whether a text can be a key at all: nobody is asked about one that cannot.
func isKey(text string) bool {
	if text == "" || len(text) > maxKeyLength {
		return false
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// bearer is what stands before a key in Authorization, in whatever case.
const bearer = "Bearer "

// keyOf is the key that a call came with. Beside X-Api-Key, Authorization may be of another scheme, for somebody else.
func keyOf(header http.Header) (string, *Refusal) {
	authorization, own := header["Authorization"], header["X-Api-Key"]
	if len(authorization) > 1 || len(own) > 1 {
		return "", errTwoKeys
	}
	var text string
	isBearer := len(authorization) == 1 && len(authorization[0]) >= len(bearer) &&
		strings.EqualFold(authorization[0][:len(bearer)], bearer)
	if isBearer {
		text = authorization[0][len(bearer):]
	}
	switch {
	case len(own) == 0 && text == "", len(own) == 1 && own[0] == "":
		return "", errNoKey
	case len(own) == 0:
		return text, nil
	case isBearer && text != own[0]:
		return "", errTwoKeys
	}
	return own[0], nil
}
