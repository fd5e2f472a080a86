package service

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// What leaves the platform. A field may be one that this build has never seen, so that nothing is sent because nobody has
// forbidden it: numbers and truths are, unless the field's name says that they are personal; a text only if it cannot be what
// somebody has typed (a UUID, a time, a whole number), or if the name says that it is one of a set (a status, a tier, an id).

const (
	// maxDepth, maxProperties and maxElements bound what is made of one event; Mixpanel takes fewer than 255 properties, and
	// as many elements of a list.
	maxDepth      = 8
	maxProperties = 200
	maxElements   = 100
	// maxNumber is how many characters a number has at most.
	maxNumber = 32
)

// validKey is what the name of a field looks like. What looks otherwise may be a key of a map, and that be an address.
var validKey = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// personal are words that no field's name has of which anything is sent, whatever it holds: what is known of a person, what
// people write, what opens something, and who in the house has done it.
var personal = set(`
	address addresses age agent authorization bic birth birthdate birthday body bio caller city comment comments company contact content
	cookie credential credentials cvc cvv description detail details device dob email emails error errors fax fingerprint first firstname
	gender hash host iban ip language last lastname latitude link links location login longitude mail message messages meta metadata mobile
	name names nickname note notes operator pan pass passphrase passport password phone photo postcode query reason reasons recipient
	referer referrer salt secret secrets session sex signature ssn street subject surname tax tel telephone text title token tokens uri url
	user username vat zip
`)

// allowed are names that are sent although a word of them is personal.
var allowed = set(`api_name endpoint_name`)

// coded are words that a field's name ends in whose texts are of a set that somebody has made up, or made by a program.
var coded = set(`
	api code currency endpoint fields id ids interval kind level method plan scope scopes state status tier type unit
`)

// validCode is what such a text looks like.
var validCode = regexp.MustCompile(`^[A-Za-z0-9*][A-Za-z0-9_.*/:-]{0,127}$`)

// wholeNumber is what protobuf makes of an int64, which no number of JSON can be trusted with.
var wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,18})$`)

// reserved are names of properties that mean something to Mixpanel.
var reserved = set(`time distinct_id token ip length`)

func set(words string) map[string]bool {
	all := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		all[w] = true
	}
	return all
}

// flatten returns the properties that may be sent of an object, by the path of each with dots between the names of fields.
// The object is as encoding/json decodes it with UseNumber.
func flatten(object map[string]any) map[string]any {
	properties := make(map[string]any)
	flattenInto(properties, "", object, 1)
	return properties
}

func flattenInto(properties map[string]any, prefix string, object map[string]any, depth int) {
	if depth > maxDepth {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(object)) { // so that it is always the same ones that there is no room for
		if len(properties) >= maxProperties {
			return
		}
		if !maySend(key) || prefix == "" && (reserved[key] || strings.HasPrefix(key, "mp_")) {
			continue
		}
		switch value := object[key].(type) {
		case map[string]any:
			flattenInto(properties, prefix+key+".", value, depth+1)
		case []any:
			if list := scalars(key, value); len(list) > 0 && !opens(key) {
				properties[prefix+key] = list
			}
		default:
			if v, ok := scalar(key, value); ok && !opens(key) {
				properties[prefix+key] = v
			}
		}
	}
}

// maySend tells whether anything may be sent of a field of that name.
func maySend(key string) bool {
	if !validKey.MatchString(key) {
		return false
	}
	if allowed[key] {
		return true
	}
	return !slices.ContainsFunc(strings.Split(key, "_"), func(w string) bool { return personal[w] })
}

// opens tells whether the value of a field opens something, as an API key does; its id does not, nor does what is said of it in
// an object.
func opens(key string) bool { return key == "key" || strings.HasSuffix(key, "_key") }

// scalars returns those elements of a list that may be sent.
func scalars(key string, list []any) []any {
	var kept []any
	for _, element := range list[:min(len(list), maxElements)] {
		if v, ok := scalar(key, element); ok {
			kept = append(kept, v)
		}
	}
	return kept
}

// scalar returns a value as it is sent, if it may be.
func scalar(key string, value any) (any, bool) {
	switch value := value.(type) {
	case bool:
		return value, true
	case json.Number:
		return value, len(value) <= maxNumber
	case string:
		last := key[strings.LastIndexByte(key, '_')+1:]
		if last != "id" && last != "ids" && wholeNumber.MatchString(value) {
			n, err := strconv.ParseInt(value, 10, 64)
			return n, err == nil // so that it can be added up
		}
		if allowed[key] || coded[last] {
			return value, validCode.MatchString(value)
		}
		if _, err := time.Parse(time.RFC3339Nano, value); err == nil {
			return value, true
		}
		return value, isUUID(value)
	default:
		return nil, false
	}
}

// isUUID tells whether a text is a UUID as we write them, and not the one that stands for none.
func isUUID(text string) bool {
	id, err := uuid.Parse(text)
	return err == nil && id != uuid.Nil && id.String() == text
}
