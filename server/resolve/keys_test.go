package resolve

import (
	"fmt"
	"slices"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func day(year, month, d uint32) *ententev1.PartialDate {
	return &ententev1.PartialDate{
		Year: year, Month: month, Day: d, Precision: ententev1.DatePrecision_DATE_PRECISION_DAY,
	}
}

func passport(number, country string) *ententev1.IdentityDocument {
	return &ententev1.IdentityDocument{
		Type: ententev1.DocumentType_DOCUMENT_TYPE_PASSPORT, Number: number, IssuingCountry: country,
	}
}

func person(family, given string, birth *ententev1.PartialDate, documents ...*ententev1.IdentityDocument) *ententev1.Body {
	p := &ententev1.Person{
		Names:     []*ententev1.PersonName{{Family: family, Given: given}},
		Documents: documents,
	}
	if birth != nil {
		p.DatesOfBirth = []*ententev1.PartialDate{birth}
	}
	return &ententev1.Body{Kind: &ententev1.Body_Person{Person: p}}
}

func stolen(d *ententev1.IdentityDocument) *ententev1.IdentityDocument {
	d.State = ententev1.DocumentState_DOCUMENT_STATE_STOLEN
	return d
}

func named(kind ententev1.NameType, body *ententev1.Body) *ententev1.Body {
	body.GetPerson().Names[0].Type = kind
	return body
}

func vehicle(vin, plate, country string) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_MeansOfTransport{MeansOfTransport: &ententev1.MeansOfTransport{
		Kind: &ententev1.MeansOfTransport_Vehicle{Vehicle: &ententev1.Vehicle{Vin: vin, Plate: plate, PlateCountry: country}},
	}}}
}

func vessel(imo string) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_MeansOfTransport{MeansOfTransport: &ententev1.MeansOfTransport{
		Kind: &ententev1.MeansOfTransport_Vessel{Vessel: &ententev1.Vessel{Imo: imo}},
	}}}
}

func aircraft(tail string) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_MeansOfTransport{MeansOfTransport: &ententev1.MeansOfTransport{
		Kind: &ententev1.MeansOfTransport_Aircraft{Aircraft: &ententev1.Aircraft{Registration: tail}},
	}}}
}

func communication(kind ententev1.MeansOfCommunicationType, value, platform string) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_CommunicationMeans{
		CommunicationMeans: &ententev1.CommunicationMeans{Type: kind, Value: value, Platform: platform},
	}}
}

func account(kind ententev1.AccountType, number, chain string) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_FinancialAccount{
		FinancialAccount: &ententev1.FinancialAccount{Type: kind, Number: number, Chain: chain},
	}}
}

func firearm(maker, model, serial string, obliterated bool) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_Firearm{Firearm: &ententev1.Firearm{
		Make: maker, Model: model, SerialNumber: serial, SerialNumberObliterated: obliterated,
	}}}
}

func organisation(number, country string) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_Organisation{Organisation: &ententev1.Organisation{
		RegistrationNumber: number, RegistrationCountry: country,
	}}}
}

const (
	phone  = ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_PHONE
	email  = ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_EMAIL
	handle = ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_HANDLE
	imei   = ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_IMEI
	domain = ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_DOMAIN
	ip     = ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_IP_ADDRESS
	bank   = ententev1.AccountType_ACCOUNT_TYPE_BANK
	crypto = ententev1.AccountType_ACCOUNT_TYPE_CRYPTO_ADDRESS
)

func TestKeysAreShared(t *testing.T) {
	yearOnly := &ententev1.PartialDate{Year: 1980, Precision: ententev1.DatePrecision_DATE_PRECISION_YEAR}
	alias := ententev1.NameType_NAME_TYPE_ALIAS
	tests := []struct {
		name string
		a, b *ententev1.Body
		want bool
	}{
		{"name and birth in two scripts", person("Petrov", "Ivan", day(1980, 3, 7)), person("Петров", "Иван", day(1980, 3, 7)), true},
		{"name with another birthday", person("Petrov", "Ivan", day(1980, 3, 7)), person("Petrov", "Ivan", day(1980, 7, 3)), false},
		{"name with the year of birth only", person("Petrov", "Ivan", yearOnly), person("Petrov", "Ivan", yearOnly), false},
		{"name without a birthday", person("Petrov", "Ivan", nil), person("Petrov", "Ivan", nil), false},
		{"alias and birth", named(alias, person("Petrov", "Ivan", day(1980, 3, 7))), named(alias, person("Petrov", "Ivan", day(1980, 3, 7))), false},
		{"document number and issuer", person("A", "", nil, passport("X 123-456", "XA")), person("B", "", nil, passport("x123456", "xa")), true},
		{"document number of two issuers", person("A", "", nil, passport("X123456", "XA")), person("B", "", nil, passport("X123456", "XB")), false},
		{"document number without issuer", person("A", "", nil, passport("X123456", "")), person("B", "", nil, passport("X123456", "")), false},
		{"stolen document", person("A", "", nil, stolen(passport("X123456", "XA"))), person("B", "", nil, stolen(passport("X123456", "XA"))), false},
		{"organisation by register", organisation("HRB 1234", "XA"), organisation("hrb1234", "XA"), true},
		{"organisation without country", organisation("HRB 1234", ""), organisation("HRB 1234", ""), false},
		{"vehicle by VIN", vehicle("WXA11122233344455", "", ""), vehicle("wxa 11122233344455", "AB 1", "XA"), true},
		{"vehicle by plate and country", vehicle("", "AB-123", "XA"), vehicle("", "ab 123", "XA"), true},
		{"vehicle by plate of two countries", vehicle("", "AB-123", "XA"), vehicle("", "AB-123", "XB"), false},
		{"vessel by IMO", vessel("IMO 9074729"), vessel("9074729"), true},
		{"vessel by a broken IMO", vessel("907472"), vessel("907472"), false},
		{"aircraft by tail number", aircraft("XA-ABC"), aircraft("xaabc"), true},
		{"phone with country code", communication(phone, "+999 555-0101", ""), communication(phone, "00 999 5550101", ""), true},
		{"phone without country code", communication(phone, "5550101", ""), communication(phone, "5550101", ""), false},
		{"the same digits as phone and IMEI", communication(phone, "+490154203237518", ""), communication(imei, "490154203237518", ""), false},
		{"mail address", communication(email, "A@Example.org", ""), communication(email, "a@example.org ", ""), true},
		{"domain", communication(domain, "Example.org.", ""), communication(domain, "example.org", ""), true},
		{"handle on one platform", communication(handle, "@Fox", "Chat"), communication(handle, "fox", "chat"), true},
		{"handle on two platforms", communication(handle, "fox", "Chat"), communication(handle, "fox", "Talk"), false},
		{"IP address", communication(ip, "192.0.2.1", ""), communication(ip, "192.0.2.1", ""), false},
		{"IBAN", account(bank, "XA12 3456 7890 1234 56", ""), account(bank, "xa12345678901234 56", ""), true},
		{"account number that is no IBAN", account(bank, "1234567890", ""), account(bank, "1234567890", ""), false},
		{"address on one chain", account(crypto, "bc1Qx", "bitcoin"), account(crypto, "bc1Qx", "Bitcoin"), true},
		{"addresses that differ in case", account(crypto, "bc1Qx", "bitcoin"), account(crypto, "bc1qx", "bitcoin"), false},
		{"firearm", firearm("Maker", "M1", "A-1234", false), firearm("MAKER", "m1", "A1234", false), true},
		{"firearm with removed number", firearm("Maker", "M1", "A-1234", true), firearm("Maker", "M1", "A-1234", true), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			theirs := Keys(test.b)
			got := slices.ContainsFunc(Keys(test.a), func(k Key) bool { return slices.Contains(theirs, k) })
			if got != test.want {
				t.Errorf("share a key: %v, want %v", got, test.want)
			}
		})
	}
}

func TestEmptyBodiesGiveNoKeys(t *testing.T) {
	empty := []*ententev1.Body{
		nil, {}, person("", "", nil), organisation("", ""), vehicle("", "", ""), vessel(""), aircraft(""),
		communication(phone, "", ""), account(bank, "", ""), firearm("", "", "", false),
		{Kind: &ententev1.Body_IdentityDocument{IdentityDocument: &ententev1.IdentityDocument{}}},
		{Kind: &ententev1.Body_Location{Location: &ententev1.Location{}}},
	}
	for _, body := range empty {
		if keys := Keys(body); len(keys) > 0 {
			t.Errorf("%T gives %d keys", body.GetKind(), len(keys))
		}
	}
}

func TestAFormBeyondTheContractGivesNoMoreKeysThanTheContractAllows(t *testing.T) {
	person := &ententev1.Person{}
	for i := range 2000 {
		person.Names = append(person.Names, &ententev1.PersonName{Family: fmt.Sprintf("family%d", i), Given: "given"})
		person.DatesOfBirth = append(person.DatesOfBirth, &ententev1.PartialDate{
			Year: 1000 + uint32(i), Month: 1, Day: 1, Precision: ententev1.DatePrecision_DATE_PRECISION_DAY,
		})
	}
	record := Compact([32]byte{}, [32]byte{}, ententev1.RecordKind_RECORD_KIND_PERSON, &ententev1.Body{Kind: &ententev1.Body_Person{Person: person}})
	if len(record.Keys) != maxNames*maxBirths || len(record.births) != maxBirths {
		t.Errorf("%d keys and %d dates", len(record.Keys), len(record.births))
	}
}
