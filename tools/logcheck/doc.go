// Command logcheck checks, shows and explains the data directories of Apache
// Kafka and Gregor. It turns flags into calls of package fsck and prints what
// comes back; it has no knowledge of formats, and never writes to what it looks
// at.
package main
