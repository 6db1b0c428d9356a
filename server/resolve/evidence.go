package resolve

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// tablesVersion rises with each change of a rule in this package that its tables do not show.
const tablesVersion = "resolve/1"

// Evidence is a kind of key: what two records have in common.
type Evidence uint8

// The kinds of evidence. The numbers are part of TablesHash and are not used again.
const (
	// EvidenceDocument is an identity document by type, number and issuer.
	EvidenceDocument Evidence = iota + 1
	// EvidenceNameAndBirth is a normalised name with a date of birth known to the day.
	EvidenceNameAndBirth
	// EvidenceRegistration is an organisation by number and country of register.
	EvidenceRegistration
	// EvidenceVIN is a vehicle identification number.
	EvidenceVIN
	// EvidencePlate is a registration plate with its country.
	EvidencePlate
	// EvidenceIMO is the IMO number of a ship.
	EvidenceIMO
	// EvidenceTailNumber is the registration mark of an aircraft.
	EvidenceTailNumber
	// EvidenceCommunication is a number, address or account of communication.
	EvidenceCommunication
	// EvidenceIBAN is an international bank account number.
	EvidenceIBAN
	// EvidenceChainAddress is an address on a named chain.
	EvidenceChainAddress
	// EvidenceFirearmSerial is a firearm by maker, model and serial number.
	EvidenceFirearmSerial
)

// text says in words what the records share.
func (e Evidence) text() string {
	switch e {
	case EvidenceDocument:
		return "same document type, number and issuer"
	case EvidenceNameAndBirth:
		return "same normalised name and full date of birth"
	case EvidenceRegistration:
		return "same registration number and country"
	case EvidenceVIN:
		return "same vehicle identification number"
	case EvidencePlate:
		return "same plate and country"
	case EvidenceIMO:
		return "same IMO number"
	case EvidenceTailNumber:
		return "same aircraft registration"
	case EvidenceCommunication:
		return "same number, address or account of communication"
	case EvidenceIBAN:
		return "same IBAN"
	case EvidenceChainAddress:
		return "same address on the same chain"
	case EvidenceFirearmSerial:
		return "same make, model and serial number"
	}
	return "evidence of a kind without a name"
}

// Key is one value that identifies what a record describes, as a hash: no value of a record stands in it. Two records
// that give the same key have strong evidence in common.
type Key struct {
	// Evidence is what kind of value it is.
	Evidence Evidence
	// Hash is the first 16 bytes of SHA-256 over the kind and the normalised parts of the value.
	Hash [16]byte
}

// newKey hashes the parts of a value. The parts are told apart by their lengths, so ("ab","c") is not ("a","bc").
func newKey(e Evidence, parts ...string) Key {
	buf := make([]byte, 0, 64)
	buf = append(buf, "entente/resolve"...)
	buf = append(buf, byte(e))
	for _, part := range parts {
		buf = binary.AppendUvarint(buf, uint64(len(part)))
		buf = append(buf, part...)
	}
	sum := sha256.Sum256(buf)
	key := Key{Evidence: e}
	copy(key.Hash[:], sum[:])
	return key
}

// compare orders keys by hash, then by kind.
func (k Key) compare(other Key) int {
	order := strings.Compare(string(k.Hash[:]), string(other.Hash[:]))
	if order != 0 {
		return order
	}
	return int(k.Evidence) - int(other.Evidence)
}

// TablesHash is SHA-256 over the version of the rules, the names of the evidence and the romanisation: two programs
// with the same hash cluster the same records the same way.
func TablesHash() [32]byte {
	h := sha256.New()
	h.Write([]byte(tablesVersion))
	for e := EvidenceDocument; e <= EvidenceFirearmSerial; e++ {
		h.Write([]byte{0, byte(e)})
		h.Write([]byte(e.text()))
	}
	table := romanisation()
	runes := make([]rune, 0, len(table))
	for r := range table {
		runes = append(runes, r)
	}
	slices.Sort(runes)
	for _, r := range runes {
		h.Write([]byte{1})
		h.Write([]byte(string(r) + "=" + table[r]))
	}
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}
