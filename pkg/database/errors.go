package database

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/mattn/go-sqlite3"
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
		return translatePostgres(e)
	}
	if e, ok := errors.AsType[sqlite3.Error](err); ok {
		return translateSQLite(e)
	}
	return err
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
