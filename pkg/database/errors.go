package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/mattn/go-sqlite3"

	kinds "github.com/m3o/backend/pkg/errors"
)

// Constraint is a sort of rule that a table has.
type Constraint string

// The sorts of constraints.
const (
	Unique     Constraint = "unique"
	ForeignKey Constraint = "foreign key"
	NotNull    Constraint = "not null"
	Check      Constraint = "check"
)

// ConstraintError says that a change was refused because it breaks a rule of a table.
type ConstraintError struct {
	// Constraint is the sort of rule.
	Constraint Constraint
	// Table is the table; empty where the database does not say, as SQLite for foreign keys and checks.
	Table string
	// Columns are the columns of the rule; empty where the database does not say.
	Columns []string
	cause   error
}

// Error says which rule was broken, and not by what.
func (e *ConstraintError) Error() string {
	return fmt.Sprintf("%s constraint failed: %s(%s)", e.Constraint, e.Table, strings.Join(e.Columns, ", "))
}

// Unwrap returns the driver's error.
func (e *ConstraintError) Unwrap() error { return e.cause }

// IsUnique says whether err comes from a row that would have had the same value in these columns as another.
func IsUnique(err error, columns ...string) bool {
	e, ok := errors.AsType[*ConstraintError](err)
	return ok && e.Constraint == Unique && slices.Equal(e.Columns, columns)
}

// driverError is an error of PostgreSQL without the values that its text may repeat.
type driverError struct {
	text  string
	cause error
}

func (e *driverError) Error() string { return e.text }
func (e *driverError) Unwrap() error { return e.cause }

// translate makes an error of either driver one that does not depend on the driver and contains no values.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		if away(err) {
			return errAway.WithCause(translatePostgres(e))
		}
		return translatePostgres(e)
	}
	if e, ok := errors.AsType[sqlite3.Error](err); ok {
		return translateSQLite(e)
	}
	if away(err) {
		return errAway.WithCause(err)
	}
	return err
}

// errAway is what callers are told while PostgreSQL cannot be used. It does not say that nothing was changed, as a commit may
// have got there whose answer has not come back.
var errAway = kinds.Unavailable("what is kept cannot be read or changed at the moment: try again")

// readOnly is what a server says that takes no changes: a standby, or one that somebody else takes over from.
const readOnly = "25006"

// away says whether an error means that PostgreSQL cannot be used at the moment: it is not there, or the connection broke,
// or it has said that it is full or about to stop.
func away(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		// The classes are those of connections, of lacking resources (disk, memory, connections), and of an operator's will.
		return e.Code == readOnly || strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "53") || strings.HasPrefix(e.Code, "57P")
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return !errors.Is(err, context.Canceled)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	_, isNet := errors.AsType[*net.OpError](err)
	return isNet || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

func translatePostgres(e *pgconn.PgError) error {
	constraint, ok := map[string]Constraint{
		"23505": Unique, "23503": ForeignKey, "23502": NotNull, "23514": Check,
	}[e.Code]
	if !ok {
		text := "PostgreSQL: SQLSTATE " + e.Code
		// Class 22 is about the data and repeats it.
		if !strings.HasPrefix(e.Code, "22") {
			text += ": " + e.Message
		}
		return &driverError{text, e}
	}
	c := &ConstraintError{Constraint: constraint, Table: e.TableName, cause: e}
	// The detail is "Key (a, b)=(...) already exists.", whatever the language of the words.
	if _, rest, ok := strings.Cut(e.Detail, "("); ok && constraint == Unique {
		if columns, _, ok := strings.Cut(rest, ")="); ok {
			c.Columns = strings.Split(columns, ", ")
		}
	}
	if e.ColumnName != "" {
		c.Columns = []string{e.ColumnName}
	}
	return c
}

func translateSQLite(e sqlite3.Error) error {
	constraint, ok := map[sqlite3.ErrNoExtended]Constraint{
		sqlite3.ErrConstraintUnique:     Unique,
		sqlite3.ErrConstraintPrimaryKey: Unique,
		sqlite3.ErrConstraintRowID:      Unique,
		sqlite3.ErrConstraintForeignKey: ForeignKey,
		sqlite3.ErrConstraintNotNull:    NotNull,
		sqlite3.ErrConstraintCheck:      Check,
	}[e.ExtendedCode]
	if !ok {
		return e
	}
	c := &ConstraintError{Constraint: constraint, cause: e}
	// The text is "UNIQUE constraint failed: table.a, table.b".
	if _, names, ok := strings.Cut(e.Error(), ": "); ok && (constraint == Unique || constraint == NotNull) {
		for name := range strings.SplitSeq(names, ", ") {
			table, column, _ := strings.Cut(name, ".")
			c.Table = table
			c.Columns = append(c.Columns, column)
		}
	}
	return c
}

// Passing says whether the same transaction may well succeed when it is tried again at once.
func Passing(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		// Serialization failure, deadlock, lock not available.
		return e.Code == "40001" || e.Code == "40P01" || e.Code == "55P03"
	}
	if e, ok := errors.AsType[sqlite3.Error](err); ok {
		return e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrLocked
	}
	return false
}
