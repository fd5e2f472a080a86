// Package files is the blob store of the embedded profile: Micro's interface on files below one directory. Micro's own reads
// each blob into memory, and lists none.
//
// A blob is a file, whose name is the SHA-256 of its key, in a directory whose name is that of its namespace's; the key itself
// comes first in the file. It is written beside and put in its place when it is on the disk: others see all of it, or what was
// there before, also after a crash. Who reads a blob reads the one that there was when Read returned, to its end.
package files

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/micro/micro/v3/service/store"
)

// MaxKey is how many bytes a key may have.
const MaxKey = 2000

// draft begins the names of files that are being written.
const draft = ".draft-"

// Blobs is Micro's blob store below a directory, which is made when it is first written to. What is public about a blob and of
// what type it is is not kept. It may be used by many goroutines and processes at once.
type Blobs struct{ Dir string }

var _ store.BlobStore = Blobs{}

var errTooLong = fmt.Errorf("key: expected at most %d bytes", MaxKey)

func name(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// directory is that of a namespace; Micro's default is that of whoever names none.
func (b Blobs) directory(namespace string) string {
	return filepath.Join(b.Dir, name(cmp.Or(namespace, "micro")))
}

// place returns the directory and the file of a blob.
func (b Blobs) place(key string, opts []store.BlobOption) (dir, file string, err error) {
	var o store.BlobOptions
	for _, f := range opts {
		f(&o)
	}
	switch {
	case key == "":
		return "", "", store.ErrMissingKey
	case len(key) > MaxKey:
		return "", "", errTooLong
	}
	dir = b.directory(o.Namespace)
	return dir, filepath.Join(dir, name(key)), nil
}

// Write keeps what it reads, in the place of what was there before. Nothing is changed when it fails.
func (b Blobs) Write(key string, blob io.Reader, opts ...store.BlobOption) (err error) {
	dir, file, err := b.place(key, opts)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write a blob: %w", err)
	}
	tmp, err := os.CreateTemp(dir, draft+"*")
	if err != nil {
		return fmt.Errorf("write a blob: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write a blob: %w", errors.Join(err, os.Remove(tmp.Name())))
		}
	}()
	_, err = tmp.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(key))), key...))
	if err == nil {
		_, err = io.Copy(tmp, blob)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

// Read returns a blob; store.ErrNotFound when there is none. Its file is closed at its end, or after it has been forgotten.
func (b Blobs) Read(key string, opts ...store.BlobOption) (io.Reader, error) {
	_, file, err := b.place(key, opts)
	if errors.Is(err, errTooLong) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	f, _, err := open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read a blob: %w", err)
	}
	return &closing{f}, nil
}

// open opens a blob's file behind its key.
func open(file string) (*os.File, string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, "", err
	}
	var length uint32
	if err = binary.Read(f, binary.BigEndian, &length); err == nil && length > MaxKey {
		err = errors.New("the file is damaged")
	}
	key := make([]byte, min(length, MaxKey))
	if err == nil {
		_, err = io.ReadFull(f, key)
	}
	if err != nil {
		return nil, "", errors.Join(err, f.Close())
	}
	return f, string(key), nil
}

// closing closes a file at its end. One that is not read to its end is closed by the garbage collector.
type closing struct{ file *os.File }

// Read implements io.Reader.
func (c *closing) Read(p []byte) (int, error) {
	if c.file == nil {
		return 0, io.EOF
	}
	n, err := c.file.Read(p)
	if err != nil {
		_ = c.file.Close() // it was only read
		c.file = nil
	}
	return n, err
}

// WriteTo implements io.WriterTo.
func (c *closing) WriteTo(w io.Writer) (int64, error) {
	return bufio.NewReaderSize(struct{ io.Reader }{c}, 1<<16).WriteTo(w)
}

// Delete removes a blob; that there is none is no error.
func (b Blobs) Delete(key string, opts ...store.BlobOption) error {
	_, file, err := b.place(key, opts)
	if errors.Is(err, errTooLong) {
		return nil // there can be none
	}
	if err != nil {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete a blob: %w", err)
	}
	return nil
}

// List returns the keys of a namespace that begin with a prefix, in order; none of a namespace that nobody has written to.
func (b Blobs) List(opts ...store.BlobListOption) ([]string, error) {
	var o store.BlobListOptions
	for _, f := range opts {
		f(&o)
	}
	dir := b.directory(o.Namespace)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	keys := []string{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), draft) {
			continue
		}
		f, key, err := open(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was just deleted
		}
		if err != nil {
			return nil, fmt.Errorf("list blobs: %w", err)
		}
		_ = f.Close() // it was only read
		if strings.HasPrefix(key, o.Prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}
