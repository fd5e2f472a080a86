// Package database opens the SQL database of a service: a SQLite file below the state directory, or the PostgreSQL
// database whose address is set in Micro's configuration. Where it is comes from Micro (service/model/sql); how it is
// used is the same on both.
//
//	db, err := database.Open("customers", migrations.FS)
//	err = db.Tx(ctx, func(ctx context.Context, tx database.Querier) error { ... })
//	row := db.Read().QueryRow(ctx, `SELECT name FROM customers_customers WHERE id = $1`, id)
//
// # SQL
//
// SQL is written once, by hand, for PostgreSQL, in the subset that SQLite knows as well. Two things that only
// PostgreSQL knows are translated:
//
//   - $1, $2, ... stand for arguments in any order and as often as needed. (SQLite would number them in the order in
//     which it meets them, whatever their names say.)
//   - FOR UPDATE, which SQLite does without: nobody else writes during a transaction of ours.
//
// In migrations, and only there, COLLATE "C" says that a text is ordered by its bytes, which SQLite does anyway. A
// column that is paged or searched by prefix has to have it: other orders differ from one PostgreSQL server to the next,
// and cannot use an index for a prefix. BIGSERIAL PRIMARY KEY numbers rows; SQLite begins again at 1 when the table is
// empty. /* WITHOUT ROWID */ behind a table keeps it on SQLite in the index of its primary key, which is worth it for
// small rows that are never looked for otherwise.
//
// Statements that take many rows at once are cut into few sizes (Chunks, Values), each of which is prepared once.
//
// Every table is named <service>_<table>, and its times are BIGINT, in microseconds since 1970 UTC.
//
// # What it guarantees
//
// What Tx has committed is on disk: a process that is killed, and on SQLite a machine that loses its power, loses
// nothing that Tx has returned from (WAL with synchronous=FULL). When Tx returns an error, nothing was changed, with one
// exception: when the connection to PostgreSQL breaks during the commit itself, nobody knows. So what a transaction does
// has to bear being done again, which a retrying caller asks for anyway.
//
// On SQLite there is one writer at a time, on a connection of its own, and it has the database's write lock from its
// first statement. Other writers of the process queue for the connection for as long as their context lives, writers of
// other processes for busyTimeout, and then again. Readers are not blocked by the writer, nor it by them; what Read
// sees is what was last committed.
//
// On PostgreSQL transactions are READ COMMITTED. Whoever reads a row to change it takes FOR UPDATE, or compares in the
// UPDATE what it has read.
//
// Tx runs its function again when the database asks for that (a deadlock, a serialization failure, a lock that was not
// to be had), at most maxAttempts times and not after the end of the context. So the function must not do anything
// outside the database: no RPC, no event, no file.
//
// # Migrations
//
// Open brings the schema up to what the binary knows, each migration in a transaction of its own; when several
// processes start at once, one does it and the others wait. A database that is newer than the binary is refused, so that
// an old binary never works on a schema it does not know. A rolling upgrade therefore starts the new binary while the old
// one still runs: a migration must leave the old binary working, which can be checked by its tests only.
//
// # Errors
//
// Violated constraints are *ConstraintError, on both databases alike. No error contains a value: what PostgreSQL says
// of the data is left out.
package database
