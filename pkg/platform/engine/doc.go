// Package engine runs the servers of the platform profile on this machine, etcd, Redis and PostgreSQL, from their installed
// programs: for tests, for benchmarks and for trying the profile out. It is not for operating them.
//
// A server listens on the loopback interface only, takes no password unless it is told to (Config.Args), and ends with the
// process that started it, however that ends; on Linux the kernel sees to that. Its settings are those that its users rely on
// for durability: what it has acknowledged survives its death, but for Redis, which forces what it was told to the disk every
// second. It can be killed and started again on the same data and port.
package engine
