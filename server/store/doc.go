// Package store keeps what one node knows in one sealed file. It is the only user of bbolt.
//
// # What it is for
//
// A file holds two kinds of parts. A [Series] is a log: values numbered 1, 2, 3 … in the order they were
// written, without holes. A table maps a key to a value; tables are small (positions, cursors, settings), because
// their keys are random and random keys are dear to commit. What the values mean is no business of this package:
// it knows nothing of records, streams or members.
//
// [Create] makes a file, [Open] opens it, [Store.Update] changes it and [Store.View] reads it. There is one writer:
// when Update returns nil, all its changes are on disk, together; when it returns an error, none of them is there.
//
// # The invariant
//
// What is read is what was last written, or an error. bbolt itself has no checksums (of 87 flipped bits that
// mattered it returned 82 as changed data), so
//
//   - each value is sealed with AES-256-GCM and bound to its part and its key: it cannot be altered, swapped with
//     another, or read without the key, and it carries the id of the key that sealed it;
//   - each part has a sealed summary (how many values, and the sum of their authentication tags), and the file has
//     a sealed number of its last transaction: so a value that vanishes, or an older one that comes back, is damage;
//   - Open walks all pages of the file before it trusts bbolt with them, and compares parts and summaries. It costs
//     about as much as bbolt's own scan for free pages, and bbolt would end the process on a damaged page.
//
// Damage that comes while the file is open is noticed when a value is read, when [Store.Verify] runs, or at the
// next Open. Until then two things may go unnoticed: a table may miss a key, and a page pointer may lead to an older
// page of the same part. Damage is a [*DamageError] that names the place, and never data.
//
// Keys of tables are stored as HMACs, so no key can be read or guessed in the file. Names of series and tables stand
// in the file as they are, so they must not hold anything personal.
//
// # Care of the file
//
// [Store.Backup] copies the file while it is in use, and [Restore] puts such a copy in the place of a file that is not;
// both open every value before they call it a copy. [Store.Reseal] changes the key. Open brings a file with an earlier
// schema forward, after it has kept a copy.
//
// # Erasure
//
// What is replaced or deleted can no longer be read through the store, but its sealed bytes stay in a free page of the file
// until that page is written again. [Store.Compact] writes a new file while the store is in use, and puts it in the place of
// the old one: afterwards nothing that was replaced or deleted before the call is in the file, free pages included.
// [Store.Erased] says how much waits for that, and since when, so that the owner of the store can bound the time.
//
// A compaction erases in the data file, and nowhere else. The old file is given back to the file system, which does not
// write over it: what its blocks hold, sealed, is for the encryption of the disk, or for whoever destroys the key after a
// [Store.Reseal]. A second name of the old file keeps it whole, and so does a view until it ends. Backups, the copy that an
// upgrade kept and the file that Restore put aside keep what they hold, and so do snapshots of the disk.
//
// # What it does not do
//
// It does not notice that the whole file was replaced by an older copy of itself: the marker of a clean stop
// ([WriteMarker], [TakeMarker]) is for that, and lies outside the file and its backups. It does not compact by itself. It
// does not batch callers, cache values, or start goroutines. It does not rewrite values just because a file is opened with
// another key: the older keys stay in the [Keyring] until Reseal is done.
//
// Nothing may be sent over a network inside View or Update: a view that stays open keeps old pages from being
// used again, and the file grows ([Store.SlowViews] counts such views).
package store
