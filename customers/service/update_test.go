package service_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
)

func TestUpdate(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *service.Customers, clock *clock) {
		jane, err := c.Create(t.Context(), service.NewCustomer{Email: "jane@example.com", Meta: map[string]string{"a": "b"}})
		require.NoError(t, err)
		clock.Turn(time.Hour)

		got, err := c.Update(t.Context(), service.Change{ID: jane.ID, Name: new("Jane")})
		require.NoError(t, err)
		want := jane
		want.Name, want.Version, want.Updated = "Jane", 2, kept.Add(time.Hour)
		assert.Equal(t, want, got)

		got, err = c.Update(t.Context(), service.Change{
			ID: jane.ID, Version: 2, Meta: &map[string]string{"c": "d"}, Email: new("J@Example.org"), Status: new(service.Active),
		})
		require.NoError(t, err)
		want.Meta, want.Email, want.Status, want.Version = map[string]string{"c": "d"}, "J@example.org", service.Active, 3
		assert.Equal(t, want, got)

		read, err := c.Read(t.Context(), service.Ref{Email: "j@example.org"})
		require.NoError(t, err)
		assert.Equal(t, want, read)
		_, err = c.Read(t.Context(), service.Ref{Email: jane.Email})
		requireError(t, err, errors.KindNotFound, "email")

		clock.Turn(time.Hour)
		got, err = c.Update(t.Context(), service.Change{ID: jane.ID, Email: new("J@Example.ORG")})
		require.NoError(t, err)
		assert.Equal(t, want, got, "nothing has changed, the version neither")
		_, err = c.Update(t.Context(), service.Change{ID: jane.ID, Meta: new(map[string]string)})
		require.NoError(t, err)
		read, err = c.Read(t.Context(), service.Ref{ID: jane.ID})
		require.NoError(t, err)
		assert.Empty(t, read.Meta)
	})
}

func TestUpdateOfAVersion(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	jane := create(t, c, "jane@example.com", "Jane")
	change := service.Change{ID: jane.ID, Version: 1, Name: new("Joan")}
	first, err := c.Update(t.Context(), change)
	require.NoError(t, err)

	again, err := c.Update(t.Context(), change)
	require.NoError(t, err, "the answer was lost, and the call made again")
	assert.Equal(t, first, again)

	_, err = c.Update(t.Context(), service.Change{ID: jane.ID, Version: 1, Name: new("Jill")})
	requireError(t, err, errors.KindConflict, "version: the customer is of version 2 now")
	_, err = c.Update(t.Context(), service.Change{ID: jane.ID, Version: 3, Name: new("Jill")})
	requireError(t, err, errors.KindConflict, "version: the customer is of version 2 now")
	_, err = c.Update(t.Context(), service.Change{ID: jane.ID, Version: -1, Name: new("Jill")})
	requireError(t, err, errors.KindInvalid, "version: must not be negative")
}

func TestUpdateRefused(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	jane, john := create(t, c, "jane@example.com", "Jane"), create(t, c, "john@example.com", "John")
	require.NoError(t, c.Delete(t.Context(), service.Ref{ID: john.ID}))
	before := all(t, c)
	for name, tc := range map[string]struct {
		change service.Change
		kind   errors.Kind
		text   string
	}{
		"no id":           {service.Change{Name: new("a")}, 400, "id: must be the id of a customer"},
		"unknown":         {service.Change{ID: uuid.NewString(), Name: new("a")}, 404, "id: there is no such customer"},
		"no status":       {service.Change{ID: jane.ID, Status: new(service.Status("vip"))}, 400, "status: must be one of"},
		"deleted by it":   {service.Change{ID: jane.ID, Status: new(service.Inactive)}, 400, "status: must not be inactive"},
		"no address":      {service.Change{ID: jane.ID, Email: new("")}, 400, "email: required"},
		"another's":       {service.Change{ID: jane.ID, Email: new("JOHN@example.com")}, 409, "email: another customer has this address"},
		"of a deleted":    {service.Change{ID: john.ID, Name: new("a")}, 409, "status: the customer is deleted"},
		"part of it good": {service.Change{ID: jane.ID, Name: new("a"), Email: new("x")}, 400, "email: must be an address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Update(t.Context(), tc.change)
			requireError(t, err, tc.kind, tc.text)
			assert.Equal(t, before, all(t, c), "a refused call changes nothing")
		})
	}
	got, err := c.Update(t.Context(), service.Change{ID: john.ID, Status: new(service.Active)})
	require.NoError(t, err, "a status brings a deleted customer back")
	assert.Equal(t, service.Active, got.Status)
}

// Of many who change the same version, one wins; of many who do not care, none loses a change.
func TestUpdateAtOnce(t *testing.T) {
	t.Parallel()
	const callers = 32
	each(t, func(t *testing.T, c *service.Customers, _ *clock) {
		jane := create(t, c, "jane@example.com", "Jane")
		var wg sync.WaitGroup
		var won atomic.Int64
		for i := range callers {
			wg.Go(func() {
				name := fmt.Sprint("Jane ", i)
				_, err := c.Update(context.Background(), service.Change{ID: jane.ID, Version: 1, Name: &name})
				if err == nil {
					won.Add(1)
					return
				}
				assert.Equal(t, errors.KindConflict, errors.KindOf(err), "%v", err)
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, won.Load())

		for i := range callers {
			wg.Go(func() {
				_, err := c.Update(context.Background(), service.Change{ID: jane.ID, Name: new(fmt.Sprint("Joan ", i))})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		got, err := c.Read(t.Context(), service.Ref{ID: jane.ID})
		require.NoError(t, err)
		assert.EqualValues(t, 2+callers, got.Version)
	})
}
