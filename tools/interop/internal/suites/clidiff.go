package suites

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// cliTools are the classes of Kafka's scripts, by what the script is called without "kafka-".
var cliTools = map[string]string{
	"topics":              "org.apache.kafka.tools.TopicCommand",
	"configs":             "kafka.admin.ConfigCommand",
	"features":            "org.apache.kafka.tools.FeatureCommand",
	"metadata-quorum":     "org.apache.kafka.tools.MetadataQuorumCommand",
	"leader-election":     "org.apache.kafka.tools.LeaderElectionCommand",
	"reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
	"log-dirs":            "org.apache.kafka.tools.LogDirsCommand",
	"delete-records":      "org.apache.kafka.tools.DeleteRecordsCommand",
	"get-offsets":         "org.apache.kafka.tools.GetOffsetShell",
	"broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"cluster":             "org.apache.kafka.tools.ClusterTool",
	"client-metrics":      "org.apache.kafka.tools.ClientMetricsCommand",
	"acls":                "org.apache.kafka.tools.AclCommand",
	"consumer-groups":     "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"groups":              "org.apache.kafka.tools.GroupsCommand",
	"transactions":        "org.apache.kafka.tools.TransactionsCommand",
	"console-consumer":    "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"console-producer":    "org.apache.kafka.tools.ConsoleProducer",
}

// cliStep is one command line. In its words {b} stands for the broker's address, {c} for the controller's, {1} for the first data
// directory, {2} for the second one, {p} for the path of server.properties, {t} for the time of the sixth record, {id:TOPIC} for a
// topic's id and {NAME.json} for the path of a file; a command without {b} and {c} gets --bootstrap-server in front. A tool with a star
// changes something: the next step begins when the broker knows all that its controller has taken. Two stars are for moves between
// directories, which go on behind the answer: the next step begins when they are over. With an ampersand the command goes on behind the
// steps that follow, which begin when its group is stable.
type cliStep struct {
	name  string
	tool  string
	words string
	input string
}

// clidiff runs the same console tools against a fresh broker on trial and a fresh Apache Kafka, and compares what they print.
func clidiff(s *rig.S) {
	steps := slices.Concat(cliSteps, cliControllerSteps)
	if s.Groups {
		steps = append(steps, cliGroupSteps...)
	}
	var sides [2]*cliSide
	ready := s.Test("brokers-start", 3*time.Minute, func(t *rig.T) {
		errs := make([]error, 2)
		var both sync.WaitGroup
		for i, kind := range []string{rig.Kafka, s.Kind} {
			both.Go(func() { sides[i], errs[i] = startCLISide(t, kind) })
		}
		both.Wait()
		for _, err := range errs {
			t.Must(err, "start")
		}
		for _, side := range sides {
			cliData(t, side.broker)
		}
	})
	if ready {
		cliCompare(s, steps, sides)
	}
	s.Test("brokers-stop", 3*time.Minute, func(t *rig.T) {
		for _, side := range sides {
			if side != nil {
				t.Must(side.stop(), "stop")
			}
		}
	})
}

// cliData is what the tools find: the same records with the same times on both sides.
func cliData(t *rig.T, b *rig.Broker) {
	createTopic(t, b, "data", 2, nil)
	produceStamped(t, b, "data", cliTime, 1000, 10)
	createTopic(t, b, "trimmed", 1, nil)
	produceStamped(t, b, "trimmed", cliTime, 1000, 10)
}

// cliTime is when the first record was made, in milliseconds; topics keep a week.
var cliTime = time.Now().Add(-time.Hour).Truncate(time.Hour).UnixMilli()

// cliPatience is how long a command that changes nothing is asked again while the answers differ: what a broker shows may be a moment
// old, and on a busy machine the moment is long. A difference that is none of time stays.
const cliPatience = 6 * time.Second

func cliCompare(s *rig.S, steps []cliStep, sides [2]*cliSide) {
	for _, step := range steps {
		s.Test(step.name, 4*cliLimit, func(t *rig.T) {
			first := time.Now()
			for try := 1; ; try++ {
				var got [2]cliAnswer
				var both sync.WaitGroup
				for i, side := range sides {
					both.Go(func() { got[i] = side.run(t.Context(), step) })
				}
				both.Wait()
				for i, side := range sides {
					t.Must(got[i].err, side.kind)
				}
				d := cliDifference(got[0], got[1])
				if d == "" {
					if try > 1 {
						t.Note("the same at try %d", try)
					}
					return
				}
				if cliAltering(step) || time.Since(first) > cliPatience {
					t.Fatalf("%s %s\n%s", step.tool, step.words, d)
				}
				time.Sleep(300 * time.Millisecond)
			}
		})
	}
}

// cliAltering says whether to run a step again could have another result.
func cliAltering(step cliStep) bool {
	return strings.ContainsAny(step.tool[:1], "*&") || cliBefore[step.name] != nil
}

// cliSide is one broker and a process with the tools beside it.
type cliSide struct {
	kind    string
	broker  *rig.Broker
	client  *kgo.Client
	second  string // data directory
	files   string
	shell   *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	replace []cliRule
	answers *os.File // all that was printed, with --keep
	closing []func()
}

// cliLimit bounds one command.
const cliLimit = 45 * time.Second

func startCLISide(t *rig.T, kind string) (*cliSide, error) {
	side := &cliSide{kind: kind}
	var err error
	if side.files, err = t.TempDir("clidiff-files"); err != nil {
		return nil, err
	}
	side.second = filepath.Join(side.files, "second")
	if side.broker, err = rig.NewBroker(t.Env, "clidiff-"+kind); err != nil {
		return nil, err
	}
	// Two directories, the first one first.
	f, err := os.OpenFile(side.broker.Properties, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(f, "log.dirs=%s,%s\n", side.broker.Data, side.second)
	if err := cmpErr(err, f.Close()); err != nil {
		return nil, err
	}
	if err := side.rules(); err != nil {
		return nil, err
	}
	if t.Keep {
		if side.answers, err = os.Create(filepath.Join(side.files, "answers")); err != nil {
			return nil, err
		}
	}
	for name, text := range cliFiles {
		if err := os.WriteFile(filepath.Join(side.files, name), []byte(side.fill(text)), 0o644); err != nil {
			return nil, err
		}
	}
	if err := side.broker.Start(kind); err != nil {
		return nil, err
	}
	if side.client, err = kgo.NewClient(kgo.SeedBrokers(side.broker.Addr)); err != nil {
		return nil, err
	}
	// The process outlives the test that starts it.
	side.shell = t.JavaCommand(context.Background(), "log4j2-tools.properties", "Shell")
	side.shell.Stderr = io.Discard
	if side.in, err = side.shell.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := side.shell.StdoutPipe()
	if err != nil {
		return nil, err
	}
	side.out = bufio.NewReader(out)
	return side, side.shell.Start()
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *cliSide) stop() error {
	if c.shell != nil && c.shell.Process != nil {
		_ = c.in.Close()
		_ = c.shell.Process.Kill()
		_ = c.shell.Wait()
	}
	for _, f := range c.closing {
		f()
	}
	if c.client != nil {
		c.client.Close()
	}
	if c.answers != nil {
		_ = c.answers.Close()
	}
	if c.broker == nil || !c.broker.Running() {
		return nil
	}
	return c.broker.Stop()
}

// fill puts this side's own values into a text.
func (c *cliSide) fill(text string) string {
	text = strings.NewReplacer(
		"{b}", c.broker.Addr, "{c}", c.broker.Controller, "{1}", c.broker.Data, "{2}", c.second, "{p}", c.broker.Properties,
		"{t}", strconv.FormatInt(cliTime+5*1000, 10)).Replace(text)
	for name := range cliFiles {
		text = strings.ReplaceAll(text, "{"+name+"}", filepath.Join(c.files, name))
	}
	return text
}

// cliAnswer is what a command printed, already without what has to differ.
type cliAnswer struct {
	status int
	lines  []string
	err    error
}

// run runs one command and waits until the next one may begin.
func (c *cliSide) run(ctx context.Context, step cliStep) cliAnswer {
	if before := cliBefore[step.name]; before != nil {
		if err := before(ctx, c); err != nil {
			return cliAnswer{err: fmt.Errorf("before it: %w", err)}
		}
	}
	a := c.ask(ctx, step)
	if a.err == nil {
		a.err = c.settle(ctx, step)
	}
	return a
}

var cliTopicID = regexp.MustCompile(`\{id:([^}]+)\}`)

// ask runs one command.
func (c *cliSide) ask(ctx context.Context, step cliStep) cliAnswer {
	tool := strings.TrimLeft(step.tool, "*&")
	class, ok := cliTools[tool]
	if !ok {
		return cliAnswer{err: fmt.Errorf("no tool is called %q", tool)}
	}
	words := step.words
	if words != "--help" && words != "--version" && !strings.Contains(words, "{b}") && !strings.Contains(words, "{c}") {
		words = "--bootstrap-server {b} " + words
	}
	if m := cliTopicID.FindStringSubmatch(words); m != nil {
		topics, err := kadm.NewClient(c.client).ListTopics(ctx, m[1])
		if err != nil {
			return cliAnswer{err: err}
		}
		id := topics[m[1]].ID
		words = strings.Replace(words, m[0], base64.RawURLEncoding.EncodeToString(id[:]), 1) // kadm writes it in another alphabet
	}
	limit := cliLimit
	if step.tool[0] == '&' {
		limit = 0
	}
	fields := []string{strconv.FormatInt(limit.Milliseconds(), 10), base64.StdEncoding.EncodeToString([]byte(step.input)), class}
	for _, w := range strings.Fields(words) {
		fields = append(fields, strings.ReplaceAll(c.fill(w), "~", " "))
	}
	if _, err := fmt.Fprintln(c.in, strings.Join(fields, "\t")); err != nil {
		return cliAnswer{err: err}
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return cliAnswer{err: fmt.Errorf("the process with the tools ended: %w", err)}
	}
	code, encoded, _ := strings.Cut(strings.TrimSpace(line), "\t")
	a := cliAnswer{}
	if a.status, err = strconv.Atoi(code); err != nil {
		return cliAnswer{err: fmt.Errorf("answer %q", line)}
	}
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return cliAnswer{err: err}
	}
	a.lines = c.normalise(step.name, string(text))
	if c.answers != nil {
		_, a.err = fmt.Fprintf(c.answers, "== %s: %s\n%s== %d\n\n", step.name, strings.Join(fields[3:], " "), text, a.status)
	}
	return a
}

// cliRule replaces what must differ between two brokers.
type cliRule struct {
	step *regexp.Regexp // nil: every one
	what *regexp.Regexp
	by   string
}

var cliRules = []cliRule{
	{nil, regexp.MustCompile(`(TopicId: |Cluster ID: |DirectoryId: ?|directoryId=|topicId=)[A-Za-z0-9_-]{22}`), "${1}ID"},
	{nil, regexp.MustCompile(`\b1[0-9]{12}\b`), "MS"},
	{nil, regexp.MustCompile(`[A-Z][a-z]{2} [A-Z][a-z]{2} [0-9]{2} [0-9:]{8} [A-Z]+ [0-9]{4}`), "DATE"},
	{nil, regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z?`), "DATE"},
	{nil, regexp.MustCompile(`\[[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:,]{12}\]`), "[TIME]"},
	{nil, regexp.MustCompile(`@[0-9a-f]{6,8}\b`), "@OBJECT"},
	{regexp.MustCompile(`^quorum/`), regexp.MustCompile(`(directoryId": ")[A-Za-z0-9_-]{22}"`), "${1}ID\""},
	{regexp.MustCompile(`^quorum/`), regexp.MustCompile(`(?m)^([0-9]+\s+)[A-Za-z0-9_-]{22}(\s)`), "${1}ID${2}"},
	{regexp.MustCompile(`^quorum/`), regexp.MustCompile(`\b[0-9]+\b`), "N"},
	{regexp.MustCompile(`^features/`), regexp.MustCompile(`Epoch: [0-9]+`), "Epoch: N"},
	// One partition a line, the first and the last as all others.
	{regexp.MustCompile(`^(log-dirs|reassign)/`), regexp.MustCompile(`\{"(partition|topic)":`), "\n$0"},
	{regexp.MustCompile(`^(log-dirs|reassign)/`), regexp.MustCompile(`("isFuture":[a-z]+|"log_dirs":\[[^]]*\])\}[],]*`), "$1}\n"},
	{regexp.MustCompile(`^delete-records/`), regexp.MustCompile(`\b(tries=|after )[0-9]+`), "${1}N"},
	// The directories of an answer are in the order of a hash map, and Kafka gives the partitions of one topic their directories in
	// such an order too. Topics of one partition that are made one after the other go where they go (moves/first).
	{regexp.MustCompile(`^(log-dirs/.*|reassign/.*)$`), regexp.MustCompile(`\b(FIRST|SECOND)\b`), "DIR"},
	{regexp.MustCompile(`^log-dirs/`), regexp.MustCompile(`(\],)?"error":null,"logDir":"DIR"[]},{]*`), "\n\"logDir\":\"DIR\"\n"},
	{regexp.MustCompile(`^(log-dirs/|moves/where-now)`), regexp.MustCompile(`"(totalBytes|usableBytes)":[0-9]+`), `"$1":N`},
	// Here it matters which directory has the partition, and not which of them comes first.
	{regexp.MustCompile(`^moves/where-now$`), regexp.MustCompile(`\{("partitions":.*?"logDir":"[A-Z]+")[^{\n]*`), "\n$1\n"},
	// It is chance in which of two states the time ran out.
	{regexp.MustCompile(`missing|/describe-producers-partition$`),
		regexp.MustCompile(`Call\(callName=.*? timed out at MS after [0-9N]+ attempt\(s\)|Timed out waiting for a node assignment\. Call: \S+\)`), "TIMEOUT"},
	{regexp.MustCompile(`^(groups|live|transactions)/`), regexp.MustCompile(`(console-consumer|consumer-[a-z]+)[-0-9a-f]*-[0-9a-f]{8}-[0-9a-f-]{27}`), "MEMBER"},
	{regexp.MustCompile(`^transactions/`), regexp.MustCompile(`\b[0-9]+\b`), "N"},
}

// cliSets are hash maps and sets in one line: their order follows from the order in which they were filled or from chance.
var cliSets = regexp.MustCompile(`(^Topic: .* Configs: |Valid (?:states|types) are: )(.+)|(\[[a-z-]+\](?:, \[[a-z-]+\])+)`)

var cliBlanks = regexp.MustCompile(`[ \t]+`)

// cliID is a random id of Kafka's: 22 characters, at least one of which is no letter, so that words are none.
var cliID = regexp.MustCompile(`(^|[^A-Za-z0-9_-])([A-Za-z0-9_-]{22})([^A-Za-z0-9_-]|$)`)

func randomID(s string) bool {
	return strings.ContainsAny(s, "0123456789_-") && strings.ToLower(s) != s && strings.ToUpper(s) != s
}

// rules adds what is this side's own: ports and paths.
func (c *cliSide) rules() error {
	text, err := os.ReadFile(c.broker.Properties)
	if err != nil {
		return err
	}
	ports := map[string]bool{}
	for _, m := range regexp.MustCompile(`localhost:([0-9]+)`).FindAllStringSubmatch(string(text), -1) {
		ports[m[1]] = true
	}
	for _, p := range slices.Sorted(maps.Keys(ports)) {
		c.replace = append(c.replace, cliRule{nil, regexp.MustCompile(`\b` + p + `\b`), "PORT"})
	}
	for path, name := range map[string]string{c.broker.Data: "FIRST", c.second: "SECOND"} {
		c.replace = append(c.replace, cliRule{nil, regexp.MustCompile(regexp.QuoteMeta(path)), name})
	}
	c.replace = append(c.replace,
		cliRule{nil, regexp.MustCompile(regexp.QuoteMeta(c.files)), "FILES"}, cliRule{nil, regexp.MustCompile(regexp.QuoteMeta(c.broker.Dir)), "HOME"})
	return nil
}

// normalise splits what was printed into lines without what must differ, in an order of their own: the tools print hash maps.
func (c *cliSide) normalise(step, text string) []string {
	for _, r := range slices.Concat(c.replace, cliRules) {
		if r.step == nil || r.step.MatchString(step) {
			text = r.what.ReplaceAllString(text, r.by)
		}
	}
	for range 2 { // neighbours share a character
		text = cliID.ReplaceAllStringFunc(text, func(s string) string {
			m := cliID.FindStringSubmatch(s)
			if !randomID(m[2]) {
				return s
			}
			return m[1] + "ID" + m[3]
		})
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(cliBlanks.ReplaceAllString(strings.Trim(line, "-"), " "))
		line = cliSets.ReplaceAllStringFunc(line, func(s string) string {
			m := cliSets.FindStringSubmatch(s)
			list := strings.Split(m[2]+m[3], ",") // one of the two
			for i := range list {
				list[i] = strings.TrimSpace(list[i])
			}
			slices.Sort(list)
			return m[1] + strings.Join(list, ",")
		})
		if line != "" && !slices.ContainsFunc(cliIntents, func(i cliIntent) bool { return i.step.MatchString(step) && i.line.MatchString(line) }) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// cliDifference says how two answers differ, "" for not at all.
func cliDifference(kafka, other cliAnswer) string {
	var out []string
	if kafka.status != other.status {
		out = append(out, fmt.Sprintf("exit status %d, expected %d", other.status, kafka.status))
	}
	for _, side := range []struct {
		mark    string
		have, x []string
	}{{"- ", kafka.lines, other.lines}, {"+ ", other.lines, kafka.lines}} {
		left := slices.Clone(side.x)
		for _, line := range side.have {
			if i := slices.Index(left, line); i >= 0 {
				left = slices.Delete(left, i, i+1)
				continue
			}
			out = append(out, side.mark+line)
		}
	}
	return strings.Join(out, "\n")
}
