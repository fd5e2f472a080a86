package storetest

import (
	"context"
	"fmt"
	"slices"

	"github.com/micro/micro/v3/service/store"
)

func selectionCases() []Case[store.Store] {
	return []Case[store.Store]{
		{Name: "selects by prefix", Run: byPrefix},
		{Name: "selects by suffix", Run: bySuffix},
		{Name: "selects by both", Run: byBoth},
		{Name: "takes no character of a prefix or a suffix for another", Run: literally},
		{Name: "finds nothing without an error", Run: findsNothing},
		{Name: "orders by the bytes of the keys", Run: orders},
		{Name: "limits what is read and listed", Run: limits},
		{Name: "limits after it has selected and ordered", Run: limitsSelected},
		{Name: "lists many keys", Run: many},
	}
}

// selects makes sure that the same records are read, and their keys listed, with the same options.
func (t table) selects(prefix, suffix string, limit, offset uint, order store.Order, want ...string) error {
	list := []store.ListOption{store.ListPrefix(prefix), store.ListSuffix(suffix), store.ListLimit(limit), store.ListOffset(offset)}
	read := []store.ReadOption{store.ReadLimit(limit), store.ReadOffset(offset)}
	if order != "" {
		list, read = append(list, store.ListOrder(order)), append(read, store.ReadOrder(order))
	}
	if err := t.lists(list, want...); err != nil {
		return fmt.Errorf("prefix %q, suffix %q, limit %d, offset %d, order %q: %w", prefix, suffix, limit, offset, order, err)
	}
	key := prefix
	switch {
	case suffix == "":
		read = append(read, store.ReadPrefix())
	case prefix == "":
		read, key = append(read, store.ReadSuffix()), suffix
	case prefix == suffix:
		read = append(read, store.ReadPrefix(), store.ReadSuffix())
	default:
		return nil // cannot be asked for
	}
	if err := t.reads(key, read, want...); err != nil {
		return fmt.Errorf("prefix %q, suffix %q, limit %d, offset %d, order %q: %w", prefix, suffix, limit, offset, order, err)
	}
	return nil
}

func byPrefix(_ context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.fill("a", "a/1", "a/2", "a0", "b", "ba") },
		func() error { return t.selects("a/", "", 0, 0, "", "a/1", "a/2") },
		func() error { return t.selects("a", "", 0, 0, "", "a", "a/1", "a/2", "a0") },
		func() error { return t.selects("b", "", 0, 0, "", "b", "ba") },
		func() error { return t.selects("", "", 0, 0, "", "a", "a/1", "a/2", "a0", "b", "ba") },
	)
}

func bySuffix(_ context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.fill("1", "a/1", "a/11", "b/1", "b/2", "1/b") },
		func() error { return t.selects("", "/1", 0, 0, "", "a/1", "b/1") },
		func() error { return t.selects("", "1", 0, 0, "", "1", "a/1", "a/11", "b/1") },
		func() error { return t.selects("", "a/11", 0, 0, "", "a/11") },
		func() error { return t.selects("", "xa/11", 0, 0, "") },
	)
}

func byBoth(_ context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.fill("a", "aa", "aba", "ab", "b/a/1", "b/b/1", "b/b/2", "ba") },
		func() error { return t.selects("b/", "/1", 0, 0, "", "b/a/1", "b/b/1") },
		func() error { return t.selects("a", "a", 0, 0, "", "a", "aa", "aba") },
		func() error { return t.selects("ab", "ba", 0, 0, "", "aba") },
		func() error { return t.selects("b/", "/1", 1, 1, store.OrderDesc, "b/a/1") },
	)
}

func literally(_ context.Context, s store.Store) error {
	t := newTable(s)
	for _, c := range []string{"%", "_", `\`, "*", "?", "[", ".", "'", `"`, "^", "$1", "{}", "ß"} {
		if err := t.fill("x"+c+"1", "1"+c+"x"); err != nil {
			return err
		}
	}
	if err := t.fill("xy1", "1yx", "x1", "1x"); err != nil {
		return err
	}
	for _, c := range []string{"%", "_", `\`, "*", "?", "[", ".", "'", `"`, "^", "$1", "{}", "ß"} {
		if err := first(
			func() error { return t.selects("x"+c, "", 0, 0, "", "x"+c+"1") },
			func() error { return t.selects("", c+"x", 0, 0, "", "1"+c+"x") },
		); err != nil {
			return err
		}
	}
	return first(
		func() error { return t.selects("%", "", 0, 0, "") },
		func() error { return t.selects("", "_", 0, 0, "") },
	)
}

func findsNothing(_ context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.selects("", "", 0, 0, "") }, // nor is there a table
		func() error { return t.fill("a") },
		func() error { return t.selects("b", "", 0, 0, "") },
		func() error { return t.selects("", "b", 0, 0, "") },
		func() error { return t.selects("a", "", 0, 1, "") },
		func() error { return t.selects("a", "", 5, 7, store.OrderDesc) },
		func() error { return t.delete("a") },
		func() error { return t.selects("", "", 0, 0, "") },
	)
}

func orders(_ context.Context, s store.Store) error {
	t := newTable(s)
	keys := []string{"10", "9", "B", "a", "a b", "a-b", "a/b", "aB", "a_b", "ab", "b", "z", "ä", "é", "日本"}
	backwards := slices.Clone(keys)
	slices.Reverse(backwards)
	return first(
		func() error {
			return t.fill("b", "日本", "a_b", "ä", "10", "a", "é", "B", "z", "ab", "aB", "9", "a/b", "a b", "a-b")
		},
		func() error { return t.selects("", "", 0, 0, "", keys...) },
		func() error { return t.selects("", "", 0, 0, store.OrderAsc, keys...) },
		func() error { return t.selects("", "", 0, 0, store.OrderDesc, backwards...) },
		func() error {
			return t.selects("a", "", 0, 0, store.OrderDesc, "ab", "a_b", "aB", "a/b", "a-b", "a b", "a")
		},
	)
}

func limits(_ context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.fill("p/1", "p/2", "p/3", "p/4", "q") },
		func() error { return t.selects("p/", "", 2, 0, "", "p/1", "p/2") },
		func() error { return t.selects("p/", "", 2, 1, "", "p/2", "p/3") },
		func() error { return t.selects("p/", "", 2, 3, "", "p/4") },
		func() error { return t.selects("p/", "", 2, 4, "") },
		func() error { return t.selects("p/", "", 0, 3, "", "p/4") },
		func() error { return t.selects("p/", "", 100, 2, "", "p/3", "p/4") },
		func() error { return t.selects("p/", "", 1, 0, store.OrderDesc, "p/4") },
		func() error { return t.selects("", "", 3, 2, store.OrderDesc, "p/3", "p/2", "p/1") },
	)
}

func limitsSelected(_ context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.fill("1/a", "2/b", "3/a", "4/b", "5/a", "6/b", "7/a") },
		func() error { return t.selects("", "/a", 2, 0, "", "1/a", "3/a") },
		func() error { return t.selects("", "/a", 2, 1, "", "3/a", "5/a") },
		func() error { return t.selects("", "/a", 2, 3, "", "7/a") },
		func() error { return t.selects("", "/a", 2, 4, "") },
		func() error { return t.selects("", "/a", 2, 1, store.OrderDesc, "5/a", "3/a") },
	)
}

func many(_ context.Context, s store.Store) error {
	const n = 1000
	t := newTable(s)
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("key/%04d", i))
	}
	return first(
		func() error { return together(10, func(i int) error { return t.fill(keys[i*n/10 : (i+1)*n/10]...) }) },
		func() error { return t.selects("", "", 0, 0, "", keys...) },
		func() error { return t.selects("key/", "", 10, n-10, "", keys[n-10:]...) },
		func() error { return t.selects("key/05", "", 0, 0, "", keys[500:600]...) },
	)
}
