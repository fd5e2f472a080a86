package storetest

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/micro/micro/v3/service/store"

	"github.com/m3o/backend/pkg/internal/casetest"
)

func recordCases() []Case[store.Store] {
	return []Case[store.Store]{
		{Name: "reads what was written", Run: readsWritten},
		{Name: "says that it does not find a record", Run: notFound},
		{Name: "overwrites a record, all of it", Run: overwrites},
		{Name: "deletes a record, or none", Run: deletes},
		{Name: "keeps metadata", Run: keepsMetadata},
		{Name: "keeps databases and tables apart", Run: keepsApart},
		{Name: "has a default database and table", Run: defaults},
		{Name: "keeps what Init has set", Run: keepsInit},
		{Name: "has its own copy of what is written and read", Run: copies},
		{Name: "takes keys of any bytes", Run: anyBytes},
		{Name: "takes long keys", Run: longKeys},
		{Name: "takes large values", Run: largeValues},
		{Name: "takes many writers", Run: manyWriters},
	}
}

func readsWritten(_ context.Context, s store.Store) error {
	t := newTable(s)
	for key, value := range map[string]string{
		"a": "hello", "binary": "\x00\x01\xff\xfe", "empty": "", "ä/ö ü": "wört", `'"; DROP TABLE x; --`: "$1", " ": " ",
	} {
		if err := first(
			func() error { return t.put(key, value) },
			func() error { return t.has(key, value) },
		); err != nil {
			return err
		}
	}
	if err := t.write(&store.Record{Key: "nil"}); err != nil {
		return err
	}
	return t.has("nil", "")
}

func notFound(_ context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.lacks("a") }, // nor the table
		func() error { return t.fill("a") },
		func() error { return t.lacks("b") },
		func() error { return t.lacks("aa") },
		func() error { return t.lacks("A") },
		func() error { return t.lacks("") },
	)
}

func overwrites(_ context.Context, s store.Store) error {
	t := newTable(s)
	if err := t.write(&store.Record{Key: "a", Value: []byte("longer"), Metadata: map[string]any{"k": "v"}, Expiry: expiry}); err != nil {
		return err
	}
	if err := t.put("a", "short"); err != nil {
		return err
	}
	r, err := t.one("a")
	if err != nil {
		return err
	}
	return casetest.Expect(string(r.Value) == "short" && len(r.Metadata) == 0 && r.Expiry == 0, "it is %+v", r)
}

func deletes(_ context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.delete("a") },
		func() error { return t.fill("a", "b") },
		func() error { return t.delete("a") },
		func() error { return t.lacks("a") },
		func() error { return t.delete("a") },
		func() error { return t.has("b", "b") },
		func() error { return t.lists(nil, "b") },
		func() error { return t.fill("a") },
		func() error { return t.has("a", "a") },
	)
}

func keepsMetadata(_ context.Context, s store.Store) error {
	t := newTable(s)
	given := map[string]any{"text": "wört \x00", "number": 1.5, "yes": true, "list": []any{"a", 1.0}, "map": map[string]any{"k": "v"}}
	if err := t.write(&store.Record{Key: "a", Value: []byte("a"), Metadata: given}); err != nil {
		return err
	}
	r, err := t.one("a")
	if err != nil {
		return err
	}
	found, err := t.read("a", store.ReadPrefix())
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%d records, error %w", len(found), err)
	}
	for _, got := range []map[string]any{r.Metadata, found[0].Metadata} {
		if !reflect.DeepEqual(got, given) {
			return fmt.Errorf("metadata %v: expected %v", got, given)
		}
	}
	return nil
}

func keepsApart(_ context.Context, s store.Store) error {
	base := "t" + newName()
	var tables []table
	for _, names := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", "a"}, {"A", "bc"}, {"a", "b"}} {
		tables = append(tables, table{s, base + names[0], names[1]})
	}
	for i, t := range tables {
		if err := t.put("key", fmt.Sprint(i)); err != nil {
			return err
		}
	}
	for i, t := range tables {
		if err := first(
			func() error { return t.has("key", fmt.Sprint(i)) },
			func() error { return t.lists(nil, "key") },
			func() error { return t.delete("key") },
			func() error { return t.lacks("key") },
		); err != nil {
			return fmt.Errorf("database %s, table %s: %w", t.database, t.name, err)
		}
	}
	return nil
}

func defaults(_ context.Context, s store.Store) error {
	key := newName()
	if err := s.Write(&store.Record{Key: key, Value: []byte("a")}); err != nil {
		return err
	}
	return first(
		func() error { return table{s, "micro", "micro"}.has(key, "a") },
		func() error { return table{s, "", ""}.has(key, "a") },
		func() error { return table{s, "", ""}.lists([]store.ListOption{store.ListPrefix(key)}, key) },
		func() error { return s.Delete(key) },
		func() error { return table{s, "micro", "micro"}.lacks(key) },
	)
}

func keepsInit(_ context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return s.Init(store.Table(t.name)) },
		func() error { return s.Init(store.Database(t.database)) },
		func() error { return s.Init() },
		func() error {
			o := s.Options()
			return casetest.Expect(o.Database == t.database && o.Table == t.name, "database %q, table %q", o.Database, o.Table)
		},
		func() error { return s.Write(&store.Record{Key: "a", Value: []byte("a")}) },
		func() error { return t.has("a", "a") },
		func() error {
			found, err := s.Read("a")
			return casetest.Expect(err == nil && len(found) == 1, "%d records, error %v", len(found), err)
		},
		func() error {
			keys, err := s.List()
			return casetest.Expect(err == nil && len(keys) == 1, "%d keys, error %v", len(keys), err)
		},
		func() error { return table{s, t.database, "other"}.lacks("a") },
		func() error { return s.Delete("a") },
		func() error { return t.lacks("a") },
	)
}

func copies(_ context.Context, s store.Store) error {
	t := newTable(s)
	value := []byte("value")
	given := &store.Record{Key: "a", Value: value, Metadata: map[string]any{"k": "v"}}
	if err := t.write(given); err != nil {
		return err
	}
	value[0] = 'x'
	given.Key, given.Metadata["k"] = "b", "x"
	for range 2 {
		r, err := t.one("a")
		if err != nil {
			return err
		}
		if string(r.Value) != "value" || len(r.Metadata) != 1 || fmt.Sprint(r.Metadata["k"]) == "x" {
			return fmt.Errorf("it is %+v", r)
		}
		r.Value[0] = 'y'
		r.Metadata["k"] = "x"
	}
	return nil
}

func anyBytes(_ context.Context, s store.Store) error {
	t := newTable(s)
	keys := []string{"\x00", "\x00\x00", "a\x00b", "\x80", "\xc3", "\xff", "\xff\xfe", "\xff\xff"}
	return first(
		func() error { return t.fill(keys...) },
		func() error { return t.has("\xc3", "\xc3") },
		func() error { return t.lists(nil, keys...) },
		func() error { return t.reads("\x00", []store.ReadOption{store.ReadPrefix()}, "\x00", "\x00\x00") },
		func() error {
			return t.reads("\xff", []store.ReadOption{store.ReadPrefix()}, "\xff", "\xff\xfe", "\xff\xff")
		},
		func() error { return t.reads("\xff\xff", []store.ReadOption{store.ReadPrefix()}, "\xff\xff") },
		func() error { return t.reads("\x00", []store.ReadOption{store.ReadSuffix()}, "\x00", "\x00\x00") },
		func() error { return t.delete("\xc3") },
		func() error { return t.lacks("\xc3") },
	)
}

func longKeys(_ context.Context, s store.Store) error {
	t := newTable(s)
	long := strings.Repeat("x", 1000)
	return first(
		func() error { return t.fill(long, long+"y") },
		func() error { return t.has(long, long) },
		func() error { return t.reads(long+"y", []store.ReadOption{store.ReadPrefix()}, long+"y") },
	)
}

func largeValues(_ context.Context, s store.Store) error {
	t := newTable(s)
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	if err := t.write(&store.Record{Key: "large", Value: value}); err != nil {
		return err
	}
	r, err := t.one("large")
	if err != nil {
		return err
	}
	return casetest.Expect(bytes.Equal(r.Value, value), "another value of %d bytes", len(r.Value))
}

func manyWriters(_ context.Context, s store.Store) error {
	const writers, each = 16, 20
	t := newTable(s)
	err := together(writers, func(i int) error {
		for n := range each {
			if err := t.fill(fmt.Sprintf("%02d/%02d", i, n)); err != nil {
				return err
			}
			if err := t.put("shared", fmt.Sprintf("%d/%d", i, n)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var want, last []string
	for i := range writers {
		for n := range each {
			want = append(want, fmt.Sprintf("%02d/%02d", i, n))
		}
		last = append(last, fmt.Sprintf("%d/%d", i, each-1))
	}
	r, err := t.one("shared")
	if err != nil {
		return err
	}
	if !slices.Contains(last, string(r.Value)) {
		return fmt.Errorf("what was written last is %q", r.Value)
	}
	return t.lists(nil, append(want, "shared")...)
}
