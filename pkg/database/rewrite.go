package database

import (
	"bytes"
	"io"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// rewritten remembers what rewrite has made of a query. Queries are constants of the program, or built of few parts, so
// that there are few; maxRewritten is for the program that breaks the rule and puts values into them.
var (
	rewritten    sync.Map
	rewrites     int
	rewritesLock sync.Mutex
)

const maxRewritten = 10_000

// forUpdate is a clause that SQLite neither knows nor needs.
var forUpdate = regexp.MustCompile(`(?i)\s+FOR\s+UPDATE(\s+SKIP\s+LOCKED)?\b`)

// rewrite makes a query, as it is written for PostgreSQL, one of the dialect.
func (d Dialect) rewrite(query string) string {
	if d != SQLite {
		return query
	}
	if q, ok := rewritten.Load(query); ok {
		return q.(string)
	}
	inOrder := numberedInOrder(query)
	q := outsideQuotes(query, func(part string) string {
		part = forUpdate.ReplaceAllString(part, "")
		if inOrder {
			return numbered.ReplaceAllString(part, "?")
		}
		return strings.ReplaceAll(part, "$", "?")
	})
	rewritesLock.Lock()
	defer rewritesLock.Unlock()
	if rewrites < maxRewritten {
		rewrites++
		rewritten.Store(query, q)
	}
	return q
}

// numbered is a placeholder of an argument.
var numbered = regexp.MustCompile(`\$\d+`)

// numberedInOrder tells whether the arguments of a query stand in it one after the other, each once. Then they need no
// numbers, for each of which SQLite looks through all those before.
func numberedInOrder(query string) bool {
	next := 1
	outsideQuotes(query, func(part string) string {
		for _, found := range numbered.FindAllString(part, -1) {
			if next > 0 && found == "$"+strconv.Itoa(next) {
				next++
			} else {
				next = 0
			}
		}
		return part
	})
	return next > 0
}

// outsideQuotes applies f to the parts of a query that are not inside of quotes or double quotes.
func outsideQuotes(query string, f func(string) string) string {
	var b strings.Builder
	for query != "" {
		i := strings.IndexAny(query, `'"`)
		if i < 0 {
			b.WriteString(f(query))
			break
		}
		b.WriteString(f(query[:i]))
		// A doubled quote ends one text and begins the next, which comes to the same.
		end := strings.IndexByte(query[i+1:], query[i])
		if end < 0 {
			b.WriteString(query[i:])
			break
		}
		b.WriteString(query[i : i+end+2])
		query = query[i+end+2:]
	}
	return b.String()
}

var (
	// byteOrder is how a migration says that a text is ordered by its bytes.
	byteOrder = regexp.MustCompile(`(?i)\s+COLLATE\s+"C"`)
	// counted is how a migration says that rows are numbered.
	counted = regexp.MustCompile(`(?i)\bBIGSERIAL\b`)
)

// keyOnly is how a migration says that a table is kept in the index of its primary key.
const keyOnly = "/* WITHOUT ROWID */"

// forSQLite makes a migration, as it is written for PostgreSQL, one of SQLite.
func forSQLite(text []byte) []byte {
	text = counted.ReplaceAll(byteOrder.ReplaceAll(text, nil), []byte("INTEGER"))
	return bytes.ReplaceAll(text, []byte(keyOnly), []byte("WITHOUT ROWID"))
}

// rewrittenMigrations are migrations of which each is changed.
type rewrittenMigrations struct {
	fs.FS
	rewrite func(text []byte) []byte
}

func (m rewrittenMigrations) Open(name string) (fs.File, error) {
	f, err := m.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".sql") {
		return f, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &rewrittenFile{File: f, text: bytes.NewReader(m.rewrite(text))}, nil
}

// Glob and ReadDir are the ones of the file system inside; goose asks for them.
func (m rewrittenMigrations) Glob(pattern string) ([]string, error) { return fs.Glob(m.FS, pattern) }
func (m rewrittenMigrations) ReadDir(name string) ([]fs.DirEntry, error) {
	return fs.ReadDir(m.FS, name)
}

type rewrittenFile struct {
	fs.File
	text *bytes.Reader
}

func (f *rewrittenFile) Read(p []byte) (int, error) { return f.text.Read(p) }
