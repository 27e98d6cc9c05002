package suites

import "github.com/gregor-broker/gregor/tools/interop/internal/rig"

// suite is one entry of the run, in the order of the run.
type suite struct {
	name string
	run  func(*rig.S)
}

var all = []suite{
	{"startup", startup},
	{"kcat", kcat},
	{"librdkafka", librdkafka},
	{"python", python},
	{"kafkajs", kafkajs},
	{"franz", franz},
	{"sarama", saramaSuite},
	{"segmentio", segmentio},
	{"java", java},
	{"tools", tools},
	{"dump", dump},
	{"handover", handover},
	{"golden", goldenSuite},
	{"kill9", kill9},
	{"hostile", hostile},
}

// Names are the suites in the order of a whole run.
func Names() []string {
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	return names
}

// Run runs the suite of that name to its end; results go to e's report.
func Run(e *rig.Env, name string) {
	for _, s := range all {
		if s.name == name {
			s.run(rig.NewSuite(e, name))
		}
	}
}
