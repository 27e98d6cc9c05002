package main

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// digits end the names of topics that are made anew for every version.
var digits = regexp.MustCompile(`[0-9]+(-[0-9]+)?$`)

// short is a topic's name without the prefix of the run and the number of the
// version, so that differences in several versions are seen to be the same.
func (b *broker) short(name string) string {
	if rest, ok := strings.CutPrefix(name, b.prefix); ok {
		return digits.ReplaceAllString(rest, "")
	}
	return name
}

// line is one field of an answer.
type line struct{ path, value string }

// answer is what a broker said to one labelled request, as sorted fields.
type answer struct {
	label   string
	version int16
	lines   []line
}

// broker is one of the two, as cases see it.
type broker struct {
	*client
	prefix   string // of topic names
	answers  []answer
	ids      map[[16]byte]string // topic ids by the topic's name
	members  map[string]int      // ids of group members, numbered
	fatal    error
	barriers int // topics made by settleConfigs
	// unnumbered says that one broker may have taken batches that the other
	// refused, so that offsets are not compared.
	unnumbered bool
}

func newBroker(addr, prefix string) *broker {
	return &broker{client: newClient(addr), prefix: prefix, ids: map[[16]byte]string{}, members: map[string]int{}}
}

// do sends a request and records the answer under a label. It returns nil when
// there was none.
func (b *broker) do(label string, r kmsg.Request) kmsg.Response {
	return b.record(label, r, b.send(r))
}

// doBody is do with a body of the caller's making.
func (b *broker) doBody(label string, r kmsg.Request, body []byte) kmsg.Response {
	return b.record(label, r, b.sendBody(r, body))
}

func (b *broker) record(label string, r kmsg.Request, err error) kmsg.Response {
	var resp kmsg.Response
	if err == nil {
		resp, err = b.receive(r)
	}
	b.note(label, r.GetVersion(), resp, err)
	return resp
}

// note records an answer, or why there is none.
func (b *broker) note(label string, version int16, resp kmsg.Response, err error) {
	a := answer{label: label, version: version}
	switch {
	case errors.Is(err, io.EOF):
		a.lines = []line{{"outcome", "connection closed"}}
	case err != nil:
		a.lines = []line{{"outcome", err.Error()}}
	default:
		if r, ok := resp.(*kmsg.DescribeLogDirsResponse); ok {
			oneDirectory(r)
		}
		f := flattener{b: b}
		f.walk("", reflect.ValueOf(resp))
		a.lines = f.lines
	}
	b.answers = append(b.answers, a)
}

// said records a fact that is no response.
func (b *broker) said(label string, version int16, value string) {
	b.answers = append(b.answers, answer{label: label, version: version, lines: []line{{"fact", value}}})
}

// ask sends a request whose answer is not compared.
func (b *broker) ask(r kmsg.Request) kmsg.Response {
	err := b.send(r)
	var resp kmsg.Response
	if err == nil {
		resp, err = b.receive(r)
	}
	if err != nil {
		if b.fatal == nil {
			b.fatal = fmt.Errorf("%s: %T: %w", b.addr, r, err)
		}
		return nil
	}
	return resp
}

// made are the ids that brokers give to members: a prefix and a random UUID, or
// that alone.
var made = regexp.MustCompile(`^(.*-)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$|^[A-Za-z0-9_-]{22}$`)

// memberName names the ids that the broker made, by the order in which it did.
func (b *broker) memberName(id string) string {
	m := made.FindStringSubmatch(id)
	if m == nil {
		return id
	}
	n, ok := b.members[id]
	if !ok {
		n = len(b.members) + 1
		b.members[id] = n
	}
	return fmt.Sprintf("%smember %d", m[1], n)
}

// flattener turns a response into lines, without what has to differ.
type flattener struct {
	b     *broker
	lines []line
}

func (f *flattener) add(path, value string) {
	f.lines = append(f.lines, line{strings.TrimPrefix(path, "."), value})
}

func (f *flattener) walk(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			f.add(path, "null")
			return
		}
		f.walk(path, v.Elem())
	case reflect.Struct:
		if k, ok := v.Interface().(kmsg.ApiVersionsResponseApiKey); ok {
			f.add(path, fmt.Sprintf("%d-%d", k.MinVersion, k.MaxVersion))
			return
		}
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			return
		}
		if t, ok := v.Interface().(kmsg.DescribeTransactionsResponseTransactionStateTopic); ok {
			slices.Sort(t.Partitions) // a set to Kafka
		}
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "Version" || !v.Type().Field(i).IsExported() {
				continue
			}
			f.field(path+"."+name, name, v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			f.bytes(path, v)
			return
		}
		if v.IsNil() {
			f.add(path, "null")
			return
		}
		seen := map[string]int{}
		order := make([]string, v.Len())
		for i := range order {
			key := f.key(v.Index(i), i)
			if seen[key]++; seen[key] > 1 {
				key += fmt.Sprint("#", seen[key])
			}
			order[i] = key
			at := path + "[" + key + "]"
			if v.Index(i).Kind() == reflect.Struct {
				f.add(at, present)
			}
			f.walk(at, v.Index(i))
		}
		f.add(path+orderSuffix, strings.Join(order, " "))
	case reflect.Array:
		var id [16]byte
		reflect.Copy(reflect.ValueOf(&id).Elem(), v)
		f.add(path, f.id(id))
	default:
		f.add(path, fmt.Sprint(v.Interface()))
	}
}

// bytes tells null, empty and records apart; of records the shape is kept.
func (f *flattener) bytes(path string, v reflect.Value) {
	switch {
	case v.IsNil():
		f.add(path, "null")
	default:
		f.add(path, describeRecords(v.Bytes()))
	}
}

func (f *flattener) id(id [16]byte) string {
	if id == ([16]byte{}) {
		return "zero"
	}
	if name, ok := f.b.ids[id]; ok {
		return "id of " + f.b.short(name)
	}
	return "an id"
}

const (
	// present is the value of a whole element; what is in it follows.
	present = "there"
	// orderSuffix ends the path of the keys of a list's elements, in order.
	orderSuffix = " in order"
)

// key names an element by what identifies it, so that one that is missing or
// elsewhere does not make all others differ.
func (f *flattener) key(v reflect.Value, i int) string {
	if v.Kind() != reflect.Struct {
		return fmt.Sprint(i)
	}
	if entity := v.FieldByName("Entity"); entity.IsValid() {
		return f.entity(entity)
	}
	for _, name := range []string{"ApiKey", "Topic", "TopicID", "Partition", "ResourceName", "EntityType", "Name", "NodeID", "Key", "User", "Type", "Group", "TransactionalID", "MemberID"} {
		field := v.FieldByName(name)
		if !field.IsValid() {
			continue
		}
		if field.Kind() == reflect.Pointer {
			if field.IsNil() {
				continue
			}
			field = field.Elem()
		}
		if field.Kind() == reflect.Array {
			var id [16]byte
			reflect.Copy(reflect.ValueOf(&id).Elem(), field)
			return f.id(id)
		}
		if name == "MemberID" {
			return f.b.memberName(field.String())
		}
		if s := fmt.Sprint(field.Interface()); s != "" || name == "Group" {
			return f.b.short(s)
		}
	}
	return fmt.Sprint(i)
}

// entity writes the parts of a quota's entity, whose order says nothing.
func (f *flattener) entity(v reflect.Value) string {
	var parts []string
	for i := range v.Len() {
		name := "<default>"
		if p := v.Index(i).FieldByName("Name"); !p.IsNil() {
			name = p.Elem().String()
		}
		parts = append(parts, v.Index(i).FieldByName("Type").String()+"="+name)
	}
	sort.Strings(parts)
	return strings.Join(parts, " ")
}

// field replaces what must differ between two brokers.
func (f *flattener) field(path, name string, v reflect.Value) {
	switch name {
	case "UnknownTags":
		return
	case "ClusterID":
		f.add(path, "a cluster id")
		if v.Kind() == reflect.Pointer && v.IsNil() {
			f.add(path, "null")
		}
		return
	case "Port":
		if v.CanUint() || v.Int() > 0 {
			f.add(path, "a port")
			return
		}
	case "ProtocolMetadata", "MemberAssignment":
		f.add(path, fmt.Sprintf("bytes %x null %v", v.Bytes(), v.IsNil()))
		return
	case "Group":
		f.add(path, f.b.short(v.String()))
		return
	case "MemberID", "LeaderID":
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				break
			}
			v = v.Elem()
		}
		f.add(path, f.b.memberName(v.String()))
		return
	case "ProducerID":
		if v.Int() >= 0 {
			f.add(path, "a producer id")
			return
		}
	case "SessionID":
		if v.Int() != 0 {
			f.add(path, "a session")
			return
		}
	case "FinalizedFeaturesEpoch":
		f.add(path, fmt.Sprintf("at least zero: %v", v.Int() >= 0))
		return
	case "LogAppendTime", "LogAppendTimeMillis":
		if t := v.Int(); t > 0 {
			f.add(path, fmt.Sprintf("now: %v", time.Since(time.UnixMilli(t)).Abs() < time.Minute))
			return
		}
	case "BaseOffset":
		if f.b.unnumbered && v.Int() >= 0 {
			f.add(path, "an offset")
			return
		}
	case "StartTimestamp", "LastTimestamp":
		if v.Int() > 0 {
			f.add(path, "a time")
			return
		}
	case "TransactionalID":
		f.add(path, f.b.short(v.String()))
		return
	case "TotalBytes", "UsableBytes":
		f.add(path, fmt.Sprintf("known: %v", v.Int() > 0))
		return
	case "Dir":
		f.add(path, "a directory")
		return
	case "ThrottleMillis":
		return
	}
	f.walk(path, v)
}

// options are what may be compared or not.
type options struct{ texts, order bool }

// report prints how the answers of two brokers differ and returns how often.
func report(w io.Writer, name string, a, b []answer, o options) int {
	type difference struct{ label, path, a, b string }
	versions := map[difference][]int16{}
	var order []difference
	note := func(d difference, version int16) {
		if versions[d] == nil {
			order = append(order, d)
		}
		versions[d] = append(versions[d], version)
	}
	for i := 0; i < max(len(a), len(b)); i++ {
		if i >= len(a) || i >= len(b) || a[i].label != b[i].label || a[i].version != b[i].version {
			fmt.Fprintf(w, "%s: the brokers were asked different things from answer %d on\n", name, i)
			break
		}
		left, right := a[i].byPath(), b[i].byPath()
		paths := make([]string, 0, len(left))
		for p := range left {
			paths = append(paths, p)
		}
		for p := range right {
			if _, ok := left[p]; !ok {
				paths = append(paths, p)
			}
		}
		sort.Strings(paths)
		missing := "\x00"
		for _, p := range paths {
			l, r := left[p], right[p]
			if l == r || strings.HasPrefix(p, missing) || !o.texts && isText(p) || !o.order && strings.HasSuffix(p, orderSuffix) {
				continue
			}
			if l == present || r == present {
				missing = p
			}
			if strings.HasPrefix(p, "ApiKeys[") && r == "" {
				p, l = "APIs that are not served", ""
			}
			note(difference{a[i].label, p, l, r}, a[i].version)
		}
	}
	last := ""
	for _, d := range order {
		if d.label != last {
			fmt.Fprintf(w, "%s: %s\n", name, d.label)
			last = d.label
		}
		fmt.Fprintf(w, "    v%s %s: %s | %s\n", ranges(versions[d]), d.path, quoted(d.a), quoted(d.b))
	}
	return len(order)
}

// quoted shows that a field was not there at all.
func quoted(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}

func isText(path string) bool {
	return strings.HasSuffix(path, "ErrorMessage") || strings.Contains(path, "Documentation")
}

func (a *answer) byPath() map[string]string {
	m := make(map[string]string, len(a.lines))
	for _, l := range a.lines {
		m[l.path] = l.value
	}
	return m
}

// ranges writes versions as 3-7,9.
func ranges(v []int16) string {
	var out []string
	for i := 0; i < len(v); {
		j := i
		for j+1 < len(v) && v[j+1] <= v[j]+1 {
			j++
		}
		if v[j] == v[i] {
			out = append(out, fmt.Sprint(v[i]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", v[i], v[j]))
		}
		i = j + 1
	}
	return strings.Join(out, ",")
}
