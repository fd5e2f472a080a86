package etcd

import (
	"net/url"
	"strings"
)

// nodeID says which node it is. A key is one of these, and no two keys are the same one.
type nodeID struct{ domain, service, version, node string }

// serviceID says which service.
type serviceID struct{ domain, name string }

func (id nodeID) of() serviceID { return serviceID{id.domain, id.service} }

// key is where a node is kept: root, domain, service, version and node with slashes between them. What would be taken for
// something else in a name is escaped as in a URL.
func (id nodeID) key(root string) string {
	return root + strings.Join([]string{
		url.PathEscape(id.domain), url.PathEscape(id.service), url.PathEscape(id.version), url.PathEscape(id.node),
	}, "/")
}

// parseKey returns the node that is kept at a key; false for a key that is of something else.
func parseKey(root, key string) (nodeID, bool) {
	rest, ok := strings.CutPrefix(key, root)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 4 {
		return nodeID{}, false
	}
	for i, part := range parts {
		name, err := url.PathUnescape(part)
		if err != nil || url.PathEscape(name) != part {
			return nodeID{}, false // another key would be the same node
		}
		parts[i] = name
	}
	return nodeID{parts[0], parts[1], parts[2], parts[3]}, true
}

// epochKey has what tells the data of an etcd from that of another one, or of the same one that has lost its own. It has fewer
// parts than a node's key.
func epochKey(root string) string { return root + "epoch" }
