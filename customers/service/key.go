package service

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"hash/crc32"
	"math/big"
	"strings"
	"time"
)

// A key is its prefix, by which it is recognised where it should not be; 256 bits of chance; and a checksum of all before it,
// by which one that was mistyped or cut is refused without being looked for. The last two are numbers of base 62 with
// all their digits.
const (
	keyPrefix = "mk_"
	keyDigits = 43 // 62^43 > 2^256
	keySum    = 6  // 62^6 > 2^32
	keyLength = len(keyPrefix) + keyDigits + keySum
	// keyShown is how many bytes of a key are shown to its owner later: 48 bits, which say nothing about the others.
	keyShown = len(keyPrefix) + 8
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Key is an API key as it is kept: without what it is called with.
type Key struct {
	ID          string // a UUID of version 7, in lower case
	CustomerID  string
	Prefix      string   // what the key begins with
	Scopes      []string // at least one
	Description string
	Created     time.Time // UTC, to the microsecond
	Expires     time.Time // UTC; zero for never
	LastSeen    time.Time // UTC, when it was last good for a call, or up to two minutes earlier; zero for never
	RotatedTo   string    // the id of the key that has its place; empty while none has
	Blocked     string    // what callers with it are told, while an operator has blocked it; empty while it is not
}

// newKeyText makes a key.
func newKeyText() string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	text := keyPrefix + digits(new(big.Int).SetBytes(random[:]), keyDigits)
	return text + checksum(text)
}

// checksum is that of the beginning of a key. CRC-32 finds every error in up to four neighbouring characters.
func checksum(text string) string {
	return digits(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))), keySum)
}

// digits writes a number with base 62 and so many digits.
func digits(n *big.Int, count int) string {
	text := make([]byte, count)
	base, digit := big.NewInt(int64(len(base62))), new(big.Int)
	for i := count - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		text[i] = base62[digit.Int64()]
	}
	return string(text)
}

// hashKey returns the hash by which a key is found; false for what is no key.
func hashKey(text string) (string, bool) {
	if len(text) != keyLength || !strings.HasPrefix(text, keyPrefix) {
		return "", false
	}
	for i := len(keyPrefix); i < keyLength; i++ {
		if !isAlphanumeric(text[i]) {
			return "", false
		}
	}
	if checksum(text[:keyLength-keySum]) != text[keyLength-keySum:] {
		return "", false
	}
	// A fast hash is enough: nobody can try 2^256 keys. Nor is there a text that would have to be compared in constant time: the key is
	// looked for by its hash, and how long that takes tells of the hash, which nobody can choose, and nothing of the key.
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:]), true
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
