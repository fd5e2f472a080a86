// Package etcd is the registry of the platform profile.
package etcd

import _ "go.etcd.io/etcd/client/v3" // what it is made of
