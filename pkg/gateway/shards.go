package gateway

import (
	"hash/maphash"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// shardCount is how many locks share what is remembered.
const shardCount = 16

// shards remembers a bounded number of things; those that were not asked for longest are forgotten first. It is safe for
// concurrent use.
type shards[K comparable, V any] struct {
	seed maphash.Seed
	each [shardCount]struct {
		mu  sync.Mutex
		lru *simplelru.LRU[K, V]
	}
}

// newShards remembers at most so many things.
func newShards[K comparable, V any](most int) *shards[K, V] {
	s := &shards[K, V]{seed: maphash.MakeSeed()}
	for i := range s.each {
		// It fails for a size that is not positive only.
		s.each[i].lru, _ = simplelru.NewLRU[K, V](max(1, most/shardCount), nil)
	}
	return s
}

// get returns what is remembered by a key.
func (s *shards[K, V]) get(key K) (V, bool) {
	shard := &s.each[maphash.Comparable(s.seed, key)%shardCount]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.lru.Get(key)
}

// getOr returns what is remembered by a key, which is made when there is nothing.
func (s *shards[K, V]) getOr(key K, make func() V) V {
	shard := &s.each[maphash.Comparable(s.seed, key)%shardCount]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if v, ok := shard.lru.Get(key); ok {
		return v
	}
	v := make()
	shard.lru.Add(key, v)
	return v
}

// add remembers something.
func (s *shards[K, V]) add(key K, v V) {
	shard := &s.each[maphash.Comparable(s.seed, key)%shardCount]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.lru.Add(key, v)
}

// remove forgets something.
func (s *shards[K, V]) remove(key K) {
	shard := &s.each[maphash.Comparable(s.seed, key)%shardCount]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.lru.Remove(key)
}
