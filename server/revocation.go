package server

import (
	"crypto/x509"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Revocations is which certificates count no more.
type Revocations interface {
	// Revoked says whether a certificate is on a list of the authority that issued it.
	Revoked(certificate *x509.Certificate) bool
	// Lists are the lists that the node goes by, in a fixed order, for other nodes: the own member's first.
	Lists() []*ententev1.RevocationList
	// Count is how many certificates are on them.
	Count() int
}
