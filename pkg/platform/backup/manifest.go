package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// format is the version of what an archive looks like. A program refuses one that it does not know.
const format = 1

// manifestName is the last file of an archive: one without it was not finished.
const manifestName = "manifest.json"

// Manifest says what an archive has.
type Manifest struct {
	// Format is the version of the archive's form.
	Format int `json:"format"`
	// Profile is that of the platform.
	Profile string `json:"profile"`
	// Taken is the instant that everything in the archive is of.
	Taken time.Time `json:"taken"`
	// Frozen is for how long the platform stood still for it, in ms; 0 when it did not run, or not here.
	Frozen int64 `json:"frozen_ms"`
	// Program is the version of the program that has made the archive.
	Program string `json:"program"`
	// Databases are those of PostgreSQL, by name, and Topics those of the event stream in Redis. Each has a file.
	Databases []Part `json:"databases,omitempty"`
	Topics    []Part `json:"topics,omitempty"`
	// Files are all files in the order in which they are in the archive, but the manifest.
	Files []File `json:"files"`
}

// Part is a database or a topic.
type Part struct {
	Name string `json:"name"`
	File string `json:"file"`
}

// File is a file of the archive.
type File struct {
	Name   string      `json:"name"` // with slashes, as in state/keys/root
	Mode   fs.FileMode `json:"mode"`
	Size   int64       `json:"size"`
	SHA256 string      `json:"sha256"`
	// Schemas are the versions of the schemas in a database of SQLite, by the names of the tables that have them.
	Schemas map[string]int64 `json:"schemas,omitempty"`
}

// Bytes is how much there is in all files.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// pack writes what is below dir into an archive, with a manifest of it, which it completes.
func pack(dir, archive string, m *Manifest) (err error) {
	f, err := os.OpenFile(archive, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file, err := add(w, path, filepath.ToSlash(name))
		if err != nil {
			return err
		}
		m.Files = append(m.Files, file)
		return nil
	})
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	header := &tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(text)), ModTime: m.Taken, Format: tar.FormatPAX}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return errors.Join(w.Close(), f.Sync())
}

// add adds a file and says what it is.
func add(w *tar.Writer, path, name string) (File, error) {
	schemas, err := schemasOf(path)
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", name, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	header := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime(), Format: tar.FormatPAX}
	if err := w.WriteHeader(header); err != nil {
		return File{}, err
	}
	sum := sha256.New()
	if _, err := io.Copy(w, io.TeeReader(f, sum)); err != nil {
		return File{}, err
	}
	return File{
		Name: name, Mode: info.Mode().Perm(), Size: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil)), Schemas: schemas,
	}, nil
}

// unpack writes the files of an archive below dir, which is there and empty, and makes sure that they are those of the
// manifest, all of them and no others.
func unpack(archive, dir string) (*Manifest, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	found := make(map[string]File)
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it has no manifest: it was not finished")
		}
		if err != nil {
			return nil, fmt.Errorf("it cannot be read: %w", err)
		}
		if header.Name == manifestName {
			m := new(Manifest)
			if err := json.NewDecoder(r).Decode(m); err != nil {
				return nil, fmt.Errorf("its manifest cannot be read: %w", err)
			}
			return m, m.verify(found)
		}
		if header.Typeflag != tar.TypeReg || !filepath.IsLocal(header.Name) {
			return nil, fmt.Errorf("%q is no file of a backup", header.Name)
		}
		if found[header.Name], err = extract(r, filepath.Join(dir, filepath.FromSlash(header.Name)), header); err != nil {
			return nil, fmt.Errorf("%s cannot be read: %w", header.Name, err)
		}
	}
}

// extract writes a file of an archive.
func extract(r io.Reader, path string, header *tar.Header) (_ File, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return File{}, err
	}
	mode := header.FileInfo().Mode().Perm()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return File{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), r)
	if err != nil {
		return File{}, err
	}
	return File{Mode: mode, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, f.Sync()
}

// verify makes sure that what was found is what the manifest says.
func (m *Manifest) verify(found map[string]File) error {
	if m.Format != format {
		return fmt.Errorf("it is of format %d, this program reads %d: use the program %s that has made it", m.Format, format, m.Program)
	}
	for _, want := range m.Files {
		got, ok := found[want.Name]
		if !ok {
			return fmt.Errorf("%s is missing", want.Name)
		}
		if got.Size != want.Size || got.SHA256 != want.SHA256 {
			return fmt.Errorf("%s is damaged: it is not what was backed up", want.Name)
		}
	}
	if len(found) != len(m.Files) {
		return fmt.Errorf("there are %d files, the manifest has %d", len(found), len(m.Files))
	}
	for _, p := range append(append([]Part(nil), m.Databases...), m.Topics...) {
		if _, ok := found[p.File]; !ok {
			return fmt.Errorf("%s is missing", p.File)
		}
	}
	return nil
}
