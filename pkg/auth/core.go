package auth

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// core are the policies of Micro's own RPCs, whose protos declare none, and of those of ours that stand beside them: what is
// not listed is served to nobody. The names of parts of the platform stand where one part asks another.
var core = map[protoreflect.FullName]rule{
	// A service has to log in before anything is known of it, and everybody else logs in here, too. The handler decides
	// who may make, change and delete which account.
	"auth.Auth.Token":            {access: ForPublic},
	"auth.Auth.Inspect":          {access: ForPublic}, // whoever has a token can read it
	"auth.Auth.Generate":         {access: ForAdmin, services: []string{"signup", "customers"}},
	"auth.Accounts.ChangeSecret": {access: ForAccount},
	"auth.Accounts.Delete":       {access: ForAdmin, services: []string{"signup", "customers"}},
	"auth.Accounts.List":         {access: ForAdmin},
	"auth.Rules.List":            {access: ForService, sold: true},
	"auth.Rules.Create":          {access: ForAdmin},
	"auth.Rules.Delete":          {access: ForAdmin},

	// Whoever could register under another's name would get that one's calls, tokens and all.
	"registry.Registry.GetService":   {access: ForService, sold: true},
	"registry.Registry.ListServices": {access: ForService, sold: true},
	"registry.Registry.Watch":        {access: ForService, sold: true},
	"registry.Registry.Register":     {access: ForService, sold: true, bounds: map[string]limit{"name": ownName, "options.domain": house}},
	"registry.Registry.Deregister":   {access: ForService, sold: true, bounds: map[string]limit{"name": ownName, "options.domain": house}},

	"store.Store.Read":       {access: ForService, bounds: ownTable},
	"store.Store.Write":      {access: ForService, bounds: ownTable},
	"store.Store.Delete":     {access: ForService, bounds: ownTable},
	"store.Store.List":       {access: ForService, bounds: ownTable},
	"store.Store.Databases":  {access: ForAdmin},
	"store.Store.Tables":     {access: ForAdmin},
	"store.BlobStore.Read":   {access: ForService, bounds: ownBlobs},
	"store.BlobStore.Write":  {access: ForService, bounds: ownBlobs},
	"store.BlobStore.Delete": {access: ForService, bounds: ownBlobs},
	"store.BlobStore.List":   {access: ForService, bounds: ownBlobs},

	// The configuration has the secrets of all services in it.
	"config.Config.Get":    {access: ForService, bounds: map[string]limit{"namespace": house, "path": ownConfig}},
	"config.Config.Read":   {access: ForAdmin},
	"config.Config.Set":    {access: ForAdmin, bounds: map[string]limit{"namespace": house.orElse(issuer)}},
	"config.Config.Delete": {access: ForAdmin, bounds: map[string]limit{"namespace": house.orElse(issuer)}},

	"events.Stream.Publish": {access: ForService},
	"events.Stream.Consume": {access: ForService},
	"events.Store.Read":     {access: ForService},
	"events.Store.Write":    {access: ForAdmin},

	// Ours, for what any service cannot do without either.
	"eventstream.Batch.Publish":     {access: ForService},
	"eventstream.Batch.PublishEach": {access: ForService},
	"eventstream.Batch.Subscribe":   {access: ForService},
	"eventstream.Batch.Read":        {access: ForService},

	"broker.Broker.Publish":   {access: ForService},
	"broker.Broker.Subscribe": {access: ForService},

	"runtime.Runtime.Create": {access: ForAdmin, services: []string{Platform}},
	"runtime.Runtime.Read":   {access: ForAdmin, services: []string{Platform}},
	"runtime.Runtime.Update": {access: ForAdmin, services: []string{Platform}},
	"runtime.Runtime.Delete": {access: ForAdmin, services: []string{Platform}},
	"runtime.Runtime.Logs":   {access: ForAdmin},
	"runtime.Source.Upload":  {access: ForAdmin, services: []string{Platform}},

	// With its binary a service has its code, and perhaps secrets that somebody has compiled in.
	"runtime.Build.Read": {access: ForService, sold: true, bounds: map[string]limit{"name": ownName}},

	// Of every service. Whoever asks for the health of one that is sold must not have to say who they are.
	"debug.Debug.Health": {access: ForPublic},
	"debug.Debug.Log":    {access: ForAdmin},
	"debug.Debug.Stats":  {access: ForAdmin},
	"debug.Debug.Trace":  {access: ForAdmin},
}

// rule is a policy as it is written here: with names of fields.
type rule struct {
	access   Access
	services []string
	sold     bool
	bounds   map[string]limit
}

var (
	ownTable = map[string]limit{"options.table": ownName, "options.database": house}
	ownBlobs = map[string]limit{"options.namespace": ownName.orElse(issuer)}
)

// CoreMethods are the names of the RPCs that have a policy here.
func CoreMethods() []protoreflect.FullName {
	var names []protoreflect.FullName
	for name := range core {
		names = append(names, name)
	}
	return names
}

// Bounds say in words what a service is held to, one for each field.
func (p Policy) Bounds() []string {
	var all []string
	for _, b := range p.bounds {
		all = append(all, b.field+": "+b.limit.want)
	}
	slices.Sort(all)
	return all
}

func (r rule) policy(method protoreflect.MethodDescriptor) (Policy, error) {
	p := Policy{Access: r.access, Services: r.services, Sold: r.sold}
	for name, limit := range r.bounds {
		if _, err := pathOf(method.Input(), name); err != nil {
			return Policy{}, err
		}
		p.bounds = append(p.bounds, bound{field: name, limit: limit})
	}
	return p, nil
}

// bound keeps a field of a service's request to what is the service's.
type bound struct {
	field string
	limit limit
}

// limit says what a field may have for a service; it fills one that is empty.
type limit struct {
	fill func(c Caller) string
	ok   func(c Caller, value string) bool
	want string
	// admin is what is filled in for an admin, where Micro's handler breaks when it is missing.
	admin string
}

func (l limit) orElse(admin string) limit {
	l.admin = admin
	return l
}

var (
	// ownName is the name that the service is registered under.
	ownName = limit{
		fill: Caller.registered,
		ok:   func(c Caller, value string) bool { return value == c.registered() },
		want: "the name of the service itself",
	}
	// house is the one namespace there is.
	house = limit{
		fill: func(Caller) string { return "" },
		ok:   func(_ Caller, value string) bool { return value == "" || value == issuer },
		want: issuer,
	}
	// ownConfig is below micro.<name> or <name>.
	ownConfig = limit{
		fill: func(c Caller) string { return issuer + "." + c.registered() },
		ok: func(c Caller, value string) bool {
			head, rest, _ := strings.Cut(value, ".")
			if head == issuer {
				head, _, _ = strings.Cut(rest, ".")
			}
			return head == c.registered()
		},
		want: "the service's own configuration",
	}
)

// hold keeps a service to what is its own. Admins are free.
func (p Policy) hold(c Caller, request proto.Message) error {
	m := request.ProtoReflect()
	for _, b := range p.bounds {
		// By name, because the descriptor of a message of Micro's is not the one that is registered.
		field, err := pathOf(m.Descriptor(), b.field)
		if err != nil {
			return err
		}
		value := field.text(m)
		if value == "" {
			if value = b.limit.fill(c); c.Kind == Admin {
				value = b.limit.admin
			}
			if value != "" {
				field.fill(m, value)
			}
			continue
		}
		if c.Kind != Admin && !b.limit.ok(c, value) {
			return forbidden(field, fmt.Sprintf("must be %s", b.limit.want))
		}
	}
	return nil
}
