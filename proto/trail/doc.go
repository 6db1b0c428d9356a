// Package trail is what makes a member's audit trail hold against that member itself: which bytes of it are hashed, what
// its heads say, and how an auditor verifies the whole.
//
// A trail is two Merkle trees (RFC 6962, SHA-256, as package stream has them). The leaves of the first are the entries,
// each an encoded AuditEntry as it was written. The second has one leaf for each interval of time, whether or not anything
// happened:
//
//	SHA-256 over
//	   26  "entente/v1/audit-interval" and a zero byte
//	    8  number of the interval, big endian, from 1
//	    8  its end, Unix seconds, big endian, signed
//	    4  nanoseconds of its end, big endian
//	    8  number of entries by then, big endian
//	   32  root over these entries
//	   32  random salt
//
// A head of the second tree goes to another member, the witness, which countersigns it ([stream.TreeHead],
// [stream.Cosign]): from then on nobody can change what the intervals cover, not even with the member's own key. The
// salt keeps from the witness how much happened, and whether anything did.
//
// The invariant: a trail for which [Verifier.Finish] gives a report has, up to the countersigned interval, exactly the
// entries that were there when the witness signed, in their order; and it continues every earlier reading that was
// given to [Verifier.Continues]. What is behind that interval is the word of the node alone, and the report says how
// many entries that are. Whoever has the node's key can edit, remove, insert, move and date back entries there, until the
// interval that holds them is countersigned; and it can show an older countersigned head than the newest. So an auditor
// looks at the time of the countersignature, keeps the heads of each reading, and may ask the witness for its own.
//
// # What this package does not do
//
// It touches no disk and no network and reads no clock. It does not judge what an entry says, whether its time fits its
// interval, or whether an interval is missing because the node was off: ends of intervals are the node's clock. Nothing
// here notices an entry that was never written.
package trail
