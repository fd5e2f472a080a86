// Package etcd is the registry of services of the platform profile: Micro's registry in an etcd cluster, one key for each
// node. A process has everything that is registered in its memory, and a watch of etcd keeps that up to date; GetService,
// ListServices and watchers are answered from there.
//
// # What holds
//
// When Register returns, the node is in etcd; this process finds it at once and others as soon as etcd has told them, within
// milliseconds. The same goes for Deregister. A node that is not registered again within its time to live vanishes: its
// process takes it out of etcd, and when that is dead the lease that it kept alive runs out. A lease is shared by all nodes
// that a process registers with the same time to live, so the service registry can keep thousands of nodes of others at the
// price of one. A node that is registered again as it was, every 2 s, costs etcd nothing.
//
// # While etcd is away
//
// The nodes that were known stay: they are found and listed, and watchers are told nothing. Register succeeds for a node that
// has not changed until its lease cannot be alive any more; after that, Register and Deregister fail within 3 seconds, and
// Check says why. When etcd is there again, whether it kept its data or not, each node is put again by the next Register of its
// process, which is 2 s at most; etcd's own leases start over when it does.
//
// So that none of this is taken for the end of a node, a disappearance is believed only 5 s later when it is found by reading
// everything again (etcd has lost its data, or has compacted what this process has missed), or when it is told of within 15 s
// after etcd was silent for 5 s. A node that is there again in time was never away.
//
// # Who may be wrong, and for how long
//
// A process that was killed is found until its lease has run out: its time to live, and 5 s more right after etcd was away. A
// process that comes up right after etcd has lost its data finds only the nodes that have been registered again, for about 2 s. A
// process that is cut off from etcd alone finds the nodes of then, and nodes that only it registers vanish for others. A node
// whose time to live is below 5 s may vanish, and come back, when etcd freezes for a shorter time than that.
//
// That etcd has lost its data is seen within 2 s after it answers, by a key that only one history of it has (epoch), even if
// its revisions have caught up by then.
//
// Two processes that register one node in turn, as two replicas of the service registry may, write each time. When the nodes
// of one version differ in their endpoints or the service's metadata, the service has those of the node that was written last.
//
// # What it costs
//
// A value has the address and the metadata of its node and, compressed, what the nodes of a version have in common. That is
// the same bytes for all of them, which a process keeps once: a client of 10,000 nodes grows by some 25 MiB. It asks etcd for one
// key every 2 s. Keys are /<prefix>/<domain>/<service>/<version>/<node>, with names escaped as in a URL.
//
// A user of etcd needs to read and write below /<prefix>/. Its token is asked for again when it has run out; a password that
// has changed is read when the process starts again.
package etcd
