package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

const (
	// MaxRecord is how many bytes a record has at most.
	MaxRecord = 2048
	// headerBytes is what stands before a record: a mark, its length, and a checksum of its length and itself.
	headerBytes = 12
	// mostBytes is what a record takes at most.
	mostBytes = headerBytes + MaxRecord
)

// mark is what each record begins with, so that records are found behind damaged ones. It is no text.
var mark = []byte{0xff, 'G', 'W', 0x01}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends a record as it is written.
func appendRecord(b, record []byte) []byte {
	b = append(b, mark...)
	length := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(record)))
	sum := crc32.Update(crc32.Checksum(b[length:], castagnoli), castagnoli, record)
	b = binary.BigEndian.AppendUint32(b, sum)
	return append(b, record...)
}

// first returns the record that b begins with, and how many bytes it takes; false if there is none.
func first(b []byte) (record []byte, size int, ok bool) {
	if len(b) < headerBytes || !bytes.HasPrefix(b, mark) {
		return nil, 0, false
	}
	length := binary.BigEndian.Uint32(b[len(mark):])
	if length > MaxRecord || len(b) < headerBytes+int(length) {
		return nil, 0, false
	}
	size = headerBytes + int(length)
	record = b[headerBytes:size:size]
	sum := crc32.Update(crc32.Checksum(b[len(mark):len(mark)+4], castagnoli), castagnoli, record)
	return record, size, sum == binary.BigEndian.Uint32(b[len(mark)+4:])
}

// damage tells how many bytes at the beginning of b belong to no record: up to the next one, or all.
func damage(b []byte) int {
	for from := 1; from < len(b); {
		i := bytes.Index(b[from:], mark)
		if i < 0 {
			break
		}
		if _, _, ok := first(b[from+i:]); ok {
			return from + i
		}
		from += i + 1
	}
	return len(b)
}

// take takes at most so many records from the beginning of b, and what is damaged before and between them, and tells how many
// bytes that is.
func take(b []byte, most int) (records, damaged [][]byte, size int) {
	for size < len(b) && len(records) < most {
		if record, n, ok := first(b[size:]); ok {
			records = append(records, record)
			size += n
			continue
		}
		n := damage(b[size:])
		damaged = append(damaged, b[size:size+n:size+n])
		size += n
	}
	return records, damaged, size
}
