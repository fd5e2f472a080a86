package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/m3o/backend/pkg/internal/casetest"
)

// numbers is a blob that tells where each of its bytes belongs.
type numbers struct {
	seed byte
	at   int
	size int
	each func(at int) // called now and then
}

func (n *numbers) Read(p []byte) (int, error) {
	if n.at == n.size {
		return 0, io.EOF
	}
	p = p[:min(len(p), n.size-n.at)]
	for i := range p {
		p[i] = byte(n.at) ^ byte(n.at>>8) ^ byte(n.at>>16) ^ n.seed
		n.at++
		if n.at%(1<<20) == 0 && n.each != nil {
			n.each(n.at)
		}
	}
	return len(p), nil
}

func newBlob(seed byte, size int) []byte {
	all, err := io.ReadAll(&numbers{seed: seed, size: size})
	if err != nil {
		panic(err)
	}
	return all
}

// sameBytes reads a blob to its end and compares it.
func sameBytes(r io.Reader, want *numbers) error {
	got, expected := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, err := r.Read(got)
		if m, _ := io.ReadFull(want, expected[:n]); m < n || !bytes.Equal(got[:n], expected[:n]) {
			return fmt.Errorf("other bytes before %d", want.at)
		}
		if errors.Is(err, io.EOF) {
			return casetest.Expect(want.at == want.size, "it ends after %d bytes of %d", want.at, want.size)
		}
		if err != nil {
			return err
		}
	}
}
