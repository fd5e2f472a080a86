package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/micro/micro/v3/service/store"

	kinds "github.com/m3o/backend/pkg/errors"
)

// failure is an error whose text has no user, no address with one and no value in it, as those of pgx have.
type failure struct {
	text  string
	cause error
	// away says that it is the server that cannot be used, and may be again.
	away bool
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

// As has callers of a core service told 503 while the server is away, whoever of Micro is in between.
func (f *failure) As(target any) bool {
	t, ok := target.(**kinds.Error)
	if !ok || !f.away {
		return false
	}
	*t = kinds.Unavailable("what is kept cannot be read or changed at the moment: try again").WithCause(f)
	return true
}

// Failure is how the text of every error begins that an open database returns, for those who get nothing but the text.
const Failure = "the store: "

// SQLSTATEs that are told apart.
const (
	diskFull       = "53100"
	tooMany        = "53300"
	readOnly       = "25006"
	noRights       = "42501"
	noSchema       = "3F000"
	noDatabase     = "3D000"
	noUser         = "28000"
	wrongPassword  = "28P01"
	classShutdown  = "57P" // shutting down, crashed, starting up
	queryCancelled = "57014"
)

// starting says why the database cannot be opened, and what is to be changed.
func (db *DB) starting(err error) error {
	text := db.reason(err)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case wrongPassword, noUser:
			text = fmt.Sprintf("PostgreSQL at %s does not let the user in: check the user and the sslmode of the address, the password"+
				" in PGPASSFILE or PGPASSWORD, and the server's pg_hba.conf", db.host)
		case noDatabase:
			text = fmt.Sprintf("PostgreSQL at %s has no database of that name: create it, or change the address", db.host)
		case noRights, noSchema:
			text = fmt.Sprintf("the user may not make or use the store's tables (%s): let it CREATE in the schema, or change the address",
				e.Message)
		}
	} else if isTLS(err) {
		text += ": check the sslmode, sslrootcert, sslcert and sslkey of the address"
	} else if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		text += ": check the address, and that the server runs"
	}
	return &failure{Variable + ": " + text, err, false}
}

// running says why something could not be done in an open database.
func (db *DB) running(err error) error {
	if err == nil || errors.Is(err, store.ErrNotFound) {
		return err
	}
	if _, ok := errors.AsType[*failure](err); ok {
		return err
	}
	db.distrust(err)
	return &failure{Failure + db.reason(err), err, away(err)}
}

// away says whether an error means that the server cannot be used at the moment.
func away(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == readOnly || e.Code == diskFull || e.Code == tooMany || strings.HasPrefix(e.Code, classShutdown)
	}
	_, isConnect := errors.AsType[*pgconn.ConnectError](err)
	return isConnect || lost(err) || errors.Is(err, errReadOnly) || errors.Is(err, context.DeadlineExceeded)
}

// distrust gives up the connections that there are when an error says that the server has gone, or that another one may have
// taken over.
func (db *DB) distrust(err error) {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if ok && e.Code == readOnly || errors.Is(err, context.DeadlineExceeded) || lost(err) {
		db.pool.Reset()
	}
}

// reason is what an error says, for people.
func (db *DB) reason(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return reasonOfServer(e)
	}
	_, isConnect := errors.AsType[*pgconn.ConnectError](err)
	switch {
	case errors.Is(err, errReadOnly):
		return "PostgreSQL at " + db.host + " " + errReadOnly.Error()
	case errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err):
		return "PostgreSQL at " + db.host + " does not answer in time"
	case isConnect:
		return "PostgreSQL at " + db.host + " cannot be reached: " + innermost(err)
	case lost(err):
		return "the connection to PostgreSQL at " + db.host + " broke: " + innermost(err)
	}
	return err.Error()
}

func reasonOfServer(e *pgconn.PgError) string {
	switch {
	case e.Code == diskFull:
		return "PostgreSQL's disk is full"
	case e.Code == tooMany:
		return "PostgreSQL has no connection left: raise its max_connections, or lower pool_max_conns in " + Variable
	case e.Code == readOnly:
		return "PostgreSQL " + errReadOnly.Error()
	case e.Code == queryCancelled:
		return "PostgreSQL has given up (" + e.Message + ")"
	case strings.HasPrefix(e.Code, classShutdown):
		return "PostgreSQL cannot be used at the moment (" + e.Message + ")"
	case slices.Contains([]string{"22", "23", "28"}, e.Code[:min(2, len(e.Code))]): // whose messages repeat values, or users
		return "PostgreSQL: SQLSTATE " + e.Code
	}
	return "PostgreSQL: SQLSTATE " + e.Code + ": " + e.Message
}

// unsent says whether an error means that nothing has got to the server.
func unsent(err error) bool {
	_, isConnect := errors.AsType[*pgconn.ConnectError](err)
	return !isConnect && pgconn.SafeToRetry(err)
}

// lost says whether an error means that a connection broke that had been made before.
func lost(err error) bool {
	if _, isConnect := errors.AsType[*pgconn.ConnectError](err); isConnect {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(e.Code, classShutdown)
	}
	_, isNet := errors.AsType[*net.OpError](err)
	return isNet || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err)
}

func isTLS(err error) bool {
	_, isCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, isAlert := errors.AsType[tls.AlertError](err)
	_, isRecord := errors.AsType[tls.RecordHeaderError](err)
	return isCertificate || isAlert || isRecord || strings.Contains(err.Error(), "TLS")
}

// innermost is the text of what is at the bottom of an error, below what pgx says of users and databases.
func innermost(err error) string {
	for {
		switch e := err.(type) { //nolint:errorlint // it goes down step by step
		case *net.OpError, *net.DNSError, *tls.CertificateVerificationError:
			return err.Error()
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				err = all[len(all)-1]
				continue
			}
			return err.Error()
		}
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// notFound makes the absence of a row the error that Micro knows.
func notFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return store.ErrNotFound
	}
	return err
}
