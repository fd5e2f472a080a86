package service_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
)

// pages reads a list to its end.
func pages(t require.TestingT, c *service.Customers, q service.ListQuery) []service.Customer {
	var result []service.Customer
	for range 1000 {
		page, err := c.List(context.Background(), q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Customers), max(q.Size, 25))
		result = append(result, page.Customers...)
		if page.Next == "" {
			return result
		}
		q.Token = page.Next
	}
	require.Fail(t, "the list does not end")
	return nil
}

func emails(customers []service.Customer) []string {
	var result []string
	for _, c := range customers {
		result = append(result, c.Email)
	}
	return result
}

func TestList(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *service.Customers, _ *clock) {
		assert.Empty(t, pages(t, c, service.ListQuery{}))
		for _, n := range [][2]string{
			{"zoe@example.com", "Ann"}, {"ann@example.com", "Ann"}, {"annette@example.com", "Zoe"}, {"an_n@example.com", ""},
			{"bob@example.com", "Änne"}, {"x%@example.com", "100% Ann"}, {"carl@example.com", "ANNA"},
		} {
			create(t, c, n[0], n[1])
		}
		for _, email := range []string{"zoe@example.com", "annette@example.com"} {
			require.NoError(t, c.Delete(t.Context(), service.Ref{Email: email}))
		}
		for _, tc := range []struct {
			query service.ListQuery
			want  string
		}{
			{service.ListQuery{}, "zoe ann annette an_n bob x% carl"},
			{service.ListQuery{Status: service.Inactive}, "zoe annette"},
			{service.ListQuery{Status: service.Banned}, ""},
			{service.ListQuery{Prefix: "ann"}, "ann annette zoe carl"},
			{service.ListQuery{Prefix: "ANN"}, "ann annette zoe carl"},
			{service.ListQuery{Prefix: "  ann"}, "ann annette zoe carl"},
			{service.ListQuery{Prefix: "ann", Status: service.Inactive}, "annette zoe"},
			{service.ListQuery{Prefix: "ann", Status: service.AwaitingVerification}, "ann carl"},
			{service.ListQuery{Prefix: "ann@example.com"}, "ann"},
			{service.ListQuery{Prefix: "ÄN"}, "bob"},
			{service.ListQuery{Prefix: "an_"}, "an_n"},
			{service.ListQuery{Prefix: "x%"}, "x%"},
			{service.ListQuery{Prefix: "100%"}, "x%"},
			{service.ListQuery{Prefix: "nn"}, ""},
		} {
			for _, tc.query.Size = range []int{0, 1, 2, 3, 7, 100} {
				got := strings.ReplaceAll(strings.Join(emails(pages(t, c, tc.query)), " "), "@example.com", "")
				assert.Equal(t, tc.want, got, "%+v", tc.query)
			}
		}
	})
}

func TestListRefused(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for i := range 3 {
		create(t, c, fmt.Sprintf("jane%d@example.com", i), "Jane")
	}
	token := func(q service.ListQuery) string {
		q.Size = 1
		page, err := c.List(t.Context(), q)
		require.NoError(t, err)
		require.NotEmpty(t, page.Next)
		return page.Next
	}
	plain, prefix := token(service.ListQuery{}), token(service.ListQuery{Prefix: "jane"})
	for name, tc := range map[string]struct {
		query service.ListQuery
		text  string
	}{
		"size below":         {service.ListQuery{Size: -1}, "page_size: must be from 1 to 100"},
		"size above":         {service.ListQuery{Size: 101}, "page_size: must be from 1 to 100"},
		"status":             {service.ListQuery{Status: "vip"}, "status: must be one of"},
		"long query":         {service.ListQuery{Prefix: strings.Repeat("ä", 257)}, "query: must have at most 256"},
		"control in query":   {service.ListQuery{Prefix: "a\x00"}, "query: must not contain control"},
		"time below":         {service.ListQuery{From: -1}, "created_from: must be in seconds since 1970"},
		"time above":         {service.ListQuery{To: 253402300800}, "created_to: must be in seconds since 1970"},
		"time backwards":     {service.ListQuery{From: 7, To: 7}, "created_to: must be later than created_from"},
		"token of a time":    {service.ListQuery{Token: plain, From: 7}, "page_token: must be the next_page_token"},
		"token before":       {service.ListQuery{Token: prefix, Prefix: "jane", To: 1 << 33}, "page_token: must be the next_page_token"},
		"no token":           {service.ListQuery{Token: "?"}, "page_token: must be the next_page_token"},
		"long token":         {service.ListQuery{Token: strings.Repeat("a", 1<<20)}, "page_token: must be the next_page_token"},
		"token and a space":  {service.ListQuery{Token: plain + " "}, "page_token: must be the next_page_token"},
		"token of a prefix":  {service.ListQuery{Token: prefix}, "page_token: must be the next_page_token"},
		"token of no prefix": {service.ListQuery{Token: plain, Prefix: "jane"}, "page_token: must be the next_page_token"},
		"token of another":   {service.ListQuery{Token: prefix, Prefix: "jan"}, "page_token: must be the next_page_token"},
		"token of a status":  {service.ListQuery{Token: plain, Status: service.Active}, "page_token: must be the next_page_token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.List(t.Context(), tc.query)
			requireError(t, err, errors.KindInvalid, tc.text)
		})
	}
	t.Run("another size is no other list", func(t *testing.T) {
		t.Parallel()
		page, err := c.List(t.Context(), service.ListQuery{Token: prefix, Prefix: "jane", Size: 100})
		require.NoError(t, err)
		assert.Len(t, page.Customers, 2)
	})
}

// Whatever is listed, in pages of whatever size, has each customer that fits exactly once, and no other.
func TestEveryCustomerOnce(t *testing.T) {
	t.Parallel()
	c, clock := setup(t)
	text := rapid.StringMatching(`[ab]{1,4}`)
	count := 0
	rapid.Check(t, func(t *rapid.T) {
		for range rapid.IntRange(0, 5).Draw(t, "more") {
			count++
			clock.Turn(rapid.SampledFrom([]time.Duration{0, 300 * time.Millisecond, time.Second}).Draw(t, "later"))
			create := service.NewCustomer{
				Email: fmt.Sprintf("%s%d@example.com", text.Draw(t, "email"), count),
				Name:  rapid.OneOf(text, rapid.Just("Aa"), rapid.Just("aÄ"), rapid.Just("")).Draw(t, "name"),
			}
			_, err := c.Create(context.Background(), create)
			require.NoError(t, err)
			if rapid.Bool().Draw(t, "active") {
				customer, err := c.Read(context.Background(), service.Ref{Email: create.Email})
				require.NoError(t, err)
				_, err = c.Update(context.Background(), service.Change{ID: customer.ID, Status: new(service.Active)})
				require.NoError(t, err)
			}
		}
		q := service.ListQuery{
			Size:   rapid.IntRange(1, 40).Draw(t, "size"),
			Prefix: rapid.SampledFrom([]string{"", "a", "A", "ab", "b", "bb", "aä"}).Draw(t, "prefix"),
			Status: rapid.SampledFrom([]service.Status{"", service.Active, service.Banned}).Draw(t, "status"),
		}
		everybody := pages(t, c, service.ListQuery{Size: 100})
		if len(everybody) > 0 && rapid.Bool().Draw(t, "some time") {
			bound := rapid.Custom(func(t *rapid.T) int64 { return rapid.SampledFrom(everybody).Draw(t, "of").Created.Unix() })
			q.From = rapid.OneOf(bound, rapid.Just(int64(0))).Draw(t, "from")
			q.To = rapid.OneOf(bound, rapid.Just(int64(0))).Filter(func(to int64) bool { return to == 0 || to > q.From }).Draw(t, "to")
		}
		var want []string
		for _, customer := range everybody {
			created := customer.Created.Unix()
			if created < q.From || q.To != 0 && created >= q.To {
				continue
			}
			prefix := strings.ToLower(q.Prefix)
			fits := strings.HasPrefix(strings.ToLower(customer.Email), prefix) || strings.HasPrefix(strings.ToLower(customer.Name), prefix)
			if fits && (q.Status == "" || q.Status == customer.Status) {
				want = append(want, customer.Email)
			}
		}
		got := emails(pages(t, c, q))
		slices.Sort(got)
		slices.Sort(want)
		require.Equal(t, want, got)
	})
}
