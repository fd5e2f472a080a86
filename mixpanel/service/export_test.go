package service

// For the tests in service_test.
var (
	Flatten  = flatten
	Object   = object
	Records  = records
	Personal = personal
)

// Text is what is sent of a record.
func (r record) Text() string { return string(r.text) }
