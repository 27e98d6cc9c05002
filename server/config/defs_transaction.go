package config

// transactionDefs holds the transaction coordinator configurations (TransactionLogConfig, TransactionStateManagerConfig).
var transactionDefs = [...]Def{
	{
		Name: "transaction.abort.timed.out.transaction.cleanup.interval.ms", Type: TypeInt, Default: "10000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two searches for transactions past their time-out.",
	},
	{
		Name: "transaction.max.timeout.ms", Type: TypeInt, Default: "900000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Longest time-out in milliseconds a producer may ask for its transactions.",
	},
	{
		Name: "transaction.partition.verification.enable", Type: TypeBoolean, Default: "true", Update: ClusterWide,
		Doc: "Check with the coordinator that a partition belongs to an open transaction before a transactional batch is written.",
	},
	{
		Name: "transaction.remove.expired.transaction.cleanup.interval.ms", Type: TypeInt, Default: "3600000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two searches for expired transactional ids.",
	},
	{
		Name: "transaction.state.log.load.buffer.size", Type: TypeInt, Default: "5242880",
		check: check{rule: atLeast, min: 1},
		Doc:   "Bytes read at a time while transactions are loaded.",
	},
	{
		Name: "transaction.state.log.min.isr", Type: TypeInt, Default: "2",
		check: check{rule: atLeast, min: 1},
		Doc:   "min.insync.replicas of __transaction_state.",
	},
	{
		Name: "transaction.state.log.num.partitions", Type: TypeInt, Default: "50",
		check: check{rule: atLeast, min: 1},
		Doc:   "Partitions of __transaction_state when it is created.",
	},
	{
		Name: "transaction.state.log.replication.factor", Type: TypeShort, Default: "3",
		check: check{rule: atLeast, min: 1},
		Doc:   "Replicas of __transaction_state when it is created.",
	},
	{
		Name: "transaction.state.log.segment.bytes", Type: TypeInt, Default: "104857600",
		check: check{rule: atLeast, min: 1},
		Doc:   "Segment size in bytes of __transaction_state.",
	},
	{
		Name: "transaction.two.phase.commit.enable", Type: TypeBoolean, Default: "false",
		Doc: "Let producers take part in a two-phase commit, free of transaction time-outs (KIP-939).",
	},
	{
		Name: "transactional.id.expiration.ms", Type: TypeInt, Default: "604800000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds an idle transactional id is remembered.",
	},
}
