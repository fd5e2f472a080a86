package postgres

import (
	"math"
	"strconv"
)

// selection is which records of a table are read or listed. One whose time has come is none of them.
type selection struct {
	database, table []byte
	prefix, suffix  string
	limit, offset   uint // no limit is 0
	descending      bool
}

// sql makes the query. There are few texts of it, so that each is prepared once on a connection; what is looked for is always
// an argument. A prefix is a range of the primary key, which is read no further than limit and offset say. For a suffix the
// keys within the prefix are gone through.
func (s selection) sql(columns string) (string, []any) {
	text := "SELECT " + columns +
		" FROM store_records WHERE in_database = $1 AND in_table = $2 AND (expires IS NULL OR expires > now())"
	args := []any{s.database, s.table}
	argument := func(value any) string {
		args = append(args, value)
		return "$" + strconv.Itoa(len(args))
	}
	if s.prefix != "" {
		text += " AND key >= " + argument([]byte(s.prefix))
		if end := after(s.prefix); end != nil {
			text += " AND key < " + argument(end)
		}
	}
	if s.suffix != "" {
		text += " AND " + endsWith(argument([]byte(s.suffix)))
	}
	text += " ORDER BY key"
	if s.descending {
		text += " DESC"
	}
	if s.limit > 0 {
		text += " LIMIT " + argument(int64(min(s.limit, math.MaxInt64)))
	}
	if s.offset > 0 {
		text += " OFFSET " + argument(int64(min(s.offset, math.MaxInt64)))
	}
	return text, args
}

// endsWith is the condition that a key ends with an argument. Where the key is shorter, all of it is compared.
func endsWith(argument string) string {
	return "substring(key FROM length(key) - length(" + argument + "::bytea) + 1) = " + argument
}

// after is the first key after all those that begin with a prefix; nil when there is none.
func after(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < math.MaxUint8 {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}
