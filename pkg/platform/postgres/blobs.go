package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/micro/micro/v3/service/store"
)

// chunk is how many bytes of a blob are in one row, and in memory.
const chunk = 1 << 20

// blobs is Micro's blob store.
type blobs struct{ db *DB }

// address checks which blob is meant.
func address(key string, opts []store.BlobOption) (store.BlobOptions, error) {
	var o store.BlobOptions
	for _, opt := range opts {
		opt(&o)
	}
	if key == "" {
		return o, store.ErrMissingKey
	}
	if o.Namespace == "" {
		o.Namespace = defaultName
	}
	return o, errors.Join(checkLength("namespace: a name", o.Namespace, MaxName), checkLength("key: one", key, MaxKey))
}

// Write writes a blob in place of the one that there is, which is read until all of this one is there. When Write fails
// because the connection broke or time ran out, either is there.
func (b blobs) Write(key string, blob io.Reader, opts ...store.BlobOption) error {
	o, err := address(key, opts)
	if err != nil {
		return err
	}
	// The first chunk is read before there is a transaction, which for most blobs then takes no longer than PostgreSQL does.
	w := &blobWriter{db: b.db, from: blob, buffer: make([]byte, chunk)}
	if err := w.fill(); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(context.Background(), timeoutMany)
	defer cancel()
	select {
	case b.db.writers <- struct{}{}:
		defer func() { <-b.db.writers }()
	case <-wait.Done():
		return &failure{fmt.Sprintf("the store: %d blobs are being written: try again later", cap(b.db.writers)), wait.Err(), true}
	}
	return b.db.running(w.write(key, o))
}

// blobWriter writes one blob.
type blobWriter struct {
	db   *DB
	from io.Reader
	// buffer has what comes next: less than a chunk at the end.
	buffer []byte
	ended  bool
}

// fill reads the next chunk.
func (w *blobWriter) fill() error {
	n, err := io.ReadFull(w.from, w.buffer[:chunk])
	w.buffer = w.buffer[:n]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		w.ended = true
		return nil
	}
	if err != nil {
		return &failure{fmt.Sprintf("read the blob: %v", err), err, false}
	}
	return nil
}

func (w *blobWriter) write(key string, o store.BlobOptions) error {
	var tx pgx.Tx
	if err := w.db.read(timeout, func(ctx context.Context) (err error) { // nothing is changed yet
		tx, err = w.db.pool.Begin(ctx)
		return err
	}); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		_ = tx.Rollback(ctx) // after a commit it fails by design, and else the connection is closed
	}()
	id, size, err := w.writeChunks(tx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeoutMany)
	defer cancel()
	namespace, name := []byte(o.Namespace), []byte(key)
	// Who replaces a blob waits here for others that replace it: between the next two statements there must be nobody.
	const lock = `
		SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || encode($1::bytea || '\x00' || $2::bytea, 'hex'), 0))`
	if _, err := tx.Exec(ctx, lock, namespace, name); err != nil {
		return err
	}
	const replace = `UPDATE store_blobs SET replaced = now() WHERE namespace = $1 AND key = $2 AND replaced IS NULL`
	if _, err := tx.Exec(ctx, replace, namespace, name); err != nil {
		return err
	}
	const insert = `INSERT INTO store_blobs (id, namespace, key, size, public, content_type) VALUES ($1, $2, $3, $4, $5, $6)`
	if _, err := tx.Exec(ctx, insert, id, namespace, name, size, o.Public, []byte(o.ContentType)); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// writeChunks writes what there is to read, and returns how it is found.
func (w *blobWriter) writeChunks(tx pgx.Tx) (id, size int64, err error) {
	step := func(f func(ctx context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.Background(), timeoutMany)
		defer cancel()
		return f(ctx)
	}
	err = step(func(ctx context.Context) error {
		// Whoever reads for ever from somewhere, or has died, does not keep a transaction open for ever.
		return tx.QueryRow(ctx, `
			SELECT nextval('store_blob_ids'), set_config('idle_in_transaction_session_timeout', '1min', true)`).Scan(&id, nil)
	})
	for number := 0; err == nil && len(w.buffer) > 0; number++ {
		err = step(func(ctx context.Context) error {
			_, err := tx.Exec(ctx, `INSERT INTO store_chunks (blob, number, data) VALUES ($1, $2, $3)`, id, number, w.buffer)
			return err
		})
		size += int64(len(w.buffer))
		w.buffer = w.buffer[:0]
		if err == nil && !w.ended {
			err = w.fill()
		}
	}
	return id, size, err
}

// Read returns what reads a blob as it is now, chunk by chunk. When the blob is replaced or deleted meanwhile it reads on,
// and fails when it has not come to the end some ten minutes later.
func (b blobs) Read(key string, opts ...store.BlobOption) (io.Reader, error) {
	o, err := address(key, opts)
	if err != nil {
		return nil, err
	}
	r := &blobReader{db: b.db}
	err = b.db.read(timeout, func(ctx context.Context) error {
		return notFound(b.db.pool.QueryRow(ctx, `
			SELECT b.id, b.size, c.data FROM store_blobs b LEFT JOIN store_chunks c ON c.blob = b.id AND c.number = 0
			WHERE b.namespace = $1 AND b.key = $2 AND b.replaced IS NULL`, []byte(o.Namespace), []byte(key)).
			Scan(&r.id, &r.left, &r.data))
	})
	if err != nil {
		return nil, err
	}
	r.left -= int64(len(r.data))
	r.next = 1
	return r, nil
}

// blobReader reads one blob. Nothing needs to be closed: it has no connection between two chunks.
type blobReader struct {
	db   *DB
	id   int64
	next int    // the number of the chunk that comes after data
	data []byte // what was read and not asked for yet
	left int64  // bytes after data
}

// Read never returns bytes together with io.EOF: Micro's RPC would lose them.
func (r *blobReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.data) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		if err := r.fetch(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *blobReader) fetch() error {
	err := r.db.read(timeout, func(ctx context.Context) error {
		const chunk = `SELECT data FROM store_chunks WHERE blob = $1 AND number = $2`
		return notFound(r.db.pool.QueryRow(ctx, chunk, r.id, r.next).Scan(&r.data))
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && len(r.data) == 0 {
		return errors.New("the blob was replaced or deleted more than ten minutes ago, before all of it was read")
	}
	if err != nil {
		return err
	}
	r.left -= int64(len(r.data))
	r.next++
	return nil
}

// Delete deletes a blob, if there is one.
func (b blobs) Delete(key string, opts ...store.BlobOption) error {
	o, err := address(key, opts)
	if err != nil {
		return err
	}
	return b.db.write(timeout, func(ctx context.Context) error {
		_, err := b.db.pool.Exec(ctx, `UPDATE store_blobs SET replaced = now() WHERE namespace = $1 AND key = $2 AND replaced IS NULL`,
			[]byte(o.Namespace), []byte(key))
		return err
	})
}

// List lists the keys of a namespace that begin with a prefix, in their order.
func (b blobs) List(opts ...store.BlobListOption) ([]string, error) {
	var o store.BlobListOptions
	for _, opt := range opts {
		opt(&o)
	}
	if o.Namespace == "" {
		o.Namespace = defaultName
	}
	text := `SELECT key FROM store_blobs WHERE replaced IS NULL AND namespace = $1 AND key >= $2`
	args := []any{[]byte(o.Namespace), []byte(o.Prefix)}
	if end := after(o.Prefix); end != nil {
		text += ` AND key < $3`
		args = append(args, end)
	}
	return b.db.keys(text+` ORDER BY key`, args)
}
