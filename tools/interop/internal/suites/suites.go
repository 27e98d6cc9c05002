package suites

import "github.com/gregor-broker/gregor/tools/interop/internal/rig"

// suite is one entry of the run, in the order of the run.
type suite struct {
	name string
	run  func(*rig.S)
	// whole runs instead of run as part of a whole run.
	whole func(*rig.S)
	// coordinated: needs coordinators, in a whole run only with --groups or Coordination.
	coordinated bool
	// named: only when asked for by name.
	named bool
}

var all = append([]suite{
	{name: "startup", run: startup},
	{name: "kcat", run: kcat},
	{name: "librdkafka", run: librdkafka},
	{name: "python", run: python},
	{name: "kafkajs", run: kafkajs},
	{name: "franz", run: franz},
	{name: "sarama", run: saramaSuite},
	{name: "segmentio", run: segmentio},
	{name: "java", run: java},
	{name: "tools", run: tools},
	{name: "clidiff", run: clidiff},
	{name: "dump", run: dump},
	{name: "handover", run: handover},
	{name: "golden", run: goldenSuite},
	{name: "repair", run: repair},
	{name: "kill9", run: kill9},
	{name: "hostile", run: hostile},
	{name: "limits", run: limits},
	{name: "txncheck", run: txncheck, coordinated: true},
	{name: "groups", run: groups, coordinated: true},
	{name: "handover-groups", run: handoverCoordinators, coordinated: true},
	{name: "scenarios", run: scenarios, coordinated: true},
	{name: "streams", run: streams, coordinated: true},
	{name: "connect", run: connect, coordinated: true},
	{name: "groupload", run: groupload, coordinated: true, named: true},
	{name: "grouprebalance", run: grouprebalance, coordinated: true, named: true},
}, ownEntries()...)

// ownEntries are the clients' own suites.
func ownEntries() []suite {
	var out []suite
	for _, o := range ownSuites() {
		whole := quickOwn(o)
		out = append(out, suite{name: o.name, run: o.judge, whole: whole, coordinated: true, named: whole == nil})
	}
	return out
}

// Coordination says whether every run tests what needs group and transaction coordinators, as one with --groups does.
const Coordination = true

// Names are all suites in the order in which they run.
func Names() []string {
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	return names
}

// Whole are the suites of a run that names none; groups says whether those that need coordinators are among them.
func Whole(groups bool) []string {
	var names []string
	for _, s := range all {
		if !s.named && (!s.coordinated || groups) {
			names = append(names, s.name)
		}
	}
	return names
}

// Run runs the suite of that name to its end; results go to e's report. asked says that it was asked for by name.
func Run(e *rig.Env, name string, asked bool) {
	for _, s := range all {
		if s.name == name {
			run := s.run
			if !asked && s.whole != nil {
				run = s.whole
			}
			run(rig.NewSuite(e, name))
		}
	}
}
