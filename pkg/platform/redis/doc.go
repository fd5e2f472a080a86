// Package redis is the event stream and the broker of the platform profile.
package redis

import _ "github.com/redis/go-redis/v9" // what it is made of
