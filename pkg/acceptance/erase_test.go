package acceptance

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	customers "github.com/m3o/backend/customers/proto"
)

// found are the tables of all services that have one of some words in a row, but for those of events that are on their way.
func (p *platform) found(t *testing.T, words ...string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.State, "service", "*", "db.sqlite"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var tables []string
	for _, file := range files {
		db, err := sql.Open("sqlite3", "file:"+file+"?mode=ro")
		require.NoError(t, err)
		for _, table := range textOf(t, db, "SELECT name FROM sqlite_master WHERE type = 'table'") {
			rows := strings.ToLower(strings.Join(textOf(t, db, "SELECT * FROM "+table), "\n"))
			for _, word := range words {
				if strings.Contains(rows, word) && !strings.HasSuffix(table, "_outbox") {
					tables = append(tables, table)
				}
			}
		}
		require.NoError(t, db.Close())
	}
	return tables
}

// A customer with an account, a key and a visit that was tracked is erased: every service says so, no table has the address or
// the name any more, nobody logs in, and the address is free.
func TestErase(t *testing.T) {
	t.Parallel()
	p := boot(t, services...)
	admin := p.admin(t)
	rpc := customers.NewCustomersService("customers", admin)
	id := p.member(t, "vanishing@example.com")
	_, err := rpc.Update(t.Context(), &customers.UpdateRequest{
		Customer: &customers.Customer{Id: id, Name: "Vanishing Lady"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"name"}},
	})
	require.NoError(t, err)
	key, err := customers.NewKeysService("customers", admin).GenerateKey(t.Context(), &customers.GenerateKeyRequest{CustomerId: id})
	require.NoError(t, err)
	_, err = p.Post(t.Context(), "/signup/Track", `{"id": "visit", "email": "Vanishing@example.com"}`)
	require.NoError(t, err)
	_, err = admin.JSON(t.Context(), "usage", "Usage.SetQuota", fmt.Sprintf(`{"customer_id": %q, "quota": 5}`, id))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return p.settled(t) }, time.Minute, 50*time.Millisecond)
	require.ElementsMatch(t, []string{"customers_customers", "signup_tracks"}, p.found(t, "vanishing@"))

	_, err = rpc.Delete(t.Context(), &customers.DeleteRequest{Id: id, Force: true})
	require.NoError(t, err)
	_, err = customers.NewKeysService("customers", admin).VerifyKey(t.Context(), &customers.VerifyKeyRequest{ApiKey: key.ApiKey})
	require.Error(t, err)
	var left []string
	require.Eventually(t, func() bool {
		rsp, err := rpc.ReadErasure(t.Context(), &customers.ReadErasureRequest{Id: id})
		require.NoError(t, err)
		left = left[:0]
		for _, e := range rsp.Erasures {
			require.False(t, e.Overdue)
			if e.Erased == 0 {
				left = append(left, e.Service)
			}
		}
		return len(rsp.Erasures) == 6 && len(left) == 0
	}, 90*time.Second, 100*time.Millisecond, "not everybody has erased: %v", left)
	require.Empty(t, p.found(t, "vanishing"))
	require.Empty(t, p.found(t, key.ApiKeyId))
	code, _, _ := logIn(t, p.Client, byPassword("vanishing@example.com", password))
	require.Equal(t, 401, code)
	again := p.customer(t, "vanishing@example.com")
	require.NotEqual(t, id, again)
}
