// Package network computes the merged view: the picture of criminal networks that one reader may see, built from the
// released records of many members.
//
// A Network holds what was released to this node, entry by entry (Add, Withdraw, DropStream, Hide), each in a compact
// form. View answers one reader within one scope: entities merged from records that describe the same, each fact with
// the records that state it, roles, and associations between merged entities. Who is who is decided by a Resolver,
// which package resolve is and a better one can be.
//
// The one invariant: a view is a pure function of the records visible to that reader in that scope, the decisions
// among them, and the tables of the resolver. Records are filtered first and merged afterwards, so an answer is the
// same bytes whether or not records that the reader may not see exist; nothing of the order, time or place of arrival
// goes in. Withdrawing a record takes everything with it that was computed from it.
//
// What it does not do: it checks no certificate, grant or purpose and writes no trail (package server does, before it
// asks), reads no log and no file (whoever wires a node feeds it), finds no paths and ranks nobody. It does not verify
// hashes or signatures: entries come from the node's own verified log. It starts no goroutine.
//
// Where things go: a new kind of record that is an entity needs nothing here but the singular names of its repeated
// fields (facts_names.go); a small message that deserves a canonical text of its own gets a case in facts_text.go; a
// new rule on what a reader may use belongs in visible (collect.go), before the merge.
package network
