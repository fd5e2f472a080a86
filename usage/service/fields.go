package service

// parseID checks a customer's id in a field of a request and returns it as it is kept.
func parseID(field, s string) (string, error) {
	id, ok := parseUUID(s)
	if !ok {
		return "", notUUID(field, s, "the id of a customer")
	}
	return id.String(), nil
}
