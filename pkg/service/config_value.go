package service

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// largestWhole is the largest whole number that survives Micro's configuration, which keeps numbers as floating point.
const largestWhole = 1 << 53

var (
	duration        = reflect.TypeFor[time.Duration]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// setValue stores a value, as encoding/json decodes it with UseNumber, in what into points to.
func setValue(key string, value any, into any) error {
	return set(key, value, reflect.ValueOf(into).Elem())
}

func set(key string, value any, into reflect.Value) error {
	if value == nil {
		return nil // not set: the default stays
	}
	if into.Type() == duration {
		return setDuration(key, value, into)
	}
	if reflect.PointerTo(into.Type()).Implements(textUnmarshaler) {
		return setText(key, value, into)
	}
	switch into.Kind() {
	case reflect.Pointer:
		v := reflect.New(into.Type().Elem())
		if !into.IsNil() {
			v.Elem().Set(into.Elem())
		}
		if err := set(key, value, v.Elem()); err != nil {
			return err
		}
		into.Set(v)
		return nil
	case reflect.Struct:
		return setStruct(key, value, into)
	case reflect.Map:
		return setMap(key, value, into)
	case reflect.Slice:
		return setSlice(key, value, into)
	case reflect.String:
		s, ok := value.(string)
		if !ok {
			return fmt.Errorf("%s: expected a text%s", key, quoteIt(value))
		}
		into.SetString(s)
		return nil
	case reflect.Bool:
		b, ok := value.(bool)
		if !ok {
			return fmt.Errorf("%s: expected true or false", key)
		}
		into.SetBool(b)
		return nil
	default:
		return setNumber(key, value, into)
	}
}

// quoteIt explains how to set a text that Micro takes for something else.
func quoteIt(value any) string {
	switch value.(type) {
	case json.Number, bool:
		return ` (set one that looks like a number, true or false in quotes: '"..."')`
	default:
		return ""
	}
}

func setNumber(key string, value any, into reflect.Value) error {
	number, ok := value.(json.Number)
	switch {
	case into.CanInt():
		n, err := number.Int64()
		if !ok || err != nil || into.OverflowInt(n) || n > largestWhole || n < -largestWhole {
			return fmt.Errorf("%s: expected a whole number", key)
		}
		into.SetInt(n)
	case into.CanUint():
		n, err := number.Int64()
		if !ok || err != nil || n < 0 || into.OverflowUint(uint64(n)) || n > largestWhole {
			return fmt.Errorf("%s: expected a whole number, zero or more", key)
		}
		into.SetUint(uint64(n))
	case into.CanFloat():
		n, err := number.Float64()
		if !ok || err != nil {
			return fmt.Errorf("%s: expected a number", key)
		}
		into.SetFloat(n)
	default:
		return fmt.Errorf("%s: a %s cannot be configured", key, into.Type())
	}
	return nil
}

func setDuration(key string, value any, into reflect.Value) error {
	s, _ := value.(string)
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%s: expected a duration such as 90s, 15m or 24h", key)
	}
	into.SetInt(int64(d))
	return nil
}

func setText(key string, value any, into reflect.Value) error {
	s, ok := value.(string)
	if !ok {
		return fmt.Errorf("%s: expected a text%s", key, quoteIt(value))
	}
	if into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)) != nil {
		return fmt.Errorf("%s: expected a %s", key, strings.ToLower(into.Type().Name()))
	}
	return nil
}

func setStruct(key string, value any, into reflect.Value) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: expected an object", key)
	}
	fields := make(map[string]reflect.Value)
	for i := range into.NumField() {
		name, _, _ := strings.Cut(into.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = into.Field(i)
		}
	}
	// In order, so that of several mistakes the same one is reported each time.
	for _, name := range slices.Sorted(maps.Keys(object)) {
		field, ok := fields[name]
		if !ok {
			return fmt.Errorf("%s.%s: unknown key: expected one of %s",
				key, name, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
		if err := set(key+"."+name, object[name], field); err != nil {
			return err
		}
	}
	return nil
}

func setMap(key string, value any, into reflect.Value) error {
	object, ok := value.(map[string]any)
	if !ok || into.Type().Key().Kind() != reflect.String {
		return fmt.Errorf("%s: expected an object", key)
	}
	result := reflect.MakeMap(into.Type())
	for _, name := range slices.Sorted(maps.Keys(object)) {
		v := reflect.New(into.Type().Elem()).Elem()
		if err := set(key+"."+name, object[name], v); err != nil {
			return err
		}
		result.SetMapIndex(reflect.ValueOf(name).Convert(into.Type().Key()), v)
	}
	into.Set(result)
	return nil
}

func setSlice(key string, value any, into reflect.Value) error {
	list, ok := value.([]any)
	if !ok {
		return fmt.Errorf("%s: expected a list", key)
	}
	result := reflect.MakeSlice(into.Type(), len(list), len(list))
	for i, element := range list {
		if err := set(fmt.Sprintf("%s[%d]", key, i), element, result.Index(i)); err != nil {
			return err
		}
	}
	into.Set(result)
	return nil
}
