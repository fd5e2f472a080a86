// Package postgres is the store and the blob store of the platform profile: Micro's interfaces on tables of one PostgreSQL
// database, which all processes of the platform share.
//
//	config, err := postgres.ReadConfig() // MICRO_POSTGRES_ADDRESS
//	db, err := postgres.Open(ctx, config)
//	store.DefaultStore, store.DefaultBlobStore = db.Store(), db.Blobs()
//
// A process opens it once. What a service keeps in SQL is not here: it has a database of its own (pkg/database).
//
// # Records
//
// All records are rows of one table, whose primary key is database, table and key, as bytes: nothing has to be created before
// it is written to, keys are ordered as Go orders strings, and no byte of a prefix or a suffix means anything but itself. A
// prefix costs what it finds, up to limit and offset; what is skipped by an offset is read. A suffix goes through all keys of
// the table, or of the prefix that is given with it. The limits are MaxKey, MaxName and MaxValue; what is longer is refused.
// Reading a table without a limit takes the memory that all of it takes.
//
// What Write and Delete have acknowledged is on PostgreSQL's disk. Of two that write the same record at the same time one wins,
// with value, metadata and expiry. When a Write or a Delete fails because the connection broke or time ran out, nobody knows
// whether it was done: it may be repeated, unless others write the same record. It is not repeated here, but for when it has
// not left this process; what only reads is tried up to three times.
//
// # Expiry
//
// A record expires by the clock of the database, which is one for all processes, to the microsecond. From then on it is not
// read, not listed, and not counted by limit and offset, whether or not its row has been removed: once a minute some process
// removes what has expired, in small transactions of which no two run at a time. When the database's clock jumps, expiry does.
//
// # Blobs
//
// A blob is read and written in chunks of 1 MiB, of which a few are in memory, whatever its size. It is written in one
// transaction: others see all of it, or what was there before. Half of a process's connections may be busy with that; a blob
// that waits for its place for a minute, or whose bytes do not come for a minute, is given up. Of two that are written at the
// same time the one stays that is finished last.
//
// Who reads a blob reads the one that there was when Read returned, to its end, without a connection between two chunks. When
// it is replaced or deleted meanwhile its chunks are kept for ten minutes more, as long as their space; who is slower than that
// gets an error, never another blob's bytes.
//
// # Who may be wrong, and for how long
//
// A connection that breaks is noticed when it is used, and one that was idle for a second is tried before. What only reads is
// then done again, over a new one; a change that was sent fails, and the next one is made over a new one as well.
// A host that has died without a word is given 2 s by an operation that finds an idle connection, 10 s by one that uses it at
// the time, and a minute by one that reads many records. What gets no answer in its time fails, and no other connection of that
// time is used again. With several hosts in the address and target_session_attrs=read-write the one that takes changes is
// looked for; a server that has become a standby is noticed by the first change that it refuses. Passwords and certificates are
// read for each new connection, and connections are used for half an hour.
//
// A synchronous standby that has acknowledged is PostgreSQL's business (synchronous_commit): with an asynchronous one, what was
// acknowledged within its lag is lost when it takes over.
//
// Locks are those of transactions, but while the tables are brought up to date, and statements are prepared: a pooler in
// between has to keep sessions.
//
// # Errors
//
// Open says what is wrong in one sentence that names the variable, within some 5 s. No error has a password, a user, a key or a
// value in it.
package postgres
