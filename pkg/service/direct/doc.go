// Package direct is Micro's RPC client without the detour: it looks a service up in the registry and calls one of its
// nodes, over one connection for each.
package direct
