// Package replica pulls the streams of the other members to this node: it keeps one open call to the node of each member in
// the roster, verifies what comes, hands it to the ledger, and sends receipts back. It also asks the others, after an unclean
// stop, what they hold of this node's own streams, and pulls back what was lost. While an owner cannot be reached, it takes the
// owner's shared streams from other readers of them, and it takes what was carried by file.
//
// The invariant: nothing reaches the ledger that proto/stream has not verified as the owner's word, and what one peer does
// holds nobody else up. A peer is asked again after any failure, from what is stored; so an interruption at any point
// leaves neither a gap nor a repetition.
//
// One call to one peer goes like this. First only the digest over all that is held of the peer: where it is the same, the
// call just stays open. Otherwise the peer asks for positions, and the call is made again with them. Then come checkpoints
// and withdrawals of all streams, then entries, then the word that this was all, then what is new, as it happens. Every
// message is judged by session, which knows no network; peer is the shell around it.
//
// What goes wrong is told apart by whose fault it is:
//
//   - a sender's fault (stream.SenderError, Fault): the connection is dropped, the error is named in the peer's status, and
//     the peer is tried again later, at its next address if it has several;
//   - a fork (stream.ForkError): the stream is frozen with both signed heads as proof and takes withdrawals only; the other
//     streams go on;
//   - an entry that the owner signed and this node cannot take (ledger.ErrRefused): that stream stops, the others go on;
//   - anything else (network, disk): try again.
//
// A relay and a file come by the side: one at a time, only while the owner itself is not heard, through the same session and
// with the same verification, but without what only an owner can say (that it is heard, that this is all). What a relay does
// wrong is the relay's fault: it is named in the owner's status and left alone for a while, and the pull from the owner goes
// on at its own pace. Now and then readers also compare what the owner has shown to each (relay.go, carriage.go).
//
// What it does not do: decide who may read, or what is relayed to others (server and its policy), look into records, or
// judge the age of a stream. Texts that a peer sends with an error are never logged or shown: they are the peer's words.
//
//	r, err := replica.New(replica.Config{Self: "XB", Ledger: held, Directory: directory, Dial: replica.Dialer(cert, roster), ...})
//	err = r.Run(ctx) // until ctx ends
package replica
