package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/store"
	"github.com/micro/micro/v3/util/auth/namespace"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/errors"
)

// The types of accounts that are stored.
const (
	typeUser     = "user"
	typeCustomer = "customer"
)

// Where accounts and names are stored.
const (
	accountPrefix = "account/" + namespace.DefaultNamespace + "/"
	namePrefix    = "accountByName/" + namespace.DefaultNamespace + "/"
)

// account is an account as it is stored: Secret is the bcrypt hash.
type account struct {
	auth.Account
	// Epoch is another one after each change that ends the sessions. It is random, so that an account does not take up
	// the sessions of one that had its id before.
	Epoch   string `json:"epoch,omitempty"`
	Blocked bool   `json:"blocked,omitempty"`
}

// mayLogIn tells whether somebody who knows the secret is let in. Accounts of other types may have been made by Micro's
// handlers.
func (a *account) mayLogIn() bool {
	return !a.Blocked && (a.Type == typeUser || a.Type == typeCustomer)
}

// partOf is the part of an account in the ids of its sessions, and what it is locked by: a session tells it too.
func partOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:8])
}

// account returns the account of an id; nil if there is none.
func (i *Identity) account(id string) (*account, error) {
	a := new(account)
	if ok, err := i.read(accountPrefix+id, a); err != nil || !ok {
		return nil, err
	}
	return a, nil
}

// find returns the account that an id, or else a name, logs in to; nil if there is none.
func (i *Identity) find(login string) (*account, error) {
	a, err := i.account(login)
	if err != nil || a != nil {
		return a, err
	}
	var named struct {
		ID string `json:"id"`
	}
	if ok, err := i.read(namePrefix+login, &named); err != nil || !ok {
		return nil, err
	}
	a, err = i.account(named.ID)
	if err != nil || a == nil || a.Name != login {
		return nil, err // what is left over of an account that was not made, or was deleted
	}
	return a, nil
}

// create stores an account that has its secret in clear, and returns it without one.
func (i *Identity) create(c access.Caller, given *auth.Account) (*auth.Account, error) {
	if err := validAccount(given); err != nil {
		return nil, err
	}
	if err := mayManage(c, given); err != nil {
		return nil, err
	}
	hash, err := i.secrets.hash(given.Secret)
	if err != nil {
		return nil, err
	}
	a := &account{Account: *given, Epoch: rand.Text()}
	a.Secret, a.Metadata = hash, maps.Clone(given.Metadata)
	if a.Metadata == nil {
		a.Metadata = make(map[string]string)
	}
	a.Metadata[createdKey] = strconv.FormatInt(i.Clock().Unix(), 10)

	defer i.locks.lock(partOf(a.ID), partOf(a.Name))()
	// Ids and names log in alike: none may be another account's.
	for _, login := range []struct{ field, value string }{{"id", a.ID}, {"name", a.Name}} {
		other, err := i.find(login.value)
		if err != nil {
			return nil, err
		}
		if other != nil {
			return nil, errors.Conflict(login.field, "is another account's already: choose another one")
		}
	}
	if err := i.write(namePrefix+a.Name, map[string]string{"id": a.ID}); err != nil {
		return nil, err
	}
	if err := i.write(accountPrefix+a.ID, a); err != nil {
		return nil, err
	}
	made := a.Account
	made.Secret = ""
	return &made, nil
}

// change changes an account, unless that fails, and ends all its sessions in the same write.
func (i *Identity) change(id string, f func(*account) error) error {
	defer i.locks.lock(partOf(id))()
	a, err := i.existing(id)
	if err != nil {
		return err
	}
	if err := f(a); err != nil {
		return err
	}
	a.Epoch = rand.Text()
	if err := i.write(accountPrefix+id, a); err != nil {
		return err
	}
	i.sweep(id)
	return nil
}

// remove deletes the account that was found if the caller may.
func (i *Identity) remove(c access.Caller, found *account) error {
	defer i.locks.lock(partOf(found.ID), partOf(found.Name))()
	a, err := i.existing(found.ID)
	if err != nil {
		return err
	}
	if a.Name != found.Name {
		return errors.NotFound("id", "there is no such account") // it was replaced by another one meanwhile
	}
	if err := mayManage(c, &a.Account); err != nil {
		return err
	}
	if err := i.Store.Delete(accountPrefix + a.ID); err != nil {
		return fmt.Errorf("delete an account: %w", err)
	}
	i.sweep(a.ID)
	i.discard(namePrefix + a.Name)
	return nil
}

func (i *Identity) existing(id string) (*account, error) {
	a, err := i.account(id)
	if err == nil && a == nil {
		err = errors.NotFound("id", "there is no such account")
	}
	return a, err
}

// accounts returns all accounts in the order of their ids.
func (i *Identity) accounts() ([]*account, error) {
	records, err := i.Store.Read(accountPrefix, store.ReadPrefix())
	if err != nil && !stderrors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	slices.SortFunc(records, func(a, b *store.Record) int { return strings.Compare(a.Key, b.Key) })
	found := make([]*account, 0, len(records))
	for _, r := range records {
		a := new(account)
		if err := json.Unmarshal(r.Value, a); err != nil {
			return nil, fmt.Errorf("read the accounts: %w", err)
		}
		found = append(found, a)
	}
	return found, nil
}

// read reads a record, and tells whether there is one.
func (i *Identity) read(key string, value any) (bool, error) {
	records, err := i.Store.Read(key)
	switch {
	case stderrors.Is(err, store.ErrNotFound), err == nil && len(records) == 0:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read a record: %w", err)
	}
	if err := json.Unmarshal(records[0].Value, value); err != nil {
		return false, fmt.Errorf("read a record: %w", err)
	}
	return true, nil
}

func (i *Identity) write(key string, value any) error {
	text, err := json.Marshal(value)
	if err == nil {
		err = i.Store.Write(&store.Record{Key: key, Value: text})
	}
	if err != nil {
		return fmt.Errorf("write a record: %w", err)
	}
	return nil
}

// discard deletes a record that counts no longer: if it stays, it does no harm.
func (i *Identity) discard(key string) {
	if err := i.Store.Delete(key); err != nil && !stderrors.Is(err, store.ErrNotFound) {
		logger.Warnf("A record that counts no longer is left over: %v", err)
	}
}
