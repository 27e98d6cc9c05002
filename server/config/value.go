package config

import (
	"math"
	"strconv"
	"strings"
)

// rule is the kind of a validator.
type rule uint8

const (
	anyValue    rule = iota
	atLeast          // min
	between          // min and max
	gzipLevel        // 1 to 9, or -1
	oneOf            // words
	oneOfFold        // words, ignoring case
	someWords        // a list: of words when there are any, never with an empty entry; empty only if allowed
	notEmpty         // a string with something in it
	throttled        // * or a list of partition:broker
	offsetReset      // earliest, latest or by_duration:<ISO 8601 duration>
)

// check is a validator as plain data.
type check struct {
	rule       rule
	min, max   float64
	words      string // separated by ", ", in the order Kafka prints them
	allowEmpty bool
}

// ValueError is a value that a configuration does not take. Its text is the one Kafka's ConfigException has.
type ValueError struct {
	Name, Value, Reason string
}

func (e *ValueError) Error() string {
	return "Invalid value " + e.Value + " for configuration " + e.Name + ": " + e.Reason
}

// kafkaText is an error in Kafka's own words, which clients show.
type kafkaText string

func (t kafkaText) Error() string { return string(t) }

// javaTrim is String.trim of Java: everything up to and including the space goes.
func javaTrim(s string) string { return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }) }

// Parse checks a value and returns it as Kafka prints it: numbers without leading zeros, lists without blanks
// (ConfigDef.parseType and convertToString). Errors carry Kafka's text.
func (d *Def) Parse(value string) (string, error) {
	trimmed := javaTrim(value)
	fail := func(v, reason string) (string, error) { return "", &ValueError{Name: d.Name, Value: v, Reason: reason} }
	switch d.Type {
	case TypeBoolean:
		switch {
		case strings.EqualFold(trimmed, "true"):
			return "true", nil
		case strings.EqualFold(trimmed, "false"):
			return "false", nil
		}
		return fail(value, "Expected value to be either true or false")
	case TypeShort, TypeInt, TypeLong:
		bits, word := 32, "INT"
		if d.Type == TypeShort {
			bits, word = 16, "SHORT"
		} else if d.Type == TypeLong {
			bits, word = 64, "LONG"
		}
		n, err := strconv.ParseInt(trimmed, 10, bits)
		if err != nil {
			return fail(value, "Not a number of type "+word)
		}
		canonical := strconv.FormatInt(n, 10)
		if reason := d.check.number(float64(n)); reason != "" {
			return fail(canonical, reason)
		}
		return canonical, nil
	case TypeDouble:
		f, ok := parseDouble(trimmed)
		if !ok {
			return fail(value, "Not a number of type DOUBLE")
		}
		canonical := formatDouble(f)
		if reason := d.check.number(f); reason != "" {
			return fail(canonical, reason)
		}
		return canonical, nil
	case TypeList:
		return d.parseList(trimmed)
	case TypePassword:
		return trimmed, nil
	}
	switch c := d.check; c.rule {
	case oneOf, oneOfFold:
		for word := range strings.SplitSeq(c.words, ", ") {
			if word == trimmed || c.rule == oneOfFold && strings.EqualFold(word, trimmed) {
				return trimmed, nil
			}
		}
		if c.rule == oneOfFold {
			return fail(trimmed, "String must be one of (case insensitive): "+c.words)
		}
		return fail(trimmed, "String must be one of: "+c.words)
	case notEmpty:
		if trimmed == "" {
			return fail(trimmed, "String must be non-empty")
		}
	case offsetReset:
		if !validOffsetReset(trimmed) {
			return fail(trimmed, "Invalid value `"+trimmed+"` for configuration "+d.Name+
				". The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.")
		}
	}
	return trimmed, nil
}

// number answers with a reason when n is out of bounds. The bounds are small enough to be exact in a float64.
func (c check) number(n float64) string {
	switch c.rule {
	case gzipLevel:
		if n != -1 && (n < 1 || n > 9) {
			return "Value must be between 1 and 9 or equal to -1"
		}
	case atLeast, between:
		if n < c.min {
			return "Value must be at least " + plain(c.min)
		}
		if c.rule == between && n > c.max {
			return "Value must be no more than " + plain(c.max)
		}
	}
	return ""
}

func plain(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func (d *Def) parseList(trimmed string) (string, error) {
	items := splitList(trimmed)
	switch d.check.rule {
	case someWords:
		if len(items) == 0 && !d.check.allowEmpty {
			of := d.check.words
			if of == "" {
				of = "any non-empty value"
			} else {
				of = "[" + of + "]"
			}
			return "", kafkaText("Configuration '" + d.Name + "' must not be empty. Valid values include: " + of)
		}
		items = unique(items)
		for _, item := range items {
			if item == "" {
				return "", kafkaText("Configuration '" + d.Name + "' values must not be empty.")
			}
			if d.check.words != "" && !hasWord(d.check.words, item) {
				return "", &ValueError{Name: d.Name, Value: item, Reason: "String must be one of: " + d.check.words}
			}
		}
	case throttled:
		if len(items) == 1 && items[0] == "*" {
			break
		}
		for _, item := range items {
			if !isPair(item) {
				return "", &ValueError{Name: d.Name, Value: "[" + strings.Join(items, ", ") + "]",
					Reason: d.Name + " must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."}
			}
		}
	}
	return strings.Join(items, ","), nil
}

// splitList takes a list apart at commas and the blanks around them; an empty text is an empty list, and an empty entry
// at the end counts (ConfigDef's COMMA_WITH_WHITESPACE).
func splitList(s string) []string {
	s = javaTrim(s)
	if s == "" {
		return nil
	}
	items := strings.Split(s, ",")
	for i := range items {
		items[i] = strings.Trim(items[i], " \t\n\v\f\r")
	}
	return items
}

func unique(items []string) []string {
	out := items[:0]
next:
	for _, item := range items {
		for _, have := range out {
			if have == item {
				continue next
			}
		}
		out = append(out, item)
	}
	return out
}

func hasWord(words, w string) bool {
	for word := range strings.SplitSeq(words, ", ") {
		if word == w {
			return true
		}
	}
	return false
}

// isPair accepts digits:digits and, as ThrottledReplicaListValidator does, nothing at all.
func isPair(s string) bool {
	if s == "" {
		return true
	}
	a, b, ok := strings.Cut(s, ":")
	return ok && isDigits(a) && isDigits(b)
}

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// parseDouble follows Double.parseDouble: decimal digits, an exponent, a suffix f or d, NaN and Infinity. Hexadecimal
// floating point is left out.
func parseDouble(s string) (float64, bool) {
	body := s
	sign := 1
	if body != "" && (body[0] == '+' || body[0] == '-') {
		if body[0] == '-' {
			sign = -1
		}
		body = body[1:]
	}
	switch body {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(sign), true
	case "":
		return 0, false
	}
	if body[0] != '.' && (body[0] < '0' || body[0] > '9') {
		return 0, false // a second sign
	}
	if strings.IndexByte("fFdD", body[len(body)-1]) >= 0 {
		body = body[:len(body)-1]
	}
	for i := 0; i < len(body); i++ {
		if strings.IndexByte("0123456789.eE+-", body[i]) < 0 {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(body, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f * float64(sign), true
}

// formatDouble prints as Double.toString does: plain between 0.001 and ten million, otherwise with an exponent.
func formatDouble(f float64) string {
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case a == 0 || a >= 1e-3 && a < 1e7:
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exponent)
	return mantissa + "E" + strconv.Itoa(n)
}

// Expects says in a few words what a value must be, for messages to the person who wrote it.
func (d *Def) Expects() string {
	c := d.check
	switch d.Type {
	case TypeBoolean:
		return "true or false"
	case TypeShort, TypeInt, TypeLong, TypeDouble:
		s := "an integer"
		if d.Type == TypeDouble {
			s = "a number"
		}
		s += d.unit()
		switch c.rule {
		case atLeast:
			s += " >= " + plain(c.min)
		case between:
			s += " from " + plain(c.min) + " to " + plain(c.max)
		case gzipLevel:
			s += " from 1 to 9, or -1"
		}
		switch d.Type {
		case TypeShort:
			return s + " that fits 16 bits"
		case TypeInt:
			return s + " that fits 32 bits"
		}
		return s
	case TypeList:
		switch {
		case c.rule == throttled:
			return "* or partition:broker pairs separated by commas"
		case c.words != "" && c.allowEmpty:
			return "any of " + c.words + " separated by commas, or nothing"
		case c.words != "":
			return "one or more of " + c.words + " separated by commas"
		case c.rule == someWords && !c.allowEmpty:
			return "one or more values separated by commas"
		}
		return "values separated by commas"
	}
	switch c.rule {
	case oneOf, oneOfFold:
		return "one of " + c.words
	case notEmpty:
		return "a value that is not empty"
	case offsetReset:
		return "earliest, latest or by_duration:PnDTnHnMn.nS"
	}
	return "a text"
}

func (d *Def) unit() string {
	for _, u := range [...][2]string{
		{".bytes.per.second", "bytes per second"}, {".bytes", "bytes"}, {".buffer.size", "bytes"}, {".ms", "milliseconds"},
		{".seconds", "seconds"}, {".minutes", "minutes"}, {".hours", "hours"},
	} {
		if strings.HasSuffix(d.Name, u[0]) || d.Name == "gregor"+u[0] {
			return " of " + u[1]
		}
	}
	return ""
}
