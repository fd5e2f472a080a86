package service

import mail "github.com/m3o/backend/pkg/address"

// address is an address that mail can be sent to.
type address struct {
	// text is the address with its domain in lower case and in ASCII.
	text string
	// key is the same for addresses that differ in nothing but case.
	key string
}

// parseAddress checks the address in a field of a request.
func parseAddress(field, s string) (address, error) {
	a, err := mail.Parse(field, s)
	return address{text: a.Text, key: a.Key}, err
}
