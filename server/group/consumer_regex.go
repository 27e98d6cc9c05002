package group

import (
	"errors"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/server/meta"
)

const (
	// patternPause is the least time between two resolutions of a group's regular expressions, in ms
	// (GroupMetadataManager.REGEX_BATCH_REFRESH_MIN_INTERVAL_MS).
	patternPause = 10_000
	// patternLimit bounds a regular expression, in bytes, and patternSize its program, in instructions: matching takes time
	// in proportion to it.
	patternLimit = 4096
	patternSize  = 10_000
	// patternBudget is how much matching one operation does, in instructions times bytes: a few milliseconds.
	patternBudget = 1 << 20
)

// resolution is the work of finding the topics that a group's regular expressions match, as of one image, in portions.
type resolution struct {
	image    *meta.Image
	started  int64 // ms
	patterns []pattern
	next     int // topic
}

type pattern struct {
	regex  string
	match  *regexp.Regexp // nil where it is not valid: it matches nothing
	size   int
	topics []string
}

var errPatternSize = errors.New("too large")

// compile compiles a regular expression that a topic's whole name must match. The syntax is RE2's, as in Kafka.
func compile(regex string) (*regexp.Regexp, int, error) {
	if len(regex) > patternLimit {
		return nil, 0, errPatternSize
	}
	tree, err := syntax.Parse(regex, syntax.Perl)
	if err != nil {
		return nil, 0, err
	}
	size := instructions(tree)
	if size > patternSize {
		return nil, 0, errPatternSize
	}
	re, err := regexp.Compile(`\A(?:` + regex + `)\z`)
	return re, size, err
}

// instructions is about how large the program of a regular expression becomes when its repetitions are written out.
func instructions(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += instructions(sub)
		if n > math.MaxInt32 {
			return math.MaxInt32
		}
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, math.MaxInt32)
}

// checkRegex refuses a regular expression that nobody in the group subscribes to yet, if it is not valid.
func (m *Machine) checkRegex(g *consumerGroup, x, replaced *consumerMember, regex *string) *refusal {
	if replaced != nil {
		x = replaced
	}
	if regex == nil || *regex == "" || x != nil && x.regex == *regex || g != nil && g.regexes[*regex] > 0 {
		return nil
	}
	_, _, err := compile(*regex)
	if err == nil {
		return nil
	}
	why := err.Error()
	var wrong *syntax.Error
	if errors.As(err, &wrong) {
		why = wrong.Code.String()
	}
	return refuse(codeInvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.", *regex, why)
}

// dropPattern forgets what a regular expression was resolved to, if nobody subscribes to it any more. As in Kafka the tombstone is written
// whether there was a result or not.
func (m *Machine) dropPattern(c *coord.Context, g *consumerGroup, regex string) {
	if regex != "" && g.regexes[regex] == 0 {
		m.write(c, record.Key{Type: record.TypeConsumerGroupRegularExpression, Group: g.id, Regex: regex}, nil)
	}
}

// refreshPatterns begins to resolve the group's regular expressions, all together so that they cause one rebalance: when there is a new
// one, when topics have been created, and every group.consumer.regex.refresh.interval.ms (GroupMetadataManager.maybeUpdateRegularExpressions).
func (m *Machine) refreshPatterns(c *coord.Context, g *consumerGroup, fresh bool) {
	if len(g.regexes) == 0 || g.resolving != nil {
		return
	}
	last, version := int64(math.MinInt64/2), int64(0)
	for _, p := range g.matched {
		if p.atTime > last {
			last, version = p.atTime, p.version
		}
	}
	if c.Now() <= last+patternPause {
		return
	}
	image := m.opt.Image()
	if m.newTopics == 0 {
		m.newTopics = image.Offset
	}
	if fresh || len(g.regexes) != len(g.matched) || version < m.newTopics || c.Now() > last+m.opt.Settings.Consumer.RegexRefresh.Milliseconds() {
		g.resolving = &resolution{}
		c.Timer(coord.TimerKey{Kind: timerPatterns, Name: g.id}, c.Now())
	}
}

// resolvePatterns does a portion of a resolution (TopicRegexResolver).
func (m *Machine) resolvePatterns(c *coord.Context, g *consumerGroup) {
	r := g.resolving
	if r == nil {
		return
	}
	if r.image == nil {
		r.image, r.started = m.opt.Image(), c.Now()
		for regex := range g.regexes {
			p := pattern{regex: regex}
			var err error
			if p.match, p.size, err = compile(regex); err != nil {
				m.log.Error("cannot resolve a regular expression of the log", "group", g.id, "regex", regex, "error", err)
			}
			r.patterns = append(r.patterns, p)
		}
		slices.SortFunc(r.patterns, func(a, b pattern) int { return strings.Compare(a.regex, b.regex) })
	}
	budget := patternBudget
	for all := r.image.Topics(); r.next < len(all); r.next++ {
		if budget <= 0 {
			c.Timer(coord.TimerKey{Kind: timerPatterns, Name: g.id}, c.Now()+1) // others have their turn
			return
		}
		name := all[r.next].Name
		for i := range r.patterns {
			p := &r.patterns[i]
			budget -= (p.size + 8) * (len(name) + 8)
			if p.match != nil && p.match.MatchString(name) {
				p.topics = append(p.topics, name)
			}
		}
	}
	g.resolving = nil
	m.resolved(c, g, r)
}

// resolved takes the result in (GroupMetadataManager.handleRegularExpressionsResult).
func (m *Machine) resolved(c *coord.Context, g *consumerGroup, r *resolution) {
	rebalance := false
	for i := range r.patterns {
		p := &r.patterns[i]
		if g.regexes[p.regex] == 0 {
			continue
		}
		var before []string
		if old := g.matched[p.regex]; old != nil {
			before = old.topics
		}
		rebalance = rebalance || !slices.Equal(before, p.topics)
		m.write(c, record.Key{Type: record.TypeConsumerGroupRegularExpression, Group: g.id, Regex: p.regex},
			&record.ConsumerGroupRegularExpression{Topics: p.topics, Version: r.image.Offset, Timestamp: r.started})
	}
	hash := m.metadataHash(g)
	if rebalance || hash != g.hash {
		m.write(c, g.key(record.TypeConsumerGroupMetadata, ""), &record.ConsumerGroupMetadata{Epoch: g.epoch + 1, MetadataHash: hash})
		g.checked = true
	}
}
