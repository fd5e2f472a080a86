package database

import (
	"iter"
	"strconv"
	"strings"
	"sync"
)

// chunkSizes are the numbers of rows that statements are made for.
var chunkSizes = []int{1000, 250, 64, 16, 4, 1}

// Chunks cuts n rows into pieces of few sizes, from (inclusive) to (exclusive), the largest of 1,000 rows: few, so that
// there are few statements to prepare and to remember.
func Chunks(n int) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		from := 0
		for _, size := range chunkSizes {
			for n-from >= size {
				if !yield(from, from+size) {
					return
				}
				from += size
			}
		}
	}
}

var lists sync.Map

type shape struct{ rows, columns int }

// Values returns the list of a statement that takes rows of so many arguments: ($1, $2), ($3, $4), ... It is for the
// numbers of rows that Chunks gives; SQLite takes 32,766 arguments, PostgreSQL 65,535.
func Values(rows, columns int) string {
	key := shape{rows, columns}
	if list, ok := lists.Load(key); ok {
		return list.(string)
	}
	var b strings.Builder
	for i := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for j := range columns {
			if j > 0 {
				b.WriteString(", ")
			}
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(i*columns + j + 1))
		}
		b.WriteByte(')')
	}
	list, _ := lists.LoadOrStore(key, b.String())
	return list.(string)
}
