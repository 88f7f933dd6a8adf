// Text: structs as a line for logs, in the compact text form of protocol buffers. The
// fields come in the order in which Go has them.
//
// Start at text.

package raftpb

import (
	"fmt"
	"reflect"
	"strings"
)

// text returns "name:value " for each field of a struct that is set.
func text(pointer any) string {
	return string(appendFields(nil, reflect.ValueOf(pointer).Elem()))
}

func appendFields(b []byte, v reflect.Value) []byte {
	for i := range v.NumField() {
		name, field := fieldName(v.Type().Field(i)), v.Field(i)
		switch {
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() != reflect.Uint8:
			for j := range field.Len() {
				b = appendField(b, name, field.Index(j))
			}
		case !field.IsZero():
			b = appendField(b, name, field)
		}
	}
	return b
}

func appendField(b []byte, name string, v reflect.Value) []byte {
	v = reflect.Indirect(v)
	b = append(append(b, name...), ':')
	switch v.Kind() {
	case reflect.Struct:
		b = append(appendFields(append(b, '<'), v), '>')
	case reflect.Slice:
		b = appendQuoted(b, v.Bytes())
	default:
		b = fmt.Append(b, v)
	}
	return append(b, ' ')
}

// fieldName is the name that a field has in JSON, which is that of its schema.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// appendQuoted appends bytes in quotes; what is not printable is in octal.
func appendQuoted(b, data []byte) []byte {
	b = append(b, '"')
	for _, c := range data {
		if i := strings.IndexByte("\n\r\t\"\\", c); i >= 0 {
			b = append(b, '\\', `nrt"\`[i])
		} else if c < ' ' || c > '~' {
			b = fmt.Appendf(b, `\%03o`, c)
		} else {
			b = append(b, c)
		}
	}
	return append(b, '"')
}
