// Package audit is the node's audit trail: who did what with whose records, when, why and to whom.
//
// # What it is for
//
// Whatever a node does with records leaves an entry. [Log.Append] puts entries into the transaction of the effect,
// [Log.Record] makes those of a look durable before the look is answered. The entries are the leaves of a Merkle tree.
// [Log.CloseInterval] is called regularly and puts one leaf for each interval of time into a second tree, whether or not
// anything happened; its heads go to another member, the witness, which signs them ([Log.WitnessRequest],
// [Log.Witnessed]) and does the same for others ([Log.Countersign]). [Log.Trail] gives all of it to the member's own
// auditor, who verifies it with package trail of proto.
//
// # The invariant
//
// What is in memory is what is in the file, and an effect is in the file exactly when its entries are. Nothing before
// the newest countersigned interval can be edited, removed, inserted or moved without an auditor seeing it, not even by
// somebody who has the node's own key and the data file and writes everything anew; all that can be said of what came
// after is that this node vouches for it. A witness learns from the heads that time has passed, and nothing of how much
// happened: leaves are salted, and there is one for each interval.
//
// # What it does not do
//
// It starts nothing: whoever calls CloseInterval and carries the requests to the witness decides when. It does not know
// what has to be noted, who may read the trail, or what a record is. It cannot notice an entry that was never written.
// It cannot tell the restore of an old copy of the data file from somebody who cuts the trail: both are a trail that is
// shorter than what the witness has signed, [ErrWitnessAhead], and no witness that remembers more ever signs it again.
package audit
