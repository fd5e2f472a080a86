package service

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	access "github.com/m3o/backend/pkg/auth"
)

// builtin are the policies of Micro's own handler, whose proto says none. The platform asks for the health of what it
// has started.
var builtin = map[protoreflect.FullName]access.Policy{
	"debug.Debug.Health": {Access: access.ForAdmin, Services: []string{access.Platform}},
	"debug.Debug.Log":    {Access: access.ForAdmin},
	"debug.Debug.Stats":  {Access: access.ForAdmin},
	"debug.Debug.Trace":  {Access: access.ForAdmin},
}

func policyOf(m protoreflect.MethodDescriptor) (access.Policy, error) {
	if p, ok := builtin[m.FullName()]; ok {
		return p, nil
	}
	return access.PolicyOf(m)
}
