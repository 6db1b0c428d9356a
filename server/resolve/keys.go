package resolve

import (
	"fmt"
	"slices"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Shortest numbers that count. Shorter ones are mostly placeholders and serial numbers of small registers.
const (
	leastDocument = 4
	leastRegister = 3
	leastPlate    = 3
	leastVIN      = 11
	leastSerial   = 3
	leastPhone    = 7
	leastIMEI     = 14
)

// How many values of a person count: what the contract allows (entity.proto). A received form is signed by its owner and
// checked by nobody, and names times dates is what it costs: unbounded, one form could take all memory.
const (
	maxNames     = 32
	maxBirths    = 8
	maxDocuments = 32
)

// Keys lists the keys that a body gives, sorted, each once. A kind without strong evidence of its own (a place, a
// group, an event) gives none. A part that is missing means no key, never a key with an empty part.
func Keys(body *ententev1.Body) []Key {
	var keys []Key
	switch kind := body.GetKind().(type) {
	case *ententev1.Body_Person:
		keys = personKeys(kind.Person)
	case *ententev1.Body_Organisation:
		keys = organisationKeys(kind.Organisation)
	case *ententev1.Body_MeansOfTransport:
		keys = transportKeys(kind.MeansOfTransport)
	case *ententev1.Body_Firearm:
		keys = firearmKeys(kind.Firearm)
	case *ententev1.Body_CommunicationMeans:
		keys = communicationKeys(kind.CommunicationMeans)
	case *ententev1.Body_IdentityDocument:
		keys = documentKeys(kind.IdentityDocument)
	case *ententev1.Body_FinancialAccount:
		keys = accountKeys(kind.FinancialAccount)
	}
	slices.SortFunc(keys, Key.compare)
	return slices.Compact(keys)
}

func personKeys(p *ententev1.Person) []Key {
	var keys []Key
	for _, document := range atMost(maxDocuments, p.GetDocuments()) {
		if !trusted(document.GetState()) {
			continue
		}
		keys = append(keys, documentKeys(document)...)
	}
	births := fullDates(p.GetDatesOfBirth())
	for _, name := range atMost(maxNames, p.GetNames()) {
		normal := identifyingName(name)
		if normal == "" {
			continue
		}
		for _, birth := range births {
			keys = append(keys, newKey(EvidenceNameAndBirth, normal, fmt.Sprint(birth)))
		}
	}
	return keys
}

// atMost is the beginning of a list.
func atMost[T any](n int, list []T) []T { return list[:min(n, len(list))] }

// trusted tells whether a document in this state stands for the person who shows it. A stolen, lost or forged one
// may be in the hands of anybody.
func trusted(state ententev1.DocumentState) bool {
	switch state {
	case ententev1.DocumentState_DOCUMENT_STATE_UNSPECIFIED,
		ententev1.DocumentState_DOCUMENT_STATE_GENUINE,
		ententev1.DocumentState_DOCUMENT_STATE_REVOKED,
		ententev1.DocumentState_DOCUMENT_STATE_EXPIRED:
		return true
	}
	return false
}

// identifyingName normalises a name that a person bears or bore by law. Aliases and nicknames are shared by too many,
// a false name belongs to somebody else. A patronymic is left out: one source writes it and the next does not.
func identifyingName(name *ententev1.PersonName) string {
	switch name.GetType() {
	case ententev1.NameType_NAME_TYPE_UNSPECIFIED,
		ententev1.NameType_NAME_TYPE_PRIMARY,
		ententev1.NameType_NAME_TYPE_BIRTH,
		ententev1.NameType_NAME_TYPE_MARRIED,
		ententev1.NameType_NAME_TYPE_FORMER:
	default:
		return ""
	}
	if name.GetFamily() == "" && name.GetGiven() == "" {
		return normaliseName(name.GetFullOriginal())
	}
	return normaliseName(name.GetFamily(), name.GetGiven())
}

// fullDates lists the dates that are known to the day, as yyyymmdd, sorted, each once.
func fullDates(dates []*ententev1.PartialDate) []uint32 {
	var full []uint32
	for _, d := range atMost(maxBirths, dates) {
		if d.GetPrecision() != ententev1.DatePrecision_DATE_PRECISION_DAY {
			continue
		}
		if d.GetYear() == 0 || d.GetMonth() == 0 || d.GetDay() == 0 {
			continue
		}
		full = append(full, d.GetYear()*10000+d.GetMonth()*100+d.GetDay())
	}
	slices.Sort(full)
	return slices.Compact(full)
}

func documentKeys(d *ententev1.IdentityDocument) []Key {
	number := normaliseNumber(d.GetNumber(), leastDocument)
	issuer := issuerOf(d)
	if number == "" || issuer == "" || d.GetType() == ententev1.DocumentType_DOCUMENT_TYPE_UNSPECIFIED {
		return nil
	}
	return []Key{newKey(EvidenceDocument, d.GetType().String(), number, issuer)}
}

// issuerOf names the issuer: the country where it is given, else the authority. The country wins so that a source that
// gives both meets one that gives the country only.
func issuerOf(d *ententev1.IdentityDocument) string {
	country := normaliseText(d.GetIssuingCountry())
	if country != "" {
		return "country " + country
	}
	authority := normaliseText(d.GetIssuingAuthority())
	if authority != "" {
		return "authority " + authority
	}
	return ""
}

func organisationKeys(o *ententev1.Organisation) []Key {
	number := normaliseNumber(o.GetRegistrationNumber(), leastRegister)
	country := normaliseText(o.GetRegistrationCountry())
	if number == "" || country == "" {
		return nil
	}
	return []Key{newKey(EvidenceRegistration, number, country)}
}

func transportKeys(m *ententev1.MeansOfTransport) []Key {
	var keys []Key
	vin := normaliseNumber(m.GetVehicle().GetVin(), leastVIN)
	if vin != "" {
		keys = append(keys, newKey(EvidenceVIN, vin))
	}
	plate := normaliseNumber(m.GetVehicle().GetPlate(), leastPlate)
	country := normaliseText(m.GetVehicle().GetPlateCountry())
	if plate != "" && country != "" {
		keys = append(keys, newKey(EvidencePlate, plate, country))
	}
	imo := digitsOf(m.GetVessel().GetImo())
	if len(imo) == 7 {
		keys = append(keys, newKey(EvidenceIMO, imo))
	}
	// A tail number need not hold a digit; its nationality prefix makes it unique.
	tail := strings.ReplaceAll(normaliseText(m.GetAircraft().GetRegistration()), " ", "")
	if len(tail) >= leastPlate {
		keys = append(keys, newKey(EvidenceTailNumber, tail))
	}
	return keys
}

func firearmKeys(f *ententev1.Firearm) []Key {
	maker, model := normaliseText(f.GetMake()), normaliseText(f.GetModel())
	serial := normaliseNumber(f.GetSerialNumber(), leastSerial)
	if maker == "" || model == "" || serial == "" || f.GetSerialNumberObliterated() {
		return nil
	}
	return []Key{newKey(EvidenceFirearmSerial, maker, model, serial)}
}

func communicationKeys(c *ententev1.CommunicationMeans) []Key {
	value, scope := communicationValue(c)
	if value == "" {
		return nil
	}
	return []Key{newKey(EvidenceCommunication, c.GetType().String(), scope, value)}
}

// communicationValue normalises the value by its type, with the platform that gives it meaning. IP addresses and radio
// calls change hands, and a phone number without country code is another one in each country: they give nothing.
func communicationValue(c *ententev1.CommunicationMeans) (value, scope string) {
	raw := strings.ToLower(strings.TrimSpace(c.GetValue()))
	switch c.GetType() {
	case ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_PHONE:
		return internationalNumber(raw), ""
	case ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_IMSI,
		ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_IMEI:
		return normaliseNumber(digitsOf(raw), leastIMEI), ""
	case ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_EMAIL:
		if !strings.Contains(raw, "@") {
			return "", ""
		}
		return raw, ""
	case ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_DOMAIN:
		return strings.TrimSuffix(raw, "."), ""
	case ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_HANDLE:
		platform := normaliseText(c.GetPlatform())
		if platform == "" {
			return "", ""
		}
		return strings.TrimPrefix(raw, "@"), platform
	}
	return "", ""
}

// internationalNumber writes a number that begins with + or 00 as its digits from the country code on.
func internationalNumber(raw string) string {
	digits := digitsOf(raw)
	switch {
	case strings.HasPrefix(raw, "+"):
	case strings.HasPrefix(raw, "00"):
		digits = digits[2:]
	default:
		return ""
	}
	return normaliseNumber(digits, leastPhone)
}

func accountKeys(a *ententev1.FinancialAccount) []Key {
	switch a.GetType() {
	case ententev1.AccountType_ACCOUNT_TYPE_BANK:
		iban := strings.ReplaceAll(normaliseText(a.GetNumber()), " ", "")
		if !looksLikeIBAN(iban) {
			return nil
		}
		return []Key{newKey(EvidenceIBAN, iban)}
	case ententev1.AccountType_ACCOUNT_TYPE_CRYPTO_ADDRESS:
		// The case of an address can carry meaning, so it stays as written.
		chain, address := normaliseText(a.GetChain()), strings.TrimSpace(a.GetNumber())
		if chain == "" || address == "" {
			return nil
		}
		return []Key{newKey(EvidenceChainAddress, chain, address)}
	}
	return nil
}

// looksLikeIBAN tells whether lower-case text has the shape of ISO 13616: country, two check digits, 11 to 30 letters
// and digits. Check digits are not verified: a number that is wrong at its source is still the same number twice.
func looksLikeIBAN(s string) bool {
	if len(s) < 15 || len(s) > 34 {
		return false
	}
	for i, r := range s {
		letter, digit := r >= 'a' && r <= 'z', r >= '0' && r <= '9'
		switch {
		case i < 2 && !letter, i >= 2 && i < 4 && !digit, !letter && !digit:
			return false
		}
	}
	return true
}
