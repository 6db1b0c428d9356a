package network

import ententev1 "entente.example/entente/proto/entente/v1"

// Resolver says who is who. Its answers depend on what it is given and on its tables alone, not on order or history. It
// is safe for concurrent use.
type Resolver interface {
	// Compact makes the form of a record that the resolver compares. It is called once for a released form; id stands for
	// the record (the same for all its forms, at every node), payload is SHA-256 of the released form. Nothing of body is
	// kept by the caller.
	Compact(id, payload [32]byte, kind ententev1.RecordKind, body *ententev1.Body) any
	// Cluster groups forms that Compact made. Each index stands in exactly one group. same and different are pairs of
	// indices on which analysts decided.
	Cluster(forms []any, same, different [][2]int) [][]int
	// Reasons says in words, without values, why the forms of one group were joined; empty for a single record.
	Reasons(forms []any) []string
	// TablesHash is SHA-256 of the tables by which it decides.
	TablesHash() [32]byte
}
