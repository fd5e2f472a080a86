package profile

import "errors"

func openPlatform(string) (engines, error)       { return engines{}, errors.New("not yet") }
func platformStream() (Stream, error)             { return nil, errors.New("not yet") }
func Needs(string, string) bool                   { return true }
func DatabaseAddress(string) string               { return "" }
