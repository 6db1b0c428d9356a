// Package member says who is who in a federation: the names of members, the identities in their certificates, the
// documents in which members speak (the roster and the chains of projects), and the TLS settings that tie a connection
// to a member.
//
// # What it is for
//
// A program that receives a connection asks four questions, and this package answers each from signed bytes:
//
//   - Who calls? [ServerTLS] and [NodeClientTLS] finish a handshake only with a certificate whose one SPIFFE ID
//     ([Identity]) lies in the trust domain of a member and whose chain ends at an authority of that very member.
//     [PeerIdentity] then reads the caller from the connection, never from a field of a message.
//   - Does its certificate still count? [Roster.ReadRevocationList] turns a certificate revocation list (RFC 5280) of one of
//     the member's authorities into a [RevocationList]; [RefuseRevoked] adds the question to the settings of either side.
//   - Who is in? [VerifyRoster] turns a signed document into a [Roster], or says which rule it breaks for which member.
//   - Who takes part in this project? [VerifyProject] does the same for the chain of documents of one [Project].
//
// The other half makes what the first half checks: [NewGenesis], [NewChange], [NewEntry] and [AssembleRoster];
// [NewCharter], [NewAdmission], [NewDeparture] and [NewEnd]; [NewAuthority] for the certificates and revocation
// lists of a test or a small site. They serve the commands pki, roster and project, and the demonstration.
//
// # Three keys a member
//
// The root key is offline and signs what the member says of itself (its [ententev1.RosterEntry]) and, for founders,
// votes on changes of membership. The signing key signs streams, receipts, digests and project documents. The keys of the
// authority issue TLS certificates. No one of them can stand in for another, and no two members may share one: the
// roster is refused where it happens.
//
// # The invariant
//
// A Roster or a Project exists only if every byte it was read from was verified: the federation's genesis against the
// pinned hash, each change against the quorum of founders then in good standing, each entry against the root then in
// force for that member, the whole against a current signing key of an assembler. So the assembler can delay, but
// cannot speak for a member, leave one out, or take back what a node has already seen. Both types are immutable: share
// them between goroutines, replace them whole.
//
// # What it does not do
//
// It reads no file, opens no connection, starts no goroutine and keeps no clock: time and randomness are passed in. It
// does not decide what an identity may do or see (that is policy), does not revisit connections that are already open
// when a roster changes (that is the registry of the server), and it does not check streams (package stream).
package member
