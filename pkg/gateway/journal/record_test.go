package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// written are records as they stand in a file, and where each ends.
func written(records [][]byte) (b []byte, ends []int) {
	for _, r := range records {
		b = appendRecord(b, r)
		ends = append(ends, len(b))
	}
	return b, ends
}

func someRecords(r *rapid.T) [][]byte {
	return rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 200), 1, 20).Draw(r, "records")
}

func total(all [][]byte) int { return len(bytes.Join(all, nil)) }

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		want := someRecords(r)
		b, _ := written(want)
		var got [][]byte
		for most := rapid.IntRange(1, 30).Draw(r, "most"); len(b) > 0; {
			records, damaged, size := take(b, most)
			require.Empty(r, damaged)
			require.LessOrEqual(r, len(records), most)
			got = append(got, records...)
			b = b[size:]
		}
		require.Equal(r, len(want), len(got))
		for i := range want {
			require.True(r, bytes.Equal(want[i], got[i]))
		}
	})
}

// Wherever a file is cut off, what was written whole is read, and the rest is handed over as damaged: no byte gets lost.
func TestCutOffAtEachByte(t *testing.T) {
	t.Parallel()
	records := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte{0xff, 'G', 'W', 1}, 20), []byte("four")}
	b, ends := written(records)
	for n := range len(b) + 1 {
		got, damaged, size := take(b[:n], 100)
		require.Equal(t, n, size)
		whole := 0
		for _, end := range ends {
			if end <= n {
				whole++
			}
		}
		require.Equal(t, records[:whole], append([][]byte{}, got...), "%d bytes", n)
		rest := n
		if whole > 0 {
			rest -= ends[whole-1]
		}
		require.Equal(t, rest, total(damaged))
	}
}

// Whichever bits are wrong, no record is read that was not written, and those that they are not in are all read.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		records := someRecords(r)
		b, ends := written(records)
		b = slices.Clone(b)
		hit := make(map[int]bool)
		for range rapid.IntRange(1, 4).Draw(r, "flips") {
			at := rapid.IntRange(0, len(b)-1).Draw(r, "at")
			b[at] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
			i, _ := slices.BinarySearch(ends, at+1)
			hit[i] = true
		}
		var want [][]byte
		for i, record := range records {
			if !hit[i] {
				want = append(want, record)
			}
		}
		got, _, size := take(b, len(records)+1)
		require.Equal(r, len(b), size)
		// A bit may have been flipped back.
		for _, record := range got {
			require.True(r, slices.ContainsFunc(records, func(other []byte) bool { return bytes.Equal(record, other) }))
		}
		require.GreaterOrEqual(r, len(got), len(want))
		for _, record := range want {
			require.True(r, slices.ContainsFunc(got, func(other []byte) bool { return bytes.Equal(record, other) }))
		}
	})
}

func FuzzTake(f *testing.F) {
	b, _ := written([][]byte{[]byte("one"), []byte("two")})
	f.Add(b, 1)
	f.Add(b[1:], 5)
	f.Add(append([]byte("garbage"), b...), 5)
	f.Fuzz(func(t *testing.T, b []byte, most int) {
		records, damaged, size := take(b, most)
		require.LessOrEqual(t, size, len(b))
		require.Equal(t, size, total(damaged)+total(records)+headerBytes*len(records))
		if most > 0 && len(b) > 0 {
			require.Positive(t, size, "it goes on")
		}
	})
}

// A journal whose file has something wrong hands on all the rest.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	for _, r := range []string{"one", "two", "three"} {
		add(t, first, r)
	}
	name := first.active.path()
	abandon(t, first)
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	b[headerBytes+3+headerBytes] ^= 1 // in "two"
	require.NoError(t, os.WriteFile(filepath.Clean(name), append(b, mark...), 0o600))

	second := open(t, dir)
	batch, err := second.Next(10)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "three"}, texts(batch))
	require.Equal(t, [][]byte{b[headerBytes+3 : headerBytes+3+headerBytes+3], mark}, batch.Damaged)
	require.NoError(t, second.Done(batch))
	require.NoFileExists(t, name)
}
