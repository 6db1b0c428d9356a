// Package resolve says which records describe the same person, thing or body: who is who.
//
// It works on plain strong evidence only. A record gives keys (Compact): the number and issuer of an identity document,
// a normalised name with a full date of birth, a vehicle identification number, an IBAN, a phone number with its country
// code, and so on. Records of one kind that share a key are candidates for one cluster (Cluster). Analysts' decisions
// come before keys: "same" joins, "different" keeps apart, and a single decision beats a computed veto.
//
// The one invariant: the result is a function of the set of records and decisions alone. Whatever order they come in,
// however often they are asked, and whatever else the program holds, the clusters are the same. So there is no state
// here, and withdrawing a record that bridged two clusters parts them by itself.
//
// What it does not do: it does not score, does not compare spellings that differ, knows no rarity of names, and does
// not decide who may see what (it is given visible records only). It keeps no text of a record, only hashes of keys,
// sex and dates of birth. It touches neither disk nor network nor clock.
//
// A new kind of evidence is a constant in evidence.go, its line in the texts there, and a case in keys.go; the version
// of the tables rises with it, so that views computed by programs of different versions do not pass for equal.
package resolve
