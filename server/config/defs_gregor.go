package config

// gregorDefs holds the broker configurations that Kafka does not have.
var gregorDefs = [...]Def{
	{
		Name: "gregor.cache.bytes", Type: TypeLong, Default: "16777216",
		check: check{rule: atLeast},
		Doc:   "Bytes of memory for blocks of log that consumers read again; 0 turns the cache off.",
	},
	{
		Name: "gregor.log.format", Type: TypeString, Default: "text",
		check: check{rule: oneOf, words: "text, json"},
		Doc:   "Form of the broker's own log lines: text or json.",
	},
	{
		Name: "gregor.log.level", Type: TypeString, Default: "info",
		check: check{rule: oneOfFold, words: "debug, info, warn, error"},
		Doc:   "Lowest level of the broker's own log lines that is written: debug, info, warn or error.",
	},
}
