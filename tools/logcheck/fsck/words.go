package fsck

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// words prints a metadata record: fields by name, what pointers point to, ids
// as Kafka writes them.
func words(v any) string {
	var b strings.Builder
	appendWords(&b, reflect.ValueOf(v))
	return b.String()
}

func appendWords(b *strings.Builder, v reflect.Value) {
	if v.Kind() != reflect.Pointer && v.CanInterface() {
		if s, ok := v.Interface().(fmt.Stringer); ok {
			b.WriteString(s.String())
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			b.WriteString("null")
			return
		}
		appendWords(b, v.Elem())
	case reflect.Struct:
		b.WriteByte('{')
		space := ""
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			b.WriteString(space + v.Type().Field(i).Name + ":")
			appendWords(b, v.Field(i))
			space = " "
		}
		b.WriteByte('}')
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			fmt.Fprintf(b, "%x", v.Bytes())
			return
		}
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(' ')
			}
			appendWords(b, v.Index(i))
		}
		b.WriteByte(']')
	case reflect.String:
		b.WriteString(strconv.Quote(v.String()))
	default:
		fmt.Fprint(b, v.Interface())
	}
}
