// Package stream is the signed log by which a member's releases reach other members: what an entry is, how entries
// form a Merkle tree, how the owner signs a head of it, and how a reader verifies what it receives before it stores
// anything.
//
// A stream is an append-only log of one owner for one set of readers. It has a random 128-bit [ID] and its own sequence
// from 1. Entry 1 is the opening, which says whose the stream is and who reads it. Then come releases, withdrawals and
// grants: a [Grant] opens the stream to one more reader, and all readers get it. When a reader leaves, a closing ends the
// stream, and only withdrawals may follow.
//
// The invariant: what [Reader] hands out is, entry by entry, what the owner signed, in the order in which the owner
// wrote it, from 1 without a gap. A payload is missing only where a withdrawal covers it.
//
// # Formats
//
// A header is [HeaderSize] bytes, and nothing else of an entry is in the tree:
//
//	offset size
//	     0    1  format, 1
//	     1    1  entry type (EntryType of the contract)
//	     2    8  sequence, big endian, from 1
//	    10   16  target stream     \
//	    26    8  target sequence    } zero but for a WITHDRAWAL
//	    34    1  withdrawal reason /
//	    35   32  commitment: SHA-256 of 32 salt bytes and the payload; zero for a type without payload
//
// The salt is random and is erased with the payload. Then the header still verifies, and proves nothing about what
// is gone: who guesses the payload cannot check the guess.
//
// The tree is that of RFC 6962 over the headers: a leaf is SHA-256 of 0x00 and the header, an interior node SHA-256
// of 0x01 and its two children, and the root of no entries is SHA-256 of nothing. The leaf of entry n has index n-1.
//
// A checkpoint is a C2SP signed note with the tlog-checkpoint text: an origin line "<trust domain>/stream/<id in
// 32 hexadecimal digits>", the number of entries, the root in base64, and the line "time <Unix seconds>". The name
// of the key is the owner's trust domain:
//
//	xa.entente/stream/000102030405060708090a0b0c0d0e0f
//	3
//	P74FVQWlCc2V5FawBobOy4/hbO4d1SSjPxzUT3F2ITk=
//	time 1767225600
//
//	— xa.entente <base64 of 4 bytes of key hash and 64 bytes of Ed25519 signature>
//
// The example of the package builds the stream of three entries that this checkpoint signs.
//
// # Reading
//
// A puller keeps one [Reader] a stream and gives it each message as it arrives: first Checkpoint, then Withdrawals
// (all that are beyond what is held, so that no payload is asked for that is already taken back), then Entries.
// An answer without error may be stored. A [*SenderError] means that whoever sent the bytes is at fault: drop that
// source, try another; nothing has changed. A [*ForkError] means that the owner itself signed two histories, and
// carries the proof. [ErrOlder] means that the source is behind.
//
// # What this package does not do
//
// It touches no disk and no network, starts no goroutine, reads no clock, and holds no stream. Who may read is
// decided elsewhere. It does not look into released records. It cannot know the predecessors of a stream: who
// applies a [Withdrawal] whose Target is another stream first makes sure that this stream has the same owner and is
// a predecessor. It does not judge the age of a checkpoint.
package stream
