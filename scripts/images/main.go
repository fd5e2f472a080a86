// Images makes a container image of the platform's binary and of each service, without a container engine and without a base
// image, which nobody has to trust, update or be able to download:
//
//	images [-dir bin/images] [-tag dev] SERVICE...
//
// An image is one layer: a static binary, the certificates of the authorities that the building machine trusts, a user and a
// directory for its state. There is no shell in it. The same source, compiler and certificates make the same image, byte by
// byte.
//
// Each is a file that `docker load`, `podman load`, `ctr images import` and `skopeo copy oci-archive:` take: an OCI image layout
// with Docker's manifest beside it. For each a line is printed: its name, its digest and the bytes that are transferred.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/m3o/backend/pkg/platform/kubernetes/static"
)

func main() {
	dir := flag.String("dir", "bin/images", "where the images are written")
	tag := flag.String("tag", "dev", "the images' tag")
	flag.Parse()
	if err := run(*dir, *tag, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(dir, tag string, services []string) error {
	certificates, err := authorities()
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "images-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // of no use any more
	packages := []string{"./pkg/platform/micro"}
	for _, s := range services {
		packages = append(packages, "./"+s)
	}
	if err := build(tmp, packages); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Concat([]string{"micro"}, services) {
		i := image{name: name, tag: tag, binary: filepath.Join(tmp, name), certificates: certificates}
		file := filepath.Join(dir, name+".tar")
		digest, size, err := i.write(file)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Printf("%-20s %s %10d bytes  %s\n", i.reference(), digest, size, file)
	}
	return nil
}

// build builds static binaries into a directory, the same ones whenever and wherever that is.
func build(dir string, packages []string) error {
	if runtime.GOOS != "linux" {
		return errors.New("images are built on Linux: SQLite is compiled by the C compiler of the machine")
	}
	args := slices.Concat([]string{
		"build", "-trimpath", "-tags", static.Tags, "-ldflags", static.Flags + " -buildid= -B none",
		"-o", dir + string(filepath.Separator),
	}, packages)
	cmd := exec.Command("go", args...) //nolint:noctx // it ends by itself
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return nil
}

// authorities are the certificates that this machine trusts, where Linux distributions have them.
func authorities() ([]byte, error) {
	for _, name := range []string{
		os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
	} {
		if text, err := os.ReadFile(cmp.Or(name, "/dev/null")); err == nil && len(text) > 0 { //nolint:gosec // certificates are public
			return text, nil
		}
	}
	return nil, errors.New("no certificates of authorities were found: install ca-certificates, or name the file in SSL_CERT_FILE")
}
