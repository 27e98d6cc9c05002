package controller

import (
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/server/meta"
)

// MaxTopicNameLength is the longest topic name Kafka accepts, in characters (Topic.MAX_NAME_LENGTH).
const MaxTopicNameLength = 249

// ValidateTopicName returns INVALID_TOPIC_EXCEPTION with Kafka's words for a name that no topic may have, else nil.
func ValidateTopicName(name string) *Error {
	reason := ""
	switch {
	case name == "":
		reason = "the empty string is not allowed"
	case name == ".":
		reason = "'.' is not allowed"
	case name == "..":
		reason = "'..' is not allowed"
	case utf16Length(name) > MaxTopicNameLength:
		reason = "the length of '" + name + "' is longer than the max allowed length 249"
	case !validBytes(name):
		reason = "'" + name + "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
	default:
		return nil
	}
	return &Error{CodeInvalidTopic, "Topic name is invalid: " + reason}
}

func validBytes(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// utf16Length counts as Java does.
func utf16Length(s string) (n int) {
	for _, r := range s {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

// nameIndex finds the topics whose names are the same once '.' is read as '_', for metrics cannot tell them apart (Topic).
type nameIndex struct {
	byUnified map[string][]string // only names that have one of the two characters
}

func newNameIndex(im *meta.Image) *nameIndex {
	x := &nameIndex{byUnified: map[string][]string{}}
	for _, t := range im.Topics() {
		x.add(t.Name)
	}
	return x
}

func collides(name string) bool { return strings.ContainsAny(name, "._") }

func unified(name string) string { return strings.ReplaceAll(name, ".", "_") }

func (x *nameIndex) add(name string) {
	if collides(name) {
		key := unified(name)
		if !slices.Contains(x.byUnified[key], name) {
			x.byUnified[key] = append(x.byUnified[key], name)
		}
	}
}

func (x *nameIndex) remove(name string) {
	key := unified(name)
	list := slices.DeleteFunc(slices.Clone(x.byUnified[key]), func(s string) bool { return s == name })
	if len(list) == 0 {
		delete(x.byUnified, key)
	} else {
		x.byUnified[key] = list
	}
}

// follow takes in what changed between two images.
func (x *nameIndex) follow(before, after *meta.Image) {
	for change := range after.ChangedTopics(before) {
		if change.New == nil {
			x.remove(change.Old.Name)
		} else if change.Old == nil {
			x.add(change.New.Name)
		}
	}
}

// find returns a topic that the name collides with, or "".
func (x *nameIndex) find(name string) string {
	if list := x.byUnified[unified(name)]; collides(name) && len(list) > 0 {
		return list[0]
	}
	return ""
}
