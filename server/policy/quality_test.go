package policy

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func TestMinimumFieldsByKind(t *testing.T) {
	human := func(p *ententev1.Person) *ententev1.Body {
		if p.Status == 0 {
			p.Status = ententev1.PersonStatus_PERSON_STATUS_CONTACT_OR_ASSOCIATE
		}
		return &ententev1.Body{Kind: &ententev1.Body_Person{Person: p}}
	}
	name := func(n *ententev1.PersonName) *ententev1.Body {
		return human(&ententev1.Person{Names: []*ententev1.PersonName{{Title: "Dr"}, n}})
	}
	unidentified := ententev1.PersonStatus_PERSON_STATUS_UNIDENTIFIED
	hash, text := []byte{1}, []*ententev1.TextName{{}, {Text: "N"}}
	organisation := func(o *ententev1.Organisation) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_Organisation{Organisation: o}}
	}
	group := func(g *ententev1.CriminalGroup) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_CriminalGroup{CriminalGroup: g}}
	}
	place := func(l *ententev1.Location) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_Location{Location: l}}
	}
	transport := func(m *ententev1.MeansOfTransport) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_MeansOfTransport{MeansOfTransport: m}}
	}
	vehicle := func(v *ententev1.Vehicle) *ententev1.Body {
		return transport(&ententev1.MeansOfTransport{Kind: &ententev1.MeansOfTransport_Vehicle{Vehicle: v}})
	}
	vessel := func(v *ententev1.Vessel) *ententev1.Body {
		return transport(&ententev1.MeansOfTransport{Kind: &ententev1.MeansOfTransport_Vessel{Vessel: v}})
	}
	aircraft := func(a *ententev1.Aircraft) *ententev1.Body {
		return transport(&ententev1.MeansOfTransport{Kind: &ententev1.MeansOfTransport_Aircraft{Aircraft: a}})
	}
	firearm := func(f *ententev1.Firearm) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_Firearm{Firearm: f}}
	}
	asset := func(a *ententev1.Asset) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_Asset{Asset: a}}
	}
	event := func(e *ententev1.Event) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_Event{Event: e}}
	}
	media := func(m *ententev1.MediaRef) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_Media{Media: &ententev1.Media{Ref: m}}}
	}
	biometric := func(m *ententev1.MediaRef, modality ententev1.BiometricModality) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_Biometric{Biometric: &ententev1.Biometric{Ref: m, Modality: modality}}}
	}
	tests := []struct {
		name  string
		body  *ententev1.Body
		field string // "" for none
	}{
		{"a family name is enough", name(&ententev1.PersonName{Family: "F"}), ""},
		{"a given name is enough", name(&ententev1.PersonName{Given: "G"}), ""},
		{"a patronymic is enough", name(&ententev1.PersonName{Patronymic: "P"}), ""},
		{"a name in its own script is enough", name(&ententev1.PersonName{FullOriginal: "И"}), ""},
		{"a title is not", name(&ententev1.PersonName{Title: "Dr"}), "body.person.names"},
		{"nor are blanks", name(&ententev1.PersonName{Family: " \t"}), "body.person.names"},
		{"a person without anything", human(&ententev1.Person{}), "body.person.names"},
		{"a document is enough", human(&ententev1.Person{Documents: []*ententev1.IdentityDocument{{}, {Number: "1"}}}), ""},
		{"a document without number is not", human(&ententev1.Person{Documents: []*ententev1.IdentityDocument{{}}}), "body.person.names"},
		{"a phone is enough", human(&ententev1.Person{Communication: []*ententev1.CommunicationMeans{{Value: "+999"}}}), ""},
		{"a phone without number is not", human(&ententev1.Person{Communication: []*ententev1.CommunicationMeans{{}}}), "body.person.names"},
		{"an image of somebody unidentified is enough", human(&ententev1.Person{Status: unidentified, Images: []*ententev1.MediaRef{{Sha256: hash}}}), ""},
		{"so are the marks of somebody unidentified", human(&ententev1.Person{Status: unidentified, DistinguishingMarks: "scar"}), ""},
		{"somebody unidentified without either", human(&ententev1.Person{Status: unidentified}), "body.person.names"},
		{"an image of somebody else is not enough", human(&ententev1.Person{Images: []*ententev1.MediaRef{{Sha256: hash}}}), "body.person.names"},
		{"nor are marks", human(&ententev1.Person{DistinguishingMarks: "scar"}), "body.person.names"},

		{"an organisation by name", organisation(&ententev1.Organisation{Names: text}), ""},
		{"an organisation by its name in another script", organisation(&ententev1.Organisation{Names: []*ententev1.TextName{{Original: "И"}}}), ""},
		{"an organisation by number", organisation(&ententev1.Organisation{RegistrationNumber: "1"}), ""},
		{"an organisation by tax number", organisation(&ententev1.Organisation{TaxNumber: "1"}), ""},
		{"an organisation by its sector", organisation(&ententev1.Organisation{Sector: "s"}), "body.organisation.names"},

		{"a group by name", group(&ententev1.CriminalGroup{Names: text}), ""},
		{"a group by crime and country", group(&ententev1.CriminalGroup{MainCrimeArea: 2, Countries: []string{"XA"}}), ""},
		{"a group by crime and territory", group(&ententev1.CriminalGroup{MainCrimeArea: 2, Territories: []string{"", "port"}}), ""},
		{"a group by crime alone", group(&ententev1.CriminalGroup{MainCrimeArea: 2}), "body.criminal_group.names"},
		{"a group by country alone", group(&ententev1.CriminalGroup{Countries: []string{"XA"}}), "body.criminal_group.names"},

		{"a place by name", place(&ententev1.Location{Names: text}), ""},
		{"a place by position", place(&ententev1.Location{Point: &ententev1.GeoPoint{}}), ""},
		{"a place by country", place(&ententev1.Location{Address: &ententev1.Address{Country: "XA"}}), ""},
		{"a place by region", place(&ententev1.Location{Address: &ententev1.Address{Region: "r"}}), ""},
		{"a place by town", place(&ententev1.Location{Address: &ententev1.Address{Locality: "l"}}), ""},
		{"a place by postal code", place(&ententev1.Location{Address: &ententev1.Address{PostalCode: "1"}}), ""},
		{"a place by street", place(&ententev1.Location{Address: &ententev1.Address{Street: "s"}}), ""},
		{"a place as written", place(&ententev1.Location{Address: &ententev1.Address{Original: "o"}}), ""},
		{"a place by an empty address", place(&ententev1.Location{Address: &ententev1.Address{}, Notes: "n"}), "body.location.address"},

		{"a vehicle by plate", vehicle(&ententev1.Vehicle{Plate: "1"}), ""},
		{"a vehicle by its number", vehicle(&ententev1.Vehicle{Vin: "1"}), ""},
		{"a vehicle by the country of its plate", vehicle(&ententev1.Vehicle{PlateCountry: "XA"}), "body.means_of_transport"},
		{"a vehicle by make", transport(&ententev1.MeansOfTransport{Make: "m"}), ""},
		{"a vehicle by model", transport(&ententev1.MeansOfTransport{Model: "m"}), ""},
		{"a vehicle by colour", transport(&ententev1.MeansOfTransport{Colour: "red"}), "body.means_of_transport"},
		{"a vessel by name", vessel(&ententev1.Vessel{Name: "n"}), ""},
		{"a vessel by IMO number", vessel(&ententev1.Vessel{Imo: "1"}), ""},
		{"a vessel by MMSI", vessel(&ententev1.Vessel{Mmsi: "1"}), ""},
		{"a vessel by call sign", vessel(&ententev1.Vessel{CallSign: "1"}), ""},
		{"a vessel by flag", vessel(&ententev1.Vessel{Flag: "XA"}), "body.means_of_transport"},
		{"an aircraft by registration", aircraft(&ententev1.Aircraft{Registration: "1"}), ""},
		{"an aircraft by serial number", aircraft(&ententev1.Aircraft{SerialNumber: "1"}), ""},
		{"an aircraft by transponder", aircraft(&ententev1.Aircraft{IcaoAddress: "1"}), ""},
		{"an aircraft by country", aircraft(&ententev1.Aircraft{RegistrationCountry: "XA"}), "body.means_of_transport"},

		{"a firearm by serial number", firearm(&ententev1.Firearm{SerialNumber: "1"}), ""},
		{"a firearm by make", firearm(&ententev1.Firearm{Make: "m"}), ""},
		{"a firearm by model", firearm(&ententev1.Firearm{Model: "m"}), ""},
		{"a firearm by calibre", firearm(&ententev1.Firearm{Calibre: "9"}), ""},
		{"a firearm by marks", firearm(&ententev1.Firearm{Marks: "m"}), ""},
		{"a firearm by year", firearm(&ententev1.Firearm{YearOfManufacture: 1990}), "body.firearm.serial_number"},

		{"a phone", &ententev1.Body{Kind: &ententev1.Body_CommunicationMeans{CommunicationMeans: &ententev1.CommunicationMeans{Value: "1"}}}, ""},
		{"a phone of no number", &ententev1.Body{Kind: &ententev1.Body_CommunicationMeans{CommunicationMeans: &ententev1.CommunicationMeans{Platform: "p"}}},
			"body.communication_means.value"},
		{"a document", &ententev1.Body{Kind: &ententev1.Body_IdentityDocument{IdentityDocument: &ententev1.IdentityDocument{Number: "1"}}}, ""},
		{"a document of no number", &ententev1.Body{Kind: &ententev1.Body_IdentityDocument{IdentityDocument: &ententev1.IdentityDocument{Type: 1}}},
			"body.identity_document.number"},
		{"an account", &ententev1.Body{Kind: &ententev1.Body_FinancialAccount{FinancialAccount: &ententev1.FinancialAccount{Number: "1"}}}, ""},
		{"an account of no number", &ententev1.Body{Kind: &ententev1.Body_FinancialAccount{FinancialAccount: &ententev1.FinancialAccount{Bic: "1"}}},
			"body.financial_account.number"},

		{"an asset by description", asset(&ententev1.Asset{Description: "d"}), ""},
		{"an asset by its number in a register", asset(&ententev1.Asset{RegisterNumber: "1"}), ""},
		{"an asset by address", asset(&ententev1.Asset{Address: &ententev1.Address{Street: "s"}}), ""},
		{"an asset by value", asset(&ententev1.Asset{Value: &ententev1.Money{}}), ""},
		{"an asset by type", asset(&ententev1.Asset{Type: 1}), "body.asset.description"},
		{"goods of a type", &ententev1.Body{Kind: &ententev1.Body_Commodity{Commodity: &ententev1.Commodity{Type: 1}}}, ""},
		{"goods of no type", &ententev1.Body{Kind: &ententev1.Body_Commodity{Commodity: &ententev1.Commodity{Name: "n"}}}, "body.commodity.type"},
		{"an event by its days", event(&ententev1.Event{Period: &ententev1.Period{}}), ""},
		{"an event by its time", event(&ententev1.Event{StartedAt: &timestamppb.Timestamp{}}), ""},
		{"an event by address", event(&ententev1.Event{Address: &ententev1.Address{Country: "XA"}}), ""},
		{"an event by position", event(&ententev1.Event{Point: &ententev1.GeoPoint{}}), ""},
		{"an event by title", event(&ententev1.Event{Title: "t"}), ""},
		{"an event by description", event(&ententev1.Event{Description: "d"}), ""},
		{"an event by type", event(&ententev1.Event{Type: 1}), "body.event.period"},
		{"a case by number", &ententev1.Body{Kind: &ententev1.Body_Case{Case: &ententev1.Case{Number: "1"}}}, ""},
		{"a case by title", &ententev1.Body{Kind: &ententev1.Body_Case{Case: &ententev1.Case{Title: "t"}}}, ""},
		{"a case by authority", &ententev1.Body{Kind: &ententev1.Body_Case{Case: &ententev1.Case{Authority: "a"}}}, "body.case.number"},
		{"a medium by hash", media(&ententev1.MediaRef{Sha256: hash}), ""},
		{"a medium by what it looks like", media(&ententev1.MediaRef{PerceptualHash: hash}), ""},
		{"a medium by its type", media(&ententev1.MediaRef{MimeType: "image/png"}), "body.media.ref.sha256"},
		{"a medium by nothing", media(nil), "body.media.ref.sha256"},
		{"a biometric by hash", biometric(&ententev1.MediaRef{Sha256: hash}, 1), ""},
		{"a biometric by nothing", biometric(nil, 1), "body.biometric.ref.sha256"},
		{"a biometric of no modality", biometric(&ententev1.MediaRef{Sha256: hash}, 0), "body.biometric.modality"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := fieldsOf(CheckRelease(with(test.body)))
			var want []string
			if test.field != "" {
				want = []string{test.field}
			}
			if !slices.Equal(got, want) {
				t.Errorf("want %v, got %v", want, got)
			}
		})
	}
}

func TestCheckSuspicion(t *testing.T) {
	tests := []struct {
		name   string
		status ententev1.PersonStatus
		basis  string
		field  string
	}{
		{"a suspect with a basis", 1, "seen at the quay", ""},
		{"a suspect without", 1, "", "body.person.suspicion_basis"},
		{"a suspect with blanks", 1, "  ", "body.person.suspicion_basis"},
		{"a witness needs none", 6, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expect(t, CheckSuspicion(changed(func(r *ententev1.Record) {
				r.GetBody().GetPerson().Status, r.GetBody().GetPerson().SuspicionBasis = test.status, test.basis
			})), test.field)
		})
	}
	expect(t, CheckSuspicion(association(func(*ententev1.Association) {})), "")
}

func attesting(note string, kinds ...ententev1.AttestationKind) *ententev1.Record {
	return changed(func(r *ententev1.Record) {
		for _, kind := range kinds {
			r.Envelope.Attestations = append(r.Envelope.Attestations, &ententev1.Attestation{Kind: kind, Note: note})
		}
	})
}

func TestCheckAttested(t *testing.T) {
	const (
		neutral = ententev1.AttestationKind_ATTESTATION_KIND_NEUTRALITY
		lawful  = ententev1.AttestationKind_ATTESTATION_KIND_LAWFUL_SOURCE
	)
	tests := []struct {
		name     string
		record   *ententev1.Record
		required []ententev1.AttestationKind
		lacking  int
	}{
		{"nothing is required", attesting(""), nil, 0},
		{"both are there", attesting("", lawful, neutral), []ententev1.AttestationKind{neutral, lawful}, 0},
		{"one is lacking", attesting("", lawful), []ententev1.AttestationKind{neutral, lawful}, 1},
		{"both are", attesting(""), []ententev1.AttestationKind{neutral, lawful}, 2},
		{"one of another version is always lacking", attesting("", 90), []ententev1.AttestationKind{90}, 1},
		{"what is not given is always lacking", attesting("", 0), []ententev1.AttestationKind{0}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := CheckAttested(test.record, test.required)
			if len(got) != test.lacking || len(got) > 0 && got[0].GetField() != "envelope.attestations" {
				t.Errorf("want %d, got %v", test.lacking, got)
			}
		})
	}
}

func TestCheckFIU(t *testing.T) {
	const consent = ententev1.AttestationKind_ATTESTATION_KIND_THIRD_PARTY_CONSENT
	h2 := func(r *ententev1.Record) *ententev1.Record {
		r.Envelope.Handling.Codes = append(r.Envelope.Handling.Codes, ententev1.HandlingCode_HANDLING_CODE_H2)
		return r
	}
	tests := []struct {
		name   string
		record *ententev1.Record
		fiu    bool
		fields []string
	}{
		{"own data", person(), false, nil},
		{"data of a unit, with its consent and H2", h2(attesting("letter 12", consent)), true, nil},
		{"data of a unit without consent", h2(person()), true, []string{"envelope.attestations"}},
		{"data of a unit without H2", attesting("letter 12", consent), true, []string{"envelope.handling.codes"}},
		{"a third party's data without H2", attesting("letter 12", consent), false, []string{"envelope.handling.codes"}},
		{"a third party's data with H2", h2(attesting("letter 12", consent)), false, nil},
		{"a consent that stands nowhere", h2(attesting(" ", consent)), false, []string{"envelope.attestations[0].note"}},
		{"another attestation needs no note", h2(attesting("", 1)), false, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fieldsOf(CheckFIU(test.record, test.fiu)); !slices.Equal(got, test.fields) {
				t.Errorf("want %v, got %v", test.fields, got)
			}
		})
	}
}

// TestTheTwoCodesOfAnEvaluationAreJudgedApart: how reliable a source is says nothing of how accurate its information is, so each pair of
// a scheme's codes is taken as it is given, and no code of one makes one of the other wrong.
func TestTheTwoCodesOfAnEvaluationAreJudgedApart(t *testing.T) {
	for _, source := range "ABCX" {
		for _, information := range "1234" {
			r := person()
			r.Envelope.Evaluation = &ententev1.Evaluation{Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4, SourceCode: string(source), InformationCode: string(information)}
			before := r.String()
			if wrong := append(CheckRecord(r), CheckRelease(r)...); len(wrong) > 0 || r.String() != before {
				t.Errorf("%c%c: %v", source, information, wrong)
			}
		}
	}
}
