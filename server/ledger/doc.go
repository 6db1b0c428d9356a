// Package ledger is what one node knows and decides: the records of its own member, who they are released to, the
// streams that carry them, and the streams of others that the node holds.
//
// The path of a record: Push takes it from a national system; the committer decides whether it is new, appends it to the
// log, works out from its audiences which streams it belongs in, appends a release to each and signs one checkpoint a
// stream; all in one transaction of the store, and only then is the record acknowledged. The way back is the same: a
// correction, a narrowing or a withdrawal changes what is wanted, and the same planning appends what is missing and
// withdraws what is too much.
//
// The invariant: what stands in the own streams is exactly what the audiences in force want, as far as it may be appended
// at all; everything else about a record is in the log, and the state in memory is nothing but the log read from the
// beginning. So a crash between any two instructions leaves either the whole step or none of it.
//
// Deciding is pure: plan.go and audience.go see a record, the directory and the places a record has, and answer what to
// append and what to withdraw. The committer (Run in ledger.go, batch.go) is the only writer. It gathers what many callers want into one
// transaction, works on copies, and shows its changes to readers when they are on disk.
//
// What the package does not do: it does not talk to peers (nodes/replica pulls, package server serves), it does not judge
// whether a caller may see something (server/policy), and it does not merge (server/resolve, server/network).
package ledger
