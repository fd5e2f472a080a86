package service

import (
	"context"
	stderrors "errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

const (
	maxKeys        = 100 // of a customer, at a time
	maxScopes      = 50
	maxDescription = 256 // characters
	maxKeyText     = 256 // bytes of what is taken for a key at all
	// everything is the scope of a key that may call whatever there is.
	everything = "*"
	// keptRevoked is how long it is remembered that a key was revoked.
	keptRevoked = 90 * 24 * time.Hour
	// sweptAtOnce is how many keys are forgotten in one transaction.
	sweptAtOnce = 1000
)

// latest is the last second that is a year of four digits, which is what dates can be written with.
var latest = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// aScope is a service, or an endpoint of one, as they are called in the catalogue of what is sold.
var aScope = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}(/[A-Z][A-Za-z0-9]{0,63})?$`)

// KeysConfig is what NewKeys needs.
type KeysConfig struct {
	// DB is the service's database, migrated.
	DB *database.DB
	// Outbox publishes what happens to keys.
	Outbox Outbox
	// Clock tells the time; time.Now when nil.
	Clock func() time.Time
}

// Validate returns an error that says what is missing.
func (c KeysConfig) Validate() error {
	switch {
	case c.DB == nil:
		return stderrors.New("keys: a database is missing")
	case c.Outbox == nil:
		return stderrors.New("keys: an outbox is missing")
	}
	return nil
}

// Keys keeps the keys with which customers call. It may be used by many goroutines at once, and by several processes on one
// database.
type Keys struct {
	book
	found *database.Lookup[string, foundKey] // by hash
	seen  sightings
	// stop ends the goroutine that writes down what was seen, and stopped is closed when it has ended.
	stop, stopped chan struct{}
}

// NewKeys returns the keys in a database, or an error when the configuration is not valid.
func NewKeys(cfg KeysConfig) (*Keys, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Keys{
		book:  newBook(cfg.DB, cfg.Outbox, cfg.Clock),
		found: database.NewLookup(cfg.DB, findKeys),
	}, nil
}

// NewKey describes a key to be.
type NewKey struct {
	CustomerID  string
	Scopes      []string // none is the same as "*"
	Description string
	Expires     int64 // in seconds since 1970 UTC; 0 for never
}

// Generate makes a key of an active customer, and returns it with its text, which is kept nowhere.
func (k *Keys) Generate(ctx context.Context, n NewKey) (Key, string, error) {
	described, err := n.check(k.now())
	if err != nil {
		return Key{}, "", err
	}
	fresh, err := newFreshKey(described)
	if err != nil {
		return Key{}, "", err
	}
	err = k.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		customer, err := lockKeyholder(ctx, tx, fresh.CustomerID)
		if err != nil {
			return err
		}
		return k.add(ctx, tx, customer, fresh, generateKey(fresh.Key))
	})
	if err != nil {
		return Key{}, "", err
	}
	return fresh.Key, fresh.text, nil
}

// freshKey is a key with its text.
type freshKey struct {
	Key
	text, hash string
}

// newFreshKey makes the text and the id of a key.
func newFreshKey(described Key) (freshKey, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return freshKey{}, fmt.Errorf("make an id: %w", err)
	}
	f := freshKey{Key: described, text: newKeyText()}
	f.ID, f.Prefix = id.String(), f.text[:keyShown]
	f.hash, _ = hashKey(f.text) // it is one
	return f, nil
}

// lockKeyholder returns a customer who can have keys, locked, so that keys are counted and added by one at a time.
func lockKeyholder(ctx context.Context, tx database.Querier, id string) (Customer, error) {
	customer, err := findByID(ctx, tx, "customer_id", id, "FOR UPDATE")
	if err == nil && customer.Status != Active {
		err = errors.Conflict("customer_id", "the customer is %s, and only one who is %s can have keys", customer.Status, Active)
	}
	return customer, err
}

// add adds a key of a customer who is locked, and tells of it.
func (k *Keys) add(ctx context.Context, tx database.Querier, customer Customer, fresh freshKey, e *customersevents.Event) error {
	if err := endKeys(ctx, tx, customer.ID, fresh.Created); err != nil {
		return err
	}
	n, err := countKeys(ctx, tx, customer.ID)
	if err != nil {
		return err
	}
	if n >= maxKeys {
		return errors.Conflict("customer_id", "there are %d keys already, which is as many as there can be: revoke one", maxKeys)
	}
	if err := insertKey(ctx, tx, fresh); err != nil {
		return err
	}
	return k.publish(ctx, tx, customer, e)
}

// check checks a new key and returns what is known of it already.
func (n NewKey) check(now time.Time) (Key, error) {
	customer, err := parseID("customer_id", n.CustomerID)
	if err != nil {
		return Key{}, err
	}
	scopes, err := checkScopes("scopes", n.Scopes)
	if err != nil {
		return Key{}, err
	}
	if err := checkText("description", n.Description, maxDescription); err != nil {
		return Key{}, err
	}
	var expires time.Time
	if n.Expires != 0 {
		if n.Expires <= now.Unix() || n.Expires > latest.Unix() {
			return Key{}, errors.Invalid("expires_at", "must be in the future, in seconds since 1970-01-01 UTC, or 0 for never")
		}
		expires = time.Unix(n.Expires, 0).UTC()
	}
	return Key{CustomerID: customer, Scopes: scopes, Description: n.Description, Created: now, Expires: expires}, nil
}

// checkScopes checks scopes and returns each once, in the order given.
func checkScopes(field string, scopes []string) ([]string, error) {
	if len(scopes) == 0 {
		return []string{everything}, nil
	}
	if len(scopes) > maxScopes {
		return nil, errors.Invalid(field, "must be at most %d", maxScopes)
	}
	var each []string
	for _, s := range scopes {
		if s != everything && !aScope.MatchString(s) {
			return nil, errors.Invalid(field, `each must be "*", a service such as weather, or an endpoint such as weather/Now`)
		}
		if !slices.Contains(each, s) {
			each = append(each, s)
		}
	}
	return each, nil
}

// List returns the keys of a customer that were not revoked and have not ended after a rotation, the newest first: at most 100.
func (k *Keys) List(ctx context.Context, customerID string) ([]Key, error) {
	id, err := parseID("customer_id", customerID)
	if err != nil {
		return nil, err
	}
	keys, err := listKeys(ctx, k.db.Read(), id, k.now())
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	_, err = findByID(ctx, k.db.Read(), "customer_id", id, "") // is there nobody, or nothing?
	return nil, err
}

// Revoke ends a key for good. Of a revoked key it changes nothing, as long as that is remembered: for 90 days.
func (k *Keys) Revoke(ctx context.Context, customerID, keyID string) error {
	customer, err := parseID("customer_id", customerID)
	if err != nil {
		return err
	}
	id, err := parseKeyID("id", keyID)
	if err != nil {
		return err
	}
	return k.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		// Before the key, as everybody locks them in this order.
		customer, err := findByID(ctx, tx, "customer_id", customer, "FOR UPDATE")
		if err != nil {
			return err
		}
		key, err := findOwnKey(ctx, tx, "id", customer.ID, id)
		if err != nil || key.revoked {
			return err
		}
		if err := revokeKey(ctx, tx, id, k.now()); err != nil {
			return err
		}
		return k.publish(ctx, tx, customer, deleteKey(id))
	})
}

// errKey does not say whether there ever was such a key.
var errKey = errors.Unauthenticated("the API key is not good, or not any more: make another one")

// Verify returns the key of a text, if it is good now, or blocked. It is asked for calls of customers, and remembers nothing.
func (k *Keys) Verify(ctx context.Context, text string) (Key, error) {
	switch {
	case text == "":
		return Key{}, errors.Invalid("api_key", "required")
	case len(text) > maxKeyText:
		return Key{}, errors.Invalid("api_key", "must have at most %d bytes", maxKeyText)
	}
	hash, ok := hashKey(text)
	if !ok {
		return Key{}, errKey
	}
	key, ok, err := k.found.Get(ctx, hash)
	switch {
	case err != nil:
		return Key{}, err
	case !ok:
		return Key{}, errKey
	case !key.Expires.IsZero() && !k.clock().Before(key.Expires):
		return Key{}, errKey
	case key.status == Banned:
		return Key{}, errors.Forbidden("the customer whose key it is is banned")
	case key.status != Active:
		return Key{}, errors.Forbidden("the customer whose key it is is not active")
	}
	if key.Blocked == "" {
		k.seen.note(key.ID, k.now())
	}
	return key.Key, nil
}

// Sweep ends keys whose grace is over, and forgets those that have ended long ago.
func (k *Keys) Sweep(ctx context.Context) error {
	now := k.now()
	if err := k.inPieces(ctx, endRotated, now); err != nil {
		return err
	}
	return k.inPieces(ctx, sweepKeys, now.Add(-keptRevoked))
}

// inPieces does something about all keys that are due, in transactions that keep nobody waiting for long.
func (k *Keys) inPieces(
	ctx context.Context, do func(ctx context.Context, tx database.Querier, due time.Time, most int) (int64, error), due time.Time,
) error {
	for {
		var n int64
		err := k.db.Tx(ctx, func(ctx context.Context, tx database.Querier) (err error) {
			n, err = do(ctx, tx, due, sweptAtOnce)
			return err
		})
		if err != nil || n < sweptAtOnce {
			return err
		}
	}
}
