package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/m3o/backend/pkg/platform/kubernetes/static"
)

const (
	// user is whom a container runs as: nobody whom any machine knows.
	user = 65532
	// stateDir is where the processes of the platform keep what they have to.
	stateDir = "/var/lib/micro"
	// repository is what stands before an image's name.
	repository = "m3o/"
)

// The media types of the OCI image specification.
const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// epoch is when everything in an image was made, so that it is the same whenever that is.
var epoch = time.Unix(0, 0).UTC()

// image is what an image is made of.
type image struct {
	name, tag, binary string
	certificates      []byte
}

func (i image) reference() string { return repository + i.name + ":" + i.tag }

// object is JSON. Its fields are in the order of the alphabet, so always in the same.
type object = map[string]any

// write writes the image and returns the digest of its manifest, by which a registry knows it, and the bytes of its layer.
func (i image) write(file string) (digest string, size int, err error) {
	if err := static.Check(i.binary); err != nil {
		return "", 0, err
	}
	layer, content, err := i.layer()
	if err != nil {
		return "", 0, err
	}
	config := encode(i.config(content))
	manifest := encode(object{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": descriptor(configType, config), "layers": []object{descriptor(layerType, layer)},
	})
	described := descriptor(manifestType, manifest)
	described["annotations"] = object{
		"org.opencontainers.image.ref.name": i.tag, "io.containerd.image.name": "docker.io/" + i.reference(),
	}
	entries := []entry{{name: "oci-layout", content: encode(object{"imageLayoutVersion": "1.0.0"})}}
	for _, blob := range [][]byte{config, layer, manifest} {
		entries = append(entries, entry{name: blobName(blob), content: blob})
	}
	entries = append(entries,
		entry{name: "index.json", content: encode(object{
			"schemaVersion": 2, "mediaType": indexType, "manifests": []object{described},
		})},
		// Docker's own, which older versions of it look for.
		entry{name: "manifest.json", content: encode([]object{{
			"Config": blobName(config), "Layers": []string{blobName(layer)}, "RepoTags": []string{i.reference()},
		}})},
	)
	// As a whole or not at all.
	draft, err := os.CreateTemp(filepath.Dir(file), ".image-*")
	if err != nil {
		return "", 0, err
	}
	err = errors.Join(archive(draft, entries), draft.Chmod(0o644), draft.Close())
	if err == nil {
		err = os.Rename(draft.Name(), file)
	}
	if err != nil {
		return "", 0, errors.Join(err, os.Remove(draft.Name()))
	}
	return sum(manifest), len(layer), nil
}

// config is how a container of the image is run; content is the hash of its only layer before compression.
func (i image) config(content string) object {
	return object{
		"created": epoch.Format(time.RFC3339), "os": "linux", "architecture": runtime.GOARCH,
		"config": object{
			"User":       fmt.Sprintf("%d:%d", user, user),
			"Entrypoint": []string{"/bin/" + i.name},
			"WorkingDir": stateDir,
			"Env":        []string{"PATH=/bin", "HOME=" + stateDir, "MICRO_STATE=" + stateDir},
		},
		"rootfs":  object{"type": "layers", "diff_ids": []string{content}},
		"history": []object{{"created": epoch.Format(time.RFC3339), "created_by": "scripts/images"}},
	}
}

// layer returns the layer, compressed, and the hash of what it is uncompressed.
func (i image) layer() (compressed []byte, content string, err error) {
	binary, err := os.ReadFile(i.binary)
	if err != nil {
		return nil, "", err
	}
	account := fmt.Sprintf("micro:x:%d:%d::%s:/nologin\n", user, user, stateDir)
	entries := []entry{
		{name: "bin/", mode: 0o755},
		{name: "bin/" + i.name, mode: 0o755, content: binary},
		{name: "etc/", mode: 0o755},
		{name: "etc/group", content: fmt.Appendf(nil, "micro:x:%d:\n", user)},
		{name: "etc/passwd", content: []byte(account)}, // Micro wants a home
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", content: i.certificates},
		{name: "tmp/", mode: 0o1777},
		{name: "var/", mode: 0o755},
		{name: "var/lib/", mode: 0o755},
		{name: stateDir[1:] + "/", mode: 0o700, owner: user},
	}
	var out bytes.Buffer
	hash, zip := sha256.New(), gzip.NewWriter(&out)
	if err := errors.Join(archive(io.MultiWriter(zip, hash), entries), zip.Close()); err != nil {
		return nil, "", err
	}
	return out.Bytes(), "sha256:" + hex.EncodeToString(hash.Sum(nil)), nil
}

// entry is a file of an archive, or a directory when its name ends in a slash.
type entry struct {
	name    string
	mode    int64 // 0644 when it is 0
	owner   int
	content []byte
}

func archive(w io.Writer, entries []entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		header := &tar.Header{
			Name: e.name, Mode: e.mode, Uid: e.owner, Gid: e.owner, Size: int64(len(e.content)), ModTime: epoch,
			Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
		}
		if e.name[len(e.name)-1] == '/' {
			header.Typeflag = tar.TypeDir
		}
		if header.Mode == 0 {
			header.Mode = 0o644
		}
		if err := t.WriteHeader(header); err != nil {
			return err
		}
		if _, err := t.Write(e.content); err != nil {
			return err
		}
	}
	return t.Close()
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // of maps of strings and numbers: it never fails
	}
	return text
}

func sum(b []byte) string {
	hash := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(hash[:])
}

func blobName(b []byte) string { return "blobs/sha256/" + sum(b)[len("sha256:"):] }

func descriptor(mediaType string, b []byte) object {
	return object{"mediaType": mediaType, "digest": sum(b), "size": len(b)}
}
