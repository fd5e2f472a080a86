package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	access "github.com/m3o/backend/pkg/auth/proto"
)

// Access is the sort of a policy.
type Access int

// The zero Access lets nobody call.
const (
	// ForNobody is what a policy is that nobody has declared.
	ForNobody Access = iota
	// ForPublic lets everybody call.
	ForPublic
	// ForCustomer lets a customer call about themself, and admins and the services that are named.
	ForCustomer
	// ForAdmin lets admins call and the services that are named.
	ForAdmin
	// ForGateway lets the gateway call, for a customer, and not even admins.
	ForGateway
	// ForService lets every service of the platform call, and admins. Only RPCs of the platform itself are of this sort:
	// what no service can do without.
	ForService
	// ForAccount lets everybody call who has an account. Only Micro's own RPCs are of this sort.
	ForAccount
)

// String says what the sort is called.
func (a Access) String() string {
	names := []string{"nobody", "public", "customer", "admin", "gateway", "service", "account"}
	if a < 0 || int(a) >= len(names) {
		return "unknown"
	}
	return names[a]
}

// Outside tells whether a method is reachable from outside of the platform at all.
func (a Access) Outside() bool { return a == ForPublic || a == ForCustomer }

// WithKeyByName tells whether a method may be called for customers who have an API key: one that is the gateway's, or for
// everybody. It goes by the name of an Access; false for a name that is none.
func WithKeyByName(name string) bool {
	return name == ForGateway.String() || name == ForPublic.String()
}

// OutsideByName is Outside for the name of an Access; false for a name that is none.
func OutsideByName(name string) bool {
	for a := ForNobody; a <= ForAccount; a++ {
		if a.String() == name {
			return a.Outside()
		}
	}
	return false
}

// EndpointKey is where an endpoint says in the registry for whom it is: with the name of its Access. It is what the HTTP
// API goes by; the service goes by the policy itself.
const EndpointKey = "access"

// Policy says who may call a method. The zero value lets nobody.
type Policy struct {
	Access Access
	// Services are those that may call besides, about every customer. "gateway" is the platform's gateway, and no service of
	// that name.
	Services []string
	// Sold lets services that are sold call as well.
	Sold bool

	id          path
	adminFields []path
	bounds      []bound
}

// PolicyOf reads what a method declares with the option (access.policy), or finds the policy of one of Micro's own methods,
// which declare none.
func PolicyOf(method protoreflect.MethodDescriptor) (Policy, error) {
	p, err := policyOf(method)
	if err != nil {
		return Policy{}, fmt.Errorf("option (access.policy) of %s: %w", method.FullName(), err)
	}
	return p, nil
}

func policyOf(method protoreflect.MethodDescriptor) (Policy, error) {
	if c, ok := core[method.FullName()]; ok {
		return c.policy(method)
	}
	options, ok := method.Options().(*descriptorpb.MethodOptions)
	if !ok || !proto.HasExtension(options, access.E_Policy) {
		return Policy{}, errors.New("missing: say who may call it")
	}
	declared, ok := proto.GetExtension(options, access.E_Policy).(*access.Policy)
	if !ok {
		return Policy{}, errors.New("of another type")
	}
	var p Policy
	switch {
	case declared.GetPublic() != nil:
		p.Access = ForPublic
	case declared.GetCustomer() != nil:
		return customerPolicy(declared.GetCustomer(), method.Input())
	case declared.GetAdmin() != nil:
		p.Access, p.Services = ForAdmin, declared.GetAdmin().GetServices()
	case declared.GetGateway() != nil:
		p.Access = ForGateway
	default:
		return Policy{}, errors.New("expected one of public, customer, admin and gateway")
	}
	return p, namesOf(p.Services)
}

func customerPolicy(c *access.Customer, request protoreflect.MessageDescriptor) (Policy, error) {
	p := Policy{Access: ForCustomer, Services: c.GetServices()}
	var err error
	if p.id, err = pathOf(request, c.GetId()); err != nil {
		return Policy{}, fmt.Errorf("customer.id: %w", err)
	}
	if field := p.id.last(); field.Kind() != protoreflect.StringKind || field.IsList() ||
		field.ContainingOneof() != nil && !field.ContainingOneof().IsSynthetic() {
		return Policy{}, fmt.Errorf("customer.id: expected the path of a string in no list and no oneof: %s", p.id)
	}
	for _, text := range c.GetAdminFields() {
		f, err := pathOf(request, text)
		if err != nil {
			return Policy{}, fmt.Errorf("customer.admin_fields: %w", err)
		}
		p.adminFields = append(p.adminFields, f)
	}
	return p, namesOf(p.Services)
}

func namesOf(services []string) error {
	if slices.Contains(services, "") {
		return errors.New("services: expected names of services")
	}
	return nil
}

// IDField is the path of the field that has the customer's id, as "customer.id"; empty where no customer may call.
func (p Policy) IDField() string { return p.id.String() }

// AdminFields are the paths of the fields that a customer may not give.
func (p Policy) AdminFields() []string {
	var all []string
	for _, f := range p.adminFields {
		all = append(all, f.String())
	}
	return all
}

// path leads to a field of a message; all but the last field are messages.
type path []protoreflect.FieldDescriptor

func pathOf(message protoreflect.MessageDescriptor, text string) (path, error) {
	if text == "" {
		return nil, errors.New("expected the path of a field")
	}
	var p path
	for name := range strings.SplitSeq(text, ".") {
		if message == nil {
			return nil, fmt.Errorf("there is no such field: %s", text)
		}
		field := message.Fields().ByName(protoreflect.Name(name))
		if field == nil {
			return nil, fmt.Errorf("there is no such field: %s", text)
		}
		p = append(p, field)
		message = nil
		if !field.IsList() && !field.IsMap() {
			message = field.Message()
		}
	}
	return p, nil
}

func (p path) last() protoreflect.FieldDescriptor { return p[len(p)-1] }

// String is the path in the names of the proto.
func (p path) String() string {
	var names []string
	for _, field := range p {
		names = append(names, string(field.Name()))
	}
	return strings.Join(names, ".")
}

// has tells whether the field is given, which for a text or number is that it is not empty.
func (p path) has(m protoreflect.Message) bool {
	for _, field := range p[:len(p)-1] {
		if !m.Has(field) {
			return false
		}
		m = m.Get(field).Message()
	}
	return m.Has(p.last())
}

// text is the field's value; empty where a message on the way to it is missing.
func (p path) text(m protoreflect.Message) string {
	for _, field := range p[:len(p)-1] {
		m = m.Get(field).Message()
	}
	return m.Get(p.last()).String()
}

// fill sets the field, and makes the messages on the way to it.
func (p path) fill(m protoreflect.Message, text string) {
	for _, field := range p[:len(p)-1] {
		m = m.Mutable(field).Message()
	}
	m.Set(p.last(), protoreflect.ValueOfString(text))
}
