package server

import (
	"crypto/x509"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Revocations is which certificates count no more.
type Revocations interface {
	// Revoked says whether a certificate, with a verified chain, is on a list of its issuer.
	Revoked(certificate *x509.Certificate) bool
	// Lists are the lists that the node goes by, in a fixed order, for other nodes.
	Lists() []*ententev1.RevocationList
}
