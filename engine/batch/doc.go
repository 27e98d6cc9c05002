// Package batch owns the record batch of message format v2 (magic 2): the view over its bytes, its CRC,
// stamping it in place, walking and checking its records, and building one.
//
// The layout is that of org.apache.kafka.common.record.DefaultRecordBatch and DefaultRecord. Batches of
// the older formats (magic 0 and 1) are recognised and refused with ErrOldMagic.
//
// It never touches files, producers' histories or log positions.
package batch
